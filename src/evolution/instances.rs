//! The calls that make an instance and link it: `POST /instance/create`, `GET
//! /instance/fetchInstances`, `GET /instance/connect/{instance}`. Whether to make them is decided in
//! `set_up`.

use std::time::Duration;

use serde_json::{Value, json};

use super::qr_code::QrCode;
use super::webhook::Webhook;
use super::{Instance, State, endpoint, headers, request};
use crate::exchange::{HttpRequest, Method, Secret};

/// Makes the instance, with the webhook from its first event on. `token` becomes its key; without
/// one Evolution makes one up. Waits five seconds for the first QR code.
pub(super) fn create(
    instance: &Instance,
    token: Option<&Secret>,
    webhook: &Webhook,
    timeout: Duration,
) -> HttpRequest {
    let mut body = json!({
        "instanceName": instance.name,
        "integration": "WHATSAPP-BAILEYS",
        "qrcode": true,
        "webhook": webhook.to_json(),
    });
    if let Some(token) = token {
        body["token"] = token.expose().into();
    }
    HttpRequest {
        method: Method::Post,
        url: endpoint(instance, ["instance", "create"]),
        headers: headers(instance, true),
        body: body.to_string(),
        timeout,
    }
}

/// The key of the instance that was made: 2.x tells it as text, 1.x as `{apikey}`.
pub(super) fn created_token(body: &Value) -> Option<Secret> {
    secret(&body["hash"]).or_else(|| secret(&body["hash"]["apikey"]))
}

pub(super) fn fetch(instance: &Instance, timeout: Duration) -> HttpRequest {
    let mut url = endpoint(instance, ["instance", "fetchInstances"]);
    url.query_pairs_mut().append_pair("instanceName", &instance.name);
    HttpRequest {
        method: Method::Get,
        url,
        headers: headers(instance, false),
        body: String::new(),
        timeout,
    }
}

/// The key of the instance of this name among those that were fetched.
pub(super) fn fetched_token(body: &Value, name: &str) -> Option<Secret> {
    let rows = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
    rows.iter().filter(|row| row["name"] == name).find_map(|row| secret(&row["token"]))
}

pub(super) fn connect(instance: &Instance, timeout: Duration) -> HttpRequest {
    request(instance, Method::Get, ["instance", "connect"], None, timeout)
}

/// What `connect` has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Connecting {
    Open,
    Scan(QrCode),
    NoCodeYet,
    /// Answered with 200, too.
    Failed(String),
}

pub(super) fn read_connect(body: &Value) -> Connecting {
    if body["instance"]["state"] == State::Open.as_str() {
        return Connecting::Open;
    }
    if body["error"] == true {
        return Connecting::Failed(body["message"].as_str().unwrap_or("no reason").to_owned());
    }
    let code = QrCode::read(body).or_else(|| QrCode::read(&body["qrcode"]));
    code.map_or(Connecting::NoCodeYet, Connecting::Scan)
}

fn secret(value: &Value) -> Option<Secret> {
    let is_key = |text: &&str| !text.trim().is_empty() && !text.contains(char::is_control);
    value.as_str().filter(is_key).map(Secret::new)
}
