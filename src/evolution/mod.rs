//! Evolution API 2.3.6 as whaply sees it: the calls it makes and what each answer means.
//! Pure: nothing here opens a socket or decides when to try again.

mod connection_state;
mod error;
mod find_messages;
mod instances;
mod qr_code;
mod send_text;
mod set_up;
#[cfg(test)]
mod tests;
mod webhook;

use std::time::Duration;

use serde_json::Value;
use url::Url;

pub use connection_state::{State, connection_state, read_connection_state};
pub use find_messages::{FoundMessage, find_messages, read_found};
pub use qr_code::QrCode;
pub use send_text::{
    NotSent, NotSentClass, SendOutcome, SentMessage, Uncertain, read_send_text, send_text,
};
pub use set_up::{Line, MOST_CALLS, SetUp, Trouble, Wanted, set_up};
pub use webhook::{SECRET_HEADER, Webhook};

use crate::exchange::{HttpRequest, Method, Secret};

/// One WhatsApp number on one Evolution server.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `tenants.evo_server_url`; may have a path prefix.
    pub base_url: Url,
    pub name: String,
    /// The instance's token or the server's global key; both open the calls made here.
    pub api_key: Option<Secret>,
}

/// A call to `{base}/{group}/{action}/{instance}`; a GET has no body.
fn request(
    instance: &Instance,
    method: Method,
    route: [&str; 2],
    body: Option<Value>,
    timeout: Duration,
) -> HttpRequest {
    let headers = headers(instance, body.is_some());
    let mut url = endpoint(instance, route);
    // Fails for URLs without a path, such as mailto:, which the network refuses.
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(&instance.name);
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    HttpRequest { method, url, headers, body, timeout }
}

fn headers(instance: &Instance, has_body: bool) -> Vec<(&'static str, Secret)> {
    let key = instance.api_key.clone().map(|key| ("apikey", key));
    let kind = has_body.then(|| ("content-type", Secret::new("application/json")));
    key.into_iter().chain(kind).collect()
}

/// `{base}/{group}/{action}`. A query is dropped: Evolution lets its `instanceName` overrule the one
/// in the path.
fn endpoint(instance: &Instance, route: [&str; 2]) -> Url {
    let mut url = instance.base_url.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(route);
    }
    url
}

/// No identifier of WhatsApp is longer, and the columns that hold one are not either.
const LONGEST_IDENTIFIER: usize = 255;

/// Whether `text` can be the id of a message or a JID.
fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= LONGEST_IDENTIFIER
        && !text.contains(char::is_control)
}
