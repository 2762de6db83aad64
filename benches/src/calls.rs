//! Load through SQL: a number of connections, each calling a prepared function with one payload after the
//! other, one transaction a call. It counts calls that returned and fails when one of them does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, Statement};

use crate::traffic::{Chat, Messages};

pub const CONNECTIONS: u8 = 16;

/// The version of jsonb's binary form, before the text.
const JSONB_VERSION: u8 = 1;

/// What was done in a run.
#[derive(Clone, Debug)]
pub struct Calls {
    /// By connection, so that the same messages can be made again.
    pub done: Vec<u32>,
    pub per_second: f64,
}

/// Which messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    Fresh,
    /// Those of the same run that these calls have brought already.
    Again(&'a Calls),
}

/// Calls `sql` (of one parameter, jsonb) with the messages of a run until the time is over.
pub fn run(
    connection: &str,
    sql: &str,
    chats: &[Chat],
    run: u16,
    kind: Kind<'_>,
    duration: Duration,
) -> Result<Calls> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let clients = try_join_all((0..CONNECTIONS).map(|_| prepared(connection, sql))).await?;
        let started_at = Instant::now();
        let end = started_at + duration;
        let lanes = clients.iter().zip(0..).map(|((client, statement), lane)| {
            let messages = match kind {
                Kind::Fresh => Messages::new(chats, run, lane),
                Kind::Again(calls) => {
                    let count = calls.done.get(usize::from(lane)).copied().unwrap_or(1);
                    Messages::again(chats, run, lane, count)
                }
            };
            call_until(end, client, statement, messages)
        });
        let done = try_join_all(lanes).await.with_context(|| sql.to_owned())?;
        let total: u32 = done.iter().sum();
        Ok(Calls { done, per_second: f64::from(total) / started_at.elapsed().as_secs_f64() })
    })
}

async fn prepared(connection: &str, sql: &str) -> Result<(Client, Statement)> {
    let (client, driver) = tokio_postgres::connect(connection, NoTls).await?;
    tokio::spawn(driver);
    let statement = client.prepare(sql).await?;
    Ok((client, statement))
}

async fn call_until(
    end: Instant,
    client: &Client,
    statement: &Statement,
    mut messages: Messages<'_>,
) -> Result<u32, tokio_postgres::Error> {
    let mut done = 0;
    while Instant::now() < end {
        client.query_one(statement, &[&JsonText(messages.next().body())]).await?;
        done += 1;
    }
    Ok(done)
}

/// A jsonb parameter that is text already.
#[derive(Debug)]
struct JsonText(String);

impl ToSql for JsonText {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&[JSONB_VERSION]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}
