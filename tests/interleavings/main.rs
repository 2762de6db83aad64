//! Two things happen to a chat at the same moment, in every order that matters: each test holds one
//! of the two transactions open where the other comes in. What each does alone is elsewhere.

mod coming_back;
mod echoes;
mod merges;
mod questions;
mod takeover;

use chrono::Utc;
use serde_json::{Value, json};
use support::payload::phone_message_id;
use support::{Person, Scene, SceneOptions, WaitingCall, ingest, shared_cluster};

const MARIA: &str = "5511999990001";

/// The condition of a step of the worker that is about Maria.
fn of_maria(condition: &str) -> String {
    format!("NEW.chat_id LIKE '{MARIA}%' AND {condition}")
}

/// The webhook of a message, to be ingested in a transaction of the test's own.
struct Webhook {
    id: String,
    payload: Value,
}

fn customer_webhook(scene: &Scene, who: &Person, text: &str) -> Webhook {
    let (line, id) = (scene.shop.line(), phone_message_id());
    let message = json!({ "conversation": text });
    let data = line.customer_message(who, &id, message, "conversation", Utc::now());
    Webhook { payload: line.envelope("messages.upsert", data, ""), id }
}

fn question(scene: &Scene, text: &str) -> Webhook {
    customer_webhook(scene, &Person::from(MARIA), text)
}

fn owner_webhook(scene: &Scene, text: &str) -> Webhook {
    let (line, id) = (scene.shop.line(), phone_message_id());
    let data = line.owner_message(&Person::from(MARIA), &id, text, Utc::now());
    Webhook { payload: line.envelope("messages.upsert", data, ""), id }
}

/// The echo of what reached a customer, whether Evolution itself posts one or not.
fn echo_webhook(scene: &Scene, jid: &str, id: &str, text: &str) -> Value {
    let line = scene.shop.line();
    line.envelope("send.message", line.api_message(jid, id, text, Utc::now()), "")
}

/// A scene whose replies are due at once, and whose worker is away until it is started.
fn scene_without_worker(prefix: &str) -> Scene {
    let options = SceneOptions::default().with("debounce", "0 s");
    let scene = Scene::start_with(shared_cluster(), prefix, options);
    support::worker::wait_for_worker(&scene.db);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene
}

#[track_caller]
fn start_worker(scene: &Scene) {
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
}

/// By now the worker has looked at all there is, and has left Maria's chat alone.
#[track_caller]
fn assert_nothing_sent_to_maria(scene: &Scene) {
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
}

/// The last reply of Maria's chat.
#[track_caller]
fn last_reply_of_maria(scene: &Scene) -> support::rows::Reply {
    let replies = scene.replies().into_iter().rev();
    let mut hers = replies.filter(|reply| reply.chat_id.starts_with(MARIA));
    hers.next().expect("a reply in Maria's chat")
}

/// Begins to ingest a webhook, and returns when that waits.
fn waiting_webhook(scene: &Scene, payload: &Value) -> WaitingCall<Value> {
    let payload = payload.clone();
    WaitingCall::begin(&scene.db, move |session| ingest(session, &payload))
}
