//! The answers as HTTP has them: a status, a short JSON, `Retry-After` where it may go well later.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::health::Health;
use super::statuses::Refusal;
use crate::intake::Outcome;

pub type HttpAnswer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer of `ingest`, but for the tenant's id.
pub fn of_outcome(outcome: &Outcome) -> HttpAnswer {
    let told = Told {
        action: &outcome.action,
        duplicate: outcome.duplicate,
        chat_id: outcome.chat_id.as_deref(),
        message_id: outcome.message_id.as_deref(),
        reply_id: outcome.reply_id,
    };
    // Texts and numbers only: nothing of it can fail.
    answer(StatusCode::OK, serde_json::to_string(&told).unwrap_or_default())
}

/// Written thousands of times a second: without a tree of JSON in between.
#[derive(Serialize)]
struct Told<'a> {
    action: &'a str,
    duplicate: bool,
    chat_id: Option<&'a str>,
    message_id: Option<&'a str>,
    reply_id: Option<i64>,
}

pub fn of_refusal(refusal: &Refusal) -> HttpAnswer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let body = json!({
        "error": refusal.label(),
        "message": refusal.message(),
        "hint": refusal.hint(),
    });
    let mut answer = answer(status, body.to_string());
    if let Some(seconds) = refusal.retry_after() {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

pub fn of_health(health: &Health) -> HttpAnswer {
    match health {
        Health::Well => answer(StatusCode::OK, json!({ "status": "ok" }).to_string()),
        Health::Unwell(reason) => {
            let body = json!({ "status": "unavailable", "reason": reason }).to_string();
            answer(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

pub fn of_metrics(text: String) -> HttpAnswer {
    let kind = HeaderValue::from_static(super::metrics::CONTENT_TYPE);
    with(answer(StatusCode::OK, text), CONTENT_TYPE, kind)
}

pub fn not_found() -> HttpAnswer {
    let body = json!({ "error": "not_found", "message": "post webhooks to /webhook" });
    answer(StatusCode::NOT_FOUND, body.to_string())
}

pub fn wrong_method(allowed: &'static str) -> HttpAnswer {
    let body = json!({ "error": "wrong_method", "message": format!("allowed: {allowed}") });
    let answer = answer(StatusCode::METHOD_NOT_ALLOWED, body.to_string());
    with(answer, ALLOW, HeaderValue::from_static(allowed))
}

pub fn forbidden() -> HttpAnswer {
    let message = "whaply.metrics_token as Bearer, or a request of the server's own machine";
    let body = json!({ "error": "forbidden", "message": message });
    answer(StatusCode::FORBIDDEN, body.to_string())
}

/// The rest of the request is not read: the connection ends with this answer.
pub fn and_close(answer: HttpAnswer) -> HttpAnswer {
    with(answer, CONNECTION, HeaderValue::from_static("close"))
}

fn answer(status: StatusCode, body: String) -> HttpAnswer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, JSON)
}

fn with(mut answer: HttpAnswer, name: HeaderName, value: HeaderValue) -> HttpAnswer {
    answer.headers_mut().insert(name, value);
    answer
}
