//! What a customer says while the assistant is speaking gets the next reply: in its own time, and in
//! the right chat, whatever the chat is called by then.

use support::{Echo, Gate, PATIENCE, Person, Scene, SendBehaviour, shared_cluster};

const MARIA: &str = "5511999990001";
const LID: &str = "100000000000001";

#[test]
fn a_message_that_comes_while_the_answer_is_sent_waits_for_the_debounce_from_its_arrival() {
    let scene = Scene::start(shared_cluster(), "follow_up");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    scene.set_tenant("debounce = '1 h', debounce_max = '2 h'");
    let second = scene.shop.customer_says(MARIA, "And").delivered();
    let third = scene.shop.customer_says(MARIA, "on Sunday?").delivered();
    sending.release();
    let reply = scene.wait_for_reply("waiting");
    let wait = "SELECT extract(epoch FROM r.due_at - m.created_at)::float8
                  FROM whaply.replies r, whaply.messages m WHERE r.id = $1 AND m.message_id = $2";
    let wait: f64 = scene.db.value(wait, &[&reply.id, &third.id]);
    assert!((wait - 3600.0).abs() < 0.001, "due {wait} s after the last of them");
    scene.db.execute("UPDATE whaply.replies SET due_at = now() WHERE state = 'waiting'");
    scene.wait_for_action(&third.id, "ai_replied");
    assert_eq!(scene.action(&second.id).as_deref(), Some("ai_replied"));
    assert_eq!(scene.shop.sent().len(), 2);
}

/// The chat of the LID is found to be that of the phone while an answer is on its way to the LID.
#[test]
fn the_echo_of_a_send_that_was_begun_before_two_chats_became_one_is_no_other_sender() {
    let scene = Scene::start(shared_cluster(), "merge_send");
    let by_phone = Person::with_phone(MARIA);
    let hello = scene.shop.customer_says(by_phone, "Hello").delivered();
    scene.wait_for_action(&hello.id, "ai_replied");
    let (sending, echo) = (Gate::closed(), Gate::closed());
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    scene.shop.set_echo(Echo::HoldUntil(echo.clone()));
    scene.shop.customer_says(Person::with_lid(LID), "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    scene.shop.set_echo(Echo::With);
    let both = Person::with_phone(MARIA).and_lid(LID).by_lid();
    let next = scene.shop.customer_says(both, "On Sunday?").delivered();
    echo.release();
    let sent = scene.shop.sent().remove(1);
    scene.shop.wait_for_echo(&sent.id, PATIENCE);
    assert_eq!(scene.action(&sent.id).as_deref(), Some("pending_echo"));
    sending.release();
    scene.wait_for_action(&sent.id, "own_echo");
    scene.wait_for_action(&next.id, "ai_replied");
    assert!(!scene.session(MARIA).is_paused, "nobody took over");
    assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("assistant"));
}

/// What was asked and taken back during a send is older than what the next reply is opened for.
#[test]
fn a_question_taken_back_during_a_send_ends_with_the_next_reply() {
    let scene = Scene::start(shared_cluster(), "taken_back");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let seconds = std::time::Duration::from_secs;
    scene.shop.customer_said(MARIA, "Are you open?", seconds(60)).delivered();
    sending.wait_until_reached(PATIENCE);
    let taken_back = scene.shop.customer_said(MARIA, "Or not?", seconds(30)).delivered();
    scene.shop.customer_deletes(MARIA, &taken_back).delivered();
    let next = scene.shop.customer_says(MARIA, "On Sunday?").delivered();
    sending.release();
    scene.wait_for_action(&next.id, "ai_replied");
    scene.wait_until_idle();
    assert_ne!(scene.action(&taken_back.id).as_deref(), Some("ai_queued"), "nothing is left open");
    let asked = scene.llm.requests()[1].last_user_text();
    assert!(!asked.contains("Or not?"), "{asked}");
}
