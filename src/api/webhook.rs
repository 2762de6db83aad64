//! The inside of `webhook(json)`, which PostgREST calls with the raw body of Evolution's POST: the
//! tenant's secret, then ingest. And `webhook_settings`: what to enter in Evolution.

use std::ffi::CStr;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::arguments::{JsonText, given};
use super::{events, or_raise};
use crate::error::{Error, Result};
use crate::exchange::Secret;
use crate::settings;
use crate::store::{tenants, transaction};
use crate::webhook;

/// The header that carries the tenant's secret. Not `Authorization`: PostgREST takes every Bearer
/// for a JWT of its own.
const SECRET_HEADER: &str = "x-whaply-secret";

/// The events a tenant needs, in the spelling of Evolution's webhook settings.
const EVENTS: [&str; 9] = [
    "MESSAGES_SET",
    "MESSAGES_UPSERT",
    "SEND_MESSAGE",
    "MESSAGES_UPDATE",
    "MESSAGES_DELETE",
    "MESSAGES_EDITED",
    "CONNECTION_UPDATE",
    "STATUS_INSTANCE",
    "LOGOUT_INSTANCE",
];

// Called by webhook(json) only, which raises what is refused.
#[pg_extern]
fn receive(payload: Option<JsonText>) -> JsonB {
    match take(payload) {
        Err(error) if error.sqlstate().starts_with("PT") => JsonB(json!({
            "refused": { "sqlstate": error.sqlstate(), "message": error.to_string(), "hint": error.hint() }
        })),
        taken => or_raise(taken),
    }
}

fn take(payload: Option<JsonText>) -> Result<JsonB> {
    if transaction::is_standby() {
        return Err(Error::Standby);
    }
    let payload = webhook::read(&given(payload, "payload")?.0)?;
    let instance = &payload.envelope.instance;
    let Some(secret) = tenants::webhook_secret(instance)? else {
        return Err(Error::WebhookForUnknownInstance { instance: instance.clone() });
    };
    if settings::require_secret() && !is_right(secret.as_ref(), sent_secret().as_deref()) {
        return Err(Error::WrongSecret);
    }
    events::take(&payload)
}

/// A tenant without a secret lets nobody in: NULL is no password.
fn is_right(expected: Option<&Secret>, sent: Option<&str>) -> bool {
    match (expected, sent) {
        (Some(expected), Some(sent)) => expected.expose().as_bytes().ct_eq(sent.as_bytes()).into(),
        _ => false,
    }
}

/// PostgREST puts the request's headers, names in lower case, into the setting `request.headers`.
fn sent_secret() -> Option<String> {
    // SAFETY: the name is NUL-terminated; the returned text lives until the setting changes and is
    // copied at once.
    let headers = unsafe {
        let value = pg_sys::GetConfigOption(c"request.headers".as_ptr(), true, false);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }?;
    let headers: serde_json::Value = serde_json::from_str(&headers).ok()?;
    headers.get(SECRET_HEADER)?.as_str().map(str::to_owned)
}

#[pg_extern]
fn webhook_settings(instance_name: Option<&str>) -> JsonB {
    or_raise(settings_of(instance_name))
}

/// The body of Evolution's `POST /webhook/set/{instance}`, but for the URL, which only the
/// operator knows.
fn settings_of(instance_name: Option<&str>) -> Result<JsonB> {
    let instance = given(instance_name, "instance_name")?;
    let secret = tenants::webhook_secret(instance)?
        .ok_or_else(|| Error::UnknownInstance { instance: instance.to_owned() })?;
    let headers =
        secret.map_or_else(|| json!({}), |secret| json!({ SECRET_HEADER: secret.expose() }));
    Ok(JsonB(json!({
        "webhook": {
            "enabled": true,
            "url": "https://YOUR-POSTGREST/rpc/webhook",
            "headers": headers,
            "byEvents": false,
            "base64": false,
            "events": EVENTS,
        }
    })))
}
