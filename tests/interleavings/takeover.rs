//! Somebody takes a chat over, by writing in it or by `pause_session`, while the worker is at one of
//! its steps: whoever commits first wins, and a takeover that comes second still stops what is left.

use support::{Gate, HeldStep, LlmBehaviour, OpenTransaction, PATIENCE, Scene, SendBehaviour};
use support::{WaitingCall, ingest, shared_cluster};

use super::{
    MARIA, Webhook, assert_nothing_sent_to_maria, last_reply_of_maria, of_maria, owner_webhook,
    question, scene_without_worker, start_worker, waiting_webhook,
};

const PAUSE: &str = "SELECT whaply.pause_session('loja-demo', $1)";
const RESUME: &str = "SELECT whaply.resume_session('loja-demo', $1)";

fn two_parts() -> LlmBehaviour {
    LlmBehaviour::Answer([vec!["one"; 700].join(" "), vec!["two"; 700].join(" ")].join("\n\n"))
}

/// Nothing but the first `sent` messages ever reaches Maria, and the reply says why.
#[track_caller]
fn assert_cancelled(scene: &Scene, question_id: &str, sent: usize) {
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA).len(), sent);
    let reply = last_reply_of_maria(scene);
    assert_eq!(reply.state, "cancelled", "{reply:#?}");
    assert!(reply.error.is_some(), "{reply:#?}");
    assert_eq!(scene.action(question_id).as_deref(), Some("cancelled_paused"));
}

#[track_caller]
fn assert_paused_by_the_owner(scene: &Scene, typed: &Webhook) {
    scene.wait_for_action(&typed.id, "paused");
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("human_takeover"));
}

/// A question whose answer the model is working on.
#[track_caller]
fn ask_and_hold(scene: &Scene) -> (String, Gate) {
    let generating = scene.llm.hold();
    let asked = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    (asked.id, generating)
}

#[test]
fn an_owner_who_is_not_committed_yet_holds_back_the_claim_of_a_reply_that_is_due() {
    let scene = scene_without_worker("owner_claim");
    let asked = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let typed = owner_webhook(&scene, "Yes, until six");
    let mut owner = OpenTransaction::begin(&scene.db);
    assert_eq!(owner.ingest(&typed.payload)["action"], "paused");
    start_worker(&scene);
    assert_nothing_sent_to_maria(&scene);
    assert_eq!(scene.llm.requests().len(), 1, "the model was asked for somebody else only");
    owner.commit();
    assert_cancelled(&scene, &asked.id, 0);
    assert_paused_by_the_owner(&scene, &typed);
}

#[test]
fn an_owner_who_is_not_committed_yet_holds_back_the_answer_that_has_come() {
    let scene = Scene::start(shared_cluster(), "owner_record");
    let (asked, generating) = ask_and_hold(&scene);
    let typed = owner_webhook(&scene, "Yes, until six");
    let mut owner = OpenTransaction::begin(&scene.db);
    assert_eq!(owner.ingest(&typed.payload)["action"], "paused");
    generating.release();
    assert_nothing_sent_to_maria(&scene);
    owner.commit();
    assert_cancelled(&scene, &asked, 0);
    assert_paused_by_the_owner(&scene, &typed);
}

#[test]
fn a_takeover_that_is_rolled_back_keeps_back_nothing() {
    let scene = Scene::start(shared_cluster(), "owner_rollback");
    let (asked, generating) = ask_and_hold(&scene);
    let typed = owner_webhook(&scene, "Yes, until six");
    let mut owner = OpenTransaction::begin(&scene.db);
    owner.ingest(&typed.payload);
    generating.release();
    assert_nothing_sent_to_maria(&scene);
    owner.rollback();
    scene.wait_for_action(&asked, "ai_replied");
    assert_eq!(scene.texts_to(MARIA), ["Answer 1 to: Are you open?"]);
}

/// A part that is written and due, with no worker to send it.
#[track_caller]
fn scene_with_a_part_due(prefix: &str) -> (Scene, String) {
    let scene = Scene::start(shared_cluster(), prefix);
    let (asked, generating) = ask_and_hold(&scene);
    scene.shop.connection_becomes("close").delivered();
    generating.release();
    scene.wait_for_delivery("the part to wait", |delivery| delivery.state == "pending");
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.shop.connection_becomes("open").delivered();
    (scene, asked)
}

#[test]
fn an_owner_who_is_not_committed_yet_holds_back_a_part_that_is_due() {
    let (scene, asked) = scene_with_a_part_due("owner_part");
    let typed = owner_webhook(&scene, "Yes, until six");
    let mut owner = OpenTransaction::begin(&scene.db);
    assert_eq!(owner.ingest(&typed.payload)["action"], "paused");
    start_worker(&scene);
    assert_nothing_sent_to_maria(&scene);
    owner.commit();
    assert_eq!(scene.deliveries()[0].state, "cancelled");
    assert_cancelled(&scene, &asked, 0);
}

#[test]
fn a_part_whose_sending_is_committed_first_goes_and_no_further_one() {
    let scene = Scene::start(shared_cluster(), "sending_first");
    scene.llm.next(two_parts());
    let mut step = HeldStep::at(&scene.db, "deliveries", &of_maria("NEW.state = 'sending'"));
    let asked = scene.shop.customer_says(MARIA, "Tell me all").delivered();
    step.wait_until_reached();
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let typed = owner_webhook(&scene, "Let me tell you");
    let payload = typed.payload.clone();
    let owner = WaitingCall::begin(&scene.db, move |session| ingest(session, &payload));
    step.release();
    assert_eq!(owner.outcome()["action"], "pending_echo", "the call is in flight by now");
    sending.wait_until_reached(PATIENCE);
    sending.release();
    assert_paused_by_the_owner(&scene, &typed);
    assert_cancelled(&scene, &asked.id, 1);
    assert_eq!(scene.delivery_states()[..2], ["sent", "cancelled"]);
}

#[test]
fn an_owner_who_is_not_committed_yet_when_a_call_ends_gets_no_further_part() {
    let scene = Scene::start(shared_cluster(), "owner_ended");
    scene.llm.next(two_parts());
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let asked = scene.shop.customer_says(MARIA, "Tell me all").delivered();
    sending.wait_until_reached(PATIENCE);
    let typed = owner_webhook(&scene, "Let me tell you");
    let mut owner = OpenTransaction::begin(&scene.db);
    assert_eq!(owner.ingest(&typed.payload)["action"], "pending_echo");
    sending.release();
    scene.somebody_else_is_answered();
    assert_eq!(scene.delivery_states()[..2], ["sending", "pending"]);
    owner.commit();
    assert_paused_by_the_owner(&scene, &typed);
    assert_cancelled(&scene, &asked.id, 1);
}

#[test]
fn a_pause_that_is_not_committed_yet_holds_back_the_answer_that_has_come() {
    let scene = Scene::start(shared_cluster(), "pause_record");
    let (asked, generating) = ask_and_hold(&scene);
    let mut operator = OpenTransaction::begin(&scene.db);
    assert!(operator.value::<bool>(PAUSE, &[&MARIA]));
    generating.release();
    assert_nothing_sent_to_maria(&scene);
    operator.commit();
    assert_cancelled(&scene, &asked, 0);
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("manual_pause"));
}

#[test]
fn pausing_and_resuming_in_one_transaction_during_generation_revives_nothing() {
    let scene = Scene::start(shared_cluster(), "pause_resume");
    let (asked, generating) = ask_and_hold(&scene);
    let mut operator = OpenTransaction::begin(&scene.db);
    assert!(operator.value::<bool>(PAUSE, &[&MARIA]));
    assert!(operator.value::<bool>(RESUME, &[&MARIA]));
    generating.release();
    assert_nothing_sent_to_maria(&scene);
    operator.commit();
    assert_cancelled(&scene, &asked, 0);
    assert!(!scene.session(MARIA).is_paused);
    let next = scene.shop.customer_says(MARIA, "Hello?").delivered();
    scene.wait_for_action(&next.id, "ai_replied");
    assert_eq!(scene.texts_to(MARIA).len(), 1);
}

#[test]
fn a_pause_that_waits_for_the_claim_discards_its_answer() {
    let scene = Scene::start(shared_cluster(), "claim_pause");
    let generating = scene.llm.hold();
    let mut step = HeldStep::at(&scene.db, "replies", &of_maria("NEW.state = 'generating'"));
    let asked = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    step.wait_until_reached();
    let operator = WaitingCall::begin(&scene.db, |session| {
        session.query_one(PAUSE, &[&MARIA]).expect("it pauses").get::<_, bool>(0)
    });
    step.release();
    assert!(operator.outcome());
    generating.wait_until_reached(PATIENCE);
    generating.release();
    assert_cancelled(&scene, &asked.id, 0);
}

/// It was read while the chat was not paused.
#[test]
fn a_question_that_waits_for_the_owners_message_is_left_to_a_human() {
    let scene = scene_without_worker("owner_question");
    scene.shop.customer_says(MARIA, "Hello").delivered();
    let (typed, asked) = (owner_webhook(&scene, "One moment"), question(&scene, "Are you open?"));
    let mut owner = OpenTransaction::begin(&scene.db);
    assert_eq!(owner.ingest(&typed.payload)["action"], "paused");
    let customer = waiting_webhook(&scene, &asked.payload);
    owner.commit();
    assert_eq!(customer.outcome()["action"], "ignored_paused");
    start_worker(&scene);
    assert_nothing_sent_to_maria(&scene);
}

#[test]
fn a_question_that_waits_for_resume_session_is_answered() {
    let scene = Scene::start(shared_cluster(), "resume_first");
    assert!(scene.db.value::<bool>(PAUSE, &[&MARIA]));
    let mut operator = OpenTransaction::begin(&scene.db);
    assert!(operator.value::<bool>(RESUME, &[&MARIA]));
    let asked = question(&scene, "Are you open?");
    let customer = WaitingCall::begin(&scene.db, move |session| ingest(session, &asked.payload));
    operator.commit();
    assert_eq!(customer.outcome()["action"], "ai_queued");
    scene.wait_for_action(&asked.id, "ai_replied");
}

#[test]
fn a_question_before_the_resume_stays_the_humans() {
    let scene = Scene::start(shared_cluster(), "resume_second");
    assert!(scene.db.value::<bool>(PAUSE, &[&MARIA]));
    let asked = question(&scene, "Are you open?");
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&asked.payload)["action"], "ignored_paused");
    let operator = WaitingCall::begin(&scene.db, |session| {
        session.query_one(RESUME, &[&MARIA]).expect("it resumes").get::<_, bool>(0)
    });
    customer.commit();
    assert!(operator.outcome());
    assert_nothing_sent_to_maria(&scene);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ignored_paused"));
    let waiting: Vec<String> = scene.db.column("SELECT text FROM whaply.unanswered_chats", &[]);
    assert_eq!(waiting, ["Are you open?"]);
}
