//! What the model reads of a chat, and what becomes of its words on the way to WhatsApp.

use chrono::{FixedOffset, Utc};
use serde_json::json;
use support::{LlmBehaviour, PATIENCE, Person, Scene, SceneOptions, shared_cluster, wait_until};

const MARIA: &str = "5511999990001";

fn turn(role: &str, text: &str) -> (String, String) {
    (role.to_owned(), text.to_owned())
}

/// Waits for the answer to a question just asked.
fn ask(scene: &Scene, question: &str) {
    let said = scene.shop.customer_says(MARIA, question).delivered();
    scene.wait_for_action(&said.id, "ai_replied");
}

#[test]
fn a_voice_note_is_a_question_in_brackets() {
    let scene = Scene::start(shared_cluster(), "voice");
    let voice = json!({ "audioMessage": { "seconds": 12, "ptt": true } });
    scene.shop.customer_sends(MARIA, voice, "audioMessage").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    let seen = scene.llm.requests()[0].turns();
    assert_eq!(seen, [turn("user", "[voice note, 12 s: I cannot listen to it]")]);
}

#[test]
fn an_image_is_a_note_above_its_caption() {
    let scene = Scene::start(shared_cluster(), "image");
    let image = json!({ "imageMessage": { "caption": "Do you have this one?" } });
    let said = scene.shop.customer_sends(MARIA, image, "imageMessage").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    let seen = scene.llm.requests()[0].turns();
    assert_eq!(seen, [turn("user", "[image: I cannot see it]\nDo you have this one?")]);
    assert_eq!(scene.message(&said.id).text.as_deref(), Some("Do you have this one?"));
}

#[test]
fn the_system_prompt_comes_first_then_the_name_and_the_local_time() {
    let options = SceneOptions::default()
        .with("system_prompt", "You sell shoes.")
        .with("timezone", "Asia/Tokyo");
    let scene = Scene::start_with(shared_cluster(), "system", options);
    let moment = || {
        let tokyo = FixedOffset::east_opt(9 * 3600).expect("a valid offset");
        let now = Utc::now().with_timezone(&tokyo);
        now.format("It is %A, %-d %B %Y, %H:%M (Asia/Tokyo).").to_string()
    };
    let before = moment();
    scene.shop.customer_says(Person::from(MARIA).named("Maria"), "Hi").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    let system = scene.llm.requests()[0].system_text();
    assert!(system.starts_with("You sell shoes.\n"), "{system}");
    let name = "The customer's WhatsApp name is \"Maria\". ";
    let ends = [before, moment()].map(|moment| format!("{name}{moment}"));
    assert!(ends.iter().any(|end| system.ends_with(end)), "{system}\nneither of {ends:?}");
}

#[test]
fn the_model_sees_the_newest_messages_up_to_the_limit() {
    let options = SceneOptions::default().with("history_limit", "3");
    let scene = Scene::start_with(shared_cluster(), "history", options);
    for question in ["one", "two", "three"] {
        ask(&scene, question);
    }
    let expected =
        [turn("user", "two"), turn("assistant", "Answer 2 to: two"), turn("user", "three")];
    assert_eq!(scene.llm.requests()[2].turns(), expected);
}

#[test]
fn the_owners_words_are_the_businesss() {
    let scene = Scene::start(shared_cluster(), "owner_turn");
    ask(&scene, "How much is it?");
    scene.shop.owner_types(MARIA, "Today only 30").delivered();
    let resumed = "SELECT whaply.resume_session('loja-demo', $1)";
    assert!(scene.db.value::<bool>(resumed, &[&MARIA]));
    ask(&scene, "I take two");
    let business = "Answer 1 to: How much is it?\nToday only 30";
    let expected =
        [turn("user", "How much is it?"), turn("assistant", business), turn("user", "I take two")];
    assert_eq!(scene.llm.requests()[1].turns(), expected);
}

#[test]
fn send_message_is_sent_in_a_paused_chat_and_is_the_businesss_turn() {
    let scene = Scene::start(shared_cluster(), "operator");
    ask(&scene, "Where is my parcel?");
    scene.db.execute("SELECT whaply.pause_session('loja-demo', '+55 11 99999-0001')");
    let sql = "SELECT whaply.send_message('loja-demo', $1, 'It left today')";
    let delivery: i64 = scene.db.value(sql, &[&MARIA]);
    let sent = scene.shop.wait_for_sent(2, PATIENCE).remove(1);
    scene.wait_until_idle();
    assert_eq!(
        (sent.text.as_str(), sent.number.as_str()),
        ("It left today", "5511999990001@s.whatsapp.net")
    );
    let stored = scene.deliveries().remove(1);
    assert_eq!(
        (stored.id, stored.kind.as_str(), stored.state.as_str()),
        (delivery, "operator", "sent")
    );
    assert_eq!(scene.message(&sent.id).sender.as_deref(), Some("operator"));
    let session = scene.session(MARIA);
    assert_eq!(session.pause_reason.as_deref(), Some("manual_pause"), "its echo changes nothing");

    assert!(scene.db.value::<bool>("SELECT whaply.resume_session('loja-demo', $1)", &[&MARIA]));
    ask(&scene, "Thank you");
    let business = "Answer 1 to: Where is my parcel?\nIt left today";
    assert_eq!(scene.llm.requests()[1].turns()[1], turn("assistant", business));
}

#[test]
fn send_message_opens_a_chat_with_somebody_who_never_wrote() {
    let scene = Scene::start(shared_cluster(), "operator_first");
    scene
        .db
        .execute("SELECT whaply.send_message('loja-demo', '5511999990001', 'Your order is here')");
    let sent = scene.shop.wait_for_sent(1, PATIENCE).remove(0);
    assert_eq!(sent.number, "5511999990001@s.whatsapp.net");
    scene.wait_until_idle();
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn a_long_answer_is_split_at_its_paragraphs_and_sent_in_order() {
    let scene = Scene::start(shared_cluster(), "long");
    let paragraph = |word: &str| vec![word; 500].join(" ");
    let paragraphs = [paragraph("first"), paragraph("second"), paragraph("third")];
    scene.llm.next(LlmBehaviour::Answer(paragraphs.join("\n\n")));
    ask(&scene, "Tell me everything");
    assert_eq!(scene.shop.sent_texts(), paragraphs);
    let parts: Vec<i32> = scene.deliveries().iter().map(|delivery| delivery.part).collect();
    assert_eq!(parts, [1, 2, 3]);
    assert_eq!(scene.delivery_states(), ["sent"; 3]);
    let sql = "SELECT text FROM whaply.messages WHERE sender = 'assistant' ORDER BY sent_at, id";
    assert_eq!(scene.db.column::<String>(sql, &[]), paragraphs);
}

#[test]
fn an_endless_answer_is_cut_after_five_parts_and_the_reply_says_so() {
    let scene = Scene::start(shared_cluster(), "endless");
    let paragraph = vec!["word"; 700].join(" ");
    scene.llm.next(LlmBehaviour::Answer(vec![paragraph; 8].join("\n\n")));
    ask(&scene, "Tell me everything");
    assert_eq!(scene.shop.sent().len(), 5);
    let reply = scene.reply();
    assert_eq!(reply.state, "sent");
    assert!(reply.why().contains("too long"), "{}", reply.why());
}

#[test]
fn the_models_markdown_becomes_whatsapps_marks() {
    let scene = Scene::start(shared_cluster(), "marks");
    let answer =
        "# Shoes\n\nThe **blue** ones are ~~50~~ *40*, see [our shop](https://shop.example/shoes).";
    scene.llm.next(LlmBehaviour::answer(answer));
    ask(&scene, "How much?");
    let expected =
        "*Shoes*\n\nThe *blue* ones are ~50~ *40*, see our shop: https://shop.example/shoes.";
    assert_eq!(scene.shop.sent_texts(), [expected]);
}

/// Nothing would be left to send: without care such a reply would stay open for ever.
#[test]
fn an_answer_of_marks_alone_does_not_leave_the_reply_open() {
    let scene = Scene::start(shared_cluster(), "marks_alone");
    scene.llm.next(LlmBehaviour::answer("---"));
    scene.shop.customer_says(MARIA, "How much?").delivered();
    wait_until("the reply to end", PATIENCE, || {
        let reply = scene.reply();
        ["sent", "failed"]
            .contains(&reply.state.as_str())
            .then_some(())
            .ok_or(format!("{reply:#?}"))
    });
}
