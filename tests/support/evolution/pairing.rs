//! How an instance comes to be and is linked to a phone: `/instance/create`, `/instance/connect`,
//! `/instance/fetchInstances`, and the QR codes that go out by webhook until somebody scans one.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::instance::{Instance, InstanceState};
use super::routes::{connection_state, error, webhook_of_body};
use super::webhook::Said;
use super::{EvolutionState, FakeEvolution};
use crate::http::{Answer, Request};
use crate::payload::{self, Line};
use crate::wait::lock;

/// A new code, as WhatsApp's are: a version, then four parts in base64.
fn new_code() -> String {
    let part = |length| payload::hex(length);
    format!("2@{},{},{},{},1", part(87), part(43), part(43), part(43))
}

impl InstanceState {
    fn qr_code(&self) -> Value {
        let qr = lock(&self.qr);
        match qr.as_deref() {
            Some(code) => json!({ "pairingCode": null, "code": code, "base64": IMAGE, "count": 1 }),
            None => json!({ "count": 0 }),
        }
    }
}

/// No drawing of the code: nobody in these tests looks at it.
const IMAGE: &str = "data:image/png;base64,RkFLRS1RUg==";

/// `POST /instance/create`: the name first (403), then the key (401).
pub(super) fn create(evolution: &EvolutionState, request: &Request, runtime: &Handle) -> Answer {
    let body = request.json();
    let name = body["instanceName"].as_str().unwrap_or_default();
    if evolution.instance(name).is_some() {
        return error(403, json!([format!("This name \"{name}\" is already in use.")]));
    }
    if request.header("apikey") != Some(evolution.options.global_key.as_str()) {
        return error(401, json!("Unauthorized"));
    }
    if name.is_empty() {
        return error(400, json!([["instance requires property \"instanceName\""]]));
    }
    if body["integration"].as_str().is_none() {
        return error(400, json!(["Invalid integration"]));
    }
    let mut line = Line::new(name);
    line.server_url.clone_from(&lock(&evolution.url));
    let mut state = InstanceState::new(line, evolution);
    if let Some(token) = body["token"].as_str() {
        token.clone_into(&mut state.token);
    }
    "close".clone_into(&mut lock(&state.connection));
    let state = Arc::new(state);
    if let Ok(mut webhook) = webhook_of_body(&body["webhook"]) {
        webhook.enabled = true;
        *lock(&state.webhook) = Some(webhook);
    }
    lock(&evolution.instances).insert(name.to_owned(), Arc::clone(&state));
    let mut answer = json!({
        "instance": {
            "instanceName": name,
            "instanceId": state.line.instance_id,
            "integration": body["integration"],
            "webhookWaBusiness": null,
            "accessTokenWaBusiness": "",
            "status": "created",
        },
        "hash": state.token,
        "webhook": {
            "webhookUrl": body["webhook"]["url"],
            "webhookHeaders": body["webhook"]["headers"],
            "webhookByEvents": body["webhook"]["byEvents"],
            "webhookBase64": body["webhook"]["base64"],
        },
        "websocket": {}, "rabbitmq": {}, "nats": {}, "sqs": {},
        "settings": { "rejectCall": false, "msgCall": "", "groupsIgnore": false },
    });
    if body["qrcode"] == true {
        let instance = Instance::new(Arc::clone(&state), runtime.clone());
        instance.begin_to_link();
        answer["qrcode"] = state.qr_code();
    }
    Answer::json(201, &answer)
}

/// `GET /instance/fetchInstances?instanceName=…`: rows of the database, with their tokens.
pub(super) fn fetch(evolution: &EvolutionState, request: &Request) -> Answer {
    if request.header("apikey") != Some(evolution.options.global_key.as_str()) {
        return error(401, json!("Unauthorized"));
    }
    let name = request.query_value("instanceName");
    let instances = lock(&evolution.instances).clone();
    if let Some(name) = name.as_deref().filter(|name| !instances.contains_key(*name)) {
        return error(404, json!([format!("Instance \"{name}\" not found")]));
    }
    let wanted = instances
        .values()
        .filter(|instance| name.as_deref().is_none_or(|name| name == instance.line.instance));
    let rows: Vec<Value> = wanted
        .map(|instance| {
            json!({
                "id": instance.line.instance_id,
                "name": instance.line.instance,
                "connectionStatus": *lock(&instance.connection),
                "ownerJid": instance.line.own_jid,
                "integration": "WHATSAPP-BAILEYS",
                "number": null,
                "token": instance.token,
                "clientName": "evolution_exchange",
            })
        })
        .collect();
    Answer::json(200, &rows.into())
}

/// `GET /instance/connect/{instance}`.
pub(super) fn connect(state: Arc<InstanceState>, runtime: &Handle) -> Answer {
    let connection = lock(&state.connection).clone();
    if connection == "open" {
        return connection_state(&state);
    }
    if connection != "connecting" {
        Instance::new(Arc::clone(&state), runtime.clone()).begin_to_link();
    }
    Answer::json(200, &state.qr_code())
}

impl Instance {
    fn begin_to_link(&self) {
        self.connection_becomes("connecting");
        self.shows_another_qr();
    }

    /// The former code is over; the next one goes out by webhook.
    pub fn shows_another_qr(&self) -> Said {
        let code = self.makes_another_qr();
        let name = self.name();
        let qr = json!({ "instance": name, "pairingCode": null, "code": code, "base64": IMAGE });
        self.emit("qrcode.updated", json!({ "qrcode": qr }))
    }

    /// The same, but its webhook is lost.
    pub fn makes_another_qr(&self) -> String {
        let code = new_code();
        *lock(&self.state.qr) = Some(code.clone());
        code
    }

    /// What the newest code says.
    pub fn qr(&self) -> Option<String> {
        lock(&self.state.qr).clone()
    }

    /// A person scans the newest code.
    pub fn is_scanned(&self) -> Said {
        *lock(&self.state.qr) = None;
        self.connection_becomes("open")
    }

    /// The last code (QRCODE_LIMIT) is over, and nobody has scanned it.
    pub fn runs_out_of_codes(&self) -> Said {
        *lock(&self.state.qr) = None;
        let message = "QR code limit reached, please login again";
        self.emit("qrcode.updated", json!({ "message": message, "statusCode": 500 }));
        let said = self.connection_becomes("refused");
        self.set_connection("close");
        said
    }

    /// The webhook that is set, as `GET /webhook/find` tells it.
    pub fn webhook(&self) -> Option<super::Webhook> {
        lock(&self.state.webhook).clone()
    }
}

impl FakeEvolution {
    /// An instance that somebody has made by a call.
    pub fn instance(&self, name: &str) -> Option<Instance> {
        let state = self.state.instance(name)?;
        Some(Instance::new(state, self.server.runtime().clone()))
    }
}
