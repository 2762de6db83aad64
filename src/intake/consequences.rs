//! What follows for the assistant when something happens in a chat: it is queued, falls silent, or
//! starts over. The caller holds the session's lock.

use chrono::{DateTime, Utc};

use crate::conversation::{Action, debounce};
use crate::error::Result;
use crate::store::many_replies::{self, Which};
use crate::store::replies::{self, End};
use crate::store::tenants::Tenant;
use crate::store::{Chat, deliveries, questions};

/// A question came: the open reply will answer it too, or one is opened. Its id.
pub fn queue(
    tenant: &Tenant,
    chat: &Chat,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64> {
    let due_at = |opened_at| debounce::due_at(now, opened_at, tenant.debounce, tenant.debounce_max);
    if let Some(open) = replies::open_in(chat)? {
        questions::want_more(open.id, due_at(open.created_at), sent_at)?;
        return Ok(open.id);
    }
    questions::open(chat, due_at(now), sent_at)
}

/// A human of the business has the word: nothing more is sent in this chat but what an operator
/// wrote, and resuming revives none of it.
pub fn stop_speaking(chat: &Chat, why: &str, fallback_too: bool) -> Result<()> {
    if let Some(reply) = replies::open_in(chat)? {
        close_questions(&reply, Action::CancelledPaused)?;
        replies::finish(reply.id, End::Cancelled, Some(why))?;
    }
    deliveries::cancel_pending(chat, fallback_too, why)?;
    Ok(())
}

/// The open reply of a chat is given up, for another one that answers its questions.
pub fn supersede(chat: &Chat, why: &str) -> Result<()> {
    if let Some(reply) = replies::open_in(chat)? {
        replies::finish(reply.id, End::Superseded, Some(why))?;
        deliveries::cancel_of_reply(reply.id, why)?;
    }
    Ok(())
}

/// Questions that a reply left open are wanted by the open reply of the chat, or by a new one.
pub fn ask_again(chat: &Chat, first_sent_at: DateTime<Utc>, due_at: DateTime<Utc>) -> Result<i64> {
    if let Some(open) = replies::open_in(chat)? {
        questions::want_more(open.id, due_at, first_sent_at)?;
        return Ok(open.id);
    }
    questions::open(chat, due_at, first_sent_at)
}

/// Marks what a reply was to answer with how it ended; what no claim has read yet, too.
pub fn close_questions(reply: &replies::Reply, action: Action) -> Result<()> {
    many_replies::close_questions(&[reply], Which::AndThoseUnread, action)
}
