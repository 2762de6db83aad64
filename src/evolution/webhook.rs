//! `POST /webhook/set/{instance}` and `GET /webhook/find/{instance}`: where an instance posts its
//! events, and whether Evolution keeps it as it was set. Never tells a header's value.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Instance, request};
use crate::exchange::{HttpRequest, Method, Secret};

/// The events that a tenant needs, in the spelling of Evolution's webhook settings. The others are
/// left off: one message would be three to five webhooks.
pub const EVENTS: [&str; 10] = [
    "MESSAGES_SET",
    "MESSAGES_UPSERT",
    "SEND_MESSAGE",
    "MESSAGES_UPDATE",
    "MESSAGES_DELETE",
    "MESSAGES_EDITED",
    "CONNECTION_UPDATE",
    "STATUS_INSTANCE",
    "LOGOUT_INSTANCE",
    "QRCODE_UPDATED",
];

/// The header that carries the tenant's secret. Not `Authorization`: PostgREST takes every Bearer
/// for a JWT of its own.
pub const SECRET_HEADER: &str = "x-whaply-secret";

/// The name among the headers of which Evolution makes a token (`Authorization`), and which it does
/// not send itself.
const JWT_KEY: &str = "jwt_key";

/// A webhook as a tenant needs it.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// May hold a password.
    pub url: Secret,
    pub headers: Vec<(&'static str, Secret)>,
}

impl Webhook {
    pub fn new(url: &str, secret: Option<&Secret>, jwt_key: Option<&Secret>) -> Self {
        let named = [(SECRET_HEADER, secret), (JWT_KEY, jwt_key)];
        let headers = named.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
        Self { url: Secret::new(url), headers: headers.collect() }
    }

    /// What stands under `webhook` in the requests. `byEvents` would change the path, and `base64`
    /// would bring every file that nobody reads.
    pub fn to_json(&self) -> Value {
        let headers: Map<String, Value> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.expose().into()))
            .collect();
        json!({
            "enabled": true,
            "url": self.url.expose(),
            "headers": headers,
            "byEvents": false,
            "base64": false,
            "events": EVENTS,
        })
    }

    /// What differs in the row that Evolution keeps, by name only; None if it is as it was set.
    pub fn difference(&self, row: &Value) -> Option<&'static str> {
        let is = |name: &str, wanted: bool| row[name].as_bool().is_none_or(|is| is == wanted);
        let kept = |event: &str| {
            row["events"].as_array().is_some_and(|kept| kept.iter().any(|kept| kept == event))
        };
        let has_header = |(name, value): &(&str, Secret)| {
            let headers = row["headers"].as_object().into_iter().flatten();
            headers.into_iter().any(|(kept, is)| {
                kept.eq_ignore_ascii_case(name) && is.as_str() == Some(value.expose())
            })
        };
        let checks = [
            ("there is none", row.is_object()),
            ("url", row["url"].as_str() == Some(self.url.expose())),
            ("enabled", row["enabled"].as_bool() == Some(true)),
            ("events", EVENTS.iter().all(|event| kept(event))),
            ("headers", self.headers.iter().all(has_header)),
            ("webhookByEvents", is("webhookByEvents", false)),
            ("webhookBase64", is("webhookBase64", false)),
        ];
        checks.into_iter().find(|(_, holds)| !holds).map(|(name, _)| name)
    }
}

pub(super) fn set(instance: &Instance, webhook: &Webhook, timeout: Duration) -> HttpRequest {
    let body = json!({ "webhook": webhook.to_json() });
    request(instance, Method::Post, ["webhook", "set"], Some(body), timeout)
}

pub(super) fn find(instance: &Instance, timeout: Duration) -> HttpRequest {
    request(instance, Method::Get, ["webhook", "find"], None, timeout)
}
