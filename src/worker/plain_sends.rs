//! pending -> sending -> sent for all parts of answers of which nothing unusual is known, by a few
//! statements in all. Whatever is unusual about one is left to `send`, one by one.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::jobs::{Done, Job, SendClaim};
use super::keys;
use super::places::{Server, Side};
use super::record;
use super::send;
use super::terms::Terms;
use crate::conversation::Mode;
use crate::error::Result;
use crate::evolution::{self, Instance, SendOutcome, SentMessage};
use crate::store::deliveries::{Delivery, Kind};
use crate::store::many_deliveries::{self, Confirmed, Taken, ToSend};
use crate::store::replies::{OpenState, Reply};
use crate::store::tenants::{self, Assistant};
use crate::store::{forgotten, many_replies, transaction};

/// Begins these sends, whose sessions are locked, and names the calls to make after the commit.
pub fn begin(ids: &[i64], terms: Terms<'_>) -> Result<Vec<Job>> {
    let due = many_deliveries::to_send(ids)?;
    let tenant_ids = due.iter().map(|one| one.delivery.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let replies = open_replies(due.iter().map(|one| &one.delivery))?;
    let (mut jobs, mut begun, mut unusual) = (Vec::new(), Vec::new(), Vec::new());
    let everybody_is_kept = due.is_empty() || forgotten::nobody_is_being_forgotten()?;
    for one in &due {
        let assistant = assistants.get(&one.delivery.chat.tenant_id);
        let reply = one.delivery.reply_id.and_then(|id| replies.get(&id));
        let (Some(assistant), Some(reply)) = (assistant, reply) else {
            unusual.push(one.delivery.id);
            continue;
        };
        let instance = plain_instance(one, reply, assistant, terms);
        let Some(instance) = instance.filter(|_| everybody_is_kept) else {
            unusual.push(one.delivery.id);
            continue;
        };
        if terms.places.take(Side::Gateway, Server::of(&instance.base_url), assistant.tenant_id) {
            begun.push(one.delivery.id);
            jobs.push(job(one, &instance, terms));
        }
    }
    if !begun.is_empty() {
        many_deliveries::begin(&begun)?;
        transaction::force_synchronous_commit();
    }
    for id in unusual {
        jobs.extend(send::begin(id, terms)?);
    }
    Ok(jobs)
}

/// Where it goes, if it may go and nothing unusual is known of it.
fn plain_instance(
    one: &ToSend,
    reply: &Reply,
    assistant: &Assistant,
    terms: Terms<'_>,
) -> Option<Instance> {
    let delivery = &one.delivery;
    let is_first = delivery.part == 1 && delivery.attempt == 0;
    let is_plain = delivery.kind == Kind::Reply
        && !one.is_paused
        && !one.is_unusual
        && assistant.mode == Mode::On
        && assistant.line_is_open
        && delivery.created_at + assistant.reply_expiry >= terms.now
        && reply.state == OpenState::Sending
        && !(is_first && record::is_stale(reply));
    if is_plain { keys::instance_of(assistant).ok() } else { None }
}

fn job(one: &ToSend, instance: &Instance, terms: Terms<'_>) -> Job {
    let delivery = &one.delivery;
    let jid = one.reply_jid.as_deref().unwrap_or(&delivery.chat.chat_id);
    let request = evolution::send_text(instance, jid, &delivery.text, terms.limits.send_timeout);
    let claim = SendClaim { delivery_id: delivery.id, attempt: delivery.attempt + 1 };
    Job::Send { claim, request, committed_at: Instant::now() }
}

fn open_replies<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Result<HashMap<i64, Reply>> {
    let ids: Vec<i64> = deliveries.filter_map(|delivery| delivery.reply_id).collect();
    many_replies::open(&ids)
}

/// Writes the plain ones among these results; their places in `arrived`.
pub fn record(arrived: &[Done], terms: Terms<'_>) -> Result<HashSet<usize>> {
    let sent: HashMap<i64, (usize, SendClaim, &SentMessage)> = arrived
        .iter()
        .enumerate()
        .filter_map(|(place, done)| match done {
            Done::Sent { claim, outcome: SendOutcome::Sent(message) } => {
                Some((claim.delivery_id, (place, *claim, message)))
            }
            _ => None,
        })
        .collect();
    if sent.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = sent.keys().copied().collect();
    let answers: Vec<(i64, &str, &str)> = many_deliveries::lock_sending(&ids)?
        .into_iter()
        .filter_map(|id| {
            let (_, _, message) = sent.get(&id)?;
            Some((id, message.message_id.as_str(), message.jid.as_deref().unwrap_or_default()))
        })
        .collect();
    let taken = many_deliveries::taken(&answers)?;
    let tenant_ids = taken.iter().map(|one| one.delivery.chat.tenant_id);
    let assistants = tenants::assistants(tenant_ids, terms.defaults)?;
    let replies = open_replies(taken.iter().map(|one| &one.delivery))?;
    let (mut written, mut confirmed, mut finished) = (HashSet::new(), Vec::new(), Vec::new());
    let mut known = HashSet::new();
    for one in &taken {
        let delivery = &one.delivery;
        let Some((place, claim, message)) = sent.get(&delivery.id) else { continue };
        let line_is_open = assistants
            .get(&delivery.chat.tenant_id)
            .is_some_and(|assistant| assistant.line_is_open);
        let reply = delivery.reply_id.and_then(|id| replies.get(&id));
        if delivery.attempt != claim.attempt
            || !line_is_open
            || !is_plain_end(one, reply)
            || !known.insert((delivery.chat.tenant_id, message.message_id.as_str()))
        {
            continue;
        }
        written.insert(*place);
        let sent_at = send::time_of(message, delivery, terms.now);
        confirmed.push(Confirmed { delivery, message_id: &message.message_id, sent_at });
        finished.extend(reply.filter(|_| one.open_of_reply <= 1));
    }
    if !confirmed.is_empty() {
        many_deliveries::confirm(&confirmed)?;
        many_replies::finish(&finished)?;
        many_deliveries::sent(&confirmed)?;
    }
    Ok(written)
}

/// Nothing follows from its end but that of its reply, which has read all that the customer wrote.
fn is_plain_end(one: &Taken, reply: Option<&Reply>) -> bool {
    let last_but_not_all_read =
        one.open_of_reply <= 1 && reply.is_some_and(|reply| reply.wanted > reply.seen);
    one.delivery.kind == Kind::Reply && !one.is_unusual && !last_but_not_all_read
}
