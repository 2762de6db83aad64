//! generating -> what the model's answer, or its failure, means for the reply. The answer is only
//! used if the claim still stands, nobody took over, and the customer has not written since.

use chrono::{DateTime, Utc};

use super::jobs::ReplyClaim;
use super::modes::{Silence, silence_of};
use super::terms::Terms;
use crate::conversation::split::{self, Split};
use crate::conversation::{Action, Mode, PauseReason, debounce, retry, whatsapp_text};
use crate::error::Result;
use crate::intake::consequences;
use crate::llm::{Answer, Failure, FailureClass, Provider};
use crate::store::deliveries::{self, Kind};
use crate::store::replies::{self, Answered, End, OpenState, Reply, Requeue};
use crate::store::tenants::{self, Assistant};
use crate::store::{messages, processed_events, sessions};

/// Whether a result was written. `Held`: somebody has the session locked; try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    Done,
    Held,
}

/// Writes what a call to a model came to.
pub fn generated(
    claim: ReplyClaim,
    provider: Provider,
    result: &std::result::Result<Answer, Failure>,
    terms: Terms<'_>,
) -> Result<Recorded> {
    let Terms { defaults, now, .. } = terms;
    let Some(reply) = replies::open_by_id(claim.reply_id)? else { return Ok(Recorded::Done) };
    let Some(session) = sessions::try_lock(&reply.chat)? else { return Ok(Recorded::Held) };
    // Read again under the lock: the claim may have ended while it was awaited.
    let Some(reply) = replies::open_by_id(claim.reply_id)? else { return Ok(Recorded::Done) };
    let still_claimed = reply.state == OpenState::Generating && reply.attempt == claim.attempt;
    let assistant = tenants::assistant(reply.chat.tenant_id, defaults)?;
    let (true, Some(assistant)) = (still_claimed, assistant) else { return Ok(Recorded::Done) };
    if session.is_paused {
        consequences::stop_speaking(
            &reply.chat,
            "the chat was paused while the model answered",
            true,
        )?;
        return Ok(Recorded::Done);
    }
    if let Some(Silence::Off(why)) = silence_of(&assistant, &reply.chat)? {
        switched_off(&reply, why)?;
        return Ok(Recorded::Done);
    }
    match result {
        Ok(_) if is_stale(&reply) => {
            let due_at = due_again(&reply, &assistant, now)?;
            replies::requeue(reply.id, Requeue::Stale, due_at, None)?;
        }
        Ok(answer) => use_answer(&reply, &assistant, provider, answer, terms)?,
        Err(failure) => after_failure(&reply, &assistant, failure, terms)?,
    }
    Ok(Recorded::Done)
}

/// The customer wrote, edited or deleted while the model was at work. After two such rounds the
/// answer is sent as it is: somebody who never stops writing gets one too.
pub fn is_stale(reply: &Reply) -> bool {
    reply.wanted > reply.seen && reply.requeues.unsigned_abs() < retry::MOST_REQUEUES
}

/// An answer as it goes out on WhatsApp.
pub struct WrittenOut {
    pub text: String,
    /// The messages it is sent as. None: it has no word in it.
    pub parts: Vec<String>,
    /// What was cut from it.
    pub note: Option<String>,
}

pub fn written_out(answer: &Answer) -> WrittenOut {
    let text = whatsapp_text::from_markdown(&answer.text);
    let Split { parts, cut_characters } = split::split(&text, split::PART_LIMIT, split::MOST_PARTS);
    WrittenOut { text, parts, note: note(answer, cut_characters) }
}

fn use_answer(
    reply: &Reply,
    assistant: &Assistant,
    provider: Provider,
    answer: &Answer,
    terms: Terms<'_>,
) -> Result<()> {
    let WrittenOut { text, parts, note } = written_out(answer);
    if parts.is_empty() {
        return after_failure(reply, assistant, &nothing_but_marks(), terms);
    }
    replies::answered(
        reply.id,
        &Answered {
            text: &text,
            provider: provider.as_str(),
            model: &answer.model,
            input_tokens: answer.input_tokens,
            output_tokens: answer.output_tokens,
            note: note.as_deref(),
        },
    )?;
    if assistant.mode == Mode::Draft {
        return keep_as_draft(reply, assistant, terms.now);
    }
    for (part, text) in (1..).zip(&parts) {
        deliveries::add(&reply.chat, Some(reply.id), Kind::Reply, part, text)?;
    }
    Ok(())
}

/// An answer such as "---": a reply without a message to send would stay open for ever.
fn nothing_but_marks() -> Failure {
    let message = "the model's answer was Markdown without a word in it; it is asked again";
    Failure { class: FailureClass::Transient, message: message.to_owned(), retry_after: None }
}

/// The answer is there to be read, and nothing of it is sent (any more).
pub fn keep_as_draft(reply: &Reply, assistant: &Assistant, now: DateTime<Utc>) -> Result<()> {
    processed_events::close_questions(
        &reply.chat,
        reply.id,
        reply.first_sent_at,
        false,
        Action::Drafted,
    )?;
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

/// What was cut from a good answer, for `replies.error`.
fn note(answer: &Answer, cut_characters: usize) -> Option<String> {
    match (answer.cut_by_limit, cut_characters) {
        (_, cut) if cut > 0 => {
            Some(format!("the answer was too long: its last {cut} characters were not sent"))
        }
        (true, _) => {
            Some("the model was cut off at max_tokens; raise it for longer answers".to_owned())
        }
        _ => None,
    }
}

fn after_failure(
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
    let (chat, since) = (&reply.chat, reply.first_sent_at);
    if assistant.on_failure.hands_over() || reply.state == OpenState::Waiting {
        // Nothing else will read them; retry_reply finds them by this.
        messages::claim_questions(chat, reply.id, since)?;
    }
    processed_events::close_questions(chat, reply.id, since, false, Action::AiFailed)?;
    replies::finish(reply.id, End::Failed, Some(error))?;
    pgrx::log!("whaply: reply {} of {} failed: {error}", reply.id, assistant.instance_name);
    deliveries::cancel_of_reply(reply.id, "the reply failed")?;
    let speaks = silence_of(assistant, chat)?.is_none();
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
