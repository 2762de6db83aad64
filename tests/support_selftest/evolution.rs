//! Proves the fake Evolution, and the shapes of what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::http::{Answer, HttpServer};
use support::payload::{jid_of_number, webhook_fixture};
use support::wait::Journal;
use support::{
    Echo, EvolutionOptions, FakeEvolution, Gate, Instance, Person, SendBehaviour, Webhook,
};

use super::{IMPATIENCE, LIMIT, post, post_within};

/// A webhook receiver that answers with the given statuses, then with 200, and keeps the bodies.
pub(super) fn receiver(statuses: &'static [u16]) -> (HttpServer, Arc<Journal<Value>>) {
    let bodies = Arc::new(Journal::default());
    let kept = Arc::clone(&bodies);
    let calls = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| {
        kept.push(request.json());
        let status = statuses.get(calls.fetch_add(1, Ordering::Relaxed)).copied().unwrap_or(200);
        async move { Answer::json(status, &json!({})) }
    });
    (server, bodies)
}

pub(super) fn shop() -> (FakeEvolution, Instance) {
    let evolution = FakeEvolution::start(EvolutionOptions::default());
    let shop = evolution.create_instance("loja-demo");
    (evolution, shop)
}

pub(super) fn maria() -> Person {
    Person::with_phone("5511999990001").and_lid("100000000000001").named("Maria Silva")
}

pub(super) fn send_text(evolution: &FakeEvolution, shop: &Instance, body: &Value) -> (u16, Value) {
    let url = format!("{}/message/sendText/{}", evolution.url(), shop.name());
    post(&url, &[("apikey", shop.token())], body).expect("an answer")
}

pub(super) fn hello() -> Value {
    json!({ "number": "5511999990001@s.whatsapp.net", "text": "Olá!", "linkPreview": false })
}

#[test]
fn an_unknown_instance_is_404_even_without_a_key_and_a_wrong_key_is_401() {
    let (evolution, shop) = shop();
    let call = |name: &str, key: &str| {
        let url = format!("{}/message/sendText/{name}", evolution.url());
        post(&url, &[("apikey", key)], &hello()).expect("an answer")
    };
    assert_eq!(call("nope", "").1, support::payload::fixture("http/any.404.instance.json"));
    assert_eq!(call(shop.name(), "wrong").1, support::payload::fixture("http/any.401.json"));
    assert_eq!(call(shop.name(), shop.token()).0, 201);
    assert_eq!(call(shop.name(), evolution.global_key()).0, 201);
}

#[test]
fn send_text_answers_with_the_message_and_echoes_the_same_object() {
    let (evolution, shop) = shop();
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(Webhook::to(server.url()).with_header("x-whaply-secret", "s"));
    let (status, sent) = send_text(&evolution, &shop, &hello());
    assert_eq!(status, 201);
    let id = sent["key"]["id"].as_str().expect("an id");
    assert!(id.starts_with("3EB0") && id.len() == 22, "{id}");
    shop.wait_for_echo(id, LIMIT);
    let echo = &bodies.all()[0];
    assert_eq!((&echo["event"], &echo["data"]), (&json!("send.message"), &sent));
    let shape = support::payload::fixture("http/sendText.201.json");
    let names = |value: &Value| value.as_object().expect("an object").keys().cloned().collect();
    let (names, expected): (Vec<_>, Vec<_>) = (names(&sent), names(&shape));
    assert_eq!(names, expected);
    assert_eq!(shop.sent_texts(), ["Olá!"]);
    assert_eq!(shop.sent()[0].link_preview, Some(false));
}

#[test]
fn an_echo_can_come_before_the_answer_or_never() {
    let (evolution, shop) = shop();
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(Webhook::to(server.url()));
    shop.set_echo(Echo::Before);
    send_text(&evolution, &shop, &hello());
    assert_eq!(bodies.len(), 1);
    shop.set_echo(Echo::Never);
    send_text(&evolution, &shop, &hello());
    shop.customer_says(maria(), "Oi").delivered();
    assert_eq!(bodies.len(), 2);
}

#[test]
fn bad_requests_get_the_real_complaints() {
    let (evolution, shop) = shop();
    let refused = |body: Value| send_text(&evolution, &shop, &body).1;
    let fixture = |name: &str| support::payload::fixture(&format!("http/{name}.json"));
    assert_eq!(refused(json!({ "number": "1" })), fixture("sendText.400.validation"));
    let blank = json!({ "number": "1", "text": " " });
    assert_eq!(refused(blank), fixture("sendText.400.text_required"));
    shop.next_send(SendBehaviour::RefuseNotOnWhatsapp);
    let nobody = json!({ "number": "5511999990009", "text": "Oi" });
    assert_eq!(refused(nobody), fixture("sendText.400.number_not_on_whatsapp"));
    shop.next_send(SendBehaviour::ConnectionClosed500);
    assert_eq!(refused(hello()), fixture("sendText.500.connection_closed"));
    shop.next_send(SendBehaviour::NotLoaded500);
    assert_eq!(refused(hello()), fixture("any.500.instance_not_loaded"));
    shop.next_send(SendBehaviour::MetaError201);
    assert_eq!(refused(hello()), fixture("sendText.201.cloud_api_error"));
    assert!(shop.sent().is_empty());
    shop.next_send(SendBehaviour::TakeThen400("Error: Connection Closed".to_owned()));
    assert_eq!(refused(hello()), fixture("sendText.400.connection_closed"));
    assert_eq!(shop.sent().len(), 1);
}

#[test]
fn a_taken_message_without_an_answer_is_found_by_find_messages() {
    let (evolution, shop) = shop();
    let url = format!("{}/message/sendText/{}", evolution.url(), shop.name());
    let key = [("apikey", shop.token())];
    shop.next_send(SendBehaviour::TakeThenHang);
    shop.next_send(SendBehaviour::TakeThenCut);
    assert!(post_within(IMPATIENCE, &url, &key, &hello()).is_err());
    assert!(post(&url, &key, &hello()).is_err());
    assert_eq!(shop.sent().len(), 2);
    shop.customer_says("5511977770002", "outro chat");
    let search = format!("{}/chat/findMessages/{}", evolution.url(), shop.name());
    let filter = json!({ "key": { "remoteJid": "5511999990001@s.whatsapp.net" } });
    let page = json!({ "where": filter, "page": 2, "offset": 1 });
    let (status, found) = post(&search, &key, &page).expect("an answer");
    assert_eq!(status, 200);
    let found = &found["messages"];
    assert_eq!((&found["total"], &found["pages"]), (&json!(2), &json!(2)));
    assert_eq!(found["records"][0]["key"]["id"], shop.sent()[0].id);
}

#[test]
fn a_gate_lets_the_test_act_while_a_send_is_in_flight() {
    let (evolution, shop) = shop();
    let gate = Gate::closed();
    shop.next_send(SendBehaviour::HoldThenOk(gate.clone()));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| send_text(&evolution, &shop, &hello()).0);
        gate.wait_until_reached(LIMIT);
        assert!(shop.sent().is_empty());
        gate.release();
        assert_eq!(call.join().expect("no panic"), 201);
    });
    assert_eq!(shop.wait_for_sent(1, LIMIT).len(), 1);
}

#[test]
fn webhooks_are_retried_unless_the_status_forbids_it() {
    let (_evolution, shop) = shop();
    let (server, bodies) = receiver(&[500, 429, 200, 401]);
    shop.set_webhook(Webhook::to(server.url()));
    let first = shop.customer_says(maria(), "Oi").delivered();
    assert_eq!(first.attempts().len(), 3);
    let all = bodies.all();
    assert!(all.iter().all(|body| *body == all[0]), "every attempt has the same body");
    assert_eq!(all[0]["data"]["key"]["id"], first.id);
    let dropped = shop.customer_says(maria(), "Oi?").answer();
    assert_eq!((dropped.status, dropped.attempt), (Some(401), 1));
}

#[test]
fn people_write_in_the_shapes_of_the_fixtures() {
    let (_evolution, shop) = shop();
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(Webhook::to(server.url()));
    let oi = shop.customer_says(maria(), "Oi").delivered();
    shop.customer_says(maria().by_lid(), "Oi").delivered();
    shop.owner_types(maria(), "Eu atendo").delivered();
    shop.receipt(&oi.id, "READ").delivered();
    shop.customer_edits(&oi, "Olá").delivered();
    shop.customer_deletes(maria(), &oi).delivered();
    shop.connection_becomes("open").delivered();
    let fixtures = [
        "messages.upsert.no_push_name",
        "messages.upsert.lid",
        "messages.upsert.from_me_phone",
        "messages.update.customer_message_read_by_owner",
        "messages.edited.text",
        "messages.delete.customer_revoke",
        "connection.update.open",
    ];
    for (body, name) in bodies.all().iter().zip(fixtures) {
        assert_eq!(shape_of(body), shape_of(&webhook_fixture(name)), "{name}");
    }
}

/// Every value of a payload replaced by the name of its type, and null by nothing.
fn shape_of(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), shape_of(field))).collect()
        }
        Value::String(_) | Value::Null => json!("text"),
        Value::Number(_) => json!("number"),
        other => other.clone(),
    }
}

#[test]
fn fixtures_are_as_old_as_they_were_when_they_were_made() {
    let now = chrono::Utc::now().timestamp();
    let age_of = |name| {
        let at = webhook_fixture(name)["data"]["messageTimestamp"].as_i64();
        now - at.expect("a timestamp")
    };
    assert!((0..=3).contains(&age_of("messages.upsert.conversation")));
    assert!(age_of("messages.upsert.offline_append") > 3 * 3600);
}

#[test]
fn numbers_become_jids_as_in_evolution() {
    assert_eq!(jid_of_number("5531999990001"), "553199990001@s.whatsapp.net");
    assert_eq!(jid_of_number("+55 (11) 99999-0001"), "5511999990001@s.whatsapp.net");
    assert_eq!(jid_of_number("100000000000001@lid"), "100000000000001@lid");
    assert_eq!(jid_of_number("5511999990001:7@s.whatsapp.net"), "5511999990001@s.whatsapp.net");
}

#[test]
fn an_evolution_that_is_down_refuses_calls_and_can_come_back() {
    let (evolution, shop) = shop();
    let url = format!("{}/message/sendText/{}", evolution.url(), shop.name());
    evolution.go_down();
    assert!(post(&url, &[("apikey", shop.token())], &hello()).is_err());
    evolution.come_back();
    assert_eq!(send_text(&evolution, &shop, &hello()).0, 201);
}

#[test]
fn what_was_queued_comes_before_what_is_decided_request_by_request() {
    let (evolution, shop) = shop();
    shop.decide_sends(|body| match body["text"].as_str() {
        Some("Olá!") => SendBehaviour::NotLoaded500,
        _ => SendBehaviour::Ok,
    });
    shop.next_send(SendBehaviour::Refuse400("not now".to_owned()));
    let statuses = [(); 2].map(|()| send_text(&evolution, &shop, &hello()).0);
    assert_eq!(statuses, [400, 500]);
    let other = json!({ "number": "5511999990001", "text": "Até logo" });
    assert_eq!(send_text(&evolution, &shop, &other).0, 201);
    assert_eq!(shop.sent_texts(), ["Até logo"]);
}

#[test]
fn each_send_can_have_its_own_echo_also_as_a_messages_upsert() {
    let (evolution, shop) = shop();
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(Webhook::to(server.url()));
    shop.decide_echoes(|sent| match sent.text.as_str() {
        "Olá!" => Echo::AsUpsert,
        "Nada" => Echo::Never,
        _ => Echo::AsBoth,
    });
    let (_, sent) = send_text(&evolution, &shop, &hello());
    let copy = bodies.wait_for(1, "webhook", LIMIT).remove(0);
    assert_eq!((&copy["event"], &copy["data"]), (&json!("messages.upsert"), &sent));
    assert_eq!(copy["data"]["status"], "PENDING");
    assert!(copy["data"]["key"].get("addressingMode").is_none());
    for text in ["Nada", "Os dois"] {
        let body = json!({ "number": "5511999990001", "text": text });
        send_text(&evolution, &shop, &body);
    }
    let texts = bodies.wait_for(3, "webhook", LIMIT);
    assert!(texts[1..].iter().all(|body| body["data"]["message"]["conversation"] == "Os dois"));
}
