//! Messages of which nobody could say whether they were ours while a send was in flight: decided
//! when no send is, each by the table as if it came only now, but at its own time.

use chrono::{DateTime, Utc};

use super::message::{Arrival, facts_of, is_perhaps_in_flight, time_of};
use crate::conversation::{ChatFacts, decide};
use crate::error::Result;
use crate::settings;
use crate::store::processed_events::PendingEcho;
use crate::store::{Chat, chat_aliases, processed_events, sessions, tenants};
use crate::webhook::{self, Body};

/// Decides what can be decided; how many messages.
pub fn settle_all(now: DateTime<Utc>) -> Result<usize> {
    let mut settled = 0;
    for chat in processed_events::chats_with_decidable_echoes()? {
        // Held by somebody, or about to be made: found again at the next look.
        let is_ours = if sessions::exists(&chat)? {
            sessions::try_lock(&chat)?.is_some()
        } else {
            chat_aliases::try_reserve(chat.tenant_id, &chat.chat_id)?
        };
        if !is_ours {
            continue;
        }
        // A merge was faster than this lock: found again under the name that is left.
        if chat_aliases::today(&chat)? != chat {
            continue;
        }
        for pending in processed_events::pending_echoes(&chat)? {
            settle(&chat, &pending, now)?;
            settled += 1;
        }
    }
    Ok(settled)
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
