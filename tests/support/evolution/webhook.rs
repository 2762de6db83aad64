//! How Evolution delivers a webhook: un-awaited, again and again, with byte-identical bodies. It
//! decides nothing about what is delivered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::instance::InstanceState;
use crate::http::let_pass;
use crate::wait::Journal;

/// Delays before the second and every later attempt (2.3.6: base 5 s, factor 2, at most 300 s).
/// The real ones vary by a fifth; these do not, so that tests repeat.
const RETRY_DELAYS_SECONDS: [f64; 9] = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0];

/// WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES: dropped for ever.
const NOT_RETRIED: [u16; 5] = [400, 401, 403, 404, 422];

/// How long a test waits for a delivery to end before it calls that a failure.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);

/// What `POST /webhook/set` stores.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub enabled: bool,
    pub url: String,
    pub headers: BTreeMap<String, String>,
    /// Each event goes to `<url>/<event-with-dashes>`.
    pub by_events: bool,
    pub base64: bool,
    /// Upper-case names such as MESSAGES_UPSERT; empty means all.
    pub events: Vec<String>,
}

impl Webhook {
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            enabled: true,
            url: url.into(),
            headers: BTreeMap::new(),
            by_events: false,
            base64: false,
            events: Vec::new(),
        }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    fn wants(&self, event: &str) -> bool {
        let name = event.replace(['.', '-'], "_").to_uppercase();
        self.enabled && (self.events.is_empty() || self.events.contains(&name))
    }

    fn url_of(&self, event: &str) -> String {
        match self.by_events {
            true => {
                format!("{}/{}", self.url.trim_end_matches('/'), event.replace(['.', '_'], "-"))
            }
            false => self.url.clone(),
        }
    }
}

/// One POST of a webhook and what came back.
#[derive(Clone, Debug)]
pub struct WebhookAttempt {
    pub event: String,
    /// `data.key.id`, `data.keyId` or `data.id`; empty for events without a message.
    pub message_id: String,
    /// 1 is the first.
    pub attempt: usize,
    /// None: no answer came, and `body` says why.
    pub status: Option<u16>,
    pub body: String,
    /// Evolution will not try again.
    pub is_last: bool,
    pub at: DateTime<Utc>,
}

impl WebhookAttempt {
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Something that was said, on its way to the webhook's receiver.
#[derive(Clone, Debug)]
pub struct Said {
    pub id: String,
    attempts: Arc<Journal<WebhookAttempt>>,
}

impl Said {
    /// Waits until Evolution is done with it: it was taken, dropped, or given up.
    #[track_caller]
    pub fn answer(&self) -> WebhookAttempt {
        let what = format!("the last webhook attempt of {}", self.id);
        self.attempts.wait_for_one(&what, DELIVERY_LIMIT, |attempt| attempt.is_last)
    }

    /// Waits until the receiver has taken it; panics if it did not.
    #[track_caller]
    pub fn delivered(self) -> Self {
        let answer = self.answer();
        assert!(answer.is_success(), "the webhook was not taken: {answer:#?}");
        self
    }

    pub fn attempts(&self) -> Vec<WebhookAttempt> {
        self.attempts.all()
    }

    #[track_caller]
    pub fn wait_for_attempts(&self, count: usize, limit: Duration) -> Vec<WebhookAttempt> {
        self.attempts.wait_for(count, "webhook attempt", limit)
    }
}

/// The client of webhooks: follows no proxy, and takes every status as an answer.
pub(super) fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(timeout))
        .user_agent("axios/1.12.2")
        .build()
        .new_agent()
}

/// A payload that is ready to go out.
pub(super) struct Outgoing {
    event: String,
    message_id: String,
    body: Vec<u8>,
    webhook: Option<Webhook>,
    attempts: Arc<Journal<WebhookAttempt>>,
    _under_way: Arc<()>,
}

impl Outgoing {
    /// `under_way` is held until this is dropped.
    pub(super) fn new(payload: &Value, webhook: Option<Webhook>, under_way: Arc<()>) -> Self {
        let event = payload["event"].as_str().unwrap_or_default().to_owned();
        let data = &payload["data"];
        let ids = [&data["key"]["id"], &data["keyId"], &data["id"]];
        let message_id = ids.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned();
        let webhook = webhook.filter(|webhook| webhook.wants(&event));
        let body = payload.to_string().into_bytes();
        let attempts = Arc::default();
        Self { event, message_id, body, webhook, attempts, _under_way: under_way }
    }

    pub(super) fn said(&self) -> Said {
        Said { id: self.message_id.clone(), attempts: Arc::clone(&self.attempts) }
    }

    /// Every attempt until it is taken, dropped or given up.
    pub(super) async fn deliver(self: Arc<Self>, instance: Arc<InstanceState>) {
        if !self.attempt(&instance, 1).await {
            self.retry(instance).await;
        }
    }

    /// Every attempt but the first.
    pub(super) async fn retry(self: Arc<Self>, instance: Arc<InstanceState>) {
        for (delay, attempt) in RETRY_DELAYS_SECONDS.into_iter().zip(2..) {
            let_pass(Duration::from_secs_f64(delay * instance.options.retry_scale)).await;
            if self.attempt(&instance, attempt).await {
                return;
            }
        }
    }

    /// One POST; true if there is nothing more to try.
    pub(super) async fn attempt(&self, instance: &InstanceState, attempt: usize) -> bool {
        let (status, body) = match &self.webhook {
            None => (None, "no webhook is set for this event".to_owned()),
            Some(webhook) => post(&instance.agent, webhook, &self.event, &self.body).await,
        };
        let mut made = WebhookAttempt {
            event: self.event.clone(),
            message_id: self.message_id.clone(),
            attempt,
            status,
            body,
            is_last: true,
            at: Utc::now(),
        };
        let dropped = status.is_some_and(|status| NOT_RETRIED.contains(&status));
        made.is_last = made.is_success()
            || dropped
            || self.webhook.is_none()
            || attempt > RETRY_DELAYS_SECONDS.len();
        let is_last = made.is_last;
        instance.webhook_attempts.push(made.clone());
        self.attempts.push(made);
        is_last
    }
}

async fn post(
    agent: &ureq::Agent,
    webhook: &Webhook,
    event: &str,
    body: &[u8],
) -> (Option<u16>, String) {
    let mut request = agent
        .post(webhook.url_of(event))
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, text/plain, */*");
    for (name, value) in &webhook.headers {
        request = request.header(name, value);
    }
    let body = body.to_vec();
    let call = tokio::task::spawn_blocking(move || match request.send(&body) {
        Ok(mut answer) => {
            let status = answer.status().as_u16();
            (Some(status), answer.body_mut().read_to_string().unwrap_or_default())
        }
        Err(error) => (None, error.to_string()),
    });
    call.await.unwrap_or_else(|error| (None, error.to_string()))
}
