//! A copy of a database becomes the one that speaks for its tenants: what was open in the original
//! is taken up here, or given up where it is too old. It sends nothing itself.

use chrono::Duration;

use super::consequences;
use crate::conversation::Action;
use crate::error::Result;
use crate::store::replies::{self, End};
use crate::store::{deliveries, elsewhere, sessions, tenants};

const TOO_OLD: &str = "too old when the tenant was adopted";

/// Makes this database the home of every tenant; how many were not at home before. What a call was
/// on its way for is looked up in Evolution, `settle` after the longest time that a `call` takes.
pub fn adopt_tenants(default_expiry: Duration, call: Duration, settle: Duration) -> Result<usize> {
    elsewhere::fail_expired_deliveries(default_expiry, TOO_OLD)?;
    for id in elsewhere::expired_replies(default_expiry)? {
        give_up(id)?;
    }
    elsewhere::requeue_generating()?;
    elsewhere::sends_to_uncertain(call, settle)?;
    tenants::adopt()
}

fn give_up(reply_id: i64) -> Result<()> {
    let Some(reply) = replies::open_by_id(reply_id)? else { return Ok(()) };
    sessions::lock(&reply.chat)?;
    // Another transaction may have ended it while this one waited for the lock.
    let Some(reply) = replies::open_by_id(reply_id)? else { return Ok(()) };
    consequences::close_questions(&reply, Action::AiFailed)?;
    replies::finish(reply_id, End::Failed, Some(TOO_OLD))?;
    deliveries::cancel_of_reply(reply_id, TOO_OLD)?;
    Ok(())
}
