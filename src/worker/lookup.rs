//! uncertain -> sent, sent again, or held: whether a message of unknown end is in Evolution's own
//! store. Absence is believed only when it is seen twice, and only where the store shows our sends.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::chat_lock::{self, Locked};
use super::jobs::{Job, SendClaim};
use super::keys;
use super::places::{Server, Side};
use super::results::Recorded;
use super::send;
use super::sent::{self, Confirmed};
use super::terms::Terms;
use crate::conversation::trace::{CLOCK_SLACK, Kept, Trace, look_for};
use crate::conversation::{OnUncertain, retry};
use crate::error::Result;
use crate::evolution::{FoundMessage, SentMessage};
use crate::store::deliveries::{self, Delivery};
use crate::store::many_deliveries::Held;
use crate::store::tenants::{self, Assistant};
use crate::store::{chat_aliases, processed_events};

/// Looks that must find nothing before absence is believed.
const LOOKS: i32 = 2;

/// A look reads several pages: it may take as long as this many calls. The next one begins after
/// it has ended, or is not coming back.
const LONGEST_LOOK: i32 = 5;

/// Begins a look, and puts off the next one, so that it is not begun twice.
pub fn begin(id: i64, terms: Terms<'_>) -> Result<Option<Job>> {
    let Terms { defaults, limits, now, .. } = terms;
    let found = chat_lock::lock(&[id], &["uncertain"])?.deliveries.into_values().next();
    let Some(Held { delivery, session, .. }) = found else { return Ok(None) };
    let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, defaults)? else {
        return Ok(None);
    };
    if confirmed_by_echo(&delivery, &assistant, now)? {
        return Ok(None);
    }
    if delivery.due_at.is_none_or(|due_at| due_at > now) {
        // Another message of the same words: this one's echo may still come.
        return Ok(None);
    }
    let instance = match keys::instance_of(&assistant) {
        Ok(instance) => instance,
        Err(error) => {
            send::hold(&delivery, &assistant, &error, now)?;
            return Ok(None);
        }
    };
    if !terms.places.take(Side::Gateway, Server::of(&instance.base_url), assistant.tenant_id) {
        return Ok(None);
    }
    deliveries::looked(id, now + limits.call_time() * LONGEST_LOOK + limits.settle_time, false)?;
    let mut jids = chat_aliases::of_chat(&delivery.chat)?;
    jids.extend(session.reply_jid.filter(|jid| !jids.contains(jid)));
    let back_to = delivery.attempted_at.unwrap_or(delivery.created_at).timestamp() - 60;
    let claim = SendClaim { delivery_id: id, attempt: delivery.attempt };
    Ok(Some(Job::LookUp { claim, instance, jids, back_to, timeout: limits.send_timeout }))
}

/// Writes what a look has shown.
pub fn ended(
    claim: SendClaim,
    result: &std::result::Result<Vec<FoundMessage>, String>,
    terms: Terms<'_>,
) -> Result<Recorded> {
    let Terms { defaults, limits, now, .. } = terms;
    let Locked { deliveries, held } = chat_lock::lock(&[claim.delivery_id], &["uncertain"])?;
    if !held.is_empty() {
        return Ok(Recorded::Held);
    }
    let delivery = deliveries.into_values().map(|one| one.delivery).next();
    // A look at an attempt of before says nothing of this one.
    let Some(delivery) = delivery.filter(|delivery| delivery.attempt == claim.attempt) else {
        return Ok(Recorded::Done);
    };
    let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, defaults)? else {
        return Ok(Recorded::Done);
    };
    if confirmed_by_echo(&delivery, &assistant, now)? {
        return Ok(Recorded::Done);
    }
    let again = now + limits.settle_time;
    match result {
        // What waits for its end must not wait for ever.
        Err(why) if delivery.created_at + assistant.reply_expiry < now => {
            let error = format!("the call to Evolution broke, and it cannot be asked: {why}");
            send::hold(&delivery, &assistant, &error, now)?;
        }
        // Evolution did not answer: nothing is learnt, and nothing counted.
        Err(_) => deliveries::looked(delivery.id, again, false)?,
        Ok(messages) => match trace_of(&delivery, messages)? {
            Trace::Found(message_id) => {
                found(&delivery, &assistant, message_id, messages, now)?;
            }
            Trace::Absent | Trace::Blind if delivery.lookups + 1 < LOOKS => {
                deliveries::looked(delivery.id, again, true)?;
            }
            Trace::Absent => absent(&delivery, &assistant, now)?,
            Trace::Blind => {
                let error =
                    "the call to Evolution broke, and Evolution keeps no record of what it sends";
                send::hold(&delivery, &assistant, error, now)?;
            }
        },
    }
    Ok(Recorded::Done)
}

/// PostgreSQL never takes what a look has shown: a person must look. Whether that could be written.
pub fn refused(claim: SendClaim, error: &str, terms: Terms<'_>) -> Result<bool> {
    let Locked { deliveries, held } = chat_lock::lock(&[claim.delivery_id], &["uncertain"])?;
    for found in deliveries.into_values().filter(|one| one.delivery.attempt == claim.attempt) {
        let delivery = found.delivery;
        if let Some(assistant) = tenants::assistant(delivery.chat.tenant_id, terms.defaults)? {
            send::hold(&delivery, &assistant, error, terms.now)?;
        }
    }
    Ok(held.is_empty())
}

/// The echo of the message has come: the surest sign, and it needs no look.
pub fn confirmed_by_echo(
    delivery: &Delivery,
    assistant: &Assistant,
    now: DateTime<Utc>,
) -> Result<bool> {
    let not_before = delivery.attempted_at.unwrap_or(delivery.created_at) - CLOCK_SLACK;
    let Some(message_id) = processed_events::echo_of(&delivery.chat, &delivery.text, not_before)?
    else {
        return Ok(false);
    };
    confirmed(delivery, assistant, SentMessage { message_id, jid: None, sent_at: None }, now)?;
    Ok(true)
}

fn trace_of(delivery: &Delivery, messages: &[FoundMessage]) -> Result<Trace> {
    let kept: Vec<Kept> = messages
        .iter()
        .map(|message| Kept {
            id: message.id.clone(),
            text: message.text.clone(),
            sent_at: message.sent_at.and_then(|at| DateTime::from_timestamp(at, 0)),
        })
        .collect();
    let ids: Vec<String> = kept.iter().map(|message| message.id.clone()).collect();
    let tenant_id = delivery.chat.tenant_id;
    let taken: HashSet<String> = deliveries::taken_ids(tenant_id, &ids)?.into_iter().collect();
    let last_confirmed = deliveries::last_confirmed(&delivery.chat)?;
    let attempted_at = delivery.attempted_at.unwrap_or(delivery.created_at);
    Ok(look_for(&kept, &delivery.text, attempted_at, &taken, last_confirmed.as_deref()))
}

fn found(
    delivery: &Delivery,
    assistant: &Assistant,
    message_id: String,
    messages: &[FoundMessage],
    now: DateTime<Utc>,
) -> Result<()> {
    let sent_at = messages
        .iter()
        .find(|message| message.id == message_id)
        .and_then(|message| message.sent_at);
    confirmed(delivery, assistant, SentMessage { message_id, jid: None, sent_at }, now)
}

/// Without a JID there is no other chat that somebody could hold.
fn confirmed(
    delivery: &Delivery,
    assistant: &Assistant,
    message: SentMessage,
    now: DateTime<Utc>,
) -> Result<()> {
    let one = Confirmed { delivery: delivery.clone(), assistant, message: &message };
    sent::confirm(vec![one], now).map(drop)
}

fn absent(delivery: &Delivery, assistant: &Assistant, now: DateTime<Utc>) -> Result<()> {
    let attempts = (delivery.attempt - delivery.deferrals).unsigned_abs();
    match assistant.on_uncertain {
        OnUncertain::Send if attempts < retry::MOST_ATTEMPTS => {
            let error =
                "the call broke and Evolution has no record of the message: it is sent again";
            deliveries::try_again(delivery.id, now, false, error)
        }
        _ => send::hold(delivery, assistant, "the call to Evolution broke", now),
    }
}
