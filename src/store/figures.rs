//! What an operator's monitoring asks of the tables, and whether they can be written at all.

use super::sql;
use crate::error::Result;

/// How many replies are open, by state.
pub fn open_replies() -> Result<Vec<(String, i64)>> {
    sql::query(
        "SELECT state, count(*) FROM whaply.replies \
          WHERE state IN ('waiting', 'generating', 'sending') GROUP BY state",
        &[],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}

/// How long the oldest waiting reply has been due, in seconds; 0 where none is.
pub fn longest_overdue() -> Result<f64> {
    let seconds = sql::query_one(
        "SELECT greatest(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float8 \
           FROM whaply.replies WHERE state = 'waiting'",
        &[],
        |row| row.find(1),
    )?;
    Ok(seconds.flatten().unwrap_or_default())
}

/// Makes this transaction one that writes: its commit fails where nothing can be written.
pub fn write_something() -> Result<()> {
    sql::execute("SELECT pg_catalog.pg_current_xact_id()", &[]).map(drop)
}
