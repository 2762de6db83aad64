//! A call to Evolution ends without saying whether the message went out: it is looked up, so that
//! the customer gets it once, neither twice nor never.

use std::sync::OnceLock;

use serde_json::json;
use support::{
    Cluster, ClusterOptions, Echo, Gate, LlmBehaviour, PATIENCE, Scene, SceneOptions,
    SendBehaviour, shared_cluster,
};

const MARIA: &str = "5511999990001";

/// A server whose calls to Evolution are given up after a moment.
fn impatient_cluster() -> &'static Cluster {
    static IMPATIENT: OnceLock<Cluster> = OnceLock::new();
    IMPATIENT.get_or_init(|| {
        let options = ClusterOptions::default().in_a_hurry();
        Cluster::start(options.with("whaply.send_timeout", "2s"))
    })
}

/// A chat in which one answer went well, so that Evolution's store is known to show our sends.
fn scene_with_history(cluster: &Cluster, prefix: &str, options: SceneOptions) -> Scene {
    let scene = Scene::start_with(cluster, prefix, options);
    let hello = scene.shop.customer_says(MARIA, "Hello").delivered();
    scene.wait_for_action(&hello.id, "ai_replied");
    scene
}

fn look_ups(scene: &Scene) -> usize {
    let requests = scene.evolution.requests().into_iter();
    requests.filter(|request| request.path.contains("/chat/findMessages/")).count()
}

/// The second answer meets `behaviour`, and reaches the customer exactly once.
#[track_caller]
fn reaches_the_customer_once(
    cluster: &Cluster,
    prefix: &str,
    echo: Echo,
    behaviour: SendBehaviour,
) -> Scene {
    let scene = scene_with_history(cluster, prefix, SceneOptions::default());
    scene.shop.set_echo(echo);
    scene.shop.next_send(behaviour);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    scene.wait_until_idle();
    scene.somebody_else_is_answered();
    let texts = scene.texts_to(MARIA);
    assert_eq!(texts, ["Answer 1 to: Hello", "Answer 2 to: Are you open?"]);
    let sent = scene.shop.sent().remove(1);
    let delivery = scene.deliveries().remove(1);
    assert_eq!((delivery.state.as_str(), delivery.message_id), ("sent", Some(sent.id.clone())));
    let message = scene.message(&sent.id);
    assert_eq!(message.sender.as_deref(), Some("assistant"));
    assert!(!scene.session(MARIA).is_paused, "nobody took over");
    assert_eq!(scene.replies()[1].state, "sent");
    scene
}

#[test]
fn a_cut_call_whose_message_went_out_is_found_in_evolutions_store() {
    let cut = [
        ("cut_taken", SendBehaviour::TakeThenCut),
        ("cut_mid_body", SendBehaviour::TakeThenCutMidBody),
    ];
    for (prefix, behaviour) in cut {
        let scene = reaches_the_customer_once(shared_cluster(), prefix, Echo::Never, behaviour);
        assert_eq!(scene.deliveries()[1].attempt, 1);
        assert!(look_ups(&scene) > 0);
    }
}

#[test]
fn a_cut_call_whose_echo_comes_needs_no_look() {
    let behaviour = SendBehaviour::TakeThenCut;
    let scene = reaches_the_customer_once(shared_cluster(), "cut_echo", Echo::Before, behaviour);
    assert_eq!(look_ups(&scene), 0);
    let sent = scene.shop.sent().remove(1);
    assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
}

/// Other versions of the gateway report their own sends as messages.upsert.
#[test]
fn a_cut_call_whose_copy_comes_as_an_upsert_needs_no_look() {
    let behaviour = SendBehaviour::TakeThenCut;
    let scene = reaches_the_customer_once(shared_cluster(), "cut_copy", Echo::AsUpsert, behaviour);
    assert_eq!(look_ups(&scene), 0);
    let sent = scene.shop.sent().remove(1);
    assert_eq!(scene.action(&sent.id).as_deref(), Some("own_echo"));
}

/// The owner says what the assistant was about to say, while nobody knows whether it did.
#[test]
fn the_same_words_typed_by_the_owner_are_not_taken_for_the_lost_send() {
    let scene = scene_with_history(shared_cluster(), "cut_typed", SceneOptions::default());
    scene.shop.set_echo(Echo::Never);
    let sending = Gate::closed();
    scene.shop.decide_sends({
        let sending = sending.clone();
        move |_| SendBehaviour::HoldThenOk(sending.clone())
    });
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let typed = scene.shop.owner_types(MARIA, "Answer 2 to: Are you open?").delivered();
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.wait_for_action(&typed.id, "paused");
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    assert_eq!(scene.message(&typed.id).sender.as_deref(), Some("owner"));
    assert!(scene.session(MARIA).is_paused);
    sending.release();
}

#[test]
fn a_400_of_the_socket_whose_message_went_out_is_found() {
    let behaviour = SendBehaviour::TakeThen400("Error: Connection Closed".to_owned());
    let scene = reaches_the_customer_once(shared_cluster(), "socket_taken", Echo::Never, behaviour);
    assert_eq!(scene.deliveries()[1].attempt, 1);
}

#[test]
fn a_call_without_an_end_whose_message_went_out_is_found() {
    let behaviour = SendBehaviour::TakeThenHang;
    reaches_the_customer_once(impatient_cluster(), "hang_taken", Echo::Never, behaviour);
}

#[test]
fn a_call_without_an_end_that_sent_nothing_is_made_again_once() {
    reaches_the_customer_once(impatient_cluster(), "hang", Echo::With, SendBehaviour::Hang);
}

#[test]
fn a_call_that_sent_nothing_is_made_again_once_it_was_looked_for_twice() {
    let lost = [
        ("lost_cut", SendBehaviour::Cut),
        ("lost_400", SendBehaviour::Refuse400("Error: Connection Closed".to_owned())),
        ("lost_502", SendBehaviour::Status(502, json!({ "message": "Bad Gateway" }))),
    ];
    for (prefix, behaviour) in lost {
        let scene = reaches_the_customer_once(shared_cluster(), prefix, Echo::With, behaviour);
        assert_eq!(scene.deliveries()[1].attempt, 2);
        assert!(look_ups(&scene) >= 2, "absence proves nothing at once");
    }
}

/// The chat's last delivery is left to a person, and was not sent again.
#[track_caller]
fn assert_held(scene: &Scene, sent: usize) {
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("held"), "{}", reply.why());
    let delivery = scene.deliveries().pop().expect("a delivery");
    assert_eq!((delivery.state.as_str(), delivery.attempt), ("failed", 1), "{delivery:#?}");
    let problem = "SELECT problem FROM whaply.health WHERE subject = 'deliveries'";
    assert!(scene.db.value::<String>(problem, &[]).contains("held"));
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA).len(), sent);
}

#[test]
fn where_evolutions_store_does_not_show_our_sends_the_message_is_held() {
    let scene = scene_with_history(shared_cluster(), "blind", SceneOptions::default());
    scene.shop.forget_history();
    scene.shop.next_send(SendBehaviour::Cut);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_held(&scene, 1);
}

/// Nothing of ours is known to be in the store, so that absence proves nothing.
#[test]
fn the_first_message_of_a_chat_is_held_if_it_is_not_found() {
    let scene = Scene::start(shared_cluster(), "blind_first");
    scene.shop.next_send(SendBehaviour::Cut);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_held(&scene, 0);
}

#[test]
fn a_tenant_may_hold_what_was_not_found() {
    let options = SceneOptions::default().with("on_uncertain", "hold");
    let scene = scene_with_history(shared_cluster(), "on_uncertain", options);
    scene.shop.next_send(SendBehaviour::Cut);
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_held(&scene, 1);
}

#[test]
fn a_message_that_is_lost_five_times_is_held() {
    let scene = scene_with_history(shared_cluster(), "lost_five", SceneOptions::default());
    (0..5).for_each(|_| scene.shop.next_send(SendBehaviour::Cut));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("held"), "{}", reply.why());
    assert_eq!(scene.deliveries()[1].attempt, 5);
    assert_eq!(scene.shop.sent().len(), 1);
}

/// Evolution can fail between sending and storing; then its store proves nothing.
#[test]
fn a_400_with_unknown_words_is_held() {
    let scene = scene_with_history(shared_cluster(), "unknown_400", SceneOptions::default());
    scene.shop.next_send(SendBehaviour::Refuse400("Error: value too long".to_owned()));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    assert_held(&scene, 1);
}

#[test]
fn a_400_with_unknown_words_is_overruled_by_its_echo() {
    let behaviour = SendBehaviour::TakeThen400("Error: value too long".to_owned());
    let scene = reaches_the_customer_once(shared_cluster(), "echo_400", Echo::Before, behaviour);
    assert_eq!(look_ups(&scene), 0);
}

/// As when the worker is killed during a call; and the owner writes before it is back.
#[test]
fn a_takeover_before_the_lost_send_is_found_keeps_the_next_part_back() {
    let scene = scene_with_history(shared_cluster(), "lost_takeover", SceneOptions::default());
    scene.shop.set_echo(Echo::Never);
    let part = |word: &str| vec![word; 700].join(" ");
    scene.llm.next(LlmBehaviour::Answer([part("one"), part("two")].join("\n\n")));
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::TakeThenHold(sending.clone()));
    scene.shop.customer_says(MARIA, "Tell me all").delivered();
    sending.wait_until_reached(PATIENCE);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    let typed = scene.shop.owner_types(MARIA, "Let me tell you").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("pending_echo"));
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.wait_for_action(&typed.id, "paused");
    scene.wait_until_idle();
    assert_eq!(scene.delivery_states(), ["sent", "sent", "cancelled"]);
    scene.shop.set_echo(Echo::With);
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA).len(), 2);
    assert!(scene.session(MARIA).is_paused);
}

#[test]
fn a_takeover_before_a_lost_send_is_known_to_be_lost_keeps_it_from_being_sent_again() {
    let scene = scene_with_history(shared_cluster(), "lost_for_good", SceneOptions::default());
    scene.shop.next_send(SendBehaviour::Cut);
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    scene.wait_for_delivery("an unknown end", |delivery| delivery.state == "uncertain");
    let typed = scene.shop.owner_types(MARIA, "Yes, until six").delivered();
    scene.wait_for_action(&typed.id, "paused");
    scene.wait_until_idle();
    assert_eq!(scene.action(&question.id).as_deref(), Some("cancelled_paused"));
    assert_eq!(scene.delivery_states(), ["sent", "cancelled"]);
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA), ["Answer 1 to: Hello"]);
}

/// A send of unknown end is not believed lost while nothing can leave anyway.
#[test]
fn a_lost_send_is_not_made_again_while_the_line_is_closed() {
    let scene = scene_with_history(shared_cluster(), "lost_closed", SceneOptions::default());
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    let question = scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.shop.connection_becomes("close").delivered();
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.evolution.wait_for_request("/instance/connectionState/loja-demo", PATIENCE);
    assert_eq!(scene.deliveries()[1].state, "uncertain");
    // What was held back inside Evolution leaves it when the line is back.
    sending.release();
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.shop.connection_becomes("open").delivered();
    scene.wait_for_action(&question.id, "ai_replied");
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), 2, "once");
    assert_eq!(scene.deliveries()[1].attempt, 1);
}

/// The worker dies during the call, and afterwards nobody can be asked: the chat does not wait for ever.
#[test]
fn a_lost_send_that_evolution_cannot_be_asked_for_is_held_when_its_time_is_over() {
    let scene = scene_with_history(impatient_cluster(), "never_asked", SceneOptions::default());
    scene.shop.set_echo(Echo::Never);
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(MARIA, "Are you open?").delivered();
    sending.wait_until_reached(PATIENCE);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.set_tenant("evo_server_url = 'http://127.0.0.1:1', reply_expiry = '1 s'");
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    let reply = scene.wait_for_reply("failed");
    assert!(reply.why().contains("held") && reply.why().contains("asked"), "{}", reply.why());
    assert_eq!(scene.deliveries()[1].attempt, 1);
    assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("ai_failed"));
}
