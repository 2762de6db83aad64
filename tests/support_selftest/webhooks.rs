//! Proves how the fake Evolution delivers webhooks and echoes: as often, in what order, and with what
//! in them the real one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use support::http::{Answer, HttpServer};
use support::payload::fixture;
use support::wait::Journal;
use support::{Echo, EvolutionOptions, FakeEvolution, Gate, Instance, SendBehaviour, Webhook};

use super::evolution::{hello, maria, receiver, send_text, shop};
use super::{IMPATIENCE, LIMIT, post};

/// 2.3.6: WEBHOOK_RETRY_MAX_ATTEMPTS.
const MOST_ATTEMPTS: usize = 10;

/// A receiver that answers request after request as it is told, then with 200.
fn scripted(answers: Vec<Answer>) -> HttpServer {
    let calls = AtomicUsize::new(0);
    HttpServer::start(move |_| {
        let answer = answers.get(calls.fetch_add(1, Ordering::Relaxed)).cloned();
        async move { answer.unwrap_or_else(|| Answer::json(200, &json!({}))) }
    })
}

/// One that tries again almost at once.
fn hasty_shop(webhook_timeout: Duration) -> (FakeEvolution, Instance) {
    let hasty =
        EvolutionOptions { retry_scale: 0.0001, webhook_timeout, ..EvolutionOptions::default() };
    let evolution = FakeEvolution::start(hasty);
    let shop = evolution.create_instance("loja-demo");
    (evolution, shop)
}

#[test]
fn five_statuses_are_final_and_all_others_but_success_are_tried_again() {
    let (_evolution, shop) = hasty_shop(LIMIT);
    let attempts_after = |answer: Answer| {
        let server = scripted(vec![answer]);
        shop.set_webhook(Webhook::to(server.url()));
        shop.customer_says(maria(), "Oi").answer().attempt
    };
    for status in [200, 201, 204, 400, 401, 403, 404, 422] {
        assert_eq!(attempts_after(Answer::json(status, &json!({}))), 1, "{status}");
    }
    for status in [402, 405, 408, 409, 410, 413, 429, 500, 502, 503, 504] {
        assert_eq!(attempts_after(Answer::json(status, &json!({}))), 2, "{status}");
    }
    assert_eq!(attempts_after(Answer::cut()), 2, "a connection that drops");
}

#[test]
fn after_ten_attempts_a_webhook_is_given_up() {
    let (_evolution, shop) = hasty_shop(LIMIT);
    let server = scripted(vec![Answer::json(500, &json!({})); 2 * MOST_ATTEMPTS]);
    shop.set_webhook(Webhook::to(server.url()));
    let said = shop.customer_says(maria(), "Oi");
    let last = said.answer();
    assert_eq!((last.attempt, last.status), (MOST_ATTEMPTS, Some(500)));
    assert_eq!(said.attempts().len(), MOST_ATTEMPTS);
}

#[test]
fn every_attempt_has_the_same_bytes() {
    let (_evolution, shop) = hasty_shop(LIMIT);
    let bodies: Arc<Journal<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&bodies);
    let server = HttpServer::start(move |request| {
        kept.push(request.body);
        let status = if kept.len() < 4 { 503 } else { 200 };
        async move { Answer::json(status, &json!({})) }
    });
    shop.set_webhook(Webhook::to(server.url()));
    shop.customer_says(maria(), "Oi").delivered();
    let bodies = bodies.all();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

/// The receiver has it by then: the next attempt is a duplicate.
#[test]
fn an_answer_that_is_too_slow_is_a_failure() {
    let (_evolution, shop) = hasty_shop(IMPATIENCE);
    let server = scripted(vec![Answer::never()]);
    shop.set_webhook(Webhook::to(server.url()));
    let said = shop.customer_says(maria(), "Oi").delivered();
    assert_eq!(said.attempts().len(), 2);
    assert_eq!(said.attempts()[0].status, None);
}

#[test]
fn messages_overtake_one_whose_webhook_failed() {
    let (_evolution, shop) = shop();
    let texts: Arc<Journal<Value>> = Arc::default();
    let kept = Arc::clone(&texts);
    let server = HttpServer::start(move |request| {
        kept.push(request.json()["data"]["message"]["conversation"].clone());
        // The first message is refused until the second has come.
        let status = if kept.all().contains(&json!("dois")) { 200 } else { 500 };
        async move { Answer::json(status, &json!({})) }
    });
    shop.set_webhook(Webhook::to(server.url()));
    let first = shop.customer_says(maria(), "um");
    first.wait_for_attempts(1, LIMIT);
    shop.customer_says(maria(), "dois").delivered();
    first.delivered();
    let texts = texts.all();
    assert_eq!((&texts[0], texts.last()), (&json!("um"), Some(&json!("um"))));
    assert!(texts.contains(&json!("dois")), "{texts:?}");
}

#[test]
fn a_receiver_that_never_answers_does_not_delay_the_answer_of_a_send() {
    let (evolution, shop) = shop();
    let server = scripted(vec![Answer::never()]);
    shop.set_webhook(Webhook::to(server.url()));
    shop.set_echo(Echo::With);
    assert_eq!(send_text(&evolution, &shop, &hello()).0, 201);
}

#[test]
fn an_echo_can_be_held_until_long_after_the_answer() {
    let (evolution, shop) = shop();
    let (server, bodies) = receiver(&[]);
    shop.set_webhook(Webhook::to(server.url()));
    let gate = Gate::closed();
    shop.set_echo(Echo::HoldUntil(gate.clone()));
    let (_, sent) = send_text(&evolution, &shop, &hello());
    gate.wait_until_reached(LIMIT);
    shop.customer_says(maria(), "Oi").delivered();
    assert_eq!(bodies.len(), 1, "only what the customer said");
    gate.release();
    shop.wait_for_echo(sent["key"]["id"].as_str().expect("an id"), LIMIT);
    assert_eq!(bodies.all()[1]["data"], sent);
}

#[test]
fn a_400_after_sending_has_an_echo_and_is_in_the_store() {
    let (evolution, shop) = shop();
    let (server, _bodies) = receiver(&[]);
    shop.set_webhook(Webhook::to(server.url()));
    let expected = fixture("http/sendText.400.sent_but_db_failed.json");
    let words = expected["response"]["message"][0].as_str().expect("words").to_owned();
    shop.next_send(SendBehaviour::TakeThen400(words));
    assert_eq!(send_text(&evolution, &shop, &hello()), (400, expected));
    let sent = shop.wait_for_sent(1, LIMIT).remove(0);
    shop.wait_for_echo(&sent.id, LIMIT);
    let url = format!("{}/chat/findMessages/{}", evolution.url(), shop.name());
    let everything = json!({ "where": { "key": { "fromMe": false } } });
    let (_, found) = post(&url, &[("apikey", shop.token())], &everything).expect("an answer");
    let first = &found["messages"]["records"][0]["key"];
    assert_eq!(first["id"], json!(sent.id), "`fromMe: false` filters nothing");
}

/// The JID of a number with a suffix is never touched; WhatsApp itself may know another one.
#[test]
fn a_full_jid_comes_back_as_it_was_given() {
    let (evolution, shop) = shop();
    let jids = ["5531999990001@s.whatsapp.net", "100000000000001@lid", "120363000000000001@g.us"];
    for jid in jids {
        let (_, sent) = send_text(&evolution, &shop, &json!({ "number": jid, "text": "Oi" }));
        assert_eq!(sent["key"]["remoteJid"], jid);
    }
    let bare = json!({ "number": "5531999990001", "text": "Oi" });
    let (_, sent) = send_text(&evolution, &shop, &bare);
    assert_eq!(sent["key"]["remoteJid"], "553199990001@s.whatsapp.net", "its ninth digit is gone");
    shop.next_send(SendBehaviour::OkAs("200000000000002@lid".to_owned()));
    let (_, sent) = send_text(&evolution, &shop, &bare);
    assert_eq!(sent["key"]["remoteJid"], "200000000000002@lid");
    assert_eq!(shop.sent()[0].number, jids[0]);
}

#[test]
fn an_evolution_that_goes_down_cuts_the_calls_it_was_working_on() {
    let (evolution, shop) = shop();
    let never = Gate::closed();
    shop.next_send(SendBehaviour::TakeThenHold(never.clone()));
    shop.next_send(SendBehaviour::TakeThenCutMidBody);
    let url = format!("{}/message/sendText/{}", evolution.url(), shop.name());
    let key = [("apikey", shop.token())];
    std::thread::scope(|scope| {
        let call = scope.spawn(|| post(&url, &key, &hello()).is_err());
        never.wait_until_reached(LIMIT);
        evolution.go_down();
        assert!(call.join().expect("no panic"), "the caller learns nothing");
    });
    evolution.come_back();
    assert!(post(&url, &key, &hello()).is_err(), "half an answer is none");
    assert_eq!(shop.sent().len(), 2, "both were taken");
}
