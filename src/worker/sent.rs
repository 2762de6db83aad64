//! sending -> what Evolution said, all of a round by a few statements. It is written by (delivery,
//! attempt), whatever became of the reply meanwhile. It begins no call.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::chat_lock::{self, Locked};
use super::jobs::SendClaim;
use super::terms::Terms;
use super::{endings, lookup, send};
use crate::conversation::retry;
use crate::error::Result;
use crate::evolution::{NotSent as Refusal, NotSentClass, SendOutcome, SentMessage, Uncertain};
use crate::intake::chat;
use crate::store::deliveries::{self, Delivery, NotSent};
use crate::store::many_deliveries::{self, Taken};
use crate::store::messages::{self, OwnMessage};
use crate::store::tenants::{self, Assistant};
use crate::store::{chat_aliases, many_replies};
use crate::webhook::LineState;

/// Evolution's time of a message is believed if it is not earlier than this before it was written.
const CLOCKS_DIFFER: chrono::Duration = chrono::Duration::hours(1);

/// The end of a call is written in these states: somebody may have given it up as one of unknown end
/// while it was under way (adopt_tenants).
const STILL_OPEN: [&str; 2] = ["sending", "uncertain"];

/// What became of a send.
pub struct Ended<'a> {
    pub claim: SendClaim,
    /// None: no thread began it in time.
    pub outcome: Option<&'a SendOutcome>,
}

/// Writes what became of sends; the deliveries whose chats somebody holds, to be written later.
pub fn record(ended: &[Ended<'_>], terms: Terms<'_>) -> Result<HashSet<i64>> {
    if ended.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = ended.iter().map(|one| one.claim.delivery_id).collect();
    let Locked { deliveries, mut held } = chat_lock::lock(&ids, &STILL_OPEN)?;
    let tenant_ids = deliveries.values().map(|one| one.delivery.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let mut confirmed = Vec::new();
    for one in ended {
        let found = deliveries.get(&one.claim.delivery_id).map(|found| &found.delivery);
        let found = found.filter(|delivery| delivery.attempt == one.claim.attempt);
        let Some(delivery) = found else { continue };
        let Some(assistant) = assistants.get(&delivery.chat.tenant_id) else { continue };
        match one.outcome {
            Some(SendOutcome::Sent(message)) => {
                confirmed.push(Confirmed { delivery: delivery.clone(), assistant, message });
            }
            Some(SendOutcome::NotSent(refusal)) => not_sent(delivery, assistant, refusal, terms)?,
            Some(SendOutcome::Uncertain(end)) => unknown_end(delivery, assistant, end, terms)?,
            None => {
                let why = "no thread was free in time";
                deliveries::try_again(delivery.id, terms.now, true, why)?;
            }
        }
    }
    let closed: HashSet<i32> = confirmed
        .iter()
        .filter(|one| !one.assistant.line_is_open)
        .map(|one| one.assistant.tenant_id)
        .collect();
    held.extend(confirm(confirmed, terms.now)?);
    for tenant_id in closed {
        // What was sent proves it, whatever was told meanwhile.
        tenants::prove_open(tenant_id)?;
    }
    Ok(held)
}

/// A message that Evolution took.
pub struct Confirmed<'a> {
    pub delivery: Delivery,
    pub assistant: &'a Assistant,
    pub message: &'a SentMessage,
}

impl Confirmed<'_> {
    /// When it was sent: as Evolution says, if that can be.
    fn sent_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let told = self.message.sent_at.and_then(|at| DateTime::from_timestamp(at, 0));
        let earliest = self.delivery.created_at - CLOCKS_DIFFER;
        told.filter(|at| (earliest..=now).contains(at)).unwrap_or(now)
    }

    fn own_message(&self, now: DateTime<Utc>) -> OwnMessage<'_> {
        OwnMessage {
            chat: &self.delivery.chat,
            message_id: &self.message.message_id,
            text: &self.delivery.text,
            sent_at: self.sent_at(now),
            sender: self.delivery.kind.speaker(),
            reply_id: self.delivery.reply_id,
        }
    }
}

/// Evolution took these messages, whose chats are locked: they are in the histories from now on, under
/// WhatsApp's ids. Those whose receiver has another chat that somebody holds are left; their ids.
pub fn confirm(confirmed: Vec<Confirmed<'_>>, now: DateTime<Utc>) -> Result<HashSet<i64>> {
    if confirmed.is_empty() {
        return Ok(HashSet::new());
    }
    let taken: Vec<Taken<'_>> = confirmed
        .iter()
        .map(|one| Taken {
            chat: &one.delivery.chat,
            message_id: &one.message.message_id,
            jid: one.message.jid.as_deref(),
        })
        .collect();
    let known = many_deliveries::known(&taken)?;
    let (mut held, mut ids) = (HashSet::new(), HashSet::new());
    let (mut new, mut repeated) = (Vec::new(), Vec::new());
    for (mut one, known) in confirmed.into_iter().zip(known) {
        if known.jid_is_new && !unite(&mut one)? {
            held.insert(one.delivery.id);
        } else if known.id_is_known
            || !ids.insert((one.assistant.tenant_id, one.message.message_id.as_str()))
        {
            repeated.push(one);
        } else {
            new.push(one);
        }
    }
    write(&new, &repeated, now)?;
    Ok(held)
}

/// WhatsApp knows the receiver by a JID that is no name of the chat so far: whoever has a chat under
/// that is the same person. False: somebody holds that chat.
fn unite(one: &mut Confirmed<'_>) -> Result<bool> {
    let Some(jid) = one.message.jid.as_deref() else { return Ok(true) };
    let Some(chat) = chat::unite(&one.delivery.chat, jid)? else { return Ok(false) };
    if jid != chat.chat_id {
        chat_aliases::add(&chat, jid)?;
    }
    one.delivery.chat = chat;
    Ok(true)
}

/// Writes messages under ids that are new, and what follows for all replies whose last message is out.
/// `repeated` are those for which Evolution named the id of another message.
fn write(new: &[Confirmed<'_>], repeated: &[Confirmed<'_>], now: DateTime<Utc>) -> Result<()> {
    if !new.is_empty() {
        let messages: Vec<OwnMessage<'_>> = new.iter().map(|one| one.own_message(now)).collect();
        messages::store_own(&messages)?;
        many_deliveries::decide_echoes(&messages)?;
    }
    finish_replies(new.iter().chain(repeated), now)?;
    if !new.is_empty() {
        let ids = new.iter().map(|one| (one.delivery.id, one.message.message_id.as_str()));
        many_deliveries::sent(&ids.collect::<Vec<_>>())?;
    }
    for one in repeated {
        let error = "Evolution answered with the id of another message; look at the chat";
        deliveries::end(one.delivery.id, NotSent::Failed, error)?;
    }
    Ok(())
}

/// Of these messages some are the last of their replies: the questions are answered, and what was asked
/// since gets the next reply. The deliveries are still open.
fn finish_replies<'a>(
    out: impl Iterator<Item = &'a Confirmed<'a>> + Clone,
    now: DateTime<Utc>,
) -> Result<()> {
    let replies = send::open_replies(out.clone().map(|one| &one.delivery))?;
    if replies.is_empty() {
        return Ok(());
    }
    let mut open = many_deliveries::open_of(&replies.keys().copied().collect::<Vec<_>>())?;
    let mut finished = Vec::new();
    for one in out {
        let reply = one.delivery.reply_id.and_then(|id| replies.get(&id));
        let Some(reply) = reply else { continue };
        let open = open.entry(reply.id).or_default();
        *open = open.saturating_sub(1);
        if *open == 0 {
            finished.push((reply, one.assistant));
        }
    }
    if finished.is_empty() {
        return Ok(());
    }
    many_replies::finish(&finished.iter().map(|(reply, _)| *reply).collect::<Vec<_>>())?;
    for (reply, assistant) in finished {
        endings::open_next(reply, assistant, now)?;
    }
    Ok(())
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
            return send::fail(delivery, assistant, &refusal.message, now);
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
            return send::fail(delivery, assistant, &refusal.message, now);
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
        return send::hold(delivery, assistant, &uncertain.message, now);
    }
    // A look proves nothing while the line is closed.
    doubts.about(assistant.tenant_id);
    // However early the call broke: Evolution may still be at work on it.
    let ends_by = delivery.attempted_at.unwrap_or(now) + limits.call_time();
    deliveries::uncertain(delivery.id, ends_by.max(now) + limits.settle_time, &uncertain.message)
}

/// PostgreSQL never takes what became of this send: it ends with as little as can be written. Whether
/// that could be; if not, somebody holds the chat.
pub fn refused(
    claim: SendClaim,
    outcome: Option<&SendOutcome>,
    error: &str,
    terms: Terms<'_>,
) -> Result<bool> {
    let Locked { deliveries, held } = chat_lock::lock(&[claim.delivery_id], &STILL_OPEN)?;
    let found = deliveries.into_values().map(|found| found.delivery);
    for delivery in found.filter(|delivery| delivery.attempt == claim.attempt) {
        let assistant = tenants::assistant(delivery.chat.tenant_id, terms.defaults)?;
        let Some(assistant) = assistant else { continue };
        match outcome {
            Some(SendOutcome::Sent(message)) => {
                let (id, error) = (delivery.id, format!("sent, but not to be stored: {error}"));
                let one = Confirmed { delivery, assistant: &assistant, message };
                finish_replies(std::iter::once(&one), terms.now)?;
                many_deliveries::sent_unstored(id, &message.message_id, &error)?;
            }
            Some(SendOutcome::Uncertain(_)) => {
                send::hold(&delivery, &assistant, error, terms.now)?;
            }
            Some(SendOutcome::NotSent(_)) | None => {
                send::fail(&delivery, &assistant, error, terms.now)?;
            }
        }
    }
    Ok(held.is_empty())
}
