//! pending -> sending -> what Evolution said. The commit of `sending` is the point of no return;
//! before it a thread is free for the call, and pause and staleness are checked once more.

use std::time::Instant;

use chrono::{DateTime, Utc};

use super::jobs::{Job, SendClaim};
use super::modes::{Silence, silence_of};
use super::places::{Server, Side};
use super::record::{self, Recorded};
use super::terms::Terms;
use super::{chat_lock, keys, lookup};
use crate::conversation::{Action, Sender, retry};
use crate::error::Result;
use crate::evolution::{
    self, NotSent as Refusal, NotSentClass, SendOutcome, SentMessage, Uncertain,
};
use crate::intake::{chat, consequences};
use crate::store::deliveries::{self, Delivery, Kind, NotSent};
use crate::store::messages::OwnMessage;
use crate::store::replies::{self, End, Reply};
use crate::store::sessions::Session;
use crate::store::tenants::{self, Assistant};
use crate::store::{chat_aliases, forgotten, messages, processed_events, transaction};
use crate::webhook::LineState;

/// Evolution's time of a message is believed if it is not earlier than this before it was written.
const CLOCKS_DIFFER: chrono::Duration = chrono::Duration::hours(1);

/// The end of a call is written in these states: somebody may have given it up as one of unknown end
/// while it was under way (adopt_tenants).
const STILL_OPEN: [&str; 2] = ["sending", "uncertain"];

/// Begins a send, if it still may be sent.
pub fn begin(id: i64, terms: Terms<'_>) -> Result<Option<Job>> {
    let Terms { defaults, limits, now, .. } = terms;
    let Some((delivery, session)) = lock(id, &["pending"])? else { return Ok(None) };
    let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, defaults)? else {
        return Ok(None);
    };
    let chat = &delivery.chat;
    if deliveries::in_flight(chat.tenant_id, Some(&chat.chat_id))? {
        // One was on its way under another name when this chat was found to be one with it.
        return Ok(None);
    }
    if !forgotten::is_kept(chat)? {
        return Ok(None);
    }
    if !may_be_sent(&delivery, &session, &assistant, now)? || !assistant.line_is_open {
        return Ok(None);
    }
    let instance = match keys::instance_of(&assistant) {
        Ok(instance) => instance,
        Err(error) => {
            fail(&delivery, &assistant, &error, now)?;
            return Ok(None);
        }
    };
    if !terms.places.take(Side::Gateway, Server::of(&instance.base_url), assistant.tenant_id) {
        return Ok(None);
    }
    deliveries::begin(id)?;
    transaction::force_synchronous_commit();
    let jid = session.reply_jid.as_deref().unwrap_or(&delivery.chat.chat_id);
    let request = evolution::send_text(&instance, jid, &delivery.text, limits.send_timeout);
    let claim = SendClaim { delivery_id: id, attempt: delivery.attempt + 1 };
    Ok(Some(Job::Send { claim, request, committed_at: Instant::now() }))
}

/// Locks a delivery in one of these states with its chat, which it names as it is named today. None:
/// there is no such delivery, or somebody holds its chat.
pub fn lock(id: i64, states: &[&str]) -> Result<Option<(Delivery, Session)>> {
    let Some(found) = deliveries::find(id, states)? else { return Ok(None) };
    let Some(session) = chat_lock::try_lock(&found.chat)? else { return Ok(None) };
    // Read again under the lock: it may have ended while the lock was taken.
    let Some(delivery) = deliveries::find(id, states)? else { return Ok(None) };
    Ok(Some((Delivery { chat: session.chat.clone(), ..delivery }, session)))
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
    if let Some(silence) = silence_of(assistant, &delivery.chat)? {
        silenced(delivery, assistant, silence, now)?;
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
        const WHY: &str = "the chat was paused before this was sent";
        consequences::stop_speaking(&delivery.chat, WHY, true)?;
        // It may have been written under another name of the chat.
        if let Some(reply) = open_reply(delivery)? {
            consequences::close_questions(&reply, Action::CancelledPaused)?;
            replies::finish(reply.id, End::Cancelled, Some(WHY))?;
        }
        deliveries::end(delivery.id, NotSent::Cancelled, WHY)?;
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
        replies::take_back(reply.id, record::due_again(&reply, assistant, now)?)?;
        return Ok(false);
    }
    Ok(true)
}

/// The tenant was switched to a mode in which this is not sent, with this written already.
fn silenced(
    delivery: &Delivery,
    assistant: &Assistant,
    silence: Silence,
    now: DateTime<Utc>,
) -> Result<()> {
    match (open_reply(delivery)?, silence) {
        (Some(reply), Silence::Draft) => record::keep_as_draft(&reply, assistant, now),
        (Some(reply), Silence::Off(why)) => record::switched_off(&reply, why),
        (None, _) => {
            deliveries::end(delivery.id, NotSent::Cancelled, "the tenant's mode sends nothing")
        }
    }
}

fn open_reply(delivery: &Delivery) -> Result<Option<Reply>> {
    delivery.reply_id.map_or(Ok(None), replies::open_by_id)
}

/// Writes what a send came to, whatever became of its reply meanwhile.
pub fn ended(claim: SendClaim, outcome: &SendOutcome, terms: Terms<'_>) -> Result<Recorded> {
    let Terms { defaults, now, .. } = terms;
    if deliveries::find(claim.delivery_id, &STILL_OPEN)?.is_none() {
        return Ok(Recorded::Done);
    }
    let Some((delivery, _)) = lock(claim.delivery_id, &STILL_OPEN)? else {
        return Ok(Recorded::Held);
    };
    if delivery.attempt != claim.attempt {
        return Ok(Recorded::Done);
    }
    let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, defaults)? else {
        return Ok(Recorded::Done);
    };
    match outcome {
        SendOutcome::Sent(message) => {
            let Some(delivery) = united(delivery, message)? else { return Ok(Recorded::Held) };
            confirmed(&delivery, &assistant, message, now)?;
            if !assistant.line_is_open {
                // What was sent proves it, whatever was told meanwhile.
                tenants::set_connection_state(assistant.tenant_id, LineState::Open.as_str())?;
            }
        }
        SendOutcome::NotSent(refusal) => not_sent(&delivery, &assistant, refusal, terms)?,
        SendOutcome::Uncertain(uncertain) => unknown_end(&delivery, &assistant, uncertain, terms)?,
    }
    Ok(Recorded::Done)
}

/// A send that no thread began in time goes back, as if it had never been claimed.
pub fn not_started(claim: SendClaim, now: DateTime<Utc>) -> Result<Recorded> {
    if deliveries::find(claim.delivery_id, &STILL_OPEN)?.is_none() {
        return Ok(Recorded::Done);
    }
    let Some((delivery, _)) = lock(claim.delivery_id, &STILL_OPEN)? else {
        return Ok(Recorded::Held);
    };
    if delivery.attempt == claim.attempt {
        deliveries::try_again(delivery.id, now, true, "no thread was free in time")?;
    }
    Ok(Recorded::Done)
}

/// WhatsApp may know the receiver by a JID under which there is a chat of its own: then the two are
/// one. None: somebody holds that chat.
fn united(delivery: Delivery, message: &SentMessage) -> Result<Option<Delivery>> {
    let jid = message.jid.as_deref().filter(|jid| jid.contains('@'));
    let Some(jid) = jid else { return Ok(Some(delivery)) };
    let chat = chat::unite(&delivery.chat, jid)?;
    Ok(chat.map(|chat| Delivery { chat, ..delivery }))
}

/// When a message was sent: as Evolution says, if that can be.
pub fn time_of(message: &SentMessage, delivery: &Delivery, now: DateTime<Utc>) -> DateTime<Utc> {
    let told = message.sent_at.and_then(|at| DateTime::from_timestamp(at, 0));
    told.filter(|at| (delivery.created_at - CLOCKS_DIFFER..=now).contains(at)).unwrap_or(now)
}

/// Evolution took the message: it is in the chat's history from now on, under WhatsApp's id.
pub fn confirmed(
    delivery: &Delivery,
    assistant: &Assistant,
    message: &SentMessage,
    now: DateTime<Utc>,
) -> Result<()> {
    let sent_at = time_of(message, delivery, now);
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
        finish_reply(reply, assistant, now)?;
    }
    if !deliveries::sent(delivery.id, &message.message_id)? {
        let error = "Evolution answered with the id of another message; look at the chat";
        deliveries::end(delivery.id, NotSent::Failed, error)?;
    }
    Ok(())
}

/// The last part is out: the questions are answered, and what was asked since gets the next reply.
fn finish_reply(reply: &Reply, assistant: &Assistant, now: DateTime<Utc>) -> Result<()> {
    processed_events::close_questions(
        &reply.chat,
        reply.id,
        reply.first_sent_at,
        false,
        Action::AiReplied,
    )?;
    replies::finish(reply.id, End::Sent, None)?;
    record::open_next(reply, assistant, now)
}

fn not_sent(
    delivery: &Delivery,
    assistant: &Assistant,
    refusal: &Refusal,
    terms: Terms<'_>,
) -> Result<()> {
    let Terms { limits, doubts, now, .. } = terms;
    if refusal.class == NotSentClass::SocketClosed {
        doubts.about(assistant.tenant_id);
    }
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
        NotSentClass::Transient | NotSentClass::SocketClosed if attempts < retry::MOST_ATTEMPTS => {
            (retry::backoff(limits.retry_delay, attempts, fastrand::f64()), false)
        }
        NotSentClass::Deferred | NotSentClass::Transient | NotSentClass::SocketClosed => {
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
    let Terms { limits, doubts, now, .. } = terms;
    if lookup::confirmed_by_echo(delivery, assistant, now)? {
        return Ok(());
    }
    if uncertain.hold {
        return hold(delivery, assistant, &uncertain.message, now);
    }
    // A look proves nothing while the line is closed.
    doubts.about(assistant.tenant_id);
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
