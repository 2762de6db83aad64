//! Pausing and resuming by hand.

use chrono::Duration;
use pgrx::datum::Interval;
use pgrx::prelude::*;

use super::arguments::given;
use super::or_raise;
use crate::error::{Error, Result};
use crate::intake::{chat_in_any_writing, consequences};
use crate::store::{Chat, sessions, tenants, transaction};

/// `varchar(100)` of `sessions.pause_reason`.
const REASON_LIMIT: usize = 100;

#[pg_extern]
fn pause_session(
    instance_name: Option<&str>,
    chat_id: Option<&str>,
    reason: default!(Option<&str>, "'manual_pause'"),
    duration: default!(Option<Interval>, "NULL"),
) -> bool {
    or_raise(pause(instance_name, chat_id, reason, duration))
}

fn pause(
    instance_name: Option<&str>,
    chat_id: Option<&str>,
    reason: Option<&str>,
    duration: Option<Interval>,
) -> Result<bool> {
    let chat = named_chat(instance_name, chat_id)?;
    let reason = given(reason, "reason")?;
    if reason.chars().count() > REASON_LIMIT {
        let reason = format!("it is longer than {REASON_LIMIT} characters");
        return Err(Error::InvalidArgument {
            argument: "reason",
            reason,
            hint: "Give a short word, as in 'vip'.",
        });
    }
    let until = duration.map(|duration| transaction::now() + length_of(&duration));
    // A chat never seen is made paused, so that a block list is one SELECT.
    sessions::create_and_lock(&chat)?;
    let changed = sessions::pause(&chat, reason, until)?;
    consequences::stop_speaking(&chat, "paused by pause_session", false)?;
    Ok(changed)
}

#[pg_extern]
fn resume_session(instance_name: Option<&str>, chat_id: Option<&str>) -> bool {
    or_raise(named_chat(instance_name, chat_id).and_then(|chat| sessions::resume(&chat)))
}

#[pg_extern]
fn resume_sessions(instance_name: Option<&str>, reason: Option<&str>) -> i64 {
    or_raise(
        tenant_id(instance_name)
            .and_then(|tenant| sessions::resume_all(tenant, given(reason, "reason")?)),
    )
}

/// The tenant of an instance, or an error that says how to make one.
pub(super) fn tenant_id(instance_name: Option<&str>) -> Result<i32> {
    let instance = given(instance_name, "instance_name")?;
    tenants::id_of(instance)?
        .ok_or_else(|| Error::UnknownInstance { instance: instance.to_owned() })
}

/// The chat that a person means, in any writing.
pub(super) fn named_chat(instance_name: Option<&str>, chat_id: Option<&str>) -> Result<Chat> {
    let tenant_id = tenant_id(instance_name)?;
    chat_in_any_writing(tenant_id, given(chat_id, "chat_id")?)
}

/// A month counts as 30 days, as PostgreSQL itself does where it compares intervals.
fn length_of(interval: &Interval) -> Duration {
    Duration::microseconds(i64::try_from(interval.as_micros()).unwrap_or(i64::MAX))
}
