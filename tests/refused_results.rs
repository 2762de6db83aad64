//! Results that PostgreSQL never takes, whoever made the rule: what they belong to ends, says why, and
//! keeps nobody waiting. What is refused only for a time is `worker_neighbours`' business.

use support::evolution::Echo;
use support::{LlmBehaviour, PATIENCE, Person, Scene, shared_cluster};

const MARIA: &str = "5511999990001";

#[test]
fn an_answer_that_is_never_taken_fails_its_reply_and_no_other() {
    let scene = Scene::start(shared_cluster(), "unutterable");
    scene.db.execute(
        "ALTER TABLE whaply.replies ADD CONSTRAINT house_rule CHECK (text NOT LIKE '%unutterable%')",
    );
    scene.llm.when("Tell me", LlmBehaviour::Answer("It is unutterable.".to_owned()));
    let refused = scene.shop.customer_says(Person::maria(), "Tell me").delivered();
    let other = scene.shop.customer_says(Person::joao(), "Are you open?").delivered();
    scene.wait_for_action(&refused.id, "ai_failed");
    scene.wait_for_action(&other.id, "ai_replied");
    scene.wait_until_idle();
    let why = "SELECT error FROM whaply.replies WHERE state = 'failed'";
    let why: String = scene.db.value(why, &[]);
    assert!(why.contains("PostgreSQL refused") && why.contains("house_rule"), "{why}");
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("ai_failed"));
    assert_eq!(scene.shop.sent_texts(), ["Answer 2 to: Are you open?"]);
}

#[test]
fn a_message_that_is_never_stored_counts_as_sent_and_the_chat_goes_on() {
    let scene = Scene::start(shared_cluster(), "unstorable");
    scene.db.execute(
        "ALTER TABLE whaply.messages ADD CONSTRAINT house_rule
             CHECK (sender IS DISTINCT FROM 'assistant' OR text NOT LIKE '%unstorable%')",
    );
    scene.shop.set_echo(Echo::Never);
    scene.llm.when("Tell me", LlmBehaviour::Answer("It is unstorable.".to_owned()));
    let told = scene.shop.customer_says(Person::maria(), "Tell me").delivered();
    scene.wait_for_action(&told.id, "ai_replied");
    scene.wait_until_idle();
    let sent = scene.shop.wait_for_sent(1, PATIENCE);
    let delivery = &scene.deliveries()[0];
    assert_eq!((delivery.state.as_str(), delivery.lookups), ("sent", 0));
    assert_eq!(delivery.message_id.as_deref(), Some(sent[0].id.as_str()));
    let why = delivery.error.as_deref().unwrap_or_default();
    assert!(why.contains("house_rule"), "{why}");
    assert_eq!(scene.reply().state, "sent");

    let next = scene.shop.customer_says(Person::maria(), "Thank you!").delivered();
    scene.wait_for_action(&next.id, "ai_replied");
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), 2, "nothing was sent twice");
}
