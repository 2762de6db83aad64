//! Two ways to take the same events, and what each leaves in the tables.

// clippy.toml allows it in tests, but does not know the helpers of #[pg_test] as such.
#![allow(clippy::unwrap_used)]

use chrono::{DateTime, Utc};
use pgrx::prelude::*;
use serde_json::Value;

use crate::intake::{Outcome, ingest_all, single};
use crate::webhook::{self, Payload};

/// The instances of one world, that of the events taken in batches.
pub const TOGETHER: [&str; 2] = ["together one", "together two"];
/// Its twin, where each event is taken alone.
pub const ALONE: [&str; 2] = ["alone one", "alone two"];
pub const NOBODY: &str = "nobody";

/// Makes the tenants of both worlds, with settings in common.
pub fn make_tenants(settings: &[(&str, &str)]) {
    for instance in TOGETHER.into_iter().chain(ALONE) {
        let sql = "INSERT INTO whaply.tenants (instance_name, evo_server_url) VALUES ($1, 'http://127.0.0.1:1')";
        Spi::run_with_args(sql, &[instance.into()]).unwrap();
    }
    for (column, value) in settings {
        Spi::run(&format!("UPDATE whaply.tenants SET {column} = {value}")).unwrap();
    }
}

/// The same events as they come to each world.
fn in_world(events: &[Value], world: [&str; 2]) -> Vec<Payload> {
    let there = |event: &Value| {
        let mut event = event.clone();
        let instance = match event["instance"].as_str() {
            Some("one") => world[0],
            Some("two") => world[1],
            _ => NOBODY,
        };
        event["instance"] = instance.into();
        webhook::read(&event.to_string()).unwrap()
    };
    events.iter().map(there).collect()
}

/// What was told of an event, without ids that differ between the worlds.
fn told(outcome: &crate::error::Result<Outcome>) -> String {
    match outcome {
        Err(error) => error.to_string(),
        Ok(told) => format!(
            "{} {} {:?} {:?} answered: {} wakes: {}",
            told.action,
            if told.duplicate { "again" } else { "first" },
            told.chat_id,
            told.message_id,
            told.reply_id.is_some(),
            told.wakes_worker.is_some()
        ),
    }
}

/// Takes the events in batches that end at `ends`, and each alone by the code for one event; what is
/// told and what is left must be the same.
pub fn assert_same(events: &[Value], ends: &[usize], now: DateTime<Utc>) {
    let alone: Vec<String> =
        in_world(events, ALONE).iter().map(|payload| told(&single::take(payload, now))).collect();
    let payloads = in_world(events, TOGETHER);
    let mut together = Vec::new();
    let mut start = 0;
    for end in ends.iter().copied().chain([payloads.len()]) {
        together.extend(ingest_all(&payloads[start..end], now).iter().map(told));
        start = end;
    }
    for (at, (together, alone)) in together.iter().zip(&alone).enumerate() {
        assert_eq!(together, alone, "event {at}: {}, batches ending at {ends:?}", events[at]);
    }
    for table in TABLES {
        let [together, alone] = [TOGETHER, ALONE].map(|world| rows(table, world));
        for (together, alone) in together.iter().zip(&alone) {
            assert_eq!(together, alone, "batches ending at {ends:?}");
        }
        assert_eq!(together.len(), alone.len(), "batches ending at {ends:?}: {table}");
    }
}

const TABLES: [&str; 6] = [
    "SELECT t.connection_state, t.own_lids, t.auto_reply_texts FROM tenants t",
    "SELECT s.chat_id, s.is_paused, s.pause_reason, s.last_message_at, s.last_human_at, s.contact_name, s.reply_jid, \
            s.paused_until, s.steered_at FROM sessions s",
    "SELECT m.chat_id, m.message_id, m.from_me, m.message_type, m.text, m.raw - 'instance', m.sent_at, m.sender, \
            m.status, m.edited_at, m.deleted_at, CASE WHEN m.edited_at IS NULL AND m.deleted_at IS NULL THEN row_number() OVER ( \
                PARTITION BY m.tenant_id, m.chat_id, m.edited_at IS NULL AND m.deleted_at IS NULL ORDER BY m.id) END \
       FROM messages m",
    "SELECT e.message_id, e.event_type, e.action_taken FROM processed_events e",
    "SELECT a.jid, a.chat_id, a.confirmed FROM chat_aliases a",
    "SELECT r.chat_id, r.state, r.due_at, r.wanted, r.seen, r.first_sent_at, r.error FROM replies r",
];

/// The rows of a world, as text in one order.
fn rows(table: &str, world: [&str; 2]) -> Vec<String> {
    let (columns, from) = table.rsplit_once(" FROM ").unwrap();
    let alias = from.trim().rsplit_once(' ').unwrap().1;
    let tenant = if alias == "t" { "t.id".to_owned() } else { format!("{alias}.tenant_id") };
    let sql = format!(
        "SELECT coalesce(array_agg(line ORDER BY line COLLATE \"C\"), '{{}}') \
           FROM (SELECT (x.*)::text AS line FROM ({columns}, i.instance_name = $2 AS of_the_second FROM whaply.{} \
                   JOIN whaply.tenants i ON i.id = {tenant} WHERE i.instance_name IN ($1, $2)) AS x) AS lines",
        from.trim()
    );
    Spi::get_one_with_args::<Vec<String>>(&sql, &[world[0].into(), world[1].into()])
        .unwrap()
        .unwrap()
}
