//! The echo of a send against the record of its result: whichever is committed first, the message is
//! ours, is stored once, and pauses nothing.

use support::payload::api_message_id;
use support::{Echo, Gate, HeldStep, OpenTransaction, PATIENCE, Scene, SendBehaviour, SentText};
use support::{WaitingCall, ingest, shared_cluster};

use super::{MARIA, echo_webhook, of_maria};

/// A JID that no chat is known by yet.
const UNKNOWN_JID: &str = "200000000000002@lid";

/// A send whose call is held with the message taken. Its echo is the test's to bring.
#[track_caller]
fn send_in_flight(scene: &Scene) -> (String, SentText, Gate) {
    let sending = Gate::closed();
    scene.shop.set_echo(Echo::Never);
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let asked = scene.shop.customer_says(MARIA, "Hi").delivered();
    sending.wait_until_reached(PATIENCE);
    (asked.id, scene.shop.sent().remove(0), sending)
}

#[track_caller]
fn assert_ours_once(scene: &Scene, asked: &str, sent_id: &str) {
    scene.wait_for_action(asked, "ai_replied");
    scene.wait_for_action(sent_id, "own_echo");
    scene.wait_until_idle();
    let message = scene.message(sent_id);
    assert_eq!(message.sender.as_deref(), Some("assistant"));
    assert!(message.reply_id.is_some());
    assert!(message.chat_id.starts_with(MARIA), "{message:?}");
    assert!(!scene.session(MARIA).is_paused);
    assert_eq!(scene.texts_to(MARIA).len(), 1);
    let sessions = "SELECT count(*) FROM whaply.sessions WHERE is_paused";
    assert_eq!(scene.db.value::<i64>(sessions, &[]), 0);
}

/// The echo's transaction is open when the call ends; `jid` is what the echo calls the chat.
#[track_caller]
fn echo_is_open_when_the_call_ends(prefix: &str, jid: Option<&str>) {
    let scene = Scene::start(shared_cluster(), prefix);
    let (asked, sent, sending) = send_in_flight(&scene);
    let jid = jid.unwrap_or(&sent.remote_jid);
    let mut echo = OpenTransaction::begin(&scene.db);
    let webhook = echo_webhook(&scene, jid, &sent.id, &sent.text);
    assert_eq!(echo.ingest(&webhook)["action"], "pending_echo");
    sending.release();
    // Nobody else's answer waits for the end of that transaction.
    scene.somebody_else_is_answered();
    assert_eq!(scene.deliveries()[0].state, "sending");
    echo.commit();
    assert_ours_once(&scene, &asked, &sent.id);
}

#[test]
fn an_echo_that_is_not_committed_yet_when_the_call_ends_is_ours() {
    echo_is_open_when_the_call_ends("echo_open", None);
}

#[test]
fn an_echo_under_an_unknown_jid_that_is_not_committed_yet_when_the_call_ends_is_ours() {
    echo_is_open_when_the_call_ends("echo_open_jid", Some(UNKNOWN_JID));
}

#[test]
fn an_echo_that_is_rolled_back_and_comes_again_is_ours() {
    let scene = Scene::start(shared_cluster(), "echo_again");
    let (asked, sent, sending) = send_in_flight(&scene);
    let webhook = echo_webhook(&scene, &sent.remote_jid, &sent.id, &sent.text);
    let mut echo = OpenTransaction::begin(&scene.db);
    echo.ingest(&webhook);
    sending.release();
    scene.somebody_else_is_answered();
    echo.rollback();
    scene.wait_for_action(&asked, "ai_replied");
    scene.shop.deliver(&webhook).delivered();
    assert_ours_once(&scene, &asked, &sent.id);
}

/// The record of the call is not committed when the echo comes.
#[track_caller]
fn echo_waits_for_the_record(prefix: &str, jid: Option<&str>) {
    let scene = Scene::start(shared_cluster(), prefix);
    let (asked, sent, sending) = send_in_flight(&scene);
    let jid = jid.unwrap_or(&sent.remote_jid);
    let webhook = echo_webhook(&scene, jid, &sent.id, &sent.text);
    let mut step = HeldStep::at(&scene.db, "deliveries", &of_maria("NEW.state = 'sent'"));
    sending.release();
    step.wait_until_reached();
    let echo = WaitingCall::begin(&scene.db, move |session| ingest(session, &webhook));
    step.release();
    assert_eq!(echo.outcome()["action"], "own_echo");
    assert_ours_once(&scene, &asked, &sent.id);
}

#[test]
fn an_echo_that_waits_for_the_record_of_the_call_is_ours() {
    echo_waits_for_the_record("record_open", None);
}

#[test]
fn an_echo_under_an_unknown_jid_that_waits_for_the_record_of_the_call_is_ours() {
    echo_waits_for_the_record("record_open_jid", Some(UNKNOWN_JID));
}

/// Evolution posts the echo itself, and answers only when that is taken.
#[test]
fn an_echo_that_is_taken_before_the_answer_under_an_unknown_jid_names_the_chat() {
    let scene = Scene::start(shared_cluster(), "echo_before_jid");
    scene.shop.set_echo(Echo::Before);
    scene.shop.next_send(SendBehaviour::OkAs(UNKNOWN_JID.to_owned()));
    let asked = scene.shop.customer_says(MARIA, "Hi").delivered();
    let sent = scene.shop.wait_for_sent(1, PATIENCE).remove(0);
    assert_ours_once(&scene, &asked.id, &sent.id);
    let typed = scene.shop.owner_types(UNKNOWN_JID, "Let me take this").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"));
    assert!(scene.session(MARIA).is_paused, "it is a name of her chat by now");
}

/// Two chats without a name for what comes: the one that answers is told by the call's own end.
#[test]
fn another_senders_message_while_an_echo_is_open_is_not_taken_for_it() {
    let scene = Scene::start(shared_cluster(), "echo_other");
    let (asked, sent, sending) = send_in_flight(&scene);
    let agent_id = api_message_id();
    let mut echo = OpenTransaction::begin(&scene.db);
    echo.ingest(&echo_webhook(&scene, &sent.remote_jid, &sent.id, &sent.text));
    let agent = echo_webhook(&scene, &sent.remote_jid, &agent_id, "Ana here");
    let agent = WaitingCall::begin(&scene.db, move |session| ingest(session, &agent));
    echo.commit();
    assert_eq!(agent.outcome()["action"], "pending_echo");
    sending.release();
    scene.wait_for_action(&agent_id, "other_sender");
    scene.wait_for_action(&sent.id, "own_echo");
    assert_eq!(scene.message(&agent_id).sender.as_deref(), Some("other"));
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("other_sender"));
    scene.wait_for_action(&asked, "ai_replied");
}
