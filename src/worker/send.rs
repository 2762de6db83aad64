//! pending -> sending: messages that are due become calls to Evolution, all of a round by a few
//! statements. The commit of `sending` is the point of no return; before it a thread is free for the
//! call, and pause and staleness are checked once more. A message that ends here instead ends alone.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::chat_lock::{self, Locked};
use super::jobs::{Job, SendClaim};
use super::modes::{Silence, silence_of};
use super::places::{Server, Side};
use super::terms::Terms;
use super::{endings, keys};
use crate::conversation::Action;
use crate::error::Result;
use crate::evolution::{self, Instance};
use crate::intake::consequences;
use crate::store::deliveries::{self, Delivery, Kind, NotSent};
use crate::store::many_deliveries::{self, Held, Hindrance};
use crate::store::replies::{self, End, Reply};
use crate::store::tenants::{self, Assistant};
use crate::store::{Chat, forgotten, many_replies, transaction};

/// Begins these sends, as far as they may be sent, and names the calls to make after the commit. Their
/// sessions are locked.
pub fn begin(ids: &[i64], terms: Terms<'_>) -> Result<Vec<Job>> {
    let Locked { deliveries: due, .. } = chat_lock::under_lock(ids, &["pending"])?;
    let due: Vec<&Held> = ids.iter().filter_map(|id| due.get(id)).collect();
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let deliveries = || due.iter().map(|one| &one.delivery);
    let assistants =
        tenants::assistants(deliveries().map(|one| one.chat.tenant_id), terms.defaults)?;
    let replies = open_replies(deliveries())?;
    let chats: Vec<&Chat> = deliveries().map(|one| &one.chat).collect();
    let hindrances = many_deliveries::hindrances(&chats)?;
    let everybody_is_kept = forgotten::nobody_is_being_forgotten()?;
    let (mut jobs, mut begun, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
    for (one, hindrance) in due.iter().zip(hindrances) {
        let delivery = &one.delivery;
        let Some(assistant) = assistants.get(&delivery.chat.tenant_id) else { continue };
        // Of a chat that was two until now each name may have one that is due.
        if hindrance.in_flight || !taken.insert(&delivery.chat) {
            continue;
        }
        if !everybody_is_kept && !forgotten::is_kept(&delivery.chat)? {
            continue;
        }
        let reply = delivery.reply_id.and_then(|id| replies.get(&id));
        if !may_be_sent(one, hindrance, reply, assistant, terms)? || !assistant.line_is_open {
            continue;
        }
        let instance = match keys::instance_of(assistant) {
            Ok(instance) => instance,
            Err(error) => {
                fail(delivery, assistant, &error, terms.now)?;
                continue;
            }
        };
        if terms.places.take(Side::Gateway, Server::of(&instance.base_url), assistant.tenant_id) {
            begun.push(delivery.id);
            jobs.push(job(one, &instance, terms));
        }
    }
    if !begun.is_empty() {
        many_deliveries::begin(&begun)?;
        transaction::force_synchronous_commit();
    }
    Ok(jobs)
}

fn job(one: &Held, instance: &Instance, terms: Terms<'_>) -> Job {
    let delivery = &one.delivery;
    let jid = one.session.reply_jid.as_deref().unwrap_or(&delivery.chat.chat_id);
    let request = evolution::send_text(instance, jid, &delivery.text, terms.limits.send_timeout);
    let claim = SendClaim { delivery_id: delivery.id, attempt: delivery.attempt + 1 };
    Job::Send { claim, request, committed_at: Instant::now() }
}

/// The replies of these deliveries that have not ended.
pub fn open_replies<'a>(
    deliveries: impl Iterator<Item = &'a Delivery>,
) -> Result<HashMap<i64, Reply>> {
    let ids: Vec<i64> = deliveries.filter_map(|delivery| delivery.reply_id).collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { many_replies::open(&ids) }
}

/// The last look before the point of no return; what may never be sent ends. Only parts of an answer
/// obey every pause; a fallback text gives way to a human, and what an operator wrote is always sent.
fn may_be_sent(
    one: &Held,
    hindrance: Hindrance,
    reply: Option<&Reply>,
    assistant: &Assistant,
    terms: Terms<'_>,
) -> Result<bool> {
    let (delivery, now) = (&one.delivery, terms.now);
    if delivery.kind == Kind::Operator {
        return Ok(true);
    }
    if let Some(silence) = silence_of(assistant, &delivery.chat)? {
        silenced(delivery, reply, assistant, silence, now)?;
        return Ok(false);
    }
    if is_expired(delivery, assistant, terms) {
        fail(delivery, assistant, &terms.why_expired("sent"), now)?;
        return Ok(false);
    }
    if hindrance.undecided {
        // Perhaps a takeover that came during the last call; decided in the next round.
        return Ok(false);
    }
    let is_silenced = match delivery.kind {
        Kind::Fallback => one.session.is_with_a_human(),
        _ => one.session.is_paused,
    };
    if is_silenced {
        paused(delivery, reply)?;
        return Ok(false);
    }
    if delivery.kind == Kind::Fallback {
        return Ok(true);
    }
    let Some(reply) = reply else {
        deliveries::end(delivery.id, NotSent::Cancelled, "its reply has ended")?;
        return Ok(false);
    };
    if delivery.part == 1 && delivery.attempt == 0 && endings::is_stale(reply) {
        deliveries::cancel_of_reply(reply.id, "the customer wrote before this was sent")?;
        replies::take_back(reply.id, endings::due_again(reply, assistant, now)?)?;
        return Ok(false);
    }
    Ok(true)
}

fn is_expired(delivery: &Delivery, assistant: &Assistant, terms: Terms<'_>) -> bool {
    delivery.kind != Kind::Operator && delivery.created_at + assistant.reply_expiry < terms.now
}

/// PostgreSQL refuses to let it be sent, and what follows from giving it up, too: once its time is over it
/// fails with as little as can be written. Whether it did.
pub fn end_refused(id: i64, terms: Terms<'_>) -> Result<bool> {
    let free = many_deliveries::lock(&[id], &["pending"])?;
    let Some(Held { delivery, .. }) = many_deliveries::held(&free, &["pending"])?.pop() else {
        return Ok(false);
    };
    let assistant = tenants::assistant(delivery.chat.tenant_id, terms.defaults)?;
    let is_over = assistant.is_some_and(|assistant| is_expired(&delivery, &assistant, terms));
    if is_over {
        let why = terms.why_expired("sent");
        if let Some(reply_id) = delivery.reply_id {
            replies::finish(reply_id, End::Failed, Some(&why))?;
        }
        deliveries::end(id, NotSent::Failed, &why)?;
    }
    Ok(is_over)
}

/// The tenant was switched to a mode in which this is not sent, with this written already.
fn silenced(
    delivery: &Delivery,
    reply: Option<&Reply>,
    assistant: &Assistant,
    silence: Silence,
    now: DateTime<Utc>,
) -> Result<()> {
    match (reply, silence) {
        (Some(reply), Silence::Draft) => endings::keep_as_draft(reply, assistant, now),
        (Some(reply), Silence::Off(why)) => endings::switched_off(reply, why),
        (None, _) => {
            deliveries::end(delivery.id, NotSent::Cancelled, "the tenant's mode sends nothing")
        }
    }
}

fn paused(delivery: &Delivery, reply: Option<&Reply>) -> Result<()> {
    const WHY: &str = "the chat was paused before this was sent";
    consequences::stop_speaking(&delivery.chat, WHY, true)?;
    // It may have been written under another name of the chat.
    if let Some(reply) = reply {
        consequences::close_questions(reply, Action::CancelledPaused)?;
        replies::finish(reply.id, End::Cancelled, Some(WHY))?;
    }
    deliveries::end(delivery.id, NotSent::Cancelled, WHY)
}

/// The delivery ends, and with it the reply it is a part of, if that is open.
pub fn fail(
    delivery: &Delivery,
    assistant: &Assistant,
    error: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    if let Some(reply) = delivery.reply_id.map_or(Ok(None), replies::open_by_id)? {
        endings::give_up(&reply, assistant, error, now)?;
    }
    deliveries::end(delivery.id, NotSent::Failed, error)
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
