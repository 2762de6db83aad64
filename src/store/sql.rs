//! How a statement is run: prepared once a process, each time with a fresh snapshot, and without
//! assigning a transaction id unless it writes. Nothing outside `store/` can reach this.

use std::ffi::c_char;

use chrono::{DateTime, Utc};
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use pgrx::prelude::*;
use pgrx::{FromDatum, IntoDatum};

use super::plans::{self, Finds};
use crate::error::{Error, Result};

/// A parameter of a statement.
pub type Arg<'a> = DatumWithOid<'a>;

/// The answer of a statement. It lives as long as the connection to SPI.
struct Rows<'conn> {
    /// None where the statement returns no rows.
    table: Option<&'conn pg_sys::SPITupleTable>,
    count: usize,
}

/// One row of an answer; columns are counted from 1.
pub struct Row<'a, 'conn> {
    rows: &'a Rows<'conn>,
    at: usize,
}

impl Row<'_, '_> {
    /// The value of a column that cannot be NULL.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<T> {
        self.find(column)?.ok_or_else(|| Error::Internal(format!("column {column} is NULL")))
    }

    /// The value of a column, None where it is NULL.
    pub fn find<T: FromDatum + IntoDatum>(&self, column: usize) -> Result<Option<T>> {
        let (Some(table), Ok(number)) = (self.rows.table, i32::try_from(column)) else {
            return Err(Error::Internal("a statement returned no rows".to_owned()));
        };
        let mut is_null = false;
        // SAFETY: `at` is below the number of rows; SPI_getbinval tells a wrong column by its status; the
        // types are compared before the datum is read, and what is read is a copy.
        unsafe {
            let tuple = *table.vals.add(self.at);
            let datum = pg_sys::SPI_getbinval(tuple, table.tupdesc, number, &raw mut is_null);
            let type_of_column = pg_sys::SPI_gettypeid(table.tupdesc, number);
            T::try_from_datum(datum, is_null, type_of_column)
                .map_err(|error| Error::Internal(error.to_string()))
        }
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
    read: impl FnMut(&Row<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    run(sql, args, Finds::AsPlanned, |rows| rows.read(read))
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
    run(sql, args, Finds::AsPlanned, |rows| Ok(rows.count))
}

/// [`query`] where each row is found by its key, however many there are and however big the tables.
pub fn query_by_index<T>(
    sql: &'static str,
    args: &[Arg<'_>],
    read: impl FnMut(&Row<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    run(sql, args, Finds::ByIndex, |rows| rows.read(read))
}

/// [`execute`] where each row is found by its key.
pub fn execute_by_index(sql: &'static str, args: &[Arg<'_>]) -> Result<usize> {
    run(sql, args, Finds::ByIndex, |rows| Ok(rows.count))
}

impl Rows<'_> {
    fn read<T>(&self, mut read: impl FnMut(&Row<'_, '_>) -> Result<T>) -> Result<Vec<T>> {
        let count = if self.table.is_some() { self.count } else { 0 };
        (0..count).map(|at| read(&Row { rows: self, at })).collect()
    }
}

fn run<T>(
    sql: &'static str,
    args: &[Arg<'_>],
    finds: Finds,
    read: impl FnOnce(&Rows<'_>) -> Result<T>,
) -> Result<T> {
    Spi::connect(|_| {
        let plan = plans::plan(sql, args, finds)?;
        let (mut values, nulls): (Vec<pg_sys::Datum>, Vec<c_char>) = args
            .iter()
            .map(|arg| match arg.datum() {
                Some(value) => (value.sans_lifetime(), b' ' as c_char),
                None => (pg_sys::Datum::from(0), b'n' as c_char),
            })
            .unzip();
        // Not read-only: a fresh snapshot each time, and a transaction id only if the statement writes.
        // SAFETY: the plan was prepared for as many arguments of these types; what SPI_tuptable points to
        // lives until the connection ends, after `read`.
        let rows = unsafe {
            pg_sys::SPI_tuptable = std::ptr::null_mut();
            let status =
                pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), false, 0);
            Spi::check_status(status).map_err(spi_error)?;
            Rows {
                table: pg_sys::SPI_tuptable.as_ref(),
                count: usize::try_from(pg_sys::SPI_processed).unwrap_or(usize::MAX),
            }
        };
        read(&rows)
    })
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

/// A statement about any number of things, in two writings: its rows come from the parameters themselves
/// where it is one, which is the frequent case and half the work, and from arrays where there are more.
pub struct PerRow {
    pub one: &'static str,
    pub many: &'static str,
}

/// A [`PerRow`] from a statement in which `{rows}` stands for the rows, made of so many parameters.
macro_rules! per_row {
    ($before:expr, [$($parameter:literal)+], $after:expr) => {
        $crate::store::sql::PerRow {
            one: concat!($before, "(SELECT ", $crate::store::sql::list!($($parameter)+), ")", $after),
            many: concat!($before, "unnest(", $crate::store::sql::list!($($parameter)+), ")", $after),
        }
    };
}
pub(super) use per_row;

/// Literals with commas between them.
macro_rules! list {
    ($first:literal $($more:literal)*) => {
        concat!($first $(, ", ", $more)*)
    };
}
pub(super) use list;

/// Names of columns with commas between them, each behind `of`, which is a table's alias and a dot.
macro_rules! columns_of {
    ($of:literal: $first:literal $(, $more:literal)*) => {
        concat!($of, $first $(, ", ", $of, $more)*)
    };
}
pub(super) use columns_of;

impl PerRow {
    /// The writing for these things.
    pub fn of<T>(&self, things: &[T]) -> &'static str {
        if things.len() == 1 { self.one } else { self.many }
    }
}

/// A parameter of a [`PerRow`]: what `value` makes of each thing.
pub fn column<'t, T, V: IntoDatum>(things: &'t [T], value: impl Fn(&'t T) -> V) -> Arg<'static> {
    match things {
        [one] => value(one).into(),
        many => array(many.iter().map(value)),
    }
}

/// A parameter that is an array.
pub fn array<T: IntoDatum>(values: impl Iterator<Item = T>) -> Arg<'static> {
    values.collect::<Vec<T>>().into()
}

/// Refuses to go on where a statement has changed fewer rows than it named, all of them locked: somebody's
/// trigger or policy keeps a row as it is, and says nothing.
pub fn require_all(table: &str, named: usize, changed: usize) -> Result<()> {
    if changed == named {
        return Ok(());
    }
    let kept = named.saturating_sub(changed);
    Err(Error::Internal(format!(
        "{kept} of {named} rows of whaply.{table} stayed as they are: a trigger or a policy keeps them"
    )))
}

/// Of what was asked for, each once, which came back: a statement passes some over, but keeps the order.
pub fn which<T: PartialEq>(asked: impl Iterator<Item = T>, came_back: &[T]) -> Vec<bool> {
    let mut rest = came_back.iter().peekable();
    asked.map(|one| rest.next_if(|other| **other == one).is_some()).collect()
}

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
