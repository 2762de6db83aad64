//! A customer who is known under several JIDs, in whatever order they come: one session, one history,
//! one pause, and each answer goes to the JID that the customer wrote from. Two transactions at the
//! same chats are in interleavings.

use support::{Person, Scene, SceneOptions, shared_cluster};

const MARIA: &str = "5511999990001";
const MARIA_JID: &str = "5511999990001@s.whatsapp.net";
const LID: &str = "100000000000001";
const LID_JID: &str = "100000000000001@lid";

fn maria() -> Person {
    Person::with_phone(MARIA).and_lid(LID)
}

/// The JID to which the answer to this went.
#[track_caller]
fn answered_at(scene: &Scene, who: &Person, text: &str) -> String {
    let asked = scene.shop.customer_says(who, text).delivered();
    scene.wait_for_action(&asked.id, "ai_replied");
    let sent = scene.shop.sent().pop().expect("an answer");
    assert!(sent.text.contains(text), "{sent:?}");
    sent.number
}

#[track_caller]
fn chats(scene: &Scene) -> Vec<String> {
    scene.db.column("SELECT chat_id FROM whaply.sessions ORDER BY id", &[])
}

/// First a LID alone, then the phone number alone, then a message that tells both.
#[test]
fn after_two_chats_became_one_each_answer_goes_where_the_customer_wrote_from() {
    for (prefix, lid_first) in [("merged_lid", true), ("merged_phone", false)] {
        let scene = Scene::start(shared_cluster(), prefix);
        let by_lid = maria().by_lid();
        let alone = [by_lid.without_alternative(), maria().without_alternative()];
        let [first, second] = if lid_first { [0, 1] } else { [1, 0] };
        answered_at(&scene, &alone[first], "I am the first");
        answered_at(&scene, &alone[second], "I am the second");
        assert_eq!(chats(&scene).len(), 2, "nobody can know yet");

        assert_eq!(answered_at(&scene, &by_lid, "By my LID"), LID_JID);
        assert_eq!(answered_at(&scene, &maria(), "By my number"), MARIA_JID);
        let [lid_alone, phone_alone] = &alone;
        assert_eq!(answered_at(&scene, lid_alone, "By my LID alone"), LID_JID);
        assert_eq!(answered_at(&scene, phone_alone, "By my number alone"), MARIA_JID);
        let canonical = if lid_first { LID_JID } else { MARIA_JID };
        let left = "SELECT count(DISTINCT coalesce(a.chat_id, s.chat_id)) FROM whaply.sessions s
                      LEFT JOIN whaply.chat_aliases a ON a.jid = s.chat_id";
        assert_eq!(scene.db.value::<i64>(left, &[]), 1);
        assert_eq!(chats(&scene)[0], canonical, "the older one is left");
        let last = scene.llm.requests().pop().expect("a call").body.to_string();
        for words in ["I am the first", "I am the second", "By my LID", "By my number"] {
            assert!(last.contains(words), "one history: {words}");
        }
    }
}

/// What waits for the debounce when the chats become one goes where the last message came from.
#[test]
fn a_merge_while_answers_wait_sends_one_to_the_jid_of_the_last_message() {
    let options = SceneOptions::default().with("debounce", "1 h").with("debounce_max", "1 h");
    let scene = Scene::start_with(shared_cluster(), "merged_waiting", options);
    scene.shop.customer_says(maria().without_alternative(), "Shoes?").delivered();
    scene.shop.customer_says(maria().by_lid().without_alternative(), "Size 40?").delivered();
    scene.set_tenant("debounce = '0 s'");
    assert_eq!(answered_at(&scene, &maria().by_lid(), "In blue"), LID_JID);
    scene.wait_until_idle();
    let sent = scene.shop.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].text.contains("Shoes?") && sent[0].text.contains("Size 40?"), "{sent:?}");
}

#[test]
fn a_pause_under_either_name_is_a_pause_of_both() {
    for (prefix, typed_to) in [("paused_phone", MARIA_JID), ("paused_lid", LID_JID)] {
        let scene = Scene::start(shared_cluster(), prefix);
        answered_at(&scene, &maria().by_lid().without_alternative(), "Who am I?");
        answered_at(&scene, &maria().without_alternative(), "And I?");
        scene.shop.owner_types(typed_to, "I know").delivered();
        let asked = scene.shop.customer_says(maria(), "I am both").delivered();
        assert_eq!(scene.action(&asked.id).as_deref(), Some("ignored_paused"));
        for who in [maria().without_alternative(), maria().by_lid().without_alternative()] {
            let asked = scene.shop.customer_says(who, "Hello?").delivered();
            assert_eq!(scene.action(&asked.id).as_deref(), Some("ignored_paused"));
        }
        scene.somebody_else_is_answered();
        assert_eq!(scene.texts_to(MARIA).len() + scene.texts_to(LID).len(), 2);
    }
}

/// Evolution puts our own number where the customer's other JID belongs: it is nobody's name, so
/// that two customers are not one.
#[test]
fn our_own_number_beside_two_customers_makes_them_no_one() {
    let scene = Scene::start(shared_cluster(), "own_alternative");
    let own = scene.shop.line().own_jid.clone();
    let own = own.split('@').next().expect("digits");
    let customers = ["100000000000001", "100000000000002"];
    for lid in customers {
        let wrongly_named = Person::with_phone(own).and_lid(lid).by_lid();
        assert_eq!(
            answered_at(&scene, &wrongly_named, &format!("I am {lid}")),
            format!("{lid}@lid")
        );
    }
    assert_eq!(chats(&scene), customers.map(|lid| format!("{lid}@lid")));
    for request in scene.llm.requests() {
        let body = request.body.to_string();
        let told = customers.iter().filter(|lid| body.contains(&format!("I am {lid}"))).count();
        assert_eq!(told, 1, "{body}");
    }
}
