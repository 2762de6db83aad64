//! What an operator does with a reply: try a failed one again, or call an open one off.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use super::arguments::given;
use super::named::tenant_of;
use super::or_raise;
use crate::conversation::{Action, PauseReason};
use crate::error::Result;
use crate::intake::{consequences, lock_today, pauses};
use crate::settings;
use crate::store::access::{Caller, Level};
use crate::store::acting_role::as_worker;
use crate::store::replies::{self, End};
use crate::store::{deliveries, sessions, tenants, transaction};
use crate::worker;

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn retry_reply(id: Option<i64>) -> bool {
    or_raise(as_worker(|caller| retry(caller, given(id, "id")?)))
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn retry_replies(instance_name: Option<&str>, since: Option<TimestampWithTimeZone>) -> i64 {
    or_raise(as_worker(|caller| retry_all(caller, instance_name, since)))
}

fn retry_all(
    caller: &Caller,
    instance_name: Option<&str>,
    since: Option<TimestampWithTimeZone>,
) -> Result<i64> {
    let tenant_id = tenant_of(caller, Level::Operator, instance_name)?;
    let failed = replies::failed_since(tenant_id, given(since, "since")?)?;
    failed.into_iter().try_fold(0, |retried, id| Ok(retried + i64::from(retry(caller, id)?)))
}

/// Queues a failed reply again, and ends the pause that its failure caused. A reply of a tenant that the
/// caller does not see is none.
fn retry(caller: &Caller, id: i64) -> Result<bool> {
    let Some(failed_in) = replies::find_failed(id)? else { return Ok(false) };
    if !caller.sees(Level::Operator, failed_in.tenant_id)? {
        return Ok(false);
    }
    let chat = lock_today(&failed_in)?;
    let Some(session) = sessions::lock(&chat)? else { return Ok(false) };
    if !replies::reopen(id, &chat, transaction::now())? {
        return Ok(false);
    }
    replies::reopen_questions(id)?;
    if session.pause_reason.as_deref() == Some(PauseReason::AiFailed.as_str())
        && let Some(tenant) = tenants::by_id(chat.tenant_id, &settings::behaviour())?
    {
        pauses::resume(&tenant, &chat, transaction::now())?;
    }
    worker::wake_at_commit();
    Ok(true)
}

#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn cancel_reply(id: Option<i64>) -> bool {
    or_raise(as_worker(|caller| cancel(caller, given(id, "id")?)))
}

fn cancel(caller: &Caller, id: i64) -> Result<bool> {
    let Some(reply) = replies::open_by_id(id)? else { return Ok(false) };
    if !caller.sees(Level::Operator, reply.chat.tenant_id)? {
        return Ok(false);
    }
    sessions::lock(&reply.chat)?;
    // Another transaction may have ended it while this one waited for the lock.
    let Some(reply) = replies::open_by_id(id)? else { return Ok(false) };
    consequences::close_questions(&reply, Action::CancelledPaused)?;
    replies::finish(id, End::Cancelled, Some("cancelled by cancel_reply"))?;
    deliveries::cancel_of_reply(id, "cancelled by cancel_reply")?;
    Ok(true)
}
