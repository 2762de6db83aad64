//! The everyday conversation: what a customer writes is answered once, together, in the right chat.

use chrono::Utc;
use serde_json::json;
use support::payload::phone_message_id;
use support::{
    Gate, PATIENCE, Person, Scene, SceneOptions, SendBehaviour, shared_cluster, wait_until,
};

const MARIA: &str = "5511999990001";
const MARIA_JID: &str = "5511999990001@s.whatsapp.net";

/// A tenant whose assistant waits for more until the test says otherwise.
fn patient_scene(prefix: &str) -> Scene {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    Scene::start_with(shared_cluster(), prefix, options)
}

#[test]
fn a_question_is_answered_and_the_tables_tell_the_story() {
    let scene = Scene::start(shared_cluster(), "question");
    let question = scene.shop.customer_says(MARIA, "What does the blue one cost?").delivered();
    let sent = scene.shop.wait_for_sent(1, PATIENCE).remove(0);
    scene.wait_until_idle();

    assert_eq!(sent.text, "Answer 1 to: What does the blue one cost?");
    assert_eq!(sent.number, MARIA_JID, "Evolution rewrites bare numbers, some of them wrongly");
    assert_eq!(sent.link_preview, Some(false));
    let request = scene.evolution.wait_for_request("/message/sendText/loja-demo", PATIENCE);
    assert_eq!(request.header("apikey"), Some(scene.shop.token()));

    let reply = scene.reply();
    assert_eq!((reply.state.as_str(), reply.attempt, reply.error.as_deref()), ("sent", 1, None));
    assert_eq!(reply.text.as_deref(), Some(sent.text.as_str()));
    assert_eq!(reply.provider.as_deref(), Some("openai"));
    assert_eq!(reply.model.as_deref(), Some("fake-model"));
    assert!(reply.input_tokens > Some(0) && reply.output_tokens > Some(0), "{reply:#?}");
    assert!(reply.claimed_at.is_some() && reply.claimed_at <= reply.answered_at, "{reply:#?}");
    assert!(reply.answered_at <= reply.finished_at, "{reply:#?}");

    let asked = scene.message(&question.id);
    assert_eq!((asked.sender.as_deref(), asked.reply_id), (Some("customer"), Some(reply.id)));
    let answered = scene.message(&sent.id);
    assert_eq!(
        (answered.sender.as_deref(), answered.reply_id),
        (Some("assistant"), Some(reply.id))
    );
    assert_eq!((answered.chat_id.as_str(), answered.from_me), (MARIA_JID, true));
    assert_eq!(answered.text.as_deref(), Some(sent.text.as_str()));
    let delivery = scene.deliveries().remove(0);
    assert_eq!((delivery.state.as_str(), delivery.message_id), ("sent", Some(sent.id)));
    assert_eq!(scene.action(&question.id).as_deref(), Some("ai_replied"));
}

#[test]
fn receipts_move_the_status_of_an_answer_forward_only() {
    let scene = Scene::start(shared_cluster(), "receipts");
    scene.shop.customer_says(MARIA, "Hi").delivered();
    let id = scene.shop.wait_for_sent(1, PATIENCE).remove(0).id;
    scene.wait_until_idle();
    assert_eq!(scene.message(&id).status.as_deref(), Some("PENDING"));
    for (receipt, status) in
        [("SERVER_ACK", "SERVER_ACK"), ("READ", "READ"), ("DELIVERY_ACK", "READ")]
    {
        scene.shop.receipt(&id, receipt).delivered();
        assert_eq!(scene.message(&id).status.as_deref(), Some(status), "after {receipt}");
    }
}

#[test]
fn the_same_webhook_twice_is_one_answer() {
    let scene = Scene::start(shared_cluster(), "twice");
    let (line, id) = (scene.shop.line(), phone_message_id());
    let hello = json!({ "conversation": "Hello" });
    let message =
        line.customer_message(&Person::from(MARIA), &id, hello, "conversation", Utc::now());
    let payload = line.envelope("messages.upsert", message, "https://shop.example/webhook");
    let answers = scene.shop.deliver_twice(&payload).map(|said| said.delivered().answer().json());
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    let late = scene.shop.deliver(&payload).delivered().answer().json();

    let duplicates = answers.iter().filter(|answer| answer["duplicate"] == true).count();
    assert_eq!(duplicates, 1, "{answers:#?}");
    assert_eq!((&late["duplicate"], &late["action"]), (&json!(true), &json!("ai_replied")));
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 1 to: Hello"]);
    assert_eq!(scene.reply().wanted, 1);
}

#[test]
fn three_quick_messages_get_one_answer_that_read_all_three() {
    let scene = patient_scene("debounce");
    scene.shop.customer_says(MARIA, "Hi").delivered();
    scene.shop.customer_says(MARIA, "do you have shoes").delivered();
    scene.set_tenant("debounce = '0 s'");
    let last = scene.shop.customer_says(MARIA, "in size 40?").delivered();
    scene.wait_for_action(&last.id, "ai_replied");

    let requests = scene.llm.requests();
    assert_eq!(requests.len(), 1);
    let together = "Hi\ndo you have shoes\nin size 40?";
    assert_eq!(requests[0].turns(), [("user".to_owned(), together.to_owned())]);
    assert_eq!(scene.shop.sent_texts(), [format!("Answer 1 to: {together}")]);
    assert_eq!((scene.reply().wanted, scene.reply().seen), (3, 3));
    let sql = "SELECT count(*) FROM whaply.processed_events WHERE action_taken = 'ai_replied'";
    assert_eq!(scene.db.value::<i64>(sql, &[]), 3);
}

#[test]
fn a_voice_note_an_image_and_two_texts_in_a_row_are_one_turn_with_one_answer() {
    let scene = patient_scene("one_turn");
    let voice = json!({ "audioMessage": { "seconds": 12, "ptt": true } });
    let image = json!({ "imageMessage": { "mimetype": "image/jpeg", "caption": "This one" } });
    let asked = [
        scene.shop.customer_sends(MARIA, voice, "audioMessage").delivered(),
        scene.shop.customer_sends(MARIA, image, "imageMessage").delivered(),
        scene.shop.customer_says(MARIA, "do you have it").delivered(),
    ];
    scene.set_tenant("debounce = '0 s'");
    let last = scene.shop.customer_says(MARIA, "in blue?").delivered();
    scene.wait_for_action(&last.id, "ai_replied");
    scene.wait_until_idle();
    let requests = scene.llm.requests();
    assert_eq!((requests.len(), requests[0].turns().len()), (1, 1));
    let turn = requests[0].last_user_text();
    let order = ["[voice note, 12 s", "This one", "do you have it", "in blue?"];
    let places: Vec<Option<usize>> = order.iter().map(|words| turn.find(words)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{turn}");
    assert_eq!(scene.shop.sent().len(), 1);
    let reply = scene.reply();
    for said in &asked {
        assert_eq!(scene.action(&said.id).as_deref(), Some("ai_replied"));
        assert_eq!(scene.message(&said.id).reply_id, Some(reply.id));
    }
}

#[test]
fn debounce_max_ends_the_waiting_for_somebody_who_never_stops() {
    let scene = patient_scene("debounce_max");
    scene.shop.customer_says(MARIA, "One more thing").delivered();
    scene.set_tenant("debounce_max = '0 s'");
    let last = scene.shop.customer_says(MARIA, "and another").delivered();
    scene.wait_for_action(&last.id, "ai_replied");
}

#[test]
fn an_answer_goes_to_the_jid_the_customer_wrote_from() {
    let scene = Scene::start(shared_cluster(), "lid");
    let maria = Person::with_phone(MARIA).and_lid("100000000000001");
    scene.shop.customer_says(maria.by_lid(), "By my hidden number").delivered();
    assert_eq!(scene.shop.wait_for_sent(1, PATIENCE)[0].number, "100000000000001@lid");
    scene.wait_until_idle();
    scene.shop.customer_says(&maria, "By my open number").delivered();
    assert_eq!(scene.shop.wait_for_sent(2, PATIENCE)[1].number, MARIA_JID);
    scene.wait_until_idle();
    let chats: Vec<String> = scene.db.column("SELECT chat_id FROM whaply.sessions", &[]);
    assert_eq!(chats, [MARIA_JID], "both are one chat");
    assert_eq!(scene.llm.requests()[1].turns().len(), 3, "and one history");
}

#[test]
fn a_lid_without_a_phone_number_is_a_chat_too() {
    let scene = Scene::start(shared_cluster(), "lid_only");
    scene.shop.customer_says("100000000000001@lid", "Who am I?").delivered();
    assert_eq!(scene.shop.wait_for_sent(1, PATIENCE)[0].number, "100000000000001@lid");
    scene.wait_until_idle();
    assert_eq!(
        scene.session("100000000000001@lid").reply_jid.as_deref(),
        Some("100000000000001@lid")
    );
}

#[test]
fn a_sticker_is_kept_but_not_answered() {
    let scene = Scene::start(shared_cluster(), "sticker");
    let sticker = json!({ "stickerMessage": { "mimetype": "image/webp" } });
    let said = scene.shop.customer_sends(MARIA, sticker, "stickerMessage").delivered();
    scene.somebody_else_is_answered();
    assert_eq!(scene.action(&said.id).as_deref(), Some("ignored_type"));
    assert_eq!(scene.message(&said.id).sender.as_deref(), Some("customer"));
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
}

#[test]
fn a_group_is_left_alone() {
    let scene = Scene::start(shared_cluster(), "group");
    let said = scene.shop.customer_says("120363000000000001@g.us", "Anybody here?").delivered();
    scene.somebody_else_is_answered();
    assert_eq!(scene.action(&said.id).as_deref(), Some("ignored_group"));
    let sql = "SELECT count(*) FROM whaply.messages WHERE message_id = $1";
    assert_eq!(scene.db.value::<i64>(sql, &[&said.id]), 0);
    assert_eq!(scene.shop.sent().len(), 1);
}

#[test]
fn a_second_question_during_generation_sends_the_answer_back_to_the_queue() {
    let scene = Scene::start(shared_cluster(), "stale");
    let generating = scene.llm.hold();
    scene.shop.customer_says(MARIA, "Is the blue one there?").delivered();
    generating.wait_until_reached(PATIENCE);
    let second = scene.shop.customer_says(MARIA, "I mean the green one").delivered();
    generating.release();
    scene.wait_for_action(&second.id, "ai_replied");

    let both = "Is the blue one there?\nI mean the green one";
    assert_eq!(scene.shop.sent_texts(), [format!("Answer 2 to: {both}")]);
    let reply = scene.reply();
    assert_eq!((reply.requeues, reply.wanted, reply.seen), (1, 2, 2));
}

#[test]
fn the_third_answer_is_sent_however_much_the_customer_writes() {
    let scene = Scene::start(shared_cluster(), "never_stops");
    let gates = [scene.llm.hold(), scene.llm.hold(), scene.llm.hold()];
    scene.shop.customer_says(MARIA, "one").delivered();
    for (gate, word) in gates.iter().zip(["two", "three", "four"]) {
        gate.wait_until_reached(PATIENCE);
        scene.shop.customer_says(MARIA, word).delivered();
        gate.release();
    }
    let sent = scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(sent[0].text, "Answer 3 to: one\ntwo\nthree");
    assert_eq!(sent[1].text, "Answer 4 to: four", "what it never read gets the next reply");
    assert_eq!(scene.shop.sent().len(), 2);
    assert_eq!(scene.replies().len(), 2);
}

#[test]
fn a_question_during_sending_gets_the_next_reply() {
    let scene = Scene::start(shared_cluster(), "while_sending");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let first = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    let second = scene.shop.customer_says(MARIA, "On Sunday too?").delivered();
    sending.release();
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();

    assert_eq!(
        scene.shop.sent_texts(),
        ["Answer 1 to: Are you open?", "Answer 2 to: On Sunday too?"]
    );
    let turns = scene.llm.requests()[1].turns();
    let roles: Vec<&str> = turns.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "user"]);
    let replies = scene.replies();
    for (said, reply) in [&first, &second].into_iter().zip(&replies) {
        assert_eq!(scene.message(&said.id).reply_id, Some(reply.id));
        assert_eq!(scene.action(&said.id).as_deref(), Some("ai_replied"));
    }
}

#[test]
fn what_was_edited_or_deleted_before_the_claim_is_read_as_it_stands() {
    let scene = patient_scene("edited");
    let question = scene.shop.customer_says(MARIA, "Two pizzas").delivered();
    let mistake = scene.shop.customer_says(MARIA, "with pineapple").delivered();
    scene.shop.customer_edits(&question, "Three pizzas").delivered();
    scene.shop.customer_deletes(MARIA, &mistake).delivered();
    scene.set_tenant("debounce = '0 s'");
    scene.shop.customer_says(MARIA, "please").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 1 to: Three pizzas\nplease"]);
}

#[test]
fn an_edit_during_generation_is_read_before_anything_is_sent() {
    let scene = Scene::start(shared_cluster(), "edited_late");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Two pizzas").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.shop.customer_edits(&question, "Three pizzas").delivered();
    generating.release();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent_texts(), ["Answer 2 to: Three pizzas"]);
}

#[test]
fn a_question_deleted_while_it_waits_is_not_answered() {
    let scene = patient_scene("deleted");
    let question = scene.shop.customer_says(MARIA, "Never mind").delivered();
    scene.shop.customer_deletes(MARIA, &question).delivered();
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    wait_until("the reply to be superseded", PATIENCE, || scene.reply().state == "superseded");
    assert_eq!(scene.action(&question.id).as_deref(), Some("superseded"));
    assert_eq!(scene.llm.requests().len(), 0, "the model is not asked");
}

#[test]
fn a_question_deleted_during_generation_is_not_answered() {
    let scene = Scene::start(shared_cluster(), "deleted_late");
    let generating = scene.llm.hold();
    let question = scene.shop.customer_says(MARIA, "Never mind").delivered();
    generating.wait_until_reached(PATIENCE);
    scene.shop.customer_deletes(MARIA, &question).delivered();
    generating.release();
    scene.wait_for_reply("superseded");
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.action(&question.id).as_deref(), Some("superseded"));
}
