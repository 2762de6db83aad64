//! Pausing and resuming by hand.

use chrono::Duration;
use pgrx::datum::Interval;
use pgrx::prelude::*;

use super::arguments::given;
use super::named::{locked_chat, tenant_of};
use super::or_raise;
use crate::error::{Error, Result};
use crate::intake::{consequences, pauses};
use crate::settings;
use crate::store::access::{Caller, Level};
use crate::store::acting_role::as_worker;
use crate::store::{resumptions, sessions, tenants, transaction};
use crate::worker;

/// `varchar(100)` of `sessions.pause_reason`.
const REASON_LIMIT: usize = 100;

/// Far beyond any pause with an end, and far below where the arithmetic of times overflows.
const LONGEST_PAUSE: Duration = Duration::days(10 * 365);

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn pause_session(
    instance_name: Option<&str>,
    chat_id: Option<&str>,
    reason: default!(Option<&str>, "'manual_pause'"),
    duration: default!(Option<Interval>, "NULL"),
) -> bool {
    or_raise(as_worker(|caller| pause(caller, instance_name, chat_id, reason, duration)))
}

fn pause(
    caller: &Caller,
    instance_name: Option<&str>,
    chat_id: Option<&str>,
    reason: Option<&str>,
    duration: Option<Interval>,
) -> Result<bool> {
    let chat = locked_chat(caller, instance_name, chat_id)?;
    let reason = given(reason, "reason")?;
    if reason.chars().count() > REASON_LIMIT {
        let reason = format!("it is longer than {REASON_LIMIT} characters");
        return Err(Error::InvalidArgument {
            argument: "reason",
            reason,
            hint: "Give a short word, as in 'vip'.",
        });
    }
    let length = duration.as_ref().map(length_of).transpose()?;
    let until = length.map(|length| transaction::now() + length);
    // A chat never seen is made paused, so that a block list is one SELECT.
    sessions::create_and_lock(&chat)?;
    let changed = sessions::pause(&chat, reason, until)?;
    sessions::steered_by_hand(&chat)?;
    consequences::stop_speaking(&chat, "paused by pause_session", false)?;
    Ok(changed)
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn resume_session(instance_name: Option<&str>, chat_id: Option<&str>) -> bool {
    or_raise(as_worker(|caller| resume(caller, instance_name, chat_id)))
}

fn resume(caller: &Caller, instance_name: Option<&str>, chat_id: Option<&str>) -> Result<bool> {
    let chat = locked_chat(caller, instance_name, chat_id)?;
    let Some(tenant) = tenants::by_id(chat.tenant_id, &settings::behaviour())? else {
        return Ok(false);
    };
    let changed = pauses::resume(&tenant, &chat, transaction::now())?;
    if changed {
        worker::wake_at_commit();
    }
    Ok(changed)
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn resume_sessions(instance_name: Option<&str>, reason: Option<&str>) -> i64 {
    or_raise(as_worker(|caller| resume_all(caller, instance_name, reason)))
}

fn resume_all(caller: &Caller, instance_name: Option<&str>, reason: Option<&str>) -> Result<i64> {
    let defaults = settings::behaviour();
    let tenant_id = tenant_of(caller, Level::Operator, instance_name)?;
    let reason = given(reason, "reason")?;
    let resumed = resumptions::resume_all(tenant_id, reason, defaults.answer_after_pause)?;
    if pauses::all_ended(&resumed, &defaults, transaction::now())? > 0 {
        worker::wake_at_commit();
    }
    Ok(resumed.count)
}

/// How long a pause for a time is. A month counts as 30 days, as PostgreSQL itself does where it
/// compares intervals; its infinite intervals (17 and later) are the longest and shortest of all.
fn length_of(duration: &Interval) -> Result<Duration> {
    let refused = |reason: String| Error::InvalidArgument {
        argument: "duration",
        reason,
        hint: "Give a time as in '1 hour', or no duration for a pause until resume_session.",
    };
    let length = i64::try_from(duration.as_micros()).map_or(Duration::MAX, Duration::microseconds);
    if duration.as_micros() <= 0 {
        return Err(refused("it is not longer than 0".to_owned()));
    }
    if length > LONGEST_PAUSE {
        return Err(refused(format!("it is longer than {} days", LONGEST_PAUSE.num_days())));
    }
    Ok(length)
}
