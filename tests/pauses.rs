//! What a pause does, what ends it, and what it leaves behind.

use std::time::Duration;

use support::{PATIENCE, Scene, shared_cluster};

const MARIA: &str = "5511999990001";

const PAUSE: &str = "SELECT whaply.pause_session('loja-demo', $1)";
const RESUME: &str = "SELECT whaply.resume_session('loja-demo', $1)";
const AUTO_RESUME: &str = "SELECT whaply.auto_resume_paused_sessions(2)";

#[test]
fn a_paused_customer_gets_no_answer_but_is_seen_waiting() {
    let scene = Scene::start(shared_cluster(), "silent");
    scene.shop.owner_types(MARIA, "Hello Maria").delivered();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.somebody_else_is_answered();
    assert_eq!(scene.action(&question.id).as_deref(), Some("ignored_paused"));
    assert_eq!(scene.message(&question.id).text.as_deref(), Some("Are you open?"));
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    let waiting: Vec<String> = scene.db.column("SELECT text FROM whaply.unanswered_chats", &[]);
    assert_eq!(waiting, ["Are you open?"]);
}

#[test]
fn auto_resume_brings_the_assistant_back_for_the_next_question() {
    let scene = Scene::start(shared_cluster(), "auto_resume");
    let three_hours = Duration::from_secs(3 * 3600);
    scene.set_tenant("auto_resume_after = '4 h'");
    scene.shop.owner_typed(MARIA, "Hello Maria", three_hours).delivered();
    let missed = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_eq!(scene.action(&missed.id).as_deref(), Some("ignored_paused"));
    assert_eq!(scene.db.value::<i64>(AUTO_RESUME, &[]), 1);
    assert!(!scene.session(MARIA).is_paused);
    let question = scene.shop.customer_says(MARIA, "Hello?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    assert_eq!(scene.shop.sent().len(), 1, "what was asked during the pause is not answered");
    assert_eq!(scene.llm.requests()[0].last_user_text(), "Are you open?\nHello?", "but it is read");
}

#[test]
fn auto_resume_leaves_the_owner_who_wrote_lately_and_the_manual_hold() {
    let scene = Scene::start(shared_cluster(), "no_resume");
    scene.shop.owner_types(MARIA, "Hello Maria").delivered();
    scene.db.value::<bool>(PAUSE, &[&"5511999990002"]);
    assert_eq!(scene.db.value::<i64>(AUTO_RESUME, &[]), 0);
    assert!(scene.session(MARIA).is_paused && scene.session("5511999990002").is_paused);
}

#[test]
fn pause_session_during_generation_discards_the_answer_and_resume_revives_nothing() {
    let scene = Scene::start(shared_cluster(), "manual");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    assert!(scene.db.value::<bool>(PAUSE, &[&MARIA]));
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    assert!(scene.db.value::<bool>(RESUME, &[&MARIA]));
    generating.release();
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.replies()[0].state, "cancelled");
    let next = scene.shop.customer_says(MARIA, "Hello?").delivered();
    scene.wait_for_action(&next.id, "ai_replied");
    assert_eq!(scene.texts_to(MARIA).len(), 1);
}

#[test]
fn a_pause_with_an_end_ends_by_itself() {
    let scene = Scene::start(shared_cluster(), "paused_until");
    let pause = "SELECT whaply.pause_session('loja-demo', $1, 'lunch', interval '1 hour')";
    assert!(scene.db.value::<bool>(pause, &[&MARIA]));
    assert_eq!(scene.db.value::<i64>(AUTO_RESUME, &[]), 0);
    // At once, or the worker's clock is first.
    let mut client = scene.db.connect();
    let mut both = client.transaction().expect("a transaction begins");
    both.batch_execute("UPDATE whaply.sessions SET paused_until = now() - interval '1 s'")
        .expect("the pause is over");
    let resumed: i64 = both.query_one(AUTO_RESUME, &[]).expect("auto_resume runs").get(0);
    both.commit().expect("both are done");
    assert_eq!(resumed, 1);
    let question = scene.shop.customer_says(MARIA, "Back?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
}

#[test]
fn a_manual_pause_stays_a_hold_when_the_owner_writes() {
    let scene = Scene::start(shared_cluster(), "hold");
    scene.db.value::<bool>(PAUSE, &[&MARIA]);
    scene.shop.owner_types(MARIA, "I am on it").delivered();
    scene.db.execute("UPDATE whaply.sessions SET last_human_at = now() - interval '1 day'");
    assert_eq!(scene.db.value::<i64>(AUTO_RESUME, &[]), 0);
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("manual_pause"));
}

#[test]
fn send_message_may_take_the_chat_over() {
    let scene = Scene::start(shared_cluster(), "operator_takes_over");
    let generating = scene.llm.hold();
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    generating.wait_until_reached(PATIENCE);
    let send = "SELECT whaply.send_message('loja-demo', $1, 'Ana here: yes', pause => true)";
    scene.db.value::<i64>(send, &[&MARIA]);
    generating.release();
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), ["Ana here: yes"]);
    assert!(scene.session(MARIA).is_paused);
}
