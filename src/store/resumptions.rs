//! Table `sessions`, many at a time: pauses that end because a person says so of all, or by the clock.

use chrono::{DateTime, Utc};

use super::Chat;
use super::sql;
use crate::error::Result;
use crate::server_log;

/// What a statement has resumed.
pub struct Resumed {
    pub count: i64,
    /// Those whose tenants want what was asked meanwhile to be answered.
    pub with_questions: Vec<Chat>,
}

/// Ends the pauses that a condition names, in this order and with these locks. A row for each tenant tells
/// how many and its name, the others whose tenants have answer_after_pause, whose default is the parameter `$answers`.
macro_rules! resume_where {
    ($answers:literal, $from:expr, $lock:literal) => {
        concat!(
            "WITH resumed AS ( \
                 UPDATE whaply.sessions r \
                    SET is_paused = false, pause_reason = NULL, paused_until = NULL, updated_at = clock_timestamp() \
                  WHERE r.id = ANY (ARRAY(SELECT s.id FROM ",
            $from,
            " ",
            $lock,
            ")) RETURNING r.tenant_id, r.chat_id) \
             SELECT count(*), r.tenant_id, NULL::text, t.instance_name::text \
               FROM resumed r JOIN whaply.tenants t ON t.id = r.tenant_id GROUP BY r.tenant_id, t.instance_name \
              UNION ALL \
             SELECT 0, r.tenant_id, r.chat_id::text, NULL FROM resumed r JOIN whaply.tenants t ON t.id = r.tenant_id \
              WHERE coalesce(t.answer_after_pause, ",
            $answers,
            ")"
        )
    };
}

/// Whether nobody has spoken in a session `s` for as long as its tenant `t` wants, this many seconds where it
/// does not say. A manual pause is a hold and stays.
macro_rules! is_silent {
    ($seconds:literal) => {
        concat!(
            "(s.is_paused = true AND s.paused_until IS NULL \
              AND s.last_human_at < now() - coalesce(t.auto_resume_after, make_interval(secs => ",
            $seconds,
            ")) AND (s.pause_reason IS NULL OR s.pause_reason IN ('human_takeover', 'other_sender')))"
        )
    };
}

/// The shortest silence that any tenant waits for: what an index finds.
macro_rules! is_silent_somewhere {
    ($seconds:literal) => {
        concat!(
            "s.is_paused = true AND s.last_human_at < now() - (SELECT least(min(auto_resume_after), make_interval(secs => ",
            $seconds,
            ")) FROM whaply.tenants)"
        )
    };
}

fn resumed(sql: &'static str, args: &[sql::Arg<'_>]) -> Result<Resumed> {
    let rows = sql::query_by_index(sql, args, |row| {
        let names = (row.find::<String>(3)?, row.find::<String>(4)?);
        Ok((row.get::<i64>(1)?, row.get::<i32>(2)?, names))
    })?;
    for (count, tenant_id, (_, instance_name)) in &rows {
        if let Some(instance_name) = instance_name {
            let what = format!("{count} chats: resumed");
            server_log::tenant_changed(*tenant_id, instance_name, &what);
        }
    }
    Ok(Resumed {
        count: rows.iter().map(|(count, ..)| count).sum(),
        with_questions: rows
            .into_iter()
            .filter_map(|(_, tenant_id, (chat_id, _))| Some(Chat { tenant_id, chat_id: chat_id? }))
            .collect(),
    })
}

/// Resumes every session of a tenant that is paused for this reason.
pub fn resume_all(tenant_id: i32, reason: &str, answers: bool) -> Result<Resumed> {
    resumed(
        resume_where!(
            "$3",
            "whaply.sessions s WHERE s.tenant_id = $1 AND s.is_paused AND s.pause_reason = $2",
            "ORDER BY s.id FOR NO KEY UPDATE OF s"
        ),
        &[tenant_id.into(), reason.into(), answers.into()],
    )
}

/// Resumes where no human has spoken for this many hours. A manual pause is a hold and stays; rows
/// that somebody holds are left for the next time.
pub fn resume_silent(hours: f64, answers: bool) -> Result<Resumed> {
    resumed(
        resume_where!(
            "$2",
            "whaply.sessions s \
              WHERE s.is_paused = true AND s.last_human_at < now() - make_interval(secs => $1 * 3600) \
                AND s.paused_until IS NULL \
                AND (s.pause_reason IS NULL OR s.pause_reason IN ('human_takeover', 'other_sender'))",
            "ORDER BY s.last_human_at FOR NO KEY UPDATE OF s SKIP LOCKED"
        ),
        &[hours.into(), answers.into()],
    )
}

/// The same with each tenant's own `auto_resume_after`, this many seconds where it has none, but for these
/// sessions; the longest silence first, so many chats at most.
pub fn resume_silent_by_tenant(
    seconds: f64,
    answers: bool,
    at_most: i64,
    but_for: &[i64],
) -> Result<Resumed> {
    resumed(
        resume_where!(
            "$2",
            concat!(
                "whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id WHERE ",
                is_silent_somewhere!("$1"),
                " AND ",
                is_silent!("$1"),
                " AND s.id <> ALL ($4)"
            ),
            "ORDER BY s.last_human_at LIMIT $3 FOR NO KEY UPDATE OF s SKIP LOCKED"
        ),
        &[seconds.into(), answers.into(), at_most.into(), but_for.to_vec().into()],
    )
}

/// Sessions that [`resume_silent_by_tenant`] would resume.
pub fn silent(seconds: f64, at_most: i64, but_for: &[i64]) -> Result<Vec<i64>> {
    sql::query_by_index(
        concat!(
            "SELECT s.id::bigint FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id WHERE ",
            is_silent_somewhere!("$1"),
            " AND ",
            is_silent!("$1"),
            " AND s.id <> ALL ($3) ORDER BY s.last_human_at LIMIT $2"
        ),
        &[seconds.into(), at_most.into(), but_for.to_vec().into()],
        |row| row.get(1),
    )
}

/// Resumes where the pause had an end and it has passed, so many chats at most (None: all), but for these
/// sessions.
pub fn resume_expired(answers: bool, at_most: Option<i64>, but_for: &[i64]) -> Result<Resumed> {
    resumed(
        resume_where!(
            "$1",
            "whaply.sessions s WHERE s.is_paused AND s.paused_until <= clock_timestamp() AND s.id <> ALL ($3)",
            "ORDER BY s.paused_until LIMIT $2 FOR NO KEY UPDATE OF s SKIP LOCKED"
        ),
        &[answers.into(), at_most.into(), but_for.to_vec().into()],
    )
}

/// Resumes one session, if its pause is over, by its end or by silence.
pub fn resume_one(seconds: f64, answers: bool, session_id: i64) -> Result<Resumed> {
    resumed(
        resume_where!(
            "$2",
            concat!(
                "whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id \
                  WHERE s.id = $3 AND (s.is_paused AND s.paused_until <= clock_timestamp() OR ",
                is_silent!("$1"),
                ")"
            ),
            "FOR NO KEY UPDATE OF s SKIP LOCKED"
        ),
        &[seconds.into(), answers.into(), session_id.into()],
    )
}

/// When the next pause with an end is over, of the tenants of this database, but for these sessions.
pub fn next_pause_end(but_for: &[i64]) -> Result<Option<DateTime<Utc>>> {
    let next = sql::query_one(
        "SELECT s.paused_until FROM whaply.sessions s JOIN whaply.tenants t ON t.id = s.tenant_id \
          WHERE s.is_paused AND s.paused_until IS NOT NULL AND t.home = whaply.home_id() AND s.id <> ALL ($1) \
          ORDER BY s.paused_until LIMIT 1",
        &[but_for.to_vec().into()],
        |row| row.find_time(1),
    )?;
    Ok(next.flatten())
}

/// Sessions whose pauses are over, but for these, so many at most.
pub fn expired(at_most: i64, but_for: &[i64]) -> Result<Vec<i64>> {
    sql::query_by_index(
        "SELECT s.id::bigint FROM whaply.sessions s \
          WHERE s.is_paused AND s.paused_until <= clock_timestamp() AND s.id <> ALL ($2) \
          ORDER BY s.paused_until LIMIT $1",
        &[at_most.into(), but_for.to_vec().into()],
        |row| row.get(1),
    )
}

/// Which of these sessions' pauses are over, by their ends or by silence, with their tenants.
pub fn are_over(ids: &[i64], seconds: f64) -> Result<Vec<(i64, i32)>> {
    sql::query_by_index(
        concat!(
            "SELECT s.id::bigint, s.tenant_id FROM unnest($1) AS asked (id) JOIN whaply.sessions s ON s.id = asked.id \
               JOIN whaply.tenants t ON t.id = s.tenant_id \
              WHERE s.is_paused AND s.paused_until <= clock_timestamp() OR ",
            is_silent!("$2")
        ),
        &[ids.to_vec().into(), seconds.into()],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}
