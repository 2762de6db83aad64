//! `forget_chat`: nothing of a person is left, nothing of them comes back by itself, and nothing more is
//! sent; whoever writes anew is a stranger. What retention deletes is not its matter.

use std::thread;

use serde_json::{Value, json};
use support::listener::silent_tenant;
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
    let mut blind = scene.db.connect();
    blind.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").expect("a transaction");
    let refused = blind.query(FORGET, &[&MARIA]).expect_err("it would never see the end");
    let state = refused.code().map(|state| state.code().to_owned());
    assert_eq!(state.as_deref(), Some("55000"), "{refused:?}");
    drop(blind);

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

/// Evolution has taken it, and neither its answer nor its echo has come when the chat is forgotten.
#[test]
fn the_late_echo_of_a_call_of_unknown_end_brings_nothing_back() {
    let scene = Scene::start(shared_cluster(), "unknown_end");
    let echo = Gate::closed();
    scene.shop.set_echo(Echo::HoldUntil(echo.clone()));
    scene.shop.next_send(SendBehaviour::TakeThenCut);
    let look = scene.evolution.hold("/chat/findMessages/");
    scene.shop.customer_says(MARIA, "Tem bolo?").delivered();
    scene.wait_for_delivery("a call of unknown end", |delivery| delivery.state == "uncertain");
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    look.release();
    scene.db.execute(&format!(
        "INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (1, '{MARIAS_LID}', '{MARIA}@s.whatsapp.net')"
    ));
    assert_eq!(forget(&scene.db, MARIA)["deliveries"], 1);
    let known = "SELECT count(*) FROM whaply.processed_events e WHERE e::text LIKE '%5511999990001%' OR e::text LIKE '%bolo%'";
    assert_eq!(scene.db.value::<i64>(known, &[]), 0, "nobody reads of whom or of what it was");

    echo.release();
    let sent = scene.shop.sent().remove(0);
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
    let line = scene.shop.line();
    let by_lid = line.api_message(MARIAS_LID, "BY-HER-LID", &sent.text, sent.at);
    let told_again =
        line.api_message(&format!("{MARIA}@s.whatsapp.net"), "HISTORY", &sent.text, sent.at);
    scene.shop.emit("messages.set", json!([told_again])).delivered();
    scene.shop.emit("send.message", by_lid).delivered();
    assert_eq!(scene.action("BY-HER-LID").as_deref(), Some("own_echo"));
    assert_nothing_is_left(&scene);

    // Long after it, the same words are another sender's.
    scene.db.execute("UPDATE whaply.processed_events SET processed_at = now() - interval '1 hour'");
    let anew = scene.shop.other_sender_says(MARIA, &sent.text).delivered();
    assert_eq!(scene.action(&anew.id).as_deref(), Some("other_sender"));
}

#[test]
fn what_evolution_tells_once_more_of_a_forgotten_chat_stays_forgotten() {
    let scene = Scene::start(shared_cluster(), "told_again");
    let (question, _) = answered(&scene);
    scene.wait_until_idle();
    let typed = scene.shop.owner_types(MARIA, "Tem, sim").delivered();
    let jid = format!("{MARIA}@s.whatsapp.net");
    // So long ago that its event is gone.
    scene.db.execute(&format!(
        "CREATE TABLE whaply.messages_archive (LIKE whaply.messages INCLUDING ALL EXCLUDING DEFAULTS);
         INSERT INTO whaply.messages_archive (id, tenant_id, chat_id, message_id, from_me, text, sender, created_at, sent_at)
         VALUES (1, 1, '{jid}', 'OF-OLD', false, 'Sou a Maria', 'customer', now(), now())"
    ));
    assert_eq!(forget(&scene.db, MARIA)["archived_messages"], 1);

    let line = scene.shop.line();
    let (now, maria) = (chrono::Utc::now(), MARIA.into());
    let customers = |id: &str| {
        let content = json!({"conversation": "Sou a Maria"});
        line.customer_message(&maria, id, content, "conversation", now)
    };
    let answer = scene.shop.sent().remove(0);
    let history = json!([
        customers(&question),
        customers("UNKNOWN-SO-FAR"),
        line.owner_message(&maria, &typed.id, "Tem, sim", now),
        line.api_message(&jid, &answer.id, &answer.text, answer.at),
    ]);
    scene.shop.emit("messages.set", history).delivered();
    scene.shop.emit("messages.upsert", customers("OF-OLD")).delivered();
    scene.shop.emit("messages.edited", line.edit("OF-OLD", "Sou a Maria", now)).delivered();
    assert_nothing_is_left(&scene);
    assert_eq!(scene.db.value::<i64>("SELECT count(*) FROM whaply.messages_archive", &[]), 0);
}

/// Under both writings of a phone, and by a LID: nothing that came has ever connected the sessions.
#[test]
fn a_person_goes_under_every_name_with_a_session_or_without_one() {
    let db = shared_cluster().create_database("names");
    silent_tenant(&db, "loja-demo");
    let names = [MARIA, "551199990001"].map(|digits| format!("{digits}@s.whatsapp.net"));
    let [with_nine, without_nine] = &names;
    for (called, sessions) in [(MARIA, 2), (MARIAS_LID, 2), (MARIAS_LID, 0), ("551199990001", 0)] {
        db.execute(&format!(
            "INSERT INTO whaply.sessions (tenant_id, chat_id)
             SELECT 1, unnest(ARRAY['{with_nine}', '{without_nine}']) LIMIT {sessions};
             INSERT INTO whaply.chat_aliases (tenant_id, jid, chat_id) VALUES (1, '{MARIAS_LID}', '{without_nine}');
             INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
             SELECT 1, name, '{called}-{sessions}-' || name, 'Oi', 'customer'
               FROM unnest(ARRAY['{with_nine}', '{without_nine}', '{MARIAS_LID}', '{JOSE}@s.whatsapp.net']) AS name"
        ));
        let gone = forget(&db, called);
        assert_eq!(
            (&gone["sessions"], &gone["messages"]),
            (&json!(sessions), &json!(3)),
            "{called}"
        );
    }
    let left: Vec<String> = db.column(
        "SELECT DISTINCT chat_id::text FROM whaply.messages UNION ALL SELECT jid FROM whaply.chat_aliases
         UNION ALL SELECT chat_id FROM whaply.sessions",
        &[],
    );
    assert_eq!(left, [format!("{JOSE}@s.whatsapp.net")], "nobody else is touched");
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
