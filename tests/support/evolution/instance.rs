//! One instance: a WhatsApp number, its chats, and the people who write in them. Everything a test
//! makes people do goes out as the webhook the real Evolution would send.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::webhook::{Outgoing, Said, Webhook, WebhookAttempt};
use super::{Echo, EvolutionOptions, EvolutionState, SendBehaviour};
use crate::payload::{self, Line};
use crate::person::Person;
use crate::wait::{Journal, lock};

/// A message that the customer has received, because it was sent through the API.
#[derive(Clone, Debug)]
pub struct SentText {
    pub id: String,
    /// As the caller wrote it.
    pub number: String,
    /// The chat it ended up in.
    pub remote_jid: String,
    pub text: String,
    pub at: DateTime<Utc>,
    /// None: the caller left it to the default, which fetches every URL in the text.
    pub link_preview: Option<bool>,
    /// The whole request.
    pub body: Value,
}

/// One sendText that passed the checks, whatever became of it.
#[derive(Clone, Debug)]
pub struct SendCall {
    /// As the caller wrote it.
    pub number: String,
    pub text: String,
    pub came_at: DateTime<Utc>,
    /// When the answer was ready, or the line cut; None while neither has happened.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What a test decides about each send when it comes, from the request's body.
pub(super) type SendDecision = Arc<dyn Fn(&Value) -> SendBehaviour + Send + Sync>;

/// What a test decides about each echo, from the message that was taken.
pub(super) type EchoDecision = Arc<dyn Fn(&SentText) -> Echo + Send + Sync>;

pub(super) struct InstanceState {
    pub(super) line: Line,
    pub(super) token: String,
    pub(super) options: EvolutionOptions,
    pub(super) agent: ureq::Agent,
    pub(super) webhook: Mutex<Option<Webhook>>,
    pub(super) connection: Mutex<String>,
    /// What is to be scanned.
    pub(super) qr: Mutex<Option<String>>,
    pub(super) behaviours: Mutex<VecDeque<SendBehaviour>>,
    pub(super) send_decision: Mutex<Option<SendDecision>>,
    pub(super) echo: Mutex<Echo>,
    pub(super) echo_decision: Mutex<Option<EchoDecision>>,
    pub(super) calls: Mutex<Vec<SendCall>>,
    pub(super) sent: Journal<SentText>,
    pub(super) keeps_records: AtomicBool,
    /// Everybody who still has a webhook to deliver holds a clone.
    pub(super) under_way: Arc<()>,
    /// What findMessages searches, oldest first.
    pub(super) history: Mutex<Vec<Value>>,
    pub(super) webhook_attempts: Journal<WebhookAttempt>,
}

impl InstanceState {
    pub(super) fn new(mut line: Line, evolution: &EvolutionState) -> Self {
        let token = payload::uuid().to_uppercase();
        line.exposed_token = evolution.options.expose_token.then(|| token.clone());
        Self {
            line,
            token,
            options: evolution.options.clone(),
            agent: evolution.agent.clone(),
            webhook: Mutex::default(),
            connection: Mutex::new("open".to_owned()),
            qr: Mutex::default(),
            behaviours: Mutex::default(),
            send_decision: Mutex::default(),
            echo: Mutex::default(),
            echo_decision: Mutex::default(),
            calls: Mutex::default(),
            sent: Journal::default(),
            keeps_records: AtomicBool::new(true),
            under_way: Arc::default(),
            history: Mutex::default(),
            webhook_attempts: Journal::default(),
        }
    }

    /// What was queued comes first, then the test's decision, then `Ok`.
    pub(super) fn behaviour_for(&self, body: &Value) -> SendBehaviour {
        if let Some(queued) = lock(&self.behaviours).pop_front() {
            return queued;
        }
        let decision = lock(&self.send_decision).clone();
        decision.map_or(SendBehaviour::Ok, |decide| decide(body))
    }

    pub(super) fn echo_for(&self, sent: &SentText) -> Echo {
        let decision = lock(&self.echo_decision).clone();
        decision.map_or_else(|| lock(&self.echo).clone(), |decide| decide(sent))
    }

    /// Keeps a message object as Evolution's database does.
    pub(super) fn remember(&self, data: &Value) {
        if !self.keeps_records.load(Ordering::Relaxed) {
            return;
        }
        let mut record = json!({ "id": format!("cm{}", payload::hex(23).to_lowercase()) });
        for field in ["key", "pushName", "messageType", "message"] {
            record[field] = data[field].clone();
        }
        for field in ["messageTimestamp", "instanceId", "source", "contextInfo"] {
            record[field] = data[field].clone();
        }
        record["MessageUpdate"] = json!([]);
        lock(&self.history).push(record);
    }

    pub(super) fn outgoing(&self, event: &str, data: Value) -> Arc<Outgoing> {
        let webhook = lock(&self.webhook).clone();
        let destination = webhook.as_ref().map_or("", |webhook| webhook.url.as_str());
        let payload = self.line.envelope(event, data, destination);
        Arc::new(Outgoing::new(&payload, webhook, Arc::clone(&self.under_way)))
    }

    /// A call has begun; its place in the list.
    pub(super) fn begin_call(&self, number: &str, text: &str) -> usize {
        let (number, text) = (number.to_owned(), text.to_owned());
        let mut calls = lock(&self.calls);
        calls.push(SendCall { number, text, came_at: Utc::now(), ended_at: None });
        calls.len() - 1
    }

    pub(super) fn end_call(&self, place: usize) {
        if let Some(call) = lock(&self.calls).get_mut(place) {
            call.ended_at = Some(Utc::now());
        }
    }
}

/// A handle; clones are the same instance.
#[derive(Clone)]
pub struct Instance {
    pub(super) state: Arc<InstanceState>,
    runtime: Handle,
}

/// What the people do.
impl Instance {
    pub fn customer_says(&self, who: impl Into<Person>, text: &str) -> Said {
        self.customer_said(who, text, Duration::ZERO)
    }

    /// A message that reaches Evolution late: it was written this long `ago`.
    pub fn customer_said(&self, who: impl Into<Person>, text: &str, ago: Duration) -> Said {
        let message = json!({ "conversation": text });
        self.customer_wrote(&who.into(), message, "conversation", ago)
    }

    /// Anything but plain text: `message` is WhatsApp's content, e.g. `{"audioMessage": {…}}`.
    pub fn customer_sends(
        &self,
        who: impl Into<Person>,
        message: Value,
        message_type: &str,
    ) -> Said {
        self.customer_wrote(&who.into(), message, message_type, Duration::ZERO)
    }

    pub fn customer_edits(&self, said: &Said, text: &str) -> Said {
        self.emit("messages.edited", self.state.line.edit(&said.id, text, Utc::now()))
    }

    /// Deletes for everyone.
    pub fn customer_deletes(&self, who: impl Into<Person>, said: &Said) -> Said {
        self.emit("messages.delete", who.into().key(&said.id, false))
    }

    /// The owner types on the phone: a takeover.
    pub fn owner_types(&self, chat: impl Into<Person>, text: &str) -> Said {
        self.owner_typed(chat, text, Duration::ZERO)
    }

    pub fn owner_typed(&self, chat: impl Into<Person>, text: &str, ago: Duration) -> Said {
        let id = payload::phone_message_id();
        let data = self.state.line.owner_message(&chat.into(), &id, text, Utc::now() - ago);
        self.state.remember(&data);
        self.emit("messages.upsert", data)
    }

    /// Another client of the same Evolution API, or a Chatwoot agent, writes to the customer.
    pub fn other_sender_says(&self, chat: impl Into<Person>, text: &str) -> Said {
        let (chat, id) = (chat.into(), payload::api_message_id());
        let data = self.state.line.api_message(chat.jid(), &id, text, Utc::now());
        self.state.remember(&data);
        self.emit("send.message", data)
    }

    /// A receipt for a message this instance knows. `status` is SERVER_ACK, DELIVERY_ACK, READ, …
    pub fn receipt(&self, id: &str, status: &str) -> Said {
        let history = lock(&self.state.history);
        let known = history.iter().find(|record| record["key"]["id"] == id);
        let key = known.map(|record| record["key"].clone()).unwrap_or_default();
        drop(history);
        let jid = key["remoteJid"].as_str().unwrap_or_default();
        let from_me = key["fromMe"].as_bool().unwrap_or(true);
        self.emit("messages.update", self.state.line.receipt(jid, id, from_me, status))
    }

    /// The line opens, closes or is refused, and Evolution tells so.
    pub fn connection_becomes(&self, state: &str) -> Said {
        self.set_connection(state);
        self.emit("connection.update", self.state.line.connection(state))
    }

    /// The same without a webhook, as in a temporary close.
    pub fn set_connection(&self, state: &str) {
        *lock(&self.state.connection) = state.to_owned();
    }

    /// Delivers a whole payload as it is, with the real retries.
    pub fn deliver(&self, payload: &Value) -> Said {
        let webhook = lock(&self.state.webhook).clone();
        let under_way = Arc::clone(&self.state.under_way);
        self.send_off(Arc::new(Outgoing::new(payload, webhook, under_way)))
    }

    /// The same payload twice at the same time.
    pub fn deliver_twice(&self, payload: &Value) -> [Said; 2] {
        [self.deliver(payload), self.deliver(payload)]
    }

    /// `data` in this instance's envelope.
    pub fn emit(&self, event: &str, data: Value) -> Said {
        self.send_off(self.state.outgoing(event, data))
    }

    fn customer_wrote(&self, who: &Person, message: Value, kind: &str, ago: Duration) -> Said {
        let id = payload::phone_message_id();
        let data = self.state.line.customer_message(who, &id, message, kind, Utc::now() - ago);
        self.state.remember(&data);
        self.emit("messages.upsert", data)
    }

    fn send_off(&self, outgoing: Arc<Outgoing>) -> Said {
        let said = outgoing.said();
        self.runtime.spawn(outgoing.deliver(Arc::clone(&self.state)));
        said
    }
}

/// What the test arranges, and what it looks at.
impl Instance {
    pub(super) fn new(state: Arc<InstanceState>, runtime: Handle) -> Self {
        Self { state, runtime }
    }

    pub fn name(&self) -> &str {
        &self.state.line.instance
    }

    /// What goes into the header `apikey` of calls to this instance.
    pub fn token(&self) -> &str {
        &self.state.token
    }

    /// The shapes and names of this number, for payloads of one's own.
    pub fn line(&self) -> &Line {
        &self.state.line
    }

    pub fn set_webhook(&self, webhook: Webhook) {
        *lock(&self.state.webhook) = Some(webhook);
    }

    /// Queues what the next sendText comes to; when the queue is empty they are `Ok` again.
    pub fn next_send(&self, behaviour: SendBehaviour) {
        lock(&self.state.behaviours).push_back(behaviour);
    }

    /// Decides, request by request, what a sendText comes to for which nothing is queued.
    pub fn decide_sends(&self, decide: impl Fn(&Value) -> SendBehaviour + Send + Sync + 'static) {
        *lock(&self.state.send_decision) = Some(Arc::new(decide));
    }

    pub fn set_echo(&self, echo: Echo) {
        *lock(&self.state.echo) = echo;
    }

    /// Decides, message by message, when the echo goes out, whatever `set_echo` said.
    pub fn decide_echoes(&self, decide: impl Fn(&SentText) -> Echo + Send + Sync + 'static) {
        *lock(&self.state.echo_decision) = Some(Arc::new(decide));
    }

    /// Evolution does not save messages: findMessages sees nothing of what was so far.
    pub fn forget_history(&self) {
        lock(&self.state.history).clear();
    }

    pub fn is_connected(&self) -> bool {
        *lock(&self.state.connection) == "open"
    }

    /// Evolution saves a message of somebody's, whatever becomes of its webhook.
    pub fn remember(&self, data: &Value) {
        self.state.remember(data);
    }

    /// Evolution saves no messages from here on (DATABASE_SAVE_DATA_NEW_MESSAGE=false).
    pub fn keep_no_records(&self) {
        self.state.keeps_records.store(false, Ordering::Relaxed);
    }

    /// Every sendText so far that passed the checks, in the order in which they came.
    pub fn send_calls(&self) -> Vec<SendCall> {
        lock(&self.state.calls).clone()
    }

    /// Whether no webhook is on its way or waits for its next attempt.
    pub fn has_delivered_all(&self) -> bool {
        Arc::strong_count(&self.state.under_way) == 1
    }

    pub fn sent(&self) -> Vec<SentText> {
        self.state.sent.all()
    }

    pub fn sent_texts(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.text).collect()
    }

    /// Waits until at least `count` messages have reached customers, and returns all.
    #[track_caller]
    pub fn wait_for_sent(&self, count: usize, limit: Duration) -> Vec<SentText> {
        self.state.sent.wait_for(count, "message sent", limit)
    }

    /// Every POST to the webhook so far, in the order in which they ended.
    pub fn webhook_answers(&self) -> Vec<WebhookAttempt> {
        self.state.webhook_attempts.all()
    }

    /// Waits until the echo of the message with this id has been taken.
    #[track_caller]
    pub fn wait_for_echo(&self, id: &str, limit: Duration) -> WebhookAttempt {
        self.state.webhook_attempts.wait_for_one("the echo of a send", limit, |attempt| {
            attempt.event == "send.message" && attempt.message_id == id && attempt.is_success()
        })
    }
}
