//! How replies end that are not sent, or go back to the queue, and what follows from that: pauses,
//! fallback texts, the reply that reads what they have not. One at a time; the caller holds the session.

use chrono::{DateTime, Utc};

use super::modes::silence_of;
use super::terms::Terms;
use crate::conversation::{Action, PauseReason, debounce, retry};
use crate::error::Result;
use crate::intake::consequences;
use crate::llm::Failure;
use crate::store::deliveries::{self, Kind};
use crate::store::many_replies::{self, Which};
use crate::store::replies::{self, End, OpenState, Reply, Requeue};
use crate::store::tenants::Assistant;
use crate::store::{messages, sessions};

/// The customer wrote, edited or deleted while the model was at work. After two such rounds the
/// answer is sent as it is: somebody who never stops writing gets one too.
pub fn is_stale(reply: &Reply) -> bool {
    reply.wanted > reply.seen && reply.requeues.unsigned_abs() < retry::MOST_REQUEUES
}

/// The answer is there to be read, and nothing of it is sent (any more).
pub fn keep_as_draft(reply: &Reply, assistant: &Assistant, now: DateTime<Utc>) -> Result<()> {
    many_replies::close_questions(&[reply], Which::Read, Action::Drafted)?;
    replies::finish(reply.id, End::Drafted, None)?;
    deliveries::cancel_of_reply(reply.id, "the tenant's mode is draft")?;
    open_next(reply, assistant, now)
}

/// The tenant's mode keeps it from this chat since: the reply ends, and what is unsent stays unsent.
pub fn switched_off(reply: &Reply, why: &str) -> Result<()> {
    consequences::close_questions(reply, Action::IgnoredMode)?;
    replies::finish(reply.id, End::Cancelled, Some(why))?;
    deliveries::cancel_of_reply(reply.id, why)?;
    Ok(())
}

/// A call to the model has failed: the reply is asked again, or ends.
pub fn after_failure(
    reply: &Reply,
    assistant: &Assistant,
    failure: &Failure,
    terms: Terms<'_>,
) -> Result<()> {
    let Terms { limits, now, .. } = terms;
    let attempts = reply.attempt - reply.deferrals - reply.requeues;
    let (why, wait) = if !failure.class.is_attempt() {
        let deferrals = reply.deferrals.unsigned_abs() + 1;
        if deferrals > retry::MOST_DEFERRALS {
            return give_up(reply, assistant, &failure.message, now);
        }
        (
            Requeue::Deferred,
            retry::deferral(limits.retry_delay, failure.retry_after, deferrals, fastrand::f64()),
        )
    } else if failure.class.is_retried() && attempts.unsigned_abs() < retry::MOST_ATTEMPTS {
        (
            Requeue::Failed,
            retry::backoff(limits.retry_delay, attempts.unsigned_abs(), fastrand::f64()),
        )
    } else {
        return give_up(reply, assistant, &failure.message, now);
    };
    let wait = chrono::Duration::from_std(wait).unwrap_or_default();
    replies::requeue(reply.id, why, now + wait, Some(&failure.message))
}

/// The last attempt has failed: the reply ends, and what the tenant chose follows. The customer
/// sees none of it but the tenant's own fallback text.
pub fn give_up(
    reply: &Reply,
    assistant: &Assistant,
    error: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let is_paused = sessions::lock(&reply.chat)?.is_some_and(|session| session.is_paused);
    if assistant.on_failure.hands_over() && !is_paused {
        let until = now + assistant.auto_resume_after;
        sessions::pause(&reply.chat, PauseReason::AiFailed.as_str(), Some(until))?;
    }
    if assistant.on_failure.hands_over() || reply.state == OpenState::Waiting {
        // Nothing else will read them; retry_reply finds them by this.
        many_replies::claim_questions(&[reply])?;
    }
    many_replies::close_questions(&[reply], Which::Read, Action::AiFailed)?;
    replies::finish(reply.id, End::Failed, Some(error))?;
    deliveries::cancel_of_reply(reply.id, "the reply failed")?;
    let speaks = silence_of(assistant, &reply.chat)?.is_none();
    if let Some(text) = assistant
        .fallback_text
        .as_deref()
        .filter(|_| speaks && assistant.on_failure.sends_fallback())
    {
        deliveries::add(&reply.chat, Some(reply.id), Kind::Fallback, 1, text)?;
    }
    open_next(reply, assistant, now)
}

/// When a reply whose answer is stale is due again: as long after what the customer wrote meanwhile as
/// if it had waited all the time. An edit or a deletion counts as written now.
pub fn due_again(
    reply: &Reply,
    assistant: &Assistant,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>> {
    let unclaimed = messages::unclaimed_questions(&reply.chat, reply.first_sent_at)?;
    let last = unclaimed.map_or(now, |unclaimed| unclaimed.last_arrived_at);
    let (debounce, most) = (assistant.debounce, assistant.debounce_max);
    Ok(debounce::due_at(last, reply.created_at, debounce, most).max(now))
}

/// A reply that never read the customer's last messages is followed by one that does, as long after
/// them as if it had been opened by them.
pub fn open_next(ended: &Reply, assistant: &Assistant, now: DateTime<Utc>) -> Result<()> {
    if ended.wanted <= ended.seen {
        return Ok(());
    }
    let Some(unclaimed) = messages::unclaimed_questions(&ended.chat, ended.first_sent_at)? else {
        // The customer has taken back whatever no reply has read.
        return consequences::close_questions(ended, Action::Superseded);
    };
    let (first, last) = (unclaimed.first_arrived_at, unclaimed.last_arrived_at);
    let due_at = debounce::due_at(last, first, assistant.debounce, assistant.debounce_max);
    consequences::ask_again(&ended.chat, unclaimed.first_sent_at, due_at.max(now))?;
    Ok(())
}
