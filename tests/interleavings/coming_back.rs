//! Auto-resume against people who write at the same moment: it never overruns a human of the
//! business, and nobody who waits for it is forgotten.

use std::time::Duration;

use serde_json::Value;
use support::{OpenTransaction, Scene, SceneOptions, WaitingCall, ingest, shared_cluster};

use super::{MARIA, owner_webhook, question};

const AUTO_RESUME: &str = "SELECT whaply.auto_resume()";

/// Maria's chat, in which the owner spoke last three hours ago; two hours are enough. No worker runs,
/// whose clock could be first.
fn scene_with_a_silent_owner(prefix: &str) -> Scene {
    let options = SceneOptions::default().with("auto_resume_after", "4 h");
    let scene = Scene::start_with(shared_cluster(), prefix, options);
    let three_hours = Duration::from_secs(3 * 3600);
    scene.shop.owner_typed(MARIA, "Hello Maria", three_hours).delivered();
    assert!(scene.session(MARIA).is_paused);
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    scene.set_tenant("auto_resume_after = '2 h'");
    scene
}

fn resumed(done: &Value) -> &Value {
    &done["resumed"]
}

#[test]
fn auto_resume_does_not_overrun_an_owner_who_is_not_committed_yet() {
    let scene = scene_with_a_silent_owner("resume_passes");
    let typed = owner_webhook(&scene, "Still me");
    let mut owner = OpenTransaction::begin(&scene.db);
    assert_eq!(owner.ingest(&typed.payload)["action"], "paused");
    let done: Value = scene.db.value(AUTO_RESUME, &[]);
    assert_eq!(*resumed(&done), 0, "and it did not wait");
    owner.commit();
    let done: Value = scene.db.value(AUTO_RESUME, &[]);
    assert_eq!(*resumed(&done), 0);
    assert!(scene.session(MARIA).is_paused);
}

#[test]
fn auto_resume_finds_the_chat_again_where_the_owners_message_was_rolled_back() {
    let scene = scene_with_a_silent_owner("resume_again");
    let typed = owner_webhook(&scene, "Still me");
    let mut owner = OpenTransaction::begin(&scene.db);
    owner.ingest(&typed.payload);
    assert_eq!(*resumed(&scene.db.value(AUTO_RESUME, &[])), 0);
    owner.rollback();
    assert_eq!(*resumed(&scene.db.value(AUTO_RESUME, &[])), 1);
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn an_owner_who_waits_for_auto_resume_pauses_again() {
    let scene = scene_with_a_silent_owner("resume_first");
    let mut clock = OpenTransaction::begin(&scene.db);
    assert_eq!(*resumed(&clock.value(AUTO_RESUME, &[])), 1);
    let typed = owner_webhook(&scene, "Still me");
    let payload = typed.payload.clone();
    let owner = WaitingCall::begin(&scene.db, move |session| ingest(session, &payload));
    clock.commit();
    assert_eq!(owner.outcome()["action"], "paused");
    let session = scene.session(MARIA);
    assert!(session.is_paused);
    assert_eq!(session.pause_reason.as_deref(), Some("human_takeover"));
}

#[test]
fn a_customer_who_waits_for_auto_resume_is_answered() {
    let scene = scene_with_a_silent_owner("resume_customer");
    let mut clock = OpenTransaction::begin(&scene.db);
    assert_eq!(*resumed(&clock.value(AUTO_RESUME, &[])), 1);
    let asked = question(&scene, "Are you open?");
    let customer = WaitingCall::begin(&scene.db, move |session| ingest(session, &asked.payload));
    clock.commit();
    assert_eq!(customer.outcome()["action"], "ai_queued");
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.wait_for_action(&asked.id, "ai_replied");
}

/// The clock is passed over, so that a customer's open transaction costs only a later resume.
#[test]
fn auto_resume_passes_over_a_chat_in_which_a_customer_is_writing() {
    let scene = scene_with_a_silent_owner("resume_busy");
    let asked = question(&scene, "Are you open?");
    let mut customer = OpenTransaction::begin(&scene.db);
    assert_eq!(customer.ingest(&asked.payload)["action"], "ignored_paused");
    assert_eq!(*resumed(&scene.db.value(AUTO_RESUME, &[])), 0);
    customer.commit();
    assert_eq!(*resumed(&scene.db.value(AUTO_RESUME, &[])), 1);
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ignored_paused"));
}
