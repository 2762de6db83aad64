//! `POST /message/sendText/{instance}`, and what its answer says about the one question that
//! matters: did the message go out? An answer that leaves it open is never read as a no.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::{ErrorBody, REDIRECTS, answered};
use super::{Instance, is_identifier, request};
use crate::exchange::{CallError, CallResult, HttpRequest, HttpResponse, Method};

const CALL: &str = "sendText";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Handed to WhatsApp's socket; what becomes of it there comes as `messages.update`.
    Sent(SentMessage),
    NotSent(NotSent),
    Uncertain(Uncertain),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    pub message_id: String,
    /// Where WhatsApp sent it, which may differ from the JID that was asked for: an alias.
    pub jid: Option<String>,
    /// Seconds since 1970, rounded by WhatsApp.
    pub sent_at: Option<i64>,
}

/// Nothing left Evolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    pub class: NotSentClass,
    /// For `deliveries.error`: what happened and what comes next, one line.
    pub message: String,
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSentClass {
    /// The same send may succeed after a back-off.
    Transient,
    /// The socket to WhatsApp was closed: as Transient, but the line may be down without a word of it.
    SocketClosed,
    /// No send of this instance can succeed before the line is back.
    LineDown,
    /// No send can succeed before someone corrects a setting.
    Configuration,
    /// This message can never be sent.
    Rejected,
    /// The server asks to wait, or our own settings keep the call in. Not an attempt.
    Deferred,
}

/// It may have gone out, or may yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncertain {
    pub message: String,
    /// Looking it up would prove nothing: Evolution can fail between sending and storing, and then
    /// answers 400 with whatever was thrown. Only the echo or a person can tell.
    pub hold: bool,
}

/// `jid` goes out in full and unchanged: Evolution rewrites bare numbers, some of them wrongly.
/// No link preview, since it makes Evolution fetch the URLs of the text first.
pub fn send_text(instance: &Instance, jid: &str, text: &str, timeout: Duration) -> HttpRequest {
    let body = json!({ "number": jid, "text": text, "linkPreview": false });
    request(instance, Method::Post, ["message", CALL], Some(body), timeout)
}

pub fn read_send_text(result: CallResult) -> SendOutcome {
    match result {
        Ok(response) => read_response(&response),
        Err(CallError::NotSent(why)) => not_sent(
            NotSentClass::Transient,
            &format!("Evolution was not reached: {why}"),
            "it is sent again; check evo_server_url if this lasts",
        ),
        Err(CallError::Unknown(why)) => uncertain(&format!("{CALL} gave no answer: {why}")),
        Err(CallError::Withheld(why)) => not_sent(
            NotSentClass::Deferred,
            &format!("Evolution is not called: {why}"),
            "it is sent later",
        ),
        Err(CallError::Forbidden(why)) => not_sent(
            NotSentClass::Configuration,
            &format!("Evolution is not called: {why}"),
            "check evo_server_url",
        ),
    }
}

fn read_response(response: &HttpResponse) -> SendOutcome {
    use NotSentClass::{Configuration, Deferred, Rejected, Transient};
    let body = &response.body;
    let refused = |class, advice| {
        let said = answered(CALL, response.status, ErrorBody::read(body).words());
        not_sent(class, &said, advice)
    };
    match response.status {
        200..=299 => read_accepted(response),
        300..=399 => refused(Configuration, REDIRECTS),
        400 => read_bad_request(body),
        401 | 403 => refused(Configuration, "check the tenant's Evolution API key"),
        404 | 405 => refused(Configuration, "check instance_name and evo_server_url"),
        429 => refused(Deferred, "it is sent later").after(response.retry_after),
        // A proxy that gave up waiting for the whole request has not passed it on.
        408 => refused(Transient, "it is sent again"),
        402..=499 => refused(Rejected, "it is not sent again"),
        500 => read_server_error(body),
        503 if response.retry_after.is_some() => {
            refused(Deferred, "it is sent later").after(response.retry_after)
        }
        // No other 503, nor 502: a proxy answers those too when Evolution dies with the request in hand.
        // Cloudflare: no connection to Evolution, or no TLS with it.
        521 | 523 | 525 | 526 => {
            refused(Transient, "Cloudflare cannot reach Evolution; it is sent again")
        }
        status => uncertain(&answered(CALL, status, ErrorBody::read(body).words())),
    }
}

/// On the Cloud API channel Evolution answers 201 with Meta's error object in place of a message.
fn read_accepted(response: &HttpResponse) -> SendOutcome {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if let Some(id) = body["key"]["id"].as_str().filter(|id| is_identifier(id)) {
        return SendOutcome::Sent(SentMessage {
            message_id: id.to_owned(),
            jid: body["key"]["remoteJid"]
                .as_str()
                .filter(|jid| is_identifier(jid))
                .map(str::to_owned),
            sent_at: body["messageTimestamp"].as_i64(),
        });
    }
    match body["code"].as_i64() {
        Some(code) => {
            let words = body["message"].as_str().unwrap_or("no reason given");
            let (class, advice) = class_of_meta_code(code);
            let said = answered("Meta", response.status, &format!("error {code}, {words}"));
            not_sent(class, &said, advice)
        }
        None => uncertain(&answered(CALL, response.status, "without a message id")),
    }
}

/// Error codes of the WhatsApp Cloud API. Those not listed are about this message or recipient:
/// outside the 24-hour window, not in the allowed list, not on WhatsApp.
fn class_of_meta_code(code: i64) -> (NotSentClass, &'static str) {
    match code {
        1 | 2 | 131_000 | 131_016 | 133_004 => (NotSentClass::Transient, "it is sent again"),
        4 | 80_007 | 130_429 | 131_048 | 131_056 => (NotSentClass::Deferred, "it is sent later"),
        0 | 3 | 10 | 190 | 200..=299 | 368 | 131_005 | 131_031 | 131_042 | 133_010 => (
            NotSentClass::Configuration,
            "check the token, permissions and state of the WhatsApp Business account",
        ),
        _ => (NotSentClass::Rejected, "it is not sent again"),
    }
}

/// Thrown inside the block that sends, where the socket failed: known to be stored if it went out.
const SOCKET_FAILED: [&str; 3] = ["Error: Connection Closed", "Error: Timed Out", "SessionError"];

fn read_bad_request(body: &[u8]) -> SendOutcome {
    let error = ErrorBody::read(body);
    let said = answered(CALL, 400, error.words());
    match &error {
        ErrorBody::NotOnWhatsApp => not_sent(NotSentClass::Rejected, &said, "it is not sent again"),
        ErrorBody::Invalid(_) => not_sent(NotSentClass::Rejected, &said, "it is not sent again"),
        ErrorBody::Thrown(words) if words == "Text is required" => {
            not_sent(NotSentClass::Rejected, &said, "it is not sent again")
        }
        ErrorBody::Thrown(words) if SOCKET_FAILED.iter().any(|known| words.starts_with(known)) => {
            uncertain(&said)
        }
        _ => SendOutcome::Uncertain(Uncertain {
            message: format!(
                "{said}; it may have gone out: look at the chat, then retry or cancel"
            ),
            hold: true,
        }),
    }
}

/// The number check runs before the block that sends, and nothing catches what it throws.
fn read_server_error(body: &[u8]) -> SendOutcome {
    let error = ErrorBody::read(body);
    let said = answered(CALL, 500, error.words());
    match error.words() {
        "Connection Closed" | "Timed Out" => {
            not_sent(NotSentClass::SocketClosed, &said, "the line is down; it is sent again")
        }
        words if words.starts_with("Cannot read properties of") => not_sent(
            NotSentClass::LineDown,
            &said,
            "the instance is not loaded; it is sent when the line is open",
        ),
        _ => uncertain(&said),
    }
}

impl SendOutcome {
    fn after(mut self, wish: Option<Duration>) -> Self {
        if let Self::NotSent(not_sent) = &mut self {
            not_sent.retry_after = wish;
        }
        self
    }
}

fn not_sent(class: NotSentClass, what: &str, advice: &str) -> SendOutcome {
    SendOutcome::NotSent(NotSent { class, message: format!("{what}; {advice}"), retry_after: None })
}

fn uncertain(what: &str) -> SendOutcome {
    let message = format!("{what}; it may have gone out and is looked up");
    SendOutcome::Uncertain(Uncertain { message, hold: false })
}
