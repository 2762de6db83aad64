//! `forget_chat`: nothing of a person is left, nothing of them comes back by itself, and nothing more is
//! sent; whoever writes anew is a stranger. What retention deletes is not its matter.

use std::thread;

use serde_json::{Value, json};
use support::payload::api_message_id;
use support::{
    Database, Echo, Gate, LlmBehaviour, OpenTransaction, PATIENCE, Scene, SendBehaviour,
    WaitingCall, ingest, shared_cluster, wait_until,
};

const MARIA: &str = "5511999990001";
const JOSE: &str = "5511999990002";
const MARIAS_LID: &str = "100000000000001@lid";

const FORGET: &str = "SELECT whaply.forget_chat('loja-demo', $1)";

/// Every row that tells of a chat, but for the ids of its events.
const LEFT: &str = "
    SELECT jsonb_build_object(
        'sessions', (SELECT count(*) FROM whaply.sessions WHERE chat_id LIKE $1),
        'messages', (SELECT count(*) FROM whaply.messages WHERE chat_id LIKE $1 OR chat_id = ''),
        'aliases', (SELECT count(*) FROM whaply.chat_aliases WHERE chat_id LIKE $1 OR jid LIKE $1),
        'replies', (SELECT count(*) FROM whaply.replies WHERE chat_id LIKE $1),
        'deliveries', (SELECT count(*) FROM whaply.deliveries WHERE chat_id LIKE $1))";

fn forget(db: &Database, chat: &str) -> Value {
    db.value(FORGET, &[&chat])
}

#[track_caller]
fn assert_nothing_is_left(scene: &Scene) {
    let left: Value = scene.db.value(LEFT, &[&format!("{MARIA}%")]);
    let none = json!({"sessions": 0, "messages": 0, "aliases": 0, "replies": 0, "deliveries": 0});
    assert_eq!(left, none);
}

/// One question of Maria's, answered, with the payload of the question.
fn answered(scene: &Scene) -> (String, Value) {
    let question = scene.shop.customer_says(MARIA, "Meu nome é Maria, tem bolo?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let raw = "SELECT raw FROM whaply.messages WHERE message_id = $1";
    let payload = scene.db.value(raw, &[&question.id]);
    (question.id, payload)
}

#[test]
fn nothing_is_left_of_a_person_but_the_ids_of_the_events() {
    let scene = Scene::start(shared_cluster(), "forgotten");
    let (question, _) = answered(&scene);
    scene.shop.customer_says(JOSE, "Oi").delivered();
    scene.db.execute(&format!(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (1, '{MARIAS_LID}', '{MARIA}@s.whatsapp.net');
         INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
         VALUES (1, '{MARIAS_LID}', 'UNDER-HER-LID', 'Segredo', 'customer');
         CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS);
         INSERT INTO whaply.messages_archive SELECT id + 1000, tenant_id, chat_id, 'ARCHIVED', from_me, message_type, text, raw,
                created_at, sent_at, sender FROM whaply.messages WHERE message_id = 'UNDER-HER-LID'"
    ));
    scene.wait_until_idle();
    let gone = forget(&scene.db, "+55 11 99999-0001");
    let expected = json!({"chat_id": format!("{MARIA}@s.whatsapp.net"), "sessions": 1, "messages": 3,
                          "archived_messages": 1, "replies": 1, "deliveries": 1});
    assert_eq!(gone, expected);
    assert_nothing_is_left(&scene);
    let lid = "SELECT count(*) FROM whaply.messages WHERE chat_id = $1 OR text LIKE '%Maria%'";
    assert_eq!(scene.db.value::<i64>(lid, &[&MARIAS_LID]), 0);
    assert_eq!(scene.db.value::<i64>("SELECT count(*) FROM whaply.messages_archive", &[]), 0);
    assert_eq!(scene.action(&question).as_deref(), Some("ai_replied"), "its event is kept");
    assert_eq!(scene.texts_to(JOSE).len(), 1);
    assert_eq!(scene.session(JOSE).pause_reason, None, "nobody else is touched");
    assert_eq!(forget(&scene.db, MARIA)["messages"], 0, "there is nothing more");
}

#[test]
fn no_repeated_webhook_brings_a_person_back_and_whoever_writes_anew_is_a_stranger() {
    let scene = Scene::start(shared_cluster(), "repeated");
    let (question, payload) = answered(&scene);
    let answer = scene.shop.sent().remove(0);
    scene.shop.wait_for_echo(&answer.id, PATIENCE);
    scene.db.execute(
        "UPDATE whaply.sessions SET contact_name = 'Maria', is_paused = true, pause_reason = 'vip'",
    );
    forget(&scene.db, MARIA);

    let mut client = scene.db.connect();
    let again = ingest(&mut client, &payload);
    assert_eq!((&again["duplicate"], &again["action"]), (&json!(true), &json!("ai_replied")));
    // The other event of the same message, the echo once more, and what may happen to a message later.
    let jid = format!("{MARIA}@s.whatsapp.net");
    let line = scene.shop.line();
    for (event, data) in [
        ("messages.upsert", line.api_message(&jid, &answer.id, &answer.text, answer.at)),
        ("send.message", line.api_message(&jid, &answer.id, &answer.text, answer.at)),
        ("messages.edited", line.edit(&question, "Sou a Maria", answer.at)),
        ("messages.update", line.receipt(&jid, &answer.id, true, "READ")),
    ] {
        scene.shop.emit(event, data).delivered();
    }
    assert_nothing_is_left(&scene);

    let anew = scene.shop.customer_says(MARIA, "Oi, tem torta?").delivered();
    scene.wait_for_action(&anew.id, "ai_replied");
    let request = scene.llm.requests().pop().expect("the model was asked");
    assert_eq!(request.turns().len(), 1, "it knows nothing of before");
    assert_eq!(scene.session(MARIA).pause_reason, None);
}

#[test]
fn what_the_model_answers_for_a_forgotten_chat_is_dropped_and_not_sent() {
    let scene = Scene::start(shared_cluster(), "generating");
    let model = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Tem bolo?").delivered();
    model.wait_until_reached(PATIENCE);
    assert_eq!(forget(&scene.db, MARIA)["replies"], 1);
    assert_eq!(scene.action(&question.id).as_deref(), Some("forgotten"));
    model.release();
    scene.somebody_else_is_answered();
    assert_nothing_is_left(&scene);
    assert_eq!(scene.texts_to(MARIA), Vec::<String>::new());
}

#[test]
fn a_message_that_is_on_its_way_is_waited_for_and_the_rest_of_its_answer_is_not_sent() {
    let scene = Scene::start(shared_cluster(), "sending");
    let paragraphs = vec!["Bolo de cenoura. ".repeat(200); 3].join("\n\n");
    scene.llm.next(LlmBehaviour::Answer(paragraphs));
    let (gateway, echo) = (Gate::closed(), Gate::closed());
    scene.shop.next_send(SendBehaviour::HoldThenOk(gateway.clone()));
    scene.shop.set_echo(Echo::HoldUntil(echo.clone()));
    scene.shop.customer_says(MARIA, "Qual?").delivered();
    gateway.wait_until_reached(PATIENCE);

    let gone = thread::scope(|scope| {
        let forgetting = scope.spawn(|| forget(&scene.db, MARIA));
        wait_until("it to wait for the call", PATIENCE, || {
            let sql = "SELECT count(*) > 0 FROM pg_stat_activity
                        WHERE datname = current_database() AND query = $1 AND wait_event_type = 'Extension'";
            scene.db.value::<bool>(sql, &[&FORGET])
        });
        assert!(!forgetting.is_finished());
        gateway.release();
        forgetting.join().expect("it ends when the call has")
    });
    assert_eq!(gone["sessions"], 1);
    assert_eq!(scene.texts_to(MARIA).len(), 1, "the other parts were not begun");
    echo.release();
    for sent in scene.shop.sent() {
        scene.shop.wait_for_echo(&sent.id, PATIENCE);
    }
    scene.somebody_else_is_answered();
    assert_nothing_is_left(&scene);
    assert_eq!(scene.texts_to(MARIA).len(), 1, "nothing is sent after it");
}

#[test]
fn who_writes_while_a_chat_is_being_forgotten_begins_a_new_one() {
    let scene = Scene::start(shared_cluster(), "meanwhile");
    answered(&scene);
    scene.wait_until_idle();
    let mut forgetting = OpenTransaction::begin(&scene.db);
    forgetting.value::<Value>(FORGET, &[&MARIA]);
    let id = api_message_id();
    let jid = format!("{MARIA}@s.whatsapp.net");
    let payload = {
        let data = scene.shop.line().customer_message(
            &MARIA.into(),
            &id,
            json!({"conversation": "Oi de novo"}),
            "conversation",
            chrono::Utc::now(),
        );
        scene.shop.line().envelope("messages.upsert", data, "")
    };
    let taking = WaitingCall::begin(&scene.db, move |client| ingest(client, &payload));
    forgetting.commit();
    assert_eq!(taking.outcome()["action"], "ai_queued");
    scene.wait_for_action(&id, "ai_replied");
    let chats: Vec<String> = scene.db.column("SELECT chat_id::text FROM whaply.sessions", &[]);
    assert_eq!(chats, [jid]);
    let request = scene.llm.requests().pop().expect("the model was asked");
    assert_eq!(request.turns().len(), 1);
}

#[test]
fn where_no_worker_runs_nobody_is_waited_for() {
    let scene = Scene::start(shared_cluster(), "no_worker");
    answered(&scene);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.db.execute(
        "UPDATE whaply.deliveries SET state = 'sending', attempted_at = now(), finished_at = NULL",
    );
    assert_eq!(forget(&scene.db, MARIA)["deliveries"], 1);
    assert_nothing_is_left(&scene);
}
