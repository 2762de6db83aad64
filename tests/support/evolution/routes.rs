//! Evolution's HTTP routes, in its order of checks: the instance first (404), then the key (401).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::instance::InstanceState;
use super::send::send_text;
use super::webhook::Webhook;
use super::{EvolutionState, pairing};
use crate::http::{Answer, Request};
use crate::payload;
use crate::wait::lock;

/// Evolution's default page of findMessages, in records.
const DEFAULT_PAGE_SIZE: u64 = 50;

pub(super) async fn answer(evolution: Arc<EvolutionState>, request: Request) -> Answer {
    evolution.requests.push(request.clone());
    if let Some(gate) = evolution.gate_of(&request.path) {
        gate.pass().await;
    }
    let segments = request.segments();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Handle::current();
    let [group, verb, name] = parts[..] else {
        return match (request.method.as_str(), &parts[..]) {
            ("POST", ["instance", "create"]) => pairing::create(&evolution, &request, &runtime),
            ("GET", ["instance", "fetchInstances"]) => pairing::fetch(&evolution, &request),
            _ => no_such_route(&request),
        };
    };
    let route = (request.method.as_str(), group, verb);
    if !is_known(route) {
        return no_such_route(&request);
    }
    let Some(instance) = evolution.instance(name) else {
        return error(404, json!([format!("The \"{name}\" instance does not exist")]));
    };
    let key = request.header("apikey").unwrap_or_default();
    if key != evolution.options.global_key && key != instance.token {
        return error(401, json!("Unauthorized"));
    }
    let body = request.json();
    if request.method == "POST" && !body.is_object() {
        let answer = json!({ "message": "Unexpected token in JSON" });
        return Answer::json(
            400,
            &json!({ "status": 400, "error": "Internal Server Error", "response": answer }),
        );
    }
    match (group, verb) {
        ("message", "sendText") => send_text(instance, body).await,
        ("instance", "connectionState") => connection_state(&instance),
        ("instance", "connect") => pairing::connect(instance, &runtime),
        ("chat", "findMessages") => find_messages(&instance, &body),
        ("chat", "sendPresence") => Answer::json(201, &json!({ "presence": body["presence"] })),
        ("chat", "markMessageAsRead") => {
            Answer::json(201, &json!({ "message": "Read messages", "read": "success" }))
        }
        ("webhook", "set") => set_webhook(&instance, &body["webhook"]),
        _ => Answer::json(200, &webhook_row(&instance)),
    }
}

fn is_known(route: (&str, &str, &str)) -> bool {
    matches!(
        route,
        ("POST", "message", "sendText")
            | ("GET", "instance", "connectionState" | "connect")
            | ("POST", "chat", "findMessages" | "sendPresence" | "markMessageAsRead")
            | ("POST", "webhook", "set")
            | ("GET", "webhook", "find")
    )
}

fn no_such_route(request: &Request) -> Answer {
    error(404, json!([format!("Cannot {} {}", request.method, request.path)]))
}

/// An error body; `message` is a list or a plain string, as the case may be.
pub(super) fn error(status: u16, message: Value) -> Answer {
    let name = match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        _ => "Internal Server Error",
    };
    let response = json!({ "message": message });
    Answer::json(status, &json!({ "status": status, "error": name, "response": response }))
}

pub(super) fn connection_state(instance: &InstanceState) -> Answer {
    let state = lock(&instance.connection).clone();
    let name = &instance.line.instance;
    Answer::json(200, &json!({ "instance": { "instanceName": name, "state": state } }))
}

/// Newest first. `fromMe: false` filters nothing, as on the real one: a filter counts if truthy.
fn find_messages(instance: &InstanceState, body: &Value) -> Answer {
    let filters = &body["where"];
    let matches = |record: &&Value| {
        let same = |wanted: &Value, there: &Value| {
            matches!(wanted, Value::Null | Value::Bool(false)) || wanted == there
        };
        ["id", "remoteJid", "fromMe"]
            .iter()
            .all(|field| same(&filters["key"][field], &record["key"][field]))
            && ["id", "source", "messageType"]
                .iter()
                .all(|field| same(&filters[field], &record[field]))
    };
    let history = lock(&instance.history);
    let mut found: Vec<&Value> = history.iter().rev().filter(matches).collect();
    // Stable, so that within one second the later one stays first.
    found.sort_by_key(|record| -record["messageTimestamp"].as_i64().unwrap_or_default());
    let size = body["offset"].as_u64().filter(|size| *size > 0).unwrap_or(DEFAULT_PAGE_SIZE);
    let page = body["page"].as_u64().filter(|page| *page > 0).unwrap_or(1);
    let total = found.len() as u64;
    let skipped = usize::try_from(size * (page - 1)).unwrap_or(usize::MAX);
    let records: Vec<&Value> =
        found.into_iter().skip(skipped).take(usize::try_from(size).unwrap_or(usize::MAX)).collect();
    let pages = total.div_ceil(size);
    let messages =
        json!({ "total": total, "pages": pages, "currentPage": page, "records": records });
    Answer::json(200, &json!({ "messages": messages }))
}

fn set_webhook(instance: &InstanceState, wanted: &Value) -> Answer {
    match webhook_of_body(wanted) {
        Ok(webhook) => *lock(&instance.webhook) = Some(webhook),
        Err(answer) => return answer,
    }
    Answer::json(201, &webhook_row(instance))
}

/// What stands under `webhook` in a request. `enabled` is required in `/webhook/set` only.
pub(super) fn webhook_of_body(wanted: &Value) -> Result<Webhook, Answer> {
    let (Some(enabled), Some(url)) = (wanted["enabled"].as_bool(), wanted["url"].as_str()) else {
        return Err(error(400, json!([["webhook requires property \"url\""]])));
    };
    let Some(events) = wanted["events"].as_array() else {
        return Err(error(500, json!("Cannot read properties of undefined (reading 'length')")));
    };
    let headers = wanted["headers"].as_object().into_iter().flatten();
    Ok(Webhook {
        enabled,
        url: url.to_owned(),
        headers: headers
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect::<BTreeMap<_, _>>(),
        by_events: wanted["byEvents"].as_bool().unwrap_or_default(),
        base64: wanted["base64"].as_bool().unwrap_or_default(),
        events: events.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// The database row, or null.
fn webhook_row(instance: &InstanceState) -> Value {
    let Some(webhook) = lock(&instance.webhook).clone() else { return Value::Null };
    json!({
        "id": format!("cm{}", payload::hex(23).to_lowercase()),
        "url": webhook.url,
        "headers": webhook.headers,
        "enabled": webhook.enabled,
        "events": webhook.events,
        "webhookByEvents": webhook.by_events,
        "webhookBase64": webhook.base64,
        "createdAt": "2025-10-21T14:00:00.000Z",
        "updatedAt": "2025-10-21T14:00:00.000Z",
        "instanceId": instance.line.instance_id,
    })
}
