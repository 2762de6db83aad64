//! What is deleted when its days are over: messages, and payloads before them. A portion at a time, by
//! id, which grows with time; rows that somebody holds are passed over, and nobody is waited for.

use super::sql;
use crate::error::Result;

/// What a portion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were deleted, or lost their payload.
    pub count: i64,
    /// The last row that was looked at and is old enough.
    pub up_to: i64,
    /// There may be more behind it.
    pub is_behind: bool,
}

/// One portion of a table: `$1` days, `$2` the id behind which it begins, `$3` rows. `and` says which of the
/// old rows `m` are left alone, `change` is done with the others.
macro_rules! portion {
    ($table:literal, $and:expr, $change:literal, $set:literal) => {
        concat!(
            "WITH next AS MATERIALIZED ( \
                 SELECT id, created_at < now() - make_interval(days => $1) AS is_old FROM ",
            $table,
            " WHERE id > $2 ORDER BY id LIMIT $3), \
             changed AS ( ",
            $change,
            $table,
            $set,
            " WHERE id = ANY (ARRAY( \
                 SELECT m.id FROM ",
            $table,
            " m WHERE m.id > $2 AND m.id <= (SELECT max(id) FROM next) \
                AND m.created_at < now() - make_interval(days => $1) ",
            $and,
            " FOR UPDATE OF m SKIP LOCKED)) RETURNING 1) \
             SELECT (SELECT count(*) FROM changed), coalesce(max(id) FILTER (WHERE is_old), $2)::bigint, \
                    count(*) = $3 AND coalesce((array_agg(is_old ORDER BY id DESC))[1], false) \
               FROM next"
        )
    };
}

/// An open reply is to answer it, or it is not known yet who wrote it.
macro_rules! but_for_open_ones {
    () => {
        " AND NOT EXISTS ( \
              SELECT FROM whaply.replies r \
               WHERE r.tenant_id = m.tenant_id AND r.state IN ('waiting', 'generating', 'sending') \
                 AND r.first_sent_at <= m.sent_at \
                 AND r.chat_id = coalesce((SELECT a.chat_id FROM whaply.chat_aliases a \
                                            WHERE a.tenant_id = m.tenant_id AND a.jid = m.chat_id), m.chat_id)) \
          AND NOT EXISTS ( \
              SELECT FROM whaply.processed_events e \
               WHERE e.tenant_id = m.tenant_id AND e.message_id = m.message_id AND e.action_taken = 'pending_echo') "
    };
}

/// Deletes messages that were stored more than so many days ago.
pub fn delete_messages(days: i32, after_id: i64, rows: i64) -> Result<Swept> {
    sweep(
        portion!("whaply.messages", but_for_open_ones!(), "DELETE FROM ", ""),
        (days, after_id, rows),
    )
}

/// Takes the payload from messages that were stored more than so many days ago.
pub fn clear_payloads(days: i32, after_id: i64, rows: i64) -> Result<Swept> {
    sweep(
        portion!(
            "whaply.messages",
            concat!(" AND m.raw IS NOT NULL ", but_for_open_ones!()),
            "UPDATE ",
            " SET raw = NULL"
        ),
        (days, after_id, rows),
    )
}

/// The same of the archive, which must be there.
pub fn delete_archived(days: i32, after_id: i64, rows: i64) -> Result<Swept> {
    sweep(portion!("whaply.messages_archive", "", "DELETE FROM ", ""), (days, after_id, rows))
}

/// The same of the archive, which must be there.
pub fn clear_archived_payloads(days: i32, after_id: i64, rows: i64) -> Result<Swept> {
    sweep(
        portion!(
            "whaply.messages_archive",
            " AND m.raw IS NOT NULL ",
            "UPDATE ",
            " SET raw = NULL"
        ),
        (days, after_id, rows),
    )
}

fn sweep(portion: &'static str, (days, after_id, rows): (i32, i64, i64)) -> Result<Swept> {
    let swept =
        sql::query_by_index(portion, &[days.into(), after_id.into(), rows.into()], |row| {
            Ok(Swept { count: row.get(1)?, up_to: row.get(2)?, is_behind: row.get(3)? })
        })?;
    Ok(swept.into_iter().next().unwrap_or(Swept { count: 0, up_to: after_id, is_behind: false }))
}
