//! Two sessions turn out to be one person while the worker is at one of them: every question is
//! answered once, and a pause of either is a pause of both.

use support::{Echo, Gate, HeldStep, LlmBehaviour, OpenTransaction, PATIENCE, Person, Scene};
use support::{SendBehaviour, WaitingCall, shared_cluster};

use super::{MARIA, customer_webhook, scene_without_worker, start_worker, waiting_webhook};

const LID: &str = "100000000000001";

fn maria() -> Person {
    Person::with_phone(MARIA).and_lid(LID)
}

/// Maria under two names, of which nobody knows yet that they are one: a question under each.
#[track_caller]
fn two_sessions_of_maria(scene: &Scene) -> [String; 2] {
    let by_phone = scene.shop.customer_says(maria().without_alternative(), "Shoes?").delivered();
    let by_lid = maria().by_lid().without_alternative();
    let by_lid = scene.shop.customer_says(by_lid, "Size 40?").delivered();
    [by_phone.id, by_lid.id]
}

/// What reached Maria under either name.
fn texts_to_both_names(scene: &Scene) -> Vec<String> {
    [scene.texts_to(MARIA), scene.texts_to(LID)].concat()
}

#[track_caller]
fn assert_one_answer_to_all_three(scene: &Scene, asked: &[&str]) {
    for message_id in asked {
        scene.wait_for_action(message_id, "ai_replied");
    }
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    let texts = texts_to_both_names(scene);
    assert_eq!(texts.len(), 1, "{texts:?}");
    for words in ["Shoes?", "Size 40?", "In blue"] {
        assert!(texts[0].contains(words), "{texts:?}");
    }
}

#[test]
fn a_merge_that_is_not_committed_yet_holds_back_the_claims_of_both_chats() {
    let scene = scene_without_worker("merge_open");
    let [phone, lid] = two_sessions_of_maria(&scene);
    let third = customer_webhook(&scene, &maria(), "In blue");
    let mut customer = OpenTransaction::begin(&scene.db);
    customer.ingest(&third.payload);
    start_worker(&scene);
    scene.somebody_else_is_answered();
    assert_eq!(texts_to_both_names(&scene), [""; 0]);
    customer.commit();
    assert_one_answer_to_all_three(&scene, &[&phone, &lid, &third.id]);
}

#[test]
fn a_merge_that_waits_for_the_claim_of_the_younger_chat_takes_its_question_along() {
    let scene = Scene::start(shared_cluster(), "merge_younger");
    merge_waits_for_the_claim_of(&scene, &format!("{LID}@lid"));
}

#[test]
fn a_merge_that_waits_for_the_claim_of_the_older_chat_adds_its_question() {
    let scene = Scene::start(shared_cluster(), "merge_older");
    merge_waits_for_the_claim_of(&scene, &format!("{MARIA}@s.whatsapp.net"));
}

#[track_caller]
fn merge_waits_for_the_claim_of(scene: &Scene, chat_id: &str) {
    let condition = format!("NEW.chat_id = '{chat_id}' AND NEW.state = 'generating'");
    let mut step = HeldStep::at(&scene.db, "replies", &condition);
    let held = [scene.llm.hold(), scene.llm.hold()];
    let [phone, lid] = two_sessions_of_maria(scene);
    step.wait_until_reached();
    let third = customer_webhook(scene, &maria(), "In blue");
    let customer = waiting_webhook(scene, &third.payload);
    step.release();
    assert_eq!(customer.outcome()["action"], "ai_queued");
    held.iter().for_each(Gate::release);
    assert_one_answer_to_all_three(scene, &[&phone, &lid, &third.id]);
}

/// Whoever pauses the chat means the person, whatever it is called by the time the lock is had.
#[test]
fn a_pause_that_waits_for_a_merge_pauses_the_chat_that_is_left() {
    let scene = scene_without_worker("merge_pause");
    two_sessions_of_maria(&scene);
    let third = customer_webhook(&scene, &maria(), "In blue");
    let mut customer = OpenTransaction::begin(&scene.db);
    customer.ingest(&third.payload);
    let operator = WaitingCall::begin(&scene.db, |session| {
        let sql = "SELECT whaply.pause_session('loja-demo', '100000000000001@lid')";
        session.query_one(sql, &[]).expect("it pauses").get::<_, bool>(0)
    });
    customer.commit();
    assert!(operator.outcome());
    assert!(scene.session(MARIA).is_paused);
    start_worker(&scene);
    scene.somebody_else_is_answered();
    assert_eq!(texts_to_both_names(&scene), [""; 0]);
}

/// It was read under a name that leads elsewhere by the time the lock is had.
#[test]
fn a_question_that_waits_for_a_merge_is_asked_in_the_chat_that_is_left() {
    let scene = scene_without_worker("merge_question");
    let [phone, lid] = two_sessions_of_maria(&scene);
    let third = customer_webhook(&scene, &maria(), "In blue");
    let fourth = customer_webhook(&scene, &maria().by_lid().without_alternative(), "By Friday");
    let mut customer = OpenTransaction::begin(&scene.db);
    customer.ingest(&third.payload);
    let waiting = waiting_webhook(&scene, &fourth.payload);
    customer.commit();
    assert_eq!(waiting.outcome()["chat_id"], scene.message(&phone).chat_id);
    start_worker(&scene);
    assert_one_answer_to_all_three(&scene, &[&phone, &lid, &third.id, &fourth.id]);
}

/// The younger chat's answer has left when the chats are found to be one.
#[track_caller]
fn merge_while_the_younger_chat_is_answered(prefix: &str, answer: LlmBehaviour) -> (Scene, Gate) {
    let scene = Scene::start(shared_cluster(), prefix);
    let by_phone = maria().without_alternative();
    let hello = scene.shop.customer_says(by_phone, "Hello").delivered();
    scene.wait_for_action(&hello.id, "ai_replied");
    scene.llm.next(answer);
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    let by_lid = maria().by_lid().without_alternative();
    scene.shop.set_echo(Echo::Never);
    scene.shop.customer_says(by_lid, "Size 40?").delivered();
    sending.wait_until_reached(PATIENCE);
    scene.shop.set_echo(Echo::With);
    (scene, sending)
}

#[test]
fn a_merge_during_a_send_of_the_younger_chat_answers_nothing_twice() {
    let (scene, sending) =
        merge_while_the_younger_chat_is_answered("merge_sending", LlmBehaviour::Usual);
    let third = scene.shop.customer_says(maria(), "In blue").delivered();
    // The echo comes before the call's end, to a chat that has another name by now.
    let sent = scene.shop.sent().remove(1);
    let echo = super::echo_webhook(&scene, &sent.remote_jid, &sent.id, &sent.text);
    scene.shop.deliver(&echo).delivered();
    sending.release();
    scene.wait_for_action(&third.id, "ai_replied");
    scene.wait_for_action(&sent.id, "own_echo");
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    let texts = texts_to_both_names(&scene);
    assert_eq!(texts.len(), 3, "{texts:?}");
    let twice = texts.iter().filter(|text| text.contains("Size 40?")).count();
    assert_eq!(twice, 1, "{texts:?}");
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn a_merge_during_a_send_of_the_younger_chat_leaves_the_older_chats_question_to_the_next_reply() {
    let (scene, sending) =
        merge_while_the_younger_chat_is_answered("merge_both", LlmBehaviour::Usual);
    scene.set_tenant("debounce = '1 h', debounce_max = '1 h'");
    let by_phone = maria().without_alternative();
    let waiting = scene.shop.customer_says(by_phone, "Shoes?").delivered();
    scene.set_tenant("debounce = '0 s'");
    let third = scene.shop.customer_says(maria(), "In blue").delivered();
    assert_eq!(scene.action(&waiting.id).as_deref(), Some("ai_queued"));
    sending.release();
    for asked in [&waiting, &third] {
        scene.wait_for_action(&asked.id, "ai_replied");
    }
    scene.wait_until_idle();
    let texts = scene.shop.sent_texts();
    let expected = ["Answer 1 to: Hello", "Answer 2 to: Size 40?", "Answer 3 to: Shoes?\nIn blue"];
    assert_eq!(texts, expected);
}

#[test]
fn a_takeover_after_a_merge_stops_what_the_younger_chat_was_sending() {
    let parts = [vec!["one"; 700].join(" "), vec!["two"; 700].join(" ")].join("\n\n");
    let answer = LlmBehaviour::Answer(parts);
    let (scene, sending) = merge_while_the_younger_chat_is_answered("merge_takeover", answer);
    scene.shop.customer_says(maria(), "In blue").delivered();
    let typed = scene.shop.owner_types(MARIA, "Let me help").delivered();
    sending.release();
    scene.wait_for_action(&typed.id, "paused");
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    let texts = texts_to_both_names(&scene);
    assert_eq!(texts.len(), 2, "the hello, and what had left before: {texts:?}");
    assert!(scene.session(MARIA).is_paused);
}
