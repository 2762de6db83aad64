//! Messages of which nobody could say whether they were ours while a send was in flight: decided
//! when no send is, each by the rules of `conversation` as if it came only now, but at its own time.

use chrono::{DateTime, Utc};

use super::message::{Arrival, facts_of, is_perhaps_in_flight, time_of};
use crate::conversation::trace::CLOCK_SLACK;
use crate::conversation::{ChatFacts, decide};
use crate::error::Result;
use crate::settings;
use crate::store::forgotten::Named;
use crate::store::processed_events::PendingEcho;
use crate::store::{Chat, chat_aliases, forgotten, processed_events, sessions, tenants};
use crate::webhook::{self, Body, Message};

/// Whether a message is the echo of one of ours whose chat was forgotten before the call had told its id.
pub fn is_of_the_forgotten(chat: &Chat, message: &Message, sent_at: DateTime<Utc>) -> Result<bool> {
    let Some(text) = message.words_through_evolution() else { return Ok(false) };
    let jids = std::iter::once(&message.jid).chain(&message.alt).map(|jid| jid.as_str());
    let names = std::iter::once(chat.chat_id.as_str()).chain(jids).map(str::to_owned).collect();
    let limits = settings::worker_limits();
    // Evolution is not at work on a call any longer than that after it was forgotten.
    let since = sent_at - limits.call_time() - limits.settle_time - CLOCK_SLACK;
    forgotten::had_sent(&Named { tenant_id: chat.tenant_id, names }, text, since)
}

/// Decides what can be decided, but for the chats whose first undecided event is one of these.
pub fn settle_all(but_for: &[i64], now: DateTime<Utc>) -> Result<()> {
    for (_, chat) in processed_events::chats_with_decidable_echoes(but_for)? {
        settle_chat(&chat, now)?;
    }
    Ok(())
}

/// The same of the chat whose first undecided event this is.
pub fn settle_from(event_id: i64, now: DateTime<Utc>) -> Result<()> {
    let chats = processed_events::chats_with_decidable_echoes(&[])?;
    match chats.into_iter().find(|(first, _)| *first == event_id) {
        Some((_, chat)) => settle_chat(&chat, now),
        None => Ok(()),
    }
}

/// The first undecided event of each chat where one can be decided, but for these.
pub fn first_of_each(but_for: &[i64]) -> Result<Vec<i64>> {
    let chats = processed_events::chats_with_decidable_echoes(but_for)?;
    Ok(chats.into_iter().map(|(first, _)| first).collect())
}

fn settle_chat(chat: &Chat, now: DateTime<Utc>) -> Result<()> {
    // Held by somebody, or about to be made: found again at the next look.
    let is_ours = if sessions::exists(chat)? {
        sessions::try_lock(chat)?.is_some()
    } else {
        chat_aliases::try_reserve(chat.tenant_id, &chat.chat_id)?
    };
    // Or a merge was faster than this lock: found again under the name that is left.
    if !is_ours || chat_aliases::today(chat)? != *chat {
        return Ok(());
    }
    for pending in processed_events::pending_echoes(chat)? {
        settle(chat, &pending, now)?;
    }
    Ok(())
}

fn settle(chat: &Chat, pending: &PendingEcho, now: DateTime<Utc>) -> Result<()> {
    let Ok(payload) = webhook::read(&pending.raw) else { return Ok(()) };
    let Body::Message(message) = &payload.body else { return Ok(()) };
    let Some(tenant) = tenants::by_id(chat.tenant_id, &settings::behaviour())? else {
        return Ok(());
    };
    if is_perhaps_in_flight(message, chat.tenant_id)? {
        return Ok(());
    }
    let sent_at = time_of(message, now);
    let session = sessions::lock(chat)?;
    let known = facts_of(&tenant, chat, session.as_ref(), message, sent_at, now)?;
    let facts = ChatFacts { send_in_flight: false, ..known };
    let decision = decide(message, facts, &tenant.rules, sent_at, now);
    Arrival { tenant: &tenant, payload: &payload, message, sent_at, now }.settle(chat, &decision)
}
