//! The Cloud API, where Evolution can name the wrong customer: no answer about one ever reaches
//! another, and what cannot be told apart is left to a person.

use chrono::Utc;
use serde_json::{Value, json};
use support::{Person, Scene, SceneOptions, shared_cluster};

const MARIA: &str = "5511999990001";
const JOAO: &str = "5511999990002";

/// As WHATSAPP-BUSINESS reports it. An id without a number inside tells nothing of its sender.
fn cloud_message(scene: &Scene, who: &str, id: &str, text: &str) -> Value {
    let message = json!({ "conversation": text });
    let person = Person::with_phone(who);
    scene.shop.line().customer_message(&person, id, message, "conversation", Utc::now())
}

#[track_caller]
fn customer_says(scene: &Scene, who: &str, id: &str, text: &str) {
    let data = cloud_message(scene, who, id, text);
    scene.shop.emit("messages.upsert", data).delivered();
}

/// Nobody else wrote when it came; by the claim somebody had.
#[test]
fn a_message_that_cannot_be_verified_is_left_to_a_person_if_another_customer_wrote_right_after_it()
{
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "unverified_late", options);
    customer_says(&scene, MARIA, "wamid.FAKE0001", "Is my parcel there?");
    customer_says(&scene, JOAO, "wamid.FAKE0002", "Am I ill?");
    assert_eq!(scene.action("wamid.FAKE0001").as_deref(), Some("ai_queued"));
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    scene.wait_for_action("wamid.FAKE0001", "ignored_unverified");
    let reply = scene.wait_for_reply("superseded");
    assert!(reply.why().contains("a person must answer"), "{}", reply.why());
    let message = scene.message("wamid.FAKE0001");
    assert_eq!((message.sender.as_deref(), message.reply_id), (Some("unverified"), None));
    scene.set_tenant("debounce = '0 s'");
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    assert_eq!(scene.texts_to(JOAO), [""; 0]);
}

#[test]
fn what_can_be_verified_in_the_same_turn_is_answered_without_the_rest() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "unverified_part", options);
    customer_says(&scene, MARIA, "wamid.FAKE0001", "Somebody's secret");
    let of_maria = "wamid.HBgNNTUxMTk5OTk5MDAwMRUCABIYFDNB4811DA4EC1F68008";
    customer_says(&scene, MARIA, of_maria, "Are you open?");
    let of_joao = "wamid.HBgNNTUxMTk5OTk5MDAwMhUCABIYFDNB4811DA4EC1F68009";
    customer_says(&scene, JOAO, of_joao, "And you?");
    scene.db.execute("UPDATE whaply.replies SET due_at = now()");
    scene.wait_for_action(of_maria, "ai_replied");
    scene.wait_for_action(of_joao, "ai_replied");
    assert_eq!(scene.action("wamid.FAKE0001").as_deref(), Some("ignored_unverified"));
    assert_eq!(scene.texts_to(MARIA).len(), 1);
    let asked: Vec<String> =
        scene.llm.requests().iter().map(|request| request.body.to_string()).collect();
    assert!(!asked.iter().any(|body| body.contains("Somebody's secret")), "no model has read it");
}

#[test]
fn a_lonely_message_that_cannot_be_verified_is_answered() {
    let scene = Scene::start(shared_cluster(), "unverified_alone");
    customer_says(&scene, MARIA, "wamid.FAKE0001", "Is my parcel there?");
    scene.wait_for_action("wamid.FAKE0001", "ai_replied");
}

#[test]
fn a_tenant_may_trust_what_cannot_be_verified() {
    let options = SceneOptions::default().with("on_unverified", "answer");
    let scene = Scene::start_with(shared_cluster(), "unverified_trust", options);
    customer_says(&scene, MARIA, "wamid.FAKE0001", "Is my parcel there?");
    customer_says(&scene, JOAO, "wamid.FAKE0002", "And mine?");
    scene.wait_for_action("wamid.FAKE0001", "ai_replied");
    scene.wait_for_action("wamid.FAKE0002", "ai_replied");
}

/// An id of WhatsApp's with the customer's number inside; `place` tells one from another.
fn id_of(who: &str, place: usize) -> String {
    let last_digit = if who == MARIA { "MR" } else { "Mh" };
    format!("wamid.HBgNNTUxMTk5OTk5MDAw{last_digit}UCABIYFDNB4811DA4EC1F680{place:02}")
}

/// Evolution says João where Maria wrote, and the other way round, while both write.
#[test]
fn a_message_is_of_the_customer_named_by_its_id_and_no_answer_about_one_reaches_the_other() {
    let scene = Scene::start(shared_cluster(), "unverified_swapped");
    for place in 0..3 {
        let asked = [(MARIA, JOAO, "Maria's secret"), (JOAO, MARIA, "João's secret")];
        let asked = asked.map(|(writer, named, text)| {
            let id = id_of(writer, place);
            customer_says(&scene, named, &id, &format!("{text} {place}"));
            id
        });
        asked.iter().for_each(|id| scene.wait_for_action(id, "ai_replied"));
    }
    for (who, hers, other) in
        [(MARIA, "Maria's secret", "João's secret"), (JOAO, "João's secret", "Maria's secret")]
    {
        let texts = scene.texts_to(who);
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts.iter().all(|text| text.contains(hers) && !text.contains(other)), "{texts:?}");
        let about: Vec<_> = scene
            .llm
            .requests()
            .into_iter()
            .filter(|request| request.last_user_text().contains(hers))
            .collect();
        assert_eq!(about.len(), 3);
        for request in about {
            assert!(!request.body.to_string().contains(other), "{}", request.body);
        }
        assert_eq!(scene.session(who).chat_id, format!("{who}@s.whatsapp.net"));
    }
    let aliases = "SELECT count(*) FROM whaply.chat_aliases WHERE jid <> chat_id";
    assert_eq!(scene.db.value::<i64>(aliases, &[]), 0, "the wrong name is nobody's");
}
