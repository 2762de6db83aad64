//! What PostgreSQL does not let the worker write, by somebody's own trigger: it waits, is tried again and
//! told of, and keeps back nobody else, whatever it is. What ends a result for good is `refused_results`.

use support::scene::{base_url, insert_tenant, webhook_of};
use support::worker::wait_until_without_worker;
use support::{
    Cluster, ClusterOptions, Gate, PATIENCE, Person, Scene, SendBehaviour, shared_cluster,
    wait_until,
};

const MARIA: &str = "5511999990001";

/// Refuses updates of a table, as far as `when` is so of a row of Maria's, with words of its own.
fn refuse(scene: &Scene, table: &str, when: &str, words: &str) {
    make_rule(scene, table, when, &format!("RAISE EXCEPTION '{words}'"));
}

/// Leaves the row as it is, and says nothing.
fn swallow(scene: &Scene, table: &str, when: &str) {
    make_rule(scene, table, when, "RETURN NULL");
}

fn make_rule(scene: &Scene, table: &str, when: &str, does: &str) {
    scene.db.execute(&format!(
        "CREATE OR REPLACE FUNCTION house_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; END $$;
         CREATE TRIGGER house_rule BEFORE UPDATE ON whaply.{table} FOR EACH ROW WHEN ({when})
         EXECUTE FUNCTION house_rule()"
    ));
}

fn end_rule(scene: &Scene, table: &str) {
    scene.db.execute(&format!("DROP TRIGGER house_rule ON whaply.{table}"));
}

/// What view health says of that which is refused: the problem.
#[track_caller]
fn wait_for_finding(scene: &Scene) -> String {
    let told =
        "SELECT problem FROM whaply.health WHERE subject = 'refused' AND severity = 'critical'";
    let mut found = Vec::new();
    wait_until("a finding", PATIENCE, || {
        found = scene.db.column::<String>(told, &[]);
        !found.is_empty()
    });
    found.remove(0)
}

#[track_caller]
fn wait_until_nothing_is_refused(scene: &Scene) {
    let left = "SELECT count(*) = 0 FROM whaply.findings WHERE subject = 'refused'";
    wait_until("nothing to be refused any more", PATIENCE, || scene.db.value::<bool>(left, &[]));
}

#[track_caller]
fn others_are_answered(scene: &Scene) {
    for _ in 0..3 {
        scene.somebody_else_is_answered();
    }
}

fn times_in_log(words: &str) -> usize {
    shared_cluster().log().matches(words).count()
}

#[test]
fn a_reply_that_may_not_be_claimed_keeps_back_no_other_and_is_answered_once_it_may() {
    let scene = Scene::start(shared_cluster(), "unclaimed");
    scene.set_tenant("max_in_flight = 1");
    let of_maria = "NEW.state = 'generating' AND NEW.chat_id LIKE '5511999990001%'";
    refuse(&scene, "replies", of_maria, "no claims in this house");
    let refused = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    let finding = wait_for_finding(&scene);
    assert!(
        finding.contains("of 1 row since") && finding.contains("reply 1: no claims"),
        "{finding}"
    );
    others_are_answered(&scene);
    assert_eq!(scene.action(&refused.id).as_deref(), Some("ai_queued"));
    assert_eq!(times_in_log("could not finish a round: no claims in this house"), 1);
    let overdue = "SELECT count(*) FROM whaply.health WHERE subject = 'queue'";
    assert_eq!(scene.db.value::<i64>(overdue, &[]), 0);

    end_rule(&scene, "replies");
    scene.wait_for_action(&refused.id, "ai_replied");
    wait_until_nothing_is_refused(&scene);
    scene.wait_until_idle();
    assert_eq!(scene.texts_to(MARIA).len(), 1);
}

#[test]
fn a_message_that_may_not_be_sent_keeps_back_no_other() {
    let scene = Scene::start(shared_cluster(), "unsent");
    scene.set_tenant("max_in_flight = 1");
    let of_maria = "NEW.state = 'sending' AND NEW.chat_id LIKE '5511999990001%'";
    refuse(&scene, "deliveries", of_maria, "no sends in this house");
    let refused = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    let finding = wait_for_finding(&scene);
    assert!(finding.contains("no sends in this house"), "{finding}");
    others_are_answered(&scene);
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    end_rule(&scene, "deliveries");
    scene.wait_for_action(&refused.id, "ai_replied");
    wait_until_nothing_is_refused(&scene);
}

/// Two threads, and four who wait in vain: nobody else's place is theirs.
#[test]
fn one_tenant_whose_claims_are_refused_keeps_back_no_other_tenant() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.worker_threads", "2"));
    let scene = Scene::start(&cluster, "two_threads");
    refuse(&scene, "replies", "NEW.state = 'generating' AND NEW.tenant_id = 1", "not this tenant");
    for number in 1..=4 {
        let customer = format!("551199999000{number}");
        scene.shop.customer_says(customer.as_str(), "Tem alguém?").delivered();
    }
    assert!(wait_for_finding(&scene).contains("not this tenant"));
    let other = scene.evolution.create_instance("loja-outra");
    let columns = [
        ("llm_provider", "openai".to_owned()),
        ("llm_base_url", base_url("openai", &scene.llm.url())),
        ("instance_name", other.name().to_owned()),
        ("evo_server_url", scene.evolution.url()),
        ("evo_api_key", other.token().to_owned()),
        ("debounce", "0".to_owned()),
    ];
    let columns: Vec<_> =
        columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let tenant_id = insert_tenant(&scene.db, &columns);
    other.set_webhook(webhook_of(&scene.db, tenant_id, &scene.relay.url()));
    for number in 1..=3 {
        other.customer_says("5511999990088", format!("Oi {number}").as_str()).delivered();
        other.wait_for_sent(number, PATIENCE);
    }
    assert_eq!(scene.shop.sent().len(), 0);
    let told = "SELECT string_agg(DISTINCT instance_name, ' ') FROM whaply.health WHERE subject = 'refused'";
    assert_eq!(scene.db.value::<String>(told, &[]), "loja-demo");
    let said = "tenant 1: reply 1: PostgreSQL refuses to let it go on (SQLSTATE P0001)";
    assert_eq!(cluster.log().matches(said).count(), 1, "{}", cluster.log());
    end_rule(&scene, "replies");
    scene.shop.wait_for_sent(4, PATIENCE);
    wait_until_nothing_is_refused(&scene);
    assert!(cluster.log().contains("tenant 1: reply 1: PostgreSQL refuses it no more"));
}

/// A model that is asked for a reply nobody holds would be asked again and again.
#[test]
fn a_claim_that_a_trigger_swallows_asks_no_model() {
    let scene = Scene::start(shared_cluster(), "swallowed");
    let of_maria = "NEW.state = 'generating' AND NEW.chat_id LIKE '5511999990001%'";
    swallow(&scene, "replies", of_maria);
    let refused = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    let finding = wait_for_finding(&scene);
    assert!(finding.contains("a trigger or a policy keeps them"), "{finding}");
    assert_eq!(scene.llm.requests().len(), 0);
    others_are_answered(&scene);
    end_rule(&scene, "replies");
    scene.wait_for_action(&refused.id, "ai_replied");
}

#[test]
fn a_send_that_a_trigger_swallows_reaches_nobody_twice() {
    let scene = Scene::start(shared_cluster(), "swallowed_send");
    let of_maria = "NEW.state = 'sending' AND NEW.chat_id LIKE '5511999990001%'";
    swallow(&scene, "deliveries", of_maria);
    let refused = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    wait_for_finding(&scene);
    others_are_answered(&scene);
    assert_eq!(scene.texts_to(MARIA), [""; 0]);
    end_rule(&scene, "deliveries");
    scene.wait_for_action(&refused.id, "ai_replied");
    assert_eq!(scene.texts_to(MARIA).len(), 1);
}

#[test]
fn an_answer_that_may_not_be_kept_yet_is_kept_later_and_its_model_is_asked_once() {
    let scene = Scene::start(shared_cluster(), "unkept");
    let of_maria = "NEW.state = 'sending' AND NEW.chat_id LIKE '5511999990001%'";
    refuse(&scene, "replies", of_maria, "no answers in this house");
    let refused = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    assert!(wait_for_finding(&scene).contains("no answers in this house"));
    others_are_answered(&scene);
    assert_eq!(times_in_log("could not finish a round: no answers in this house"), 1);
    end_rule(&scene, "replies");
    scene.wait_for_action(&refused.id, "ai_replied");
    assert_eq!(scene.llm.requests().len(), 4);
    wait_until_nothing_is_refused(&scene);
}

/// Neither the claim nor the usual end of the reply can be written.
#[test]
fn a_reply_that_is_refused_until_its_time_is_over_fails_and_says_why() {
    let scene = Scene::start(shared_cluster(), "expired");
    scene.set_tenant("reply_expiry = '2 s'");
    refuse(&scene, "messages", "NEW.chat_id LIKE '5511999990001%'", "no messages in this house");
    scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    let failed = scene.wait_for_reply("failed");
    let error = failed.why();
    assert!(
        error.contains("within reply_expiry: PostgreSQL refused") && error.contains("no messages"),
        "{error}"
    );
    wait_until_nothing_is_refused(&scene);
    end_rule(&scene, "messages");
    scene.set_tenant("reply_expiry = NULL");
    let retried = "SELECT whaply.retry_replies('loja-demo', now() - interval '1 hour')";
    assert_eq!(scene.db.value::<i64>(retried, &[]), 1);
    scene.shop.wait_for_sent(1, PATIENCE);
}

#[test]
fn a_pause_that_may_not_end_keeps_no_other_from_ending() {
    let scene = Scene::start(shared_cluster(), "unended");
    for customer in [Person::maria(), Person::joao()] {
        scene.shop.customer_says(customer, "Oi").delivered();
    }
    scene.shop.wait_for_sent(2, PATIENCE);
    let of_maria = "OLD.is_paused AND NOT NEW.is_paused AND NEW.chat_id LIKE '5511999990001%'";
    refuse(&scene, "sessions", of_maria, "no resumptions in this house");
    scene.db.execute(
        "UPDATE whaply.sessions SET is_paused = true, pause_reason = 'manual_pause', paused_until = now()
          WHERE chat_id LIKE '551199999000%';
         SELECT whaply.pause_session('loja-demo', '5511999990003', 'by hand', interval '1 ms')",
    );
    let finding = wait_for_finding(&scene);
    assert!(finding.contains("session 1: no resumptions"), "{finding}");
    let paused = "SELECT array_agg(left(chat_id, 13)) FROM whaply.sessions WHERE is_paused";
    wait_until("the other pauses to end", PATIENCE, || {
        scene.db.value::<Vec<String>>(paused, &[]) == [MARIA]
    });
    others_are_answered(&scene);
    assert_eq!(times_in_log("could not finish a round: no resumptions in this house"), 1);
    end_rule(&scene, "sessions");
    wait_until_nothing_is_refused(&scene);
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn a_silent_chat_that_may_not_come_back_keeps_no_other_away() {
    let options = ClusterOptions::default().in_a_hurry();
    let cluster = Cluster::start(options.with("whaply.maintenance_interval", "1 s"));
    let scene = Scene::start(&cluster, "silent");
    for customer in [Person::maria(), Person::joao()] {
        scene.shop.customer_says(customer, "Oi").delivered();
    }
    scene.shop.wait_for_sent(2, PATIENCE);
    scene.wait_until_idle();
    let of_maria = "OLD.is_paused AND NOT NEW.is_paused AND NEW.chat_id LIKE '5511999990001%'";
    refuse(&scene, "sessions", of_maria, "no resumptions in this house");
    scene.db.execute(
        "UPDATE whaply.sessions SET is_paused = true, pause_reason = 'human_takeover',
                last_human_at = now() - interval '1 day'",
    );
    let finding = wait_for_finding(&scene);
    assert!(finding.contains("session 1: no resumptions"), "{finding}");
    let paused = "SELECT array_agg(left(chat_id, 13)) FROM whaply.sessions WHERE is_paused";
    wait_until("the others to come back", PATIENCE, || {
        scene.db.value::<Vec<String>>(paused, &[]) == [MARIA]
    });
    end_rule(&scene, "sessions");
    wait_until_nothing_is_refused(&scene);
    assert!(!scene.session(MARIA).is_paused);
}

#[test]
fn a_message_that_may_not_be_decided_keeps_no_other_undecided() {
    let scene = Scene::start(shared_cluster(), "undecided");
    let sending = Gate::closed();
    scene.shop.next_send(SendBehaviour::HoldThenOk(sending.clone()));
    scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    sending.wait_until_reached(PATIENCE);
    let typed = scene.shop.owner_types(Person::maria(), "Eu mesmo atendo").delivered();
    assert_eq!(scene.action(&typed.id).as_deref(), Some("pending_echo"));
    let of_typed = format!("OLD.message_id = '{}'", typed.id);
    refuse(&scene, "processed_events", &of_typed, "no decisions in this house");
    sending.release();
    let finding = wait_for_finding(&scene);
    assert!(finding.contains("no decisions in this house"), "{finding}");
    others_are_answered(&scene);
    end_rule(&scene, "processed_events");
    wait_until("the takeover", PATIENCE, || scene.session(MARIA).is_paused);
    wait_until_nothing_is_refused(&scene);
}

#[test]
fn what_a_worker_left_and_may_not_be_taken_back_keeps_back_nothing_else_of_it() {
    let scene = Scene::start(shared_cluster(), "orphans");
    assert!(scene.db.value::<bool>("SELECT whaply.stop_worker()", &[]));
    wait_until_without_worker(&scene.db);
    let refused = scene.shop.customer_says(Person::maria(), "Tem alguém?").delivered();
    let left = scene.shop.customer_says(Person::joao(), "E aqui?").delivered();
    scene.db.execute("UPDATE whaply.replies SET state = 'generating', attempt = 1");
    let of_maria = "NEW.state = 'waiting' AND NEW.chat_id LIKE '5511999990001%'";
    refuse(&scene, "replies", of_maria, "nothing comes back in this house");
    assert!(scene.db.value::<bool>("SELECT whaply.start_worker()", &[]));
    scene.wait_for_action(&left.id, "ai_replied");
    assert!(wait_for_finding(&scene).contains("nothing comes back in this house"));
    end_rule(&scene, "replies");
    scene.wait_for_action(&refused.id, "ai_replied");
}
