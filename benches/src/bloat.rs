//! Row bloat: rounds of the same size of what comes and of what is cleaned up, and how large the tables are
//! after each. Vacuum runs where autovacuum would; nothing else gives space back.

use anyhow::{Context, Result};
use postgres::Client;
use support::Database;

use crate::line::{Line, Target};
use crate::options::{Options, Row};
use crate::series::Spread;
use crate::stage::Stage;
use crate::traffic::World;

const TENANT: World = World { prefix: "bloat", tenants: 1, chats: 1, stride: 1 };

const ROUNDS: usize = 8;
const MESSAGES: i64 = 10_000;
const QUICK_MESSAGES: i64 = 1_000;

/// What a transaction takes: more would be dead only when all of it is over.
const AT_ONCE: i64 = 500;

/// Message $1 and those after it, of 500 customers, as Evolution would post them.
const INGEST: &str = r#"
    SELECT count(whaply.ingest(jsonb_build_object('event', 'messages.upsert', 'instance', t.instance_name,
           'sender', '5511988880000@s.whatsapp.net', 'data', jsonb_build_object(
               'key', jsonb_build_object('id', 'AC' || upper(md5(n::text)), 'fromMe', false,
                                         'remoteJid', '55119' || lpad((n * 7919 % 500)::text, 8, '0') || '@s.whatsapp.net'),
               'pushName', 'Maria', 'messageType', 'conversation', 'status', 'DELIVERY_ACK',
               'message', jsonb_build_object('conversation', repeat('Bom dia! ', 10)),
               'messageTimestamp', extract(epoch FROM now())::bigint))))
      FROM (SELECT instance_name FROM whaply.tenants ORDER BY id LIMIT 1) AS t, generate_series($1::bigint, $2::bigint) AS n"#;

/// The archive is the user's own, and grows.
const CLEAN_UP: [&str; 3] = [
    "SELECT whaply.cleanup_old_processed_events(0)",
    "SELECT whaply.archive_messages(0)",
    "TRUNCATE whaply.messages_archive",
];

const VACUUM: [&str; 4] = [
    "VACUUM whaply.messages",
    "VACUUM whaply.processed_events",
    "VACUUM whaply.sessions",
    "VACUUM whaply.replies",
];

const SIZE: &str = "
    SELECT sum(pg_total_relation_size(member))::bigint
      FROM unnest('{whaply.messages,whaply.processed_events,whaply.sessions,whaply.replies}'::regclass[]) AS member";

pub fn measure(options: &Options) -> Result<Vec<(Row, Line)>> {
    let stage = Stage::start(&TENANT)?;
    let messages = if options.quick { QUICK_MESSAGES } else { MESSAGES };
    let sizes = rounds(&stage.database, messages)?;
    let [first, .., last] = sizes.as_slice() else { return Ok(Vec::new()) };
    let ratio = Spread::of(vec![last / first])?;
    let listed: Vec<_> = sizes.iter().map(|size| format!("{size:.1}")).collect();
    eprintln!("  MiB after each round of {messages} messages: {}", listed.join(", "));
    let line = Line::ratio(
        "size of the tables after eight rounds of messages and clean-up",
        (Spread::of(vec![*last])?, " MiB"),
        ("after the second", Spread::of(vec![*first])?, " MiB"),
        ratio,
        Target::at_most(1.1),
    );
    Ok(vec![(Row::Bloat, line)])
}

/// MiB after each round but the first, which finds the tables empty.
fn rounds(database: &Database, messages: i64) -> Result<Vec<f64>> {
    let mut client = database.connect();
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        let first = i64::try_from(round)? * messages;
        for from in (first..first + messages).step_by(usize::try_from(AT_ONCE)?) {
            client.query_one(INGEST, &[&from, &(from + AT_ONCE - 1)]).context("ingest")?;
        }
        each(&mut client, &CLEAN_UP)?;
        each(&mut client, &VACUUM)?;
        let bytes: i64 = client.query_one(SIZE, &[])?.get(0);
        sizes.push(bytes as f64 / f64::from(1 << 20));
    }
    Ok(sizes.split_off(1))
}

/// VACUUM must not share a transaction.
fn each(client: &mut Client, statements: &[&str]) -> Result<()> {
    for sql in statements {
        client.batch_execute(sql).with_context(|| (*sql).to_owned())?;
    }
    Ok(())
}
