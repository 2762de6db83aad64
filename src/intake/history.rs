//! `messages.set`: what was said while the number was not paired. Nothing in it is answered, but an
//! owner who wrote lately is in a conversation: the chat is theirs.

use chrono::{DateTime, Utc};

use super::chat;
use super::message::{TOOK_OVER, facts_of, time_of, to_store};
use super::{commands, consequences};
use crate::conversation::{
    Action, Command, OwnNames, PauseReason, Sender, WhoSpoke, not_a_person, who_spoke,
};
use crate::error::Result;
use crate::store::new_messages::{self, NewMessage};
use crate::store::tenants::Tenant;
use crate::store::{late_echoes, messages, processed_events, sessions};
use crate::webhook::{Message, Payload};

/// Takes what the business said, each message once.
pub fn take(
    tenant: &Tenant,
    payload: &Payload,
    said: &[Message],
    now: DateTime<Utc>,
) -> Result<()> {
    let own = OwnNames { jid: payload.envelope.own_jid.as_ref(), lids: &tenant.own_lids };
    let mut recent: Vec<&Message> = said
        .iter()
        .filter(|message| time_of(message, now) + tenant.rules.auto_resume_after >= now)
        .filter(|message| not_a_person(message, own, &tenant.rules).is_none())
        .collect();
    // One order for all who lock several chats.
    recent.sort_by(|one, other| one.jid.cmp(&other.jid));
    for message in recent {
        take_one(tenant, payload, message, now)?;
    }
    Ok(())
}

fn take_one(
    tenant: &Tenant,
    payload: &Payload,
    message: &Message,
    now: DateTime<Utc>,
) -> Result<()> {
    let mut found = chat::find(tenant, message)?;
    let is_stored =
        messages::find(tenant.id, &message.id)?.is_some_and(|known| known.chat.is_some());
    if is_stored || processed_events::was_taken(tenant.id, &message.id)? {
        // It came as a message of its own, and has had its effect.
        return Ok(());
    }
    let sent_at = time_of(message, now);
    let facts = facts_of(tenant, &found.chat, found.session.as_ref(), message, sent_at, now)?;
    let who = who_spoke(message, facts, &tenant.rules, sent_at, now);
    // History tells a send of ours, that has no id yet, by its words alone.
    let text = message.content.text.as_deref().unwrap_or_default();
    let (is_the_owner, command) = match who {
        WhoSpoke::Owner => (true, None),
        WhoSpoke::OwnersCommand(command) => (true, Some(command)),
        WhoSpoke::NotYetKnown => (!late_echoes::is_in_flight(&found.chat, text)?, None),
        _ => (false, None),
    };
    let action = match command {
        None => Action::Paused,
        Some(Command::Hold) => Action::Held,
        Some(Command::Resume) => Action::Resumed,
    };
    let event = &payload.envelope.event;
    if !is_the_owner || !processed_events::record(tenant.id, &message.id, event, action)? {
        return Ok(());
    }
    if found.session.is_none() {
        found.session = chat::create(tenant, &found.chat, message)?;
    }
    let sender = command.map_or(Sender::Owner, |_| Sender::Command);
    // The webhook holds many messages, so that none of them keeps it.
    let row = to_store(&found.chat, payload, message, sender, sent_at);
    new_messages::store(NewMessage { raw: None, ..row })?;
    if let Some(command) = command {
        return commands::obey(tenant, &found.chat, command, sent_at, now);
    }
    sessions::human_spoke(&found.chat, sent_at)?;
    let until = sent_at + tenant.rules.auto_resume_after;
    sessions::pause_by_human(&found.chat, PauseReason::HumanTakeover, until)?;
    consequences::stop_speaking(&found.chat, TOOK_OVER, true)
}
