//! How a statement is run: prepared once a process, each time with a fresh snapshot, and without
//! assigning a transaction id unless it writes. Nothing outside `store/` can reach this.

use std::cell::RefCell;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use pgrx::prelude::*;
use pgrx::spi::{OwnedPreparedStatement, SpiClient, SpiTupleTable};
use pgrx::{FromDatum, IntoDatum, PgOid};

use crate::error::{Error, Result};

/// A parameter of a statement.
pub type Arg<'a> = DatumWithOid<'a>;

/// The rows of a queue that may be taken now. `$ranked` names them: id, tenant_id, chat_id, due_at,
/// `most` (how many more the tenant may have) and `place` (within the tenant). Locks their sessions;
/// what somebody holds is passed over before the tenant's share is counted, `$spare` places beyond
/// it. The first parameter is the most of all.
macro_rules! fair_shares {
    ($ranked:literal, $spare:literal) => {
        concat!(
            "WITH ",
            $ranked,
            ", free AS ( \
             SELECT ranked.* FROM ranked \
               JOIN whaply.sessions s ON s.tenant_id = ranked.tenant_id AND s.chat_id = ranked.chat_id \
              WHERE ranked.most > 0 AND ranked.place <= ranked.most + ",
            $spare,
            " ORDER BY ranked.due_at, ranked.id LIMIT $1 * 2 FOR NO KEY UPDATE OF s SKIP LOCKED) \
         SELECT taken.id \
           FROM (SELECT free.id, free.due_at, free.most, \
                        row_number() OVER (PARTITION BY free.tenant_id ORDER BY free.due_at, free.id) AS place \
                   FROM free) AS taken \
          WHERE taken.place <= taken.most ORDER BY taken.due_at, taken.id LIMIT $1"
        )
    };
}
pub(super) use fair_shares;

thread_local! {
    /// Plans live as long as the process: PostgreSQL replans them itself when a table changes.
    /// They are leaked on purpose, since freeing them when a process exits would touch memory
    /// that PostgreSQL has released already.
    static PLANS: RefCell<HashMap<&'static str, &'static OwnedPreparedStatement>> = RefCell::default();
}

/// One row of an answer; columns are counted from 1.
pub struct Row<'a, 'conn> {
    table: &'a SpiTupleTable<'conn>,
}

impl Row<'_, '_> {
    /// The value of a column that cannot be NULL.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<T> {
        self.find(column)?.ok_or_else(|| Error::Internal(format!("column {column} is NULL")))
    }

    /// The value of a column, None where it is NULL.
    pub fn find<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<Option<T>> {
        self.table.get::<T>(column).map_err(spi_error)
    }

    pub fn time(&self, column: usize) -> Result<DateTime<Utc>> {
        self.get::<TimestampWithTimeZone>(column).map(from_pg)
    }

    pub fn find_time(&self, column: usize) -> Result<Option<DateTime<Utc>>> {
        Ok(self.find::<TimestampWithTimeZone>(column)?.map(from_pg))
    }

    /// A column of type `double precision` that holds seconds.
    pub fn find_seconds(&self, column: usize) -> Result<Option<chrono::Duration>> {
        let seconds = self.find::<f64>(column)?;
        Ok(seconds.map(|seconds| chrono::Duration::microseconds((seconds * 1e6) as i64)))
    }
}

/// Runs a statement that returns rows, and may write.
pub fn query<T>(
    sql: &'static str,
    args: &[Arg<'_>],
    mut read: impl FnMut(&Row<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    run(sql, args, |mut table| {
        let mut rows = Vec::with_capacity(table.len());
        while table.next().is_some() {
            rows.push(read(&Row { table: &table })?);
        }
        Ok(rows)
    })
}

/// The first row, if there is one.
pub fn query_one<T>(
    sql: &'static str,
    args: &[Arg<'_>],
    read: impl FnMut(&Row<'_, '_>) -> Result<T>,
) -> Result<Option<T>> {
    Ok(query(sql, args, read)?.into_iter().next())
}

/// Runs a statement for its effect; the number of rows it touched.
pub fn execute(sql: &'static str, args: &[Arg<'_>]) -> Result<usize> {
    run(sql, args, |table| Ok(table.len()))
}

fn run<T>(
    sql: &'static str,
    args: &[Arg<'_>],
    read: impl FnOnce(SpiTupleTable<'_>) -> Result<T>,
) -> Result<T> {
    Spi::connect(|client| {
        let plan = plan(client, sql, args)?;
        // `select` on a plan made by `prepare_mut`: a fresh snapshot each time, and a transaction
        // id only if the statement writes (`update` would assign one for every duplicate).
        let table = client.select(plan, None, args).map_err(spi_error)?;
        read(table)
    })
}

fn plan(
    client: &SpiClient<'_>,
    sql: &'static str,
    args: &[Arg<'_>],
) -> Result<&'static OwnedPreparedStatement> {
    if let Some(plan) = PLANS.with_borrow(|plans| plans.get(sql).copied()) {
        return Ok(plan);
    }
    let types: Vec<PgOid> = args.iter().map(|arg| PgOid::from(arg.oid())).collect();
    let plan = client.prepare_mut(sql, &types).map_err(spi_error)?.keep();
    let plan: &'static OwnedPreparedStatement = Box::leak(Box::new(plan));
    PLANS.with_borrow_mut(|plans| plans.insert(sql, plan));
    Ok(plan)
}

fn spi_error(error: pgrx::spi::Error) -> Error {
    Error::Internal(error.to_string())
}

/// Whether an event `e` of a message `m` of ours reports what went out through Evolution, by us or by
/// another client: `send.message`, or, of other versions of the gateway, `messages.upsert` as nobody's
/// phone has it. What the owner typed has SERVER_ACK and an addressingMode.
macro_rules! went_through_evolution {
    () => {
        "(e.event_type = 'send.message' OR (e.event_type = 'messages.upsert' \
          AND m.raw #>> '{data,status}' = 'PENDING' AND m.raw #>> '{data,key,addressingMode}' IS NULL))"
    };
}
pub(super) use went_through_evolution;

/// Microseconds between the epochs of Unix (1970) and PostgreSQL (2000).
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

pub fn time(at: DateTime<Utc>) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(at.timestamp_micros().saturating_sub(POSTGRES_EPOCH)).ok()
}

/// For `make_interval(secs => …)`.
pub fn seconds(duration: chrono::Duration) -> f64 {
    duration.num_milliseconds() as f64 / 1e3
}

fn from_pg(at: TimestampWithTimeZone) -> DateTime<Utc> {
    let micros = pg_sys::TimestampTz::from(at).saturating_add(POSTGRES_EPOCH);
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
