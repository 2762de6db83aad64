//! The way in that the README recommends, built by the README's own SQL: what comes through it is
//! answered, and whoever stands at it can do nothing else.

use postgres::error::SqlState;
use support::scene::{SECRET_HEADER, webhook_of};
use support::{PATIENCE, Relay, RelayOptions, Scene, Webhook, shared_cluster, wait_until};

const README: &str = include_str!("../README.md");

const CUSTOMER: &str = "5511999990001";

/// PostgREST as far as the database sees it. Roles are the whole server's, so each test has its own.
struct Door {
    scene: Scene,
    relay: Relay,
    authenticator: String,
    anonymous: String,
}

fn open_the_door(prefix: &str) -> Door {
    let scene = Scene::start(shared_cluster(), prefix);
    let anonymous = format!("anonymous_{}", scene.db.name());
    let authenticator = format!("login_{}", scene.db.name());
    scene.db.execute(&format!("CREATE ROLE {authenticator} LOGIN NOINHERIT"));
    let snippet = snippet_of_the_readme();
    scene.db.execute(
        &snippet.replace("evolution", &anonymous).replace("authenticator", &authenticator),
    );
    let relay = Relay::start_with(
        &scene.db,
        RelayOptions {
            function: "hooks.webhook".to_owned(),
            role: Some(anonymous.clone()),
            ..RelayOptions::default()
        },
    );
    scene.shop.set_webhook(webhook_of(&scene.db, scene.tenant_id, &relay.url()));
    Door { scene, relay, authenticator, anonymous }
}

fn snippet_of_the_readme() -> &'static str {
    let mut blocks = README.split("```sql\n").filter_map(|block| block.split("```").next());
    let snippet = blocks.find(|block| block.starts_with("CREATE SCHEMA hooks"));
    snippet.expect("the README shows how to set PostgREST up")
}

#[test]
fn a_webhook_through_the_door_of_the_readme_is_answered() {
    let Door { scene, .. } = &open_the_door("answered");
    scene.shop.customer_says(CUSTOMER, "Abrem aos domingos?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    assert_eq!(scene.shop.sent_texts(), ["Answer 1 to: Abrem aos domingos?"]);
}

#[test]
fn the_role_at_the_door_can_call_nothing_else() {
    let door = open_the_door("nothing_else");
    let mut client = door.scene.db.connect_as(&door.authenticator);
    client.batch_execute(&format!("SET ROLE {}", door.anonymous)).expect("as PostgREST does");
    let refused = [
        "SELECT whaply.ingest('{}')",
        "SELECT whaply.receive('{}')",
        "SELECT whaply.webhook('{}')",
        "SELECT whaply.pause_session('loja-demo', '5511999990001')",
        "SELECT webhook_secret FROM whaply.tenants",
        "TABLE whaply.messages",
        "TABLE whaply.health",
    ];
    for sql in refused {
        let error = client.batch_execute(sql).expect_err(sql);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
    }
}

#[test]
fn a_wrong_secret_and_an_unknown_instance_are_turned_away_at_the_door() {
    let door = open_the_door("turned_away");
    let wrong = Webhook::to(door.relay.url()).with_header(SECRET_HEADER, "not the secret");
    door.scene.shop.set_webhook(wrong);
    let answer = door.scene.shop.customer_says(CUSTOMER, "Oi?").answer();
    assert_eq!(answer.status, Some(401));
    // A missing privilege would be 401 too.
    assert_eq!(answer.json()["code"], "PT401", "{answer:?}");

    let stranger = door.scene.evolution.create_instance("nobody-s-shop");
    stranger.set_webhook(Webhook::to(door.relay.url()));
    let answer = stranger.customer_says(CUSTOMER, "Oi?").answer();
    assert_eq!(answer.status, Some(404));
    assert_eq!(answer.json()["code"], "PT404", "{answer:?}");

    let stored = "SELECT count(*) FROM whaply.messages";
    assert_eq!(door.scene.db.value::<i64>(stored, &[]), 0);
}

#[test]
fn a_webhook_with_the_secret_of_before_the_change_is_answered() {
    let Door { scene, .. } = &open_the_door("former_secret");
    scene.db.execute("UPDATE whaply.tenants SET webhook_secret = 'changed'");
    scene.shop.customer_says(CUSTOMER, "Abrem aos domingos?").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
}

/// Whose posts were refused, how many, and why, as an operator reads it.
fn refused(scene: &Scene) -> Vec<String> {
    let health = "SELECT coalesce(instance_name, 'nobody') || ' ' || split_part(problem, ' ', 1) \
                         || substring(problem FROM ' [a-z_]+$') \
                    FROM whaply.health WHERE subject = 'webhooks' ORDER BY 1";
    scene.db.column(health, &[])
}

#[test]
fn posts_that_are_turned_away_are_counted_in_health() {
    let door = open_the_door("counted");
    let shop = &door.scene.shop;
    for (secret, times) in [(Some("wrong"), 2), (Some(""), 1), (None, 1)] {
        let webhook = Webhook::to(door.relay.url());
        shop.set_webhook(match secret {
            Some(secret) => webhook.with_header(SECRET_HEADER, secret),
            None => webhook,
        });
        for _ in 0..times {
            assert_eq!(shop.customer_says(CUSTOMER, "Oi?").answer().status, Some(401));
        }
    }
    let stranger = door.scene.evolution.create_instance("nobody-s-shop");
    stranger.set_webhook(Webhook::to(door.relay.url()));
    assert_eq!(stranger.customer_says(CUSTOMER, "Oi?").answer().status, Some(404));

    let name: String = door.scene.db.value("SELECT instance_name::text FROM whaply.tenants", &[]);
    let mut expected = vec![
        format!("{name} 2 no_secret"),
        format!("{name} 2 wrong_secret"),
        "nobody 1 unknown_instance".to_owned(),
    ];
    expected.sort();
    wait_until("the worker has noted what was refused", PATIENCE, || {
        let seen = refused(&door.scene);
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    // Once more: the sums grow, and the rows do not.
    assert_eq!(shop.customer_says(CUSTOMER, "Oi?").answer().status, Some(401));
    wait_until("the sum has grown", PATIENCE, || {
        refused(&door.scene).contains(&format!("{name} 3 no_secret"))
    });
    assert_eq!(door.scene.db.value::<i64>("SELECT count(*) FROM whaply.refused_webhooks", &[]), 3);
}

#[test]
fn a_tenant_that_somebody_holds_keeps_no_other_refusal_from_being_noted() {
    let door = open_the_door("held_tenant");
    let shop = &door.scene.shop;
    let mut client = door.scene.db.connect();
    let mut holder = client.transaction().expect("a transaction");
    holder.execute("SELECT FROM whaply.tenants FOR UPDATE", &[]).expect("a row lock");

    shop.set_webhook(Webhook::to(door.relay.url()));
    assert_eq!(shop.customer_says(CUSTOMER, "Oi?").answer().status, Some(401));
    let stranger = door.scene.evolution.create_instance("nobody-s-shop");
    stranger.set_webhook(Webhook::to(door.relay.url()));
    assert_eq!(stranger.customer_says(CUSTOMER, "Oi?").answer().status, Some(404));
    wait_until("the worker passes the tenant over", PATIENCE, || {
        refused(&door.scene) == ["nobody 1 unknown_instance"]
    });

    holder.rollback().expect("the row is free");
    wait_until("the worker has noted the rest", PATIENCE, || refused(&door.scene).len() == 2);
}
