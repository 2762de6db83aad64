//! What an operator's monitoring asks of the tables, and whether they can be written at all. Each question
//! is answered by a small index, however long the tables are.

use super::sql;
use crate::error::Result;

/// A name and how many there are of it.
pub type Count = (String, i64);

/// A tenant as a whole. `instance_name` is what the business calls it.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantFigures {
    pub instance_name: String,
    pub line_is_open: bool,
    pub open_replies: i64,
    /// Replies that failed in the last 24 hours.
    pub failed_replies: i64,
}

/// How many replies are open, by state.
pub fn open_replies() -> Result<Vec<Count>> {
    counts(
        "SELECT state, count(*) FROM whaply.replies \
          WHERE state IN ('waiting', 'generating', 'sending') GROUP BY state",
    )
}

/// How many messages are on their way, by state.
pub fn open_deliveries() -> Result<Vec<Count>> {
    counts(
        "SELECT state, count(*) FROM whaply.deliveries \
          WHERE state IN ('pending', 'sending', 'uncertain') GROUP BY state",
    )
}

/// How many chats are paused, by reason. Whatever a person gave as the reason counts as manual_pause.
pub fn paused_chats() -> Result<Vec<Count>> {
    counts(
        "SELECT CASE WHEN pause_reason IN ('human_takeover', 'other_sender', 'ai_failed', 'loop_guard') \
                     THEN pause_reason::text ELSE 'manual_pause' END, count(*) \
           FROM whaply.sessions WHERE is_paused = true GROUP BY 1",
    )
}

/// How many tenants there are, by the state of their line; `unknown`: nothing has been told of it.
pub fn lines() -> Result<Vec<Count>> {
    counts("SELECT coalesce(connection_state, 'unknown'), count(*) FROM whaply.tenants GROUP BY 1")
}

/// The rows of each table that nobody sees any more and vacuum has not taken yet.
pub fn dead_rows() -> Result<Vec<Count>> {
    counts(
        "SELECT c.relname::text, pg_stat_get_dead_tuples(c.oid) FROM pg_class c \
          WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = 'whaply') \
            AND c.relkind = 'r' ORDER BY 1",
    )
}

/// The first tenants, at most `most`. A line of which nothing was told counts as open, as the worker has it.
pub fn tenants(most: i64) -> Result<Vec<TenantFigures>> {
    sql::query(
        "SELECT t.instance_name::text, coalesce(t.connection_state, 'open') = 'open', \
                (SELECT count(*) FROM whaply.replies r WHERE r.tenant_id = t.id \
                    AND r.state IN ('waiting', 'generating', 'sending')), \
                (SELECT count(*) FROM whaply.replies r WHERE r.tenant_id = t.id AND r.state = 'failed' \
                    AND r.finished_at > clock_timestamp() - interval '24 hours') \
           FROM whaply.tenants t ORDER BY t.id LIMIT $1",
        &[most.into()],
        |row| {
            Ok(TenantFigures {
                instance_name: row.get(1)?,
                line_is_open: row.get(2)?,
                open_replies: row.get(3)?,
                failed_replies: row.get(4)?,
            })
        },
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

fn counts(sql: &'static str) -> Result<Vec<Count>> {
    sql::query(sql, &[], |row| Ok((row.get(1)?, row.get(2)?)))
}
