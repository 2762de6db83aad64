//! Many customers at once in a database that is so young that the planner knows nothing of its
//! tables: a statement that reads all of a tenant's rows for each question would stand still here.

use std::time::Duration;

use support::{Cluster, ClusterOptions, Scene, SceneOptions, wait_until};

const CUSTOMERS: usize = 500;

/// Each of them costs a call to the model, a send, and its echo, on a machine with other work.
const LIMIT: Duration = Duration::from_secs(180);

/// Questions that have come, each in its own chat, all due now.
const QUESTIONS: &str = "
    WITH chats AS (
        INSERT INTO whaply.sessions (tenant_id, chat_id, reply_jid)
        SELECT $1, jid, jid FROM (SELECT 5511990000000 + n || '@s.whatsapp.net' FROM generate_series(1, $2) AS n) AS c (jid)
        RETURNING tenant_id, chat_id),
    questions AS (
        INSERT INTO whaply.messages (tenant_id, chat_id, message_id, text, sender)
        SELECT tenant_id, chat_id, 'ASKED-' || chat_id, 'Abrem hoje?', 'customer' FROM chats
        RETURNING tenant_id, message_id),
    events AS (
        INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken)
        SELECT tenant_id, message_id, 'messages.upsert', 'ai_queued' FROM questions)
    INSERT INTO whaply.replies (tenant_id, chat_id, due_at, first_sent_at)
    SELECT tenant_id, chat_id, now(), now() FROM chats";

#[test]
fn a_burst_in_a_new_database_is_answered_to_the_last() {
    let options = ClusterOptions::default().in_a_hurry().with("whaply.poll_interval", "100ms");
    let cluster = Cluster::start(options.with("autovacuum", "off"));
    let no_limit = SceneOptions::default().with("answers_per_tenant", "0");
    let scene = Scene::start_with(&cluster, "burst", no_limit);
    scene
        .db
        .rows(QUESTIONS, &[&scene.tenant_id, &i32::try_from(CUSTOMERS).expect("a small number")]);
    wait_until("every answer", LIMIT, || match scene.shop.sent().len() {
        CUSTOMERS => Ok(()),
        sent => Err(format!("{sent} answers")),
    });
    scene.wait_until_idle();
    assert_eq!(scene.shop.sent().len(), CUSTOMERS);
}
