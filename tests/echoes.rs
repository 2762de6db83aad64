//! The echo of what whaply itself sends: whenever it comes, it is nobody's takeover.

use std::time::Duration;

use support::{Echo, PATIENCE, Scene, shared_cluster};

const MARIA: &str = "5511999990001";

/// One round of question, answer and echo; the chat must not pause, nor hold a message twice.
fn an_echo_never_pauses(prefix: &str, echo: Echo) {
    let scene = Scene::start(shared_cluster(), prefix);
    scene.shop.set_echo(echo);
    for (round, question) in ["Hi", "Still there?"].into_iter().enumerate() {
        scene.shop.customer_says(MARIA, question).delivered();
        let sent = scene.shop.wait_for_sent(round + 1, PATIENCE).remove(round);
        scene.shop.wait_for_echo(&sent.id, PATIENCE);
        scene.wait_until_idle();
        assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
        assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("assistant"));
        assert!(scene.message(&sent.id).reply_id.is_some());
        assert!(!scene.session(MARIA).is_paused);
    }
    let sql = "SELECT count(*) FROM whaply.messages WHERE from_me";
    assert_eq!(scene.db.value::<i64>(sql, &[]), 2);
    assert_eq!(scene.shop.sent().len(), 2);
}

#[test]
fn an_echo_before_the_answer_of_the_call_never_pauses() {
    an_echo_never_pauses("echo_before", Echo::Before);
}

#[test]
fn an_echo_with_the_answer_of_the_call_never_pauses() {
    an_echo_never_pauses("echo_with", Echo::With);
}

#[test]
fn an_echo_after_the_answer_of_the_call_never_pauses() {
    an_echo_never_pauses("echo_after", Echo::After(Duration::from_millis(300)));
}

#[test]
fn a_lost_echo_is_not_missed() {
    let scene = Scene::start(shared_cluster(), "echo_never");
    scene.shop.set_echo(Echo::Never);
    let question = scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    let sent = scene.shop.sent().remove(0);
    assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("assistant"));
}

#[test]
fn an_answer_under_another_jid_is_still_ours() {
    let scene = Scene::start(shared_cluster(), "echo_other_jid");
    scene.shop.set_echo(Echo::Before);
    // WhatsApp knows older Brazilian numbers without their ninth digit.
    let other = "551199990001@s.whatsapp.net".to_owned();
    scene.shop.next_send(support::SendBehaviour::OkAs(other));
    scene.shop.customer_says(MARIA, "Hi").delivered();
    let sent = scene.shop.wait_for_sent(1, PATIENCE).remove(0);
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
    assert!(!scene.session(MARIA).is_paused);
    let typed = scene.shop.owner_types("551199990001", "Let me take this").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("paused"));
    assert!(scene.session(MARIA).is_paused, "the owner's words belong to the same chat");
}
