//! pending -> sending -> what Evolution said. The commit of `sending` is the point of no return;
//! before it a thread is free for the call, and pause and staleness are checked once more.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::jobs::{Job, SendClaim};
use super::record::{self, Recorded};
use super::terms::Terms;
use super::{keys, lookup};
use crate::conversation::{Action, Mode, Sender, retry};
use crate::error::Result;
use crate::evolution::{
    self, Instance, NotSent as Refusal, NotSentClass, SendOutcome, SentMessage, Uncertain,
};
use crate::intake::consequences;
use crate::store::deliveries::{self, Delivery, Kind, NotSent};
use crate::store::messages::OwnMessage;
use crate::store::replies::{self, End, Reply};
use crate::store::sessions::Session;
use crate::store::tenants::{self, Assistant};
use crate::store::{chat_aliases, messages, processed_events, sessions, transaction};
use crate::webhook::LineState;

/// Evolution's time of a message is believed if it is not earlier than this before it was written.
const CLOCKS_DIFFER: chrono::Duration = chrono::Duration::hours(1);

/// Begins a send, if it still may be sent.
pub fn begin(id: i64, terms: Terms<'_>) -> Result<Option<Job>> {
    let Terms { defaults, limits, now } = terms;
    let Some(found) = deliveries::find(id, &["pending"])? else { return Ok(None) };
    let Some(session) = sessions::try_lock(&found.chat)? else { return Ok(None) };
    let Some(delivery) = deliveries::find(id, &["pending"])? else { return Ok(None) };
    let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, defaults)? else {
        return Ok(None);
    };
    if !may_be_sent(&delivery, &session, &assistant, now)? {
        return Ok(None);
    }
    let instance = match instance_of(&assistant) {
        Ok(instance) => instance,
        Err(error) => {
            fail(&delivery, &assistant, &error, now)?;
            return Ok(None);
        }
    };
    deliveries::begin(id)?;
    transaction::force_synchronous_commit();
    let jid = session.reply_jid.as_deref().unwrap_or(&delivery.chat.chat_id);
    let request = evolution::send_text(&instance, jid, &delivery.text, limits.send_timeout);
    let claim = SendClaim { delivery_id: id, attempt: delivery.attempt + 1 };
    Ok(Some(Job::Send { claim, request, committed_at: Instant::now() }))
}

/// The last look before the point of no return. Only parts of an answer obey every pause; a
/// fallback text gives way to a human, and what an operator wrote is always sent.
fn may_be_sent(
    delivery: &Delivery,
    session: &Session,
    assistant: &Assistant,
    now: DateTime<Utc>,
) -> Result<bool> {
    if delivery.kind == Kind::Operator {
        return Ok(true);
    }
    if matches!(assistant.mode, Mode::Off | Mode::Draft) {
        silenced_by_mode(delivery, assistant.mode)?;
        return Ok(false);
    }
    if delivery.created_at + assistant.reply_expiry < now {
        fail(delivery, assistant, "it could not be sent within reply_expiry", now)?;
        return Ok(false);
    }
    if !processed_events::pending_echoes(&delivery.chat)?.is_empty() {
        // Perhaps a takeover that came during the last call; decided in the next round.
        return Ok(false);
    }
    let is_silenced = match delivery.kind {
        Kind::Fallback => session.is_with_a_human(),
        _ => session.is_paused,
    };
    if is_silenced {
        consequences::stop_speaking(
            &delivery.chat,
            "the chat was paused before this was sent",
            true,
        )?;
        return Ok(false);
    }
    if delivery.kind == Kind::Fallback {
        return Ok(true);
    }
    let Some(reply) = open_reply(delivery)? else {
        deliveries::end(delivery.id, NotSent::Cancelled, "its reply has ended")?;
        return Ok(false);
    };
    if delivery.part == 1 && delivery.attempt == 0 && record::is_stale(&reply) {
        deliveries::cancel_of_reply(reply.id, "the customer wrote before this was sent")?;
        replies::take_back(
            reply.id,
            now + chrono::Duration::from_std(assistant.debounce).unwrap_or_default(),
        )?;
        return Ok(false);
    }
    Ok(true)
}

/// The tenant was switched to a mode in which nothing is sent, with this written already.
fn silenced_by_mode(delivery: &Delivery, mode: Mode) -> Result<()> {
    match open_reply(delivery)? {
        Some(reply) if mode == Mode::Draft => record::keep_as_draft(&reply),
        Some(reply) => record::switched_off(&reply),
        None => deliveries::end(delivery.id, NotSent::Cancelled, "the tenant's mode sends nothing"),
    }
}

fn open_reply(delivery: &Delivery) -> Result<Option<Reply>> {
    delivery.reply_id.map_or(Ok(None), replies::open_by_id)
}

/// Where a tenant's messages go. The error is for `deliveries.error`: what to change.
pub fn instance_of(assistant: &Assistant) -> std::result::Result<Instance, String> {
    Ok(Instance {
        base_url: keys::parse_url(&assistant.evo_server_url, "evo_server_url")?,
        name: assistant.instance_name.clone(),
        api_key: assistant.evo_api_key.clone(),
    })
}

/// Writes what a send came to, whatever became of its reply meanwhile.
pub fn ended(claim: SendClaim, outcome: &SendOutcome, terms: Terms<'_>) -> Result<Recorded> {
    let Terms { defaults, now, .. } = terms;
    let Some(found) = deliveries::find(claim.delivery_id, &["sending"])? else {
        return Ok(Recorded::Done);
    };
    if sessions::try_lock(&found.chat)?.is_none() && sessions::exists(&found.chat)? {
        return Ok(Recorded::Held);
    }
    let Some(delivery) = deliveries::find(claim.delivery_id, &["sending"])? else {
        return Ok(Recorded::Done);
    };
    if delivery.attempt != claim.attempt {
        return Ok(Recorded::Done);
    }
    let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, defaults)? else {
        return Ok(Recorded::Done);
    };
    match outcome {
        SendOutcome::Sent(message) => confirmed(&delivery, message, now)?,
        SendOutcome::NotSent(refusal) => not_sent(&delivery, &assistant, refusal, terms)?,
        SendOutcome::Uncertain(uncertain) => unknown_end(&delivery, &assistant, uncertain, terms)?,
    }
    Ok(Recorded::Done)
}

/// A send that no thread began in time goes back, as if it had never been claimed.
pub fn not_started(claim: SendClaim, now: DateTime<Utc>) -> Result<Recorded> {
    let Some(found) = deliveries::find(claim.delivery_id, &["sending"])? else {
        return Ok(Recorded::Done);
    };
    if sessions::try_lock(&found.chat)?.is_none() {
        return Ok(Recorded::Held);
    }
    deliveries::try_again(found.id, now, true, "no thread was free in time")?;
    Ok(Recorded::Done)
}

/// Evolution took the message: it is in the chat's history from now on, under WhatsApp's id.
pub fn confirmed(delivery: &Delivery, message: &SentMessage, now: DateTime<Utc>) -> Result<()> {
    let sent_at = message
        .sent_at
        .and_then(|at| DateTime::from_timestamp(at, 0))
        .filter(|at| (delivery.created_at - CLOCKS_DIFFER..=now).contains(at))
        .unwrap_or(now);
    if let Some(jid) =
        message.jid.as_deref().filter(|jid| jid.contains('@') && *jid != delivery.chat.chat_id)
    {
        chat_aliases::add(&delivery.chat, jid)?;
    }
    let sender = if delivery.kind == Kind::Operator { Sender::Operator } else { Sender::Assistant };
    messages::store_own(
        &delivery.chat,
        &OwnMessage {
            message_id: &message.message_id,
            text: &delivery.text,
            sent_at,
            sender,
            reply_id: delivery.reply_id,
        },
    )?;
    // Its echo may have come first, when nobody could say whose it was.
    processed_events::settle(delivery.chat.tenant_id, &message.message_id, Action::OwnEcho)?;
    let reply = open_reply(delivery)?;
    let last = match &reply {
        Some(reply) => deliveries::open_of_reply(reply.id)? <= 1,
        None => false,
    };
    if let Some(reply) = reply.as_ref().filter(|_| last) {
        finish_reply(reply)?;
    }
    if !deliveries::sent(delivery.id, &message.message_id)? {
        let error = "Evolution answered with the id of another message; look at the chat";
        deliveries::end(delivery.id, NotSent::Failed, error)?;
    }
    Ok(())
}

/// The last part is out: the questions are answered, and what was asked since gets the next reply.
fn finish_reply(reply: &Reply) -> Result<()> {
    processed_events::close_questions(
        &reply.chat,
        reply.id,
        reply.first_sent_at,
        false,
        Action::AiReplied,
    )?;
    replies::finish(reply.id, End::Sent, None)?;
    record::open_next(reply)
}

fn not_sent(
    delivery: &Delivery,
    assistant: &Assistant,
    refusal: &Refusal,
    terms: Terms<'_>,
) -> Result<()> {
    let Terms { limits, now, .. } = terms;
    let attempts = (delivery.attempt - delivery.deferrals).unsigned_abs();
    let deferrals = delivery.deferrals.unsigned_abs() + 1;
    let (wait, deferred) = match refusal.class {
        NotSentClass::Rejected | NotSentClass::Configuration => {
            return fail(delivery, assistant, &refusal.message, now);
        }
        NotSentClass::LineDown => {
            tenants::set_connection_state(assistant.tenant_id, LineState::Close.as_str())?;
            // Growing: the line may be called open while every send fails.
            (retry::deferral(limits.retry_delay, None, deferrals, fastrand::f64()), true)
        }
        NotSentClass::Deferred if deferrals <= retry::MOST_DEFERRALS => (
            retry::deferral(limits.retry_delay, refusal.retry_after, deferrals, fastrand::f64()),
            true,
        ),
        NotSentClass::Transient if attempts < retry::MOST_ATTEMPTS => {
            (retry::backoff(limits.retry_delay, attempts, fastrand::f64()), false)
        }
        NotSentClass::Deferred | NotSentClass::Transient => {
            return fail(delivery, assistant, &refusal.message, now);
        }
    };
    let wait = chrono::Duration::from_std(wait).unwrap_or_default();
    deliveries::try_again(delivery.id, now + wait, deferred, &refusal.message)
}

/// Nobody knows whether it was sent. Nothing else is sent in the chat before that is decided.
fn unknown_end(
    delivery: &Delivery,
    assistant: &Assistant,
    uncertain: &Uncertain,
    terms: Terms<'_>,
) -> Result<()> {
    let Terms { limits, now, .. } = terms;
    if lookup::confirmed_by_echo(delivery, now)? {
        return Ok(());
    }
    if uncertain.hold {
        return hold(delivery, assistant, &uncertain.message, now);
    }
    // However early the call broke: Evolution may still be at work on it.
    let ends_by = delivery.attempted_at.unwrap_or(now) + limits.call_time();
    deliveries::uncertain(delivery.id, ends_by.max(now) + limits.settle_time, &uncertain.message)
}

/// Nothing can tell whether it was sent: a person must look. It is not sent again.
pub fn hold(
    delivery: &Delivery,
    assistant: &Assistant,
    error: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let error = format!("held: {error}; look at the chat, and send it by hand if it is not there");
    fail(delivery, assistant, &error, now)
}

/// The delivery ends, and with it the reply it is a part of.
pub fn fail(
    delivery: &Delivery,
    assistant: &Assistant,
    error: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    if let Some(reply) = open_reply(delivery)? {
        record::give_up(&reply, assistant, error, now)?;
    }
    deliveries::end(delivery.id, NotSent::Failed, error)
}
