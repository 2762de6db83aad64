//! `messages.upsert` and `send.message`: who spoke, and what follows.

use chrono::{DateTime, Utc};

use super::chat::{self, Found};
use super::{Outcome, consequences};
use crate::conversation::{Action, ChatFacts, Decision, Sender, decide, not_a_person};
use crate::error::Result;
use crate::store::messages::{NewMessage, Stored};
use crate::store::processed_events::Seen;
use crate::store::tenants::{self, Tenant};
use crate::store::{Chat, chat_aliases, deliveries, messages, processed_events, sessions};
use crate::webhook::{Jid, LineState, Message, Payload};

/// A message this young proves that the line is open; an older one may be a late retry.
const PROVES_THE_LINE_FOR: chrono::Duration = chrono::Duration::seconds(60);

/// Takes one message. Row 3 (duplicates) stands first since it is the cheapest, and again behind
/// the session's lock, where it is certain.
pub fn take(
    tenant: &Tenant,
    payload: &Payload,
    message: &Message,
    now: DateTime<Utc>,
) -> Result<Outcome> {
    let event = payload.envelope.event.as_str();
    if let Some(seen) = seen_before(tenant, message, event)? {
        return Ok(seen);
    }
    let sent_at = time_of(message, now);
    if !tenant.line_is_open && sent_at + PROVES_THE_LINE_FOR > now {
        tenants::set_connection_state(tenant.id, LineState::Open.as_str())?;
    }
    if let Some(action) = not_a_person(message, payload.envelope.own_jid.as_ref(), &tenant.rules) {
        return leave_aside(tenant, message, event, action);
    }
    let mut found = chat::find(tenant.id, message)?;
    if let Some(seen) = seen_before(tenant, message, event)? {
        return Ok(seen);
    }
    let decide_on = |found: &Found| -> Result<Decision> {
        Ok(decide(message, facts(tenant, found, message)?, &tenant.rules, sent_at, now))
    };
    let mut decision = decide_on(&found)?;
    if found.session.is_none() && makes_session(&decision) {
        found.session = chat::create(&found.chat, message)?;
        // Another event may have made it first: this very one, or one that paused it.
        if let Some(seen) = seen_before(tenant, message, event)? {
            return Ok(seen);
        }
        decision = decide_on(&found)?;
    }
    Arrival { tenant, payload, message, sent_at, now }.follow(found.chat, decision)
}

/// Whose chat an undecided message is may not be known before the call in flight has ended.
fn makes_session(decision: &Decision) -> bool {
    decision.store_as.is_some() && !matches!(decision.action, Action::OwnEcho | Action::PendingEcho)
}

/// The message's own time; not later than now, since Evolution rounds it up.
pub fn time_of(message: &Message, now: DateTime<Utc>) -> DateTime<Utc> {
    let sent_at = message.sent_at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    sent_at.map_or(now, |sent_at| sent_at.min(now))
}

fn seen_before(tenant: &Tenant, message: &Message, event: &str) -> Result<Option<Outcome>> {
    let seen = processed_events::seen(tenant.id, &message.id, event)?;
    Ok(seen.map(|seen| Outcome::duplicate(tenant, &message.id, seen)))
}

fn leave_aside(tenant: &Tenant, message: &Message, event: &str, action: Action) -> Result<Outcome> {
    let first = processed_events::record(tenant.id, &message.id, event, action)?;
    Ok(Outcome {
        duplicate: !first,
        message_id: Some(message.id.clone()),
        ..Outcome::new(tenant, action)
    })
}

fn facts(tenant: &Tenant, found: &Found, message: &Message) -> Result<ChatFacts> {
    let from_us = message.from_me;
    let session = found.session.as_ref();
    let chat_id = session.map(|session| session.chat.chat_id.as_str());
    Ok(ChatFacts {
        is_our_delivery: from_us && deliveries::by_message_id(tenant.id, &message.id)?,
        send_in_flight: from_us && deliveries::in_flight(tenant.id, chat_id)?,
        is_paused: session.is_some_and(|session| session.is_paused),
        is_test_chat: is_test_chat(tenant, &found.chat, message)?,
    })
}

/// `test_chats` may name a chat by any of its JIDs, or by a phone number in any writing.
fn is_test_chat(tenant: &Tenant, chat: &Chat, message: &Message) -> Result<bool> {
    let listed: Vec<Jid> = tenant
        .test_chats
        .iter()
        .filter_map(|writing| Jid::from_any_writing(writing))
        .flat_map(|jid| jid.phone_variants())
        .collect();
    if listed.is_empty() {
        return Ok(false);
    }
    if listed.iter().any(|jid| *jid == message.jid || message.alt.as_ref() == Some(jid)) {
        return Ok(true);
    }
    let names = chat_aliases::of_chat(chat)?;
    Ok(listed.iter().any(|jid| names.iter().any(|name| name == jid.as_str())))
}

/// A message on its way into the tables.
pub struct Arrival<'a> {
    pub tenant: &'a Tenant,
    pub payload: &'a Payload,
    pub message: &'a Message,
    pub sent_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

impl Arrival<'_> {
    fn follow(&self, chat: Chat, decision: Decision) -> Result<Outcome> {
        match decision.action {
            Action::OwnEcho => self.own_echo(chat),
            _ => self.finish(chat, decision),
        }
    }

    fn own_echo(&self, chat: Chat) -> Result<Outcome> {
        messages::keep_echo(self.tenant.id, &self.message.id, &self.payload.raw)?;
        self.record(&chat, Action::OwnEcho)
    }

    fn finish(&self, chat: Chat, decision: Decision) -> Result<Outcome> {
        let mut decision = decision;
        if let Some(sender) = decision.store_as {
            match self.store(&chat, sender)? {
                Stored::New => {}
                // The customer took it back before it came.
                Stored::DeletedAlready if decision.queue => {
                    decision = Decision { action: Action::Deleted, queue: false, ..decision };
                }
                Stored::DeletedAlready => {}
                // Its other event has acted (gateways that report one message by both).
                Stored::Known => return self.record(&chat, Action::AlreadyStored),
            }
            self.touch_session(&chat, sender, &decision)?;
        }
        if decision.leaves_row && !self.record_row(decision.action)? {
            let seen = Seen::nothing_more(decision.action);
            return Ok(Outcome::duplicate(self.tenant, &self.message.id, seen));
        }
        let mut outcome = self.outcome(&chat, decision.action);
        self.consequences(&chat, &decision, &mut outcome)?;
        Ok(outcome)
    }

    /// What the session, which is locked, learns of a message that is new.
    fn touch_session(&self, chat: &Chat, sender: Sender, decision: &Decision) -> Result<()> {
        if sender == Sender::Customer {
            let name = self.message.push_name.as_deref();
            sessions::customer_wrote(chat, self.sent_at, self.message.jid.as_str(), name)?;
        }
        if decision.human_spoke {
            sessions::human_spoke(chat, self.sent_at)?;
        }
        if let Some(takeover) = decision.takeover {
            sessions::pause_by_human(chat, takeover.reason)?;
        }
        Ok(())
    }

    fn store(&self, chat: &Chat, sender: Sender) -> Result<Stored> {
        let message = self.message;
        messages::store(
            chat,
            &NewMessage {
                message_id: &message.id,
                from_me: sender != Sender::Customer,
                message_type: &message.message_type,
                text: message.content.text.as_deref(),
                raw: &self.payload.raw,
                sent_at: self.sent_at,
                sender,
                status: message.status,
            },
        )
    }

    fn consequences(&self, chat: &Chat, decision: &Decision, outcome: &mut Outcome) -> Result<()> {
        if decision.takeover.is_some() {
            consequences::stop_speaking(chat, "a human of the business took over", true)?;
        }
        if decision.queue {
            let reply_id = consequences::queue(self.tenant, chat, self.sent_at, self.now)?;
            outcome.reply_id = Some(reply_id);
            outcome.wakes_worker = true;
        }
        // It may be the echo that tells how a call ended.
        outcome.wakes_worker |= decision.action == Action::PendingEcho;
        Ok(())
    }

    fn record(&self, chat: &Chat, action: Action) -> Result<Outcome> {
        let first = self.record_row(action)?;
        Ok(Outcome { duplicate: !first, ..self.outcome(chat, action) })
    }

    fn record_row(&self, action: Action) -> Result<bool> {
        processed_events::record(
            self.tenant.id,
            &self.message.id,
            &self.payload.envelope.event,
            action,
        )
    }

    fn outcome(&self, chat: &Chat, action: Action) -> Outcome {
        Outcome {
            chat_id: Some(chat.chat_id.clone()),
            message_id: Some(self.message.id.clone()),
            ..Outcome::new(self.tenant, action)
        }
    }

    /// An undecided message, now that the call in flight has ended: what it would have been.
    pub fn settle(&self, chat: &Chat, decision: &Decision) -> Result<()> {
        let sender = decision.store_as.unwrap_or(Sender::Other);
        if decision.action != Action::OwnEcho {
            chat::create(chat, self.message)?;
            self.touch_session(chat, sender, decision)?;
        }
        messages::set_sender(self.tenant.id, &self.message.id, sender)?;
        processed_events::settle(self.tenant.id, &self.message.id, decision.action)?;
        if decision.takeover.is_some() {
            consequences::stop_speaking(chat, "a human of the business took over", true)?;
        }
        Ok(())
    }
}
