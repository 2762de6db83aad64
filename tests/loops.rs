//! Conversations that no person leads come to an end: two machines that answer each other, a flood.
//! And the pause that ends them ends by itself.

use support::scene::{insert_tenant, webhook_of};
use support::{Instance, LlmBehaviour, PATIENCE, Scene, SceneOptions, shared_cluster, wait_until};

const MARIA: &str = "5511999990001";

/// The bakery, a customer of the shop that is a machine too; and the shop, as the bakery knows it.
const BAKERY: &str = "5511977770000";
const SHOP: &str = "5511966660000";

fn scene_with(prefix: &str, columns: &[(&str, &str)]) -> Scene {
    let options = SceneOptions::default().with("answer_window", "1 h");
    let options = columns.iter().fold(options, |options, (name, value)| options.with(name, value));
    Scene::start_with(shared_cluster(), prefix, options)
}

/// Another tenant of the same database, whose line is at the same Evolution.
fn bakery(scene: &Scene, columns: &[(&str, &str)]) -> Instance {
    let bakery = scene.evolution.create_instance("padaria");
    let url = scene.evolution.url();
    let model = format!("{}/v1", scene.llm.url());
    let own = [
        ("instance_name", "padaria"),
        ("evo_server_url", &url),
        ("evo_api_key", bakery.token()),
        ("llm_provider", "openai"),
        ("llm_base_url", &model),
        ("debounce", "50 ms"),
    ];
    let all = own.iter().chain(columns);
    let all: Vec<_> = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let id = insert_tenant(&scene.db, &all);
    bakery.set_webhook(webhook_of(&scene.db, id, &scene.relay.url()));
    bakery
}

/// What became of a customer's message once the worker is done with it.
#[track_caller]
fn asked(scene: &Scene, who: &str, text: &str) -> String {
    let said = scene.shop.customer_says(who, text).delivered();
    wait_until("the end of a question", PATIENCE, || {
        scene.action(&said.id).filter(|action| action != "ai_queued")
    })
}

/// Maria's chat has had its one answer, and asks for another.
#[track_caller]
fn ask_once_too_often(scene: &Scene) {
    assert_eq!(asked(scene, MARIA, "Are you open?"), "ai_replied");
    assert_eq!(asked(scene, MARIA, "Thank you"), "cancelled_paused");
}

#[test]
fn a_customers_auto_responder_that_answers_each_of_our_messages_ends() {
    let scene = scene_with("auto_responder", &[("answers_per_chat", "3")]);
    let mut actions = Vec::new();
    while actions.len() < 10 && actions.iter().all(|action| action == "ai_replied") {
        actions.push(asked(&scene, MARIA, "We are closed and will answer you soon"));
    }
    assert_eq!(actions, ["ai_replied", "ai_replied", "ai_replied", "cancelled_paused"]);
    assert_eq!(asked(&scene, MARIA, "We are closed"), "ignored_paused");
    let session = scene.session(MARIA);
    assert_eq!(session.pause_reason.as_deref(), Some("loop_guard"));
    assert!(session.is_paused && session.paused_until.is_some(), "it ends by itself");
    let reply = scene.replies().pop().expect("a reply");
    assert_eq!((reply.state.as_str(), reply.attempt), ("cancelled", 0), "no model was asked");
    assert!(reply.why().contains("3 answers") && reply.why().contains("answers_per_chat"));
    let log = shared_cluster().log();
    let told = log.matches("the limit is reached: loop_guard: this chat had 3 answers").count();
    assert_eq!(told, 1, "the log says so once");
    scene.somebody_else_is_answered();
    assert_eq!(scene.texts_to(MARIA).len(), 3);
}

#[test]
fn two_assistants_that_answer_each_other_end() {
    let limit = [("answers_per_chat", "4")];
    let scene = scene_with("two_bots", &limit);
    let bakery = bakery(&scene, &limit);
    scene.shop.customer_says(BAKERY, "Good morning").delivered();
    let (mut heard_by_bakery, mut heard_by_shop) = (0, 0);
    wait_until("the conversation to end", PATIENCE, || {
        for text in scene.shop.sent_texts().into_iter().skip(heard_by_bakery) {
            bakery.customer_says(SHOP, &text).delivered();
            heard_by_bakery += 1;
        }
        for text in bakery.sent_texts().into_iter().skip(heard_by_shop) {
            scene.shop.customer_says(BAKERY, &text).delivered();
            heard_by_shop += 1;
        }
        let paused = "SELECT count(*) > 0 FROM whaply.sessions
                       WHERE is_paused AND pause_reason = 'loop_guard'";
        scene.db.value::<bool>(paused, &[])
    });
    scene.wait_until_idle();
    assert_eq!((scene.shop.sent().len(), bakery.sent().len()), (4, 4));
}

#[test]
fn a_flood_from_many_chats_meets_the_limit_of_its_tenant_and_of_no_other() {
    let scene = scene_with("flood", &[("answers_per_tenant", "3")]);
    let bakery = bakery(&scene, &[("answers_per_tenant", "3")]);
    let chats: Vec<String> = (1..=8).map(|number| format!("551199999000{number}")).collect();
    let said: Vec<_> =
        chats.iter().map(|chat| scene.shop.customer_says(chat.as_str(), "Hi")).collect();
    said.into_iter().for_each(|said| drop(said.delivered()));
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), 3);
    let paused = "SELECT count(*) FROM whaply.sessions WHERE pause_reason = 'loop_guard'";
    assert_eq!(scene.db.value::<i64>(paused, &[]), 5);
    let ended = scene.replies().into_iter().filter(|reply| reply.state == "cancelled");
    assert!(ended.clone().all(|reply| reply.why().contains("answers_per_tenant")));
    assert_eq!(ended.count(), 5);
    bakery.customer_says(MARIA, "Bread?").delivered();
    bakery.wait_for_sent(1, PATIENCE);
}

#[test]
fn zero_is_no_limit() {
    let scene = scene_with("no_limit", &[("answers_per_chat", "0"), ("answers_per_tenant", "0")]);
    for round in 0..5 {
        assert_eq!(asked(&scene, MARIA, &format!("Question {round}")), "ai_replied");
    }
}

#[test]
fn the_limits_of_the_settings_hold_where_the_tenant_names_none() {
    for (prefix, setting) in
        [("guc_chat", "answers_per_chat"), ("guc_tenant", "answers_per_tenant")]
    {
        let scene = scene_with(prefix, &[]);
        let name = scene.db.name();
        scene.db.execute(&format!("ALTER DATABASE {name} SET whaply.{setting} = 1"));
        let restart = "SELECT whaply.stop_worker() AND whaply.start_worker()";
        assert!(scene.db.value::<bool>(restart, &[]));
        ask_once_too_often(&scene);
        assert!(scene.replies()[1].why().contains(setting), "{}", scene.replies()[1].why());
        let session = scene.session(MARIA);
        assert_eq!(session.pause_reason.as_deref(), Some("loop_guard"));
        scene.set_tenant(&format!("{setting} = 5"));
        let resume = "SELECT whaply.resume_session('loja-demo', $1)";
        assert!(scene.db.value::<bool>(resume, &[&MARIA]));
        assert_eq!(asked(&scene, MARIA, "And now?"), "ai_replied", "the tenant's own counts");
    }
}

/// Waits until the time of Maria's pause is over.
#[track_caller]
fn wait_for_the_end_of_the_pause(scene: &Scene) {
    let over = "SELECT coalesce(paused_until < clock_timestamp(), true) FROM whaply.sessions
                 WHERE chat_id LIKE '5511999990001%'";
    wait_until("the pause to be over", PATIENCE, || scene.db.value::<bool>(over, &[]));
}

/// Nobody writes, nobody calls anything.
#[track_caller]
fn wait_until_the_worker_ended_the_pause(scene: &Scene) {
    wait_until("the pause to be ended", PATIENCE, || !scene.session(MARIA).is_paused);
}

#[test]
fn a_pause_of_the_loop_guard_ends_by_itself_where_no_human_ever_wrote() {
    let columns = [("answers_per_chat", "1"), ("auto_resume_after", "1 s")];
    let scene = scene_with("guard_ends", &columns);
    ask_once_too_often(&scene);
    assert!(scene.replies()[1].why().contains("loop_guard"));
    wait_until_the_worker_ended_the_pause(&scene);
    scene.set_tenant("answer_window = '1 ms'");
    assert_eq!(asked(&scene, MARIA, "Are you still there?"), "ai_replied");
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn while_the_other_side_goes_on_the_pause_of_the_loop_guard_comes_again() {
    let columns = [("answers_per_chat", "1"), ("auto_resume_after", "1 s")];
    let scene = scene_with("guard_again", &columns);
    ask_once_too_often(&scene);
    wait_for_the_end_of_the_pause(&scene);
    assert_eq!(asked(&scene, MARIA, "Thank you"), "cancelled_paused");
    assert_eq!(scene.texts_to(MARIA).len(), 1);
}

#[test]
fn a_pause_after_a_failure_ends_by_itself_where_no_human_ever_wrote() {
    let scene = scene_with("failure_ends", &[("auto_resume_after", "1 s")]);
    scene.llm.next(LlmBehaviour::WrongKey);
    assert_eq!(asked(&scene, MARIA, "Are you open?"), "ai_failed");
    wait_until_the_worker_ended_the_pause(&scene);
    assert_eq!(asked(&scene, MARIA, "Are you still there?"), "ai_replied");
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn the_owner_who_writes_during_the_pause_of_the_loop_guard_has_the_chat() {
    let scene = scene_with("guard_owner", &[("answers_per_chat", "1")]);
    ask_once_too_often(&scene);
    let typed = scene.shop.owner_types(MARIA, "Let me see").delivered();
    scene.wait_for_action(&typed.id, "paused");
    let session = scene.session(MARIA);
    assert_eq!(session.pause_reason.as_deref(), Some("human_takeover"));
    assert_eq!(session.paused_until, None, "now the owner's silence ends it");
}

/// A server whose address cannot be read fails at the claim, a wrong key when the model answers.
#[test]
fn a_machine_that_answers_the_fallback_text_ends() {
    for (prefix, url) in [("fallback_key", None), ("fallback_url", Some("http://host:eighty/v1"))] {
        let columns = [
            ("answers_per_chat", "2"),
            ("on_failure", "fallback"),
            ("fallback_text", "We will answer soon"),
        ];
        let columns: Vec<_> =
            columns.into_iter().chain(url.map(|url| ("llm_base_url", url))).collect();
        let scene = scene_with(prefix, &columns);
        (0..3).for_each(|_| scene.llm.next(LlmBehaviour::WrongKey));
        let actions: Vec<String> = (0..3)
            .map(|_| asked(&scene, MARIA, "We are closed and will answer you soon"))
            .collect();
        assert_eq!(actions, ["ai_failed", "ai_failed", "cancelled_paused"], "{prefix}");
        assert_eq!(scene.session(MARIA).pause_reason.as_deref(), Some("loop_guard"));
        scene.wait_until_idle();
        assert_eq!(scene.texts_to(MARIA), ["We will answer soon"; 2]);
    }
}
