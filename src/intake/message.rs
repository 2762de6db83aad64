//! `messages.upsert` and `send.message`: who spoke, and what follows.

use chrono::{DateTime, Utc};

use super::chat::{self, Found};
use super::{Outcome, commands, consequences, echo, greetings, pauses, test_chats};
use crate::conversation::trace::CLOCK_SLACK;
use crate::conversation::{
    Action, ChatFacts, Decision, OwnNames, PauseReason, Sender, decide, not_a_person,
};
use crate::error::Result;
use crate::settings;
use crate::store::customers::{self, Wrote};
use crate::store::deliveries::Delivery;
use crate::store::messages::OwnMessage;
use crate::store::new_messages::{self, NewMessage, Stored};
use crate::store::processed_events::Seen;
use crate::store::sessions::Session;
use crate::store::tenants::{self, Tenant};
use crate::store::{
    Chat, deliveries, late_echoes, many_deliveries, messages, processed_events, replies, sessions,
    unverified,
};
use crate::webhook::{Jid, Message, Payload};

/// A message this young proves that the line is open; an older one may be a late retry.
const PROVES_THE_LINE_FOR: chrono::Duration = chrono::Duration::seconds(60);

/// Why a reply ends when somebody of the business has the word.
pub const TOOK_OVER: &str = "a human of the business took over";

/// Takes one message. Whether it came before is looked up first, since that is the cheapest, and again
/// behind the session's lock, where it is certain.
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
    if opens_the_line(tenant, message, now) {
        tenants::prove_open(tenant.id)?;
    }
    let own = OwnNames { jid: payload.envelope.own_jid.as_ref(), lids: &tenant.own_lids };
    if let Some(action) = not_a_person(message, own, &tenant.rules) {
        return leave_aside(tenant, message, event, action);
    }
    if !message.from_me && tenant.owns(&message.jid) {
        tenants::forget_own_lid(tenant.id, message.jid.as_str())?;
    }
    let mut found = chat::find(tenant, message)?;
    if let Some(seen) = seen_before(tenant, message, event)? {
        return Ok(seen);
    }
    bring_up_to_date(tenant, &mut found, message, sent_at, now)?;
    let decide_on = |found: &Found| -> Result<Decision> {
        let facts = facts_of(tenant, &found.chat, found.session.as_ref(), message, sent_at, now)?;
        Ok(decide(message, facts, &tenant.rules, sent_at, now))
    };
    let mut decision = decide_on(&found)?;
    if found.session.is_none() && makes_session(&decision) {
        found.session = chat::create(tenant, &found.chat, message)?;
        // Another event may have made it first: this very one, or one that paused it.
        if let Some(seen) = seen_before(tenant, message, event)? {
            return Ok(seen);
        }
        decision = decide_on(&found)?;
    }
    Arrival { tenant, payload, message, sent_at, now }.follow(found.chat, decision)
}

/// Whether a message proves that a line is open that was not.
pub fn opens_the_line(tenant: &Tenant, message: &Message, now: DateTime<Utc>) -> bool {
    !tenant.line_is_open && time_of(message, now) + PROVES_THE_LINE_FOR > now
}

/// Whose chat an undecided message is may not be known before the call in flight has ended, and that
/// of one that cannot be verified never.
fn makes_session(decision: &Decision) -> bool {
    use Action::{IgnoredUnverified, OwnEcho, PendingEcho};
    decision.store_as.is_some()
        && !matches!(decision.action, OwnEcho | PendingEcho | IgnoredUnverified)
}

/// A pause may have ended without anybody noting it: its time is over, or what looked like the owner
/// turns out to be a machine.
fn bring_up_to_date(
    tenant: &Tenant,
    found: &mut Found,
    message: &Message,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let Some(session) = &found.session else { return Ok(()) };
    let changed = if session.pause_is_over {
        pauses::resume(tenant, &found.chat, now)?
    } else {
        may_be_a_machines(session, message, sent_at)
            && greetings::came_before(tenant, &found.chat, sent_at, now)?
    };
    if changed {
        found.session = sessions::lock(&found.chat)?;
    }
    Ok(())
}

/// Whether a session may be paused only because a machine spoke after this message of a customer.
fn may_be_a_machines(session: &Session, message: &Message, sent_at: DateTime<Utc>) -> bool {
    session.is_paused
        && !message.is_from_the_business()
        && session.pause_reason.as_deref() == Some(PauseReason::HumanTakeover.as_str())
        && session.last_human_at.is_some_and(|at| at >= sent_at)
}

/// Whether nothing but its row is needed to know if a session is paused for this message.
pub fn is_up_to_date(session: &Session, message: &Message, sent_at: DateTime<Utc>) -> bool {
    !session.pause_is_over && !may_be_a_machines(session, message, sent_at)
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

/// What the tables know of a message and its chat, whose session the caller has locked.
pub fn facts_of(
    tenant: &Tenant,
    chat: &Chat,
    session: Option<&Session>,
    message: &Message,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<ChatFacts> {
    let from_us = message.is_from_the_business();
    let chat_id = session.map(|session| session.chat.chat_id.as_str());
    // In this order: a call that ends between the two looks is found by the second, as ours.
    let send_in_flight = from_us
        && (deliveries::in_flight(tenant.id, chat_id)?
            || is_perhaps_in_flight(message, tenant.id)?);
    let is_ours = from_us
        && (deliveries::by_message_id(tenant.id, &message.id)?
            || given_up(chat, message, sent_at)?.is_some()
            || echo::is_of_the_forgotten(chat, message, sent_at)?);
    Ok(ChatFacts {
        is_our_delivery: is_ours,
        send_in_flight,
        is_paused: session.is_some_and(|session| session.is_paused),
        is_test_chat: is_test_chat(tenant, chat, message)?,
        last_human_at: session.and_then(|session| session.last_human_at),
        steered_at: session.and_then(|session| session.steered_at),
        is_known_greeting: from_us && greetings::is_known(chat, message, sent_at)?,
        others_write_too: message.is_unverified() && unverified::another_customer_wrote(chat, now)?,
    })
}

/// The delivery of which this is the echo after all: its call ended without an id, and nobody could
/// tell that it was sent. What the owner types is never taken for one, nor the same words of another
/// sender when Evolution cannot be at work on that call any more.
fn given_up(chat: &Chat, message: &Message, sent_at: DateTime<Utc>) -> Result<Option<Delivery>> {
    let Some(text) = message.words_through_evolution() else { return Ok(None) };
    let limits = settings::worker_limits();
    let since = sent_at - limits.call_time() - limits.settle_time - CLOCK_SLACK;
    late_echoes::given_up(chat, text, since, sent_at + CLOCK_SLACK)
}

/// The echo of a call that has not ended may name a JID that is another chat so far.
pub fn is_perhaps_in_flight(message: &Message, tenant_id: i32) -> Result<bool> {
    match message.words_through_evolution() {
        Some(text) => late_echoes::is_in_flight_somewhere(tenant_id, text),
        None => Ok(false),
    }
}

fn is_test_chat(tenant: &Tenant, chat: &Chat, message: &Message) -> Result<bool> {
    let names: Vec<&Jid> = std::iter::once(&message.jid).chain(&message.alt).collect();
    test_chats::is_listed(&tenant.test_chats, chat, &names)
}

/// What a decision comes to now that its message is stored. None: its other event has acted (gateways
/// that report one message by both).
pub fn once_stored(decision: Decision, stored: Stored) -> Option<Decision> {
    match stored {
        // The customer took it back before it came.
        Stored::DeletedAlready if decision.queue => {
            Some(Decision { action: Action::Deleted, queue: false, ..decision })
        }
        Stored::New | Stored::DeletedAlready => Some(decision),
        Stored::Known => None,
    }
}

/// The row of a message.
pub fn to_store<'a>(
    chat: &'a Chat,
    payload: &'a Payload,
    message: &'a Message,
    sender: Sender,
    sent_at: DateTime<Utc>,
) -> NewMessage<'a> {
    NewMessage {
        chat,
        message_id: &message.id,
        from_me: !matches!(sender, Sender::Customer | Sender::Unverified),
        message_type: &message.message_type,
        text: message.content.text.as_deref(),
        raw: Some(&payload.raw),
        sent_at,
        sender,
        status: message.status,
    }
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

    /// The end of the call may have been recorded after the decision: under a JID that no chat is
    /// known by, nothing but the message's own row makes the two wait for each other.
    fn is_ours_by_now(&self) -> Result<bool> {
        Ok(self.message.from_me && deliveries::by_message_id(self.tenant.id, &self.message.id)?)
    }

    fn own_echo(&self, chat: Chat) -> Result<Outcome> {
        let is_known = deliveries::by_message_id(self.tenant.id, &self.message.id)?;
        if !is_known && let Some(delivery) = given_up(&chat, self.message, self.sent_at)? {
            self.was_sent_after_all(&delivery)?;
        }
        messages::keep_echo(self.tenant.id, &self.message.id, &self.payload.raw)?;
        self.record(&chat, Action::OwnEcho)
    }

    /// It was left to a person because nobody could tell that it was sent; its reply failed.
    fn was_sent_after_all(&self, delivery: &Delivery) -> Result<()> {
        let chat = &delivery.chat;
        messages::store_own(&[OwnMessage {
            chat,
            message_id: &self.message.id,
            text: &delivery.text,
            sent_at: self.sent_at,
            sender: delivery.kind.speaker(),
            reply_id: delivery.reply_id,
        }])?;
        many_deliveries::sent(&[(delivery.id, &self.message.id)])?;
        let Some(reply_id) = delivery.reply_id else { return Ok(()) };
        if replies::was_sent_after_all(reply_id)? {
            let session = sessions::lock(chat)?;
            let reason = session.and_then(|session| session.pause_reason);
            if reason.as_deref() == Some(PauseReason::AiFailed.as_str()) {
                pauses::resume(self.tenant, chat, self.now)?;
            }
        }
        Ok(())
    }

    fn finish(&self, chat: Chat, decision: Decision) -> Result<Outcome> {
        let mut decision = decision;
        if let Some(sender) = decision.store_as {
            match once_stored(decision, self.store(&chat, sender)?) {
                Some(stands) => decision = stands,
                None if self.is_ours_by_now()? => return self.own_echo(chat),
                None => return self.record(&chat, Action::AlreadyStored),
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
            let jid = self.message.jid.as_str();
            let wrote = Wrote { chat, sent_at: self.sent_at, jid, name, unchanged_since: None };
            customers::wrote_again(&[wrote])?;
        }
        if decision.human_spoke {
            sessions::human_spoke(chat, self.sent_at)?;
        }
        if let Some(takeover) = decision.takeover {
            let until = self.sent_at + self.tenant.rules.auto_resume_after;
            sessions::pause_by_human(chat, takeover.reason, until)?;
        }
        Ok(())
    }

    fn store(&self, chat: &Chat, sender: Sender) -> Result<Stored> {
        new_messages::store(to_store(chat, self.payload, self.message, sender, self.sent_at))
    }

    fn consequences(&self, chat: &Chat, decision: &Decision, outcome: &mut Outcome) -> Result<()> {
        self.steer(chat, decision)?;
        if decision.queue {
            let reply_id = consequences::queue(self.tenant, chat, self.sent_at, self.now)?;
            outcome.reply_id = Some(reply_id);
        }
        // It may be the echo that tells how a call ended; or what was asked in a pause is answered.
        let has_consequences = matches!(
            decision.action,
            Action::PendingEcho | Action::Resumed | Action::IgnoredAutoReply
        );
        outcome.wakes_worker = (decision.queue || has_consequences).then_some(self.now);
        Ok(())
    }

    /// What the words of the business mean for the assistant.
    fn steer(&self, chat: &Chat, decision: &Decision) -> Result<()> {
        if decision.takeover.is_some() {
            consequences::stop_speaking(chat, TOOK_OVER, true)?;
        }
        if let Some(command) = decision.command {
            commands::obey(self.tenant, chat, command, self.sent_at, self.now)?;
        }
        let words = self.message.content.text.as_deref();
        if decision.action == Action::IgnoredAutoReply
            && !self.message.is_made_by_evolution()
            && let Some(words) = words.filter(|words| !self.tenant.knows_as_automatic(words))
        {
            greetings::learn(self.tenant, words, self.now)?;
        }
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
        let id = &self.message.id;
        processed_events::settle(self.tenant.id, id, decision.action)?;
        let Some(sender) = decision.store_as else {
            return messages::forget(self.tenant.id, id);
        };
        if decision.action != Action::OwnEcho {
            chat::create(self.tenant, chat, self.message)?;
            self.touch_session(chat, sender, decision)?;
        }
        messages::set_sender(self.tenant.id, id, sender)?;
        self.steer(chat, decision)
    }
}
