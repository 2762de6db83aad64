//! Who spoke, and what follows: an event and what is known of its chat go in, a decision comes out.
//! First match wins, in the order of the rows below; it never reads a clock or a table.

use chrono::{DateTime, Duration, Utc};

use super::policy::{Mode, OnOtherSender, PauseReason};
use crate::webhook::{ContentClass, Jid, JidKind, Message, MessageEvent, Status};

/// What was done with an event: `processed_events.action_taken`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A customer's question: a reply is queued. Becomes one of the next five when that reply ends.
    AiQueued,
    AiReplied,
    AiFailed,
    Superseded,
    CancelledPaused,
    Drafted,
    /// The owner took over.
    Paused,
    /// A message of ours came back.
    OwnEcho,
    /// Ours or somebody else's: decided when the send in flight has ended.
    PendingEcho,
    OtherSender,
    Edited,
    EditedEarly,
    Deleted,
    DeletedEarly,
    /// Another event of the same message has stored it and acted.
    AlreadyStored,
    IgnoredEvent,
    IgnoredGroup,
    IgnoredBroadcast,
    IgnoredNewsletter,
    IgnoredSelf,
    IgnoredBot,
    IgnoredType,
    IgnoredAutoReply,
    IgnoredOld,
    IgnoredPaused,
    /// The tenant's mode is off, or test and this chat is not among `test_chats`.
    IgnoredMode,
    /// `messages.update`: a status moved. Leaves no row.
    Receipt,
    /// The state of the line moved. Leaves no row.
    Line,
    /// Aliases were learnt. Leaves no row.
    Aliases,
    /// `messages.set`: old messages from pairing. Leaves no row.
    History,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AiQueued => "ai_queued",
            Self::AiReplied => "ai_replied",
            Self::AiFailed => "ai_failed",
            Self::Superseded => "superseded",
            Self::CancelledPaused => "cancelled_paused",
            Self::Drafted => "drafted",
            Self::Paused => "paused",
            Self::OwnEcho => "own_echo",
            Self::PendingEcho => "pending_echo",
            Self::OtherSender => "other_sender",
            Self::Edited => "edited",
            Self::EditedEarly => "edited_early",
            Self::Deleted => "deleted",
            Self::DeletedEarly => "deleted_early",
            Self::AlreadyStored => "already_stored",
            Self::IgnoredEvent => "ignored_event",
            Self::IgnoredGroup => "ignored_group",
            Self::IgnoredBroadcast => "ignored_broadcast",
            Self::IgnoredNewsletter => "ignored_newsletter",
            Self::IgnoredSelf => "ignored_self",
            Self::IgnoredBot => "ignored_bot",
            Self::IgnoredType => "ignored_type",
            Self::IgnoredAutoReply => "ignored_auto_reply",
            Self::IgnoredOld => "ignored_old",
            Self::IgnoredPaused => "ignored_paused",
            Self::IgnoredMode => "ignored_mode",
            Self::Receipt => "receipt",
            Self::Line => "line",
            Self::Aliases => "aliases",
            Self::History => "history",
        }
    }
}

/// Who wrote a message: `messages.sender`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Customer,
    Owner,
    Assistant,
    /// `send_message`: a person or program that uses this database.
    Operator,
    /// Another API client of the same instance, or a Chatwoot agent.
    Other,
    /// A greeting or away message of WhatsApp Business, or Evolution's answer to a call.
    AutoReply,
}

impl Sender {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Owner => "owner",
            Self::Assistant => "assistant",
            Self::Operator => "operator",
            Self::Other => "other",
            Self::AutoReply => "auto_reply",
        }
    }
}

/// What the tenant has chosen, as far as a decision needs it.
#[derive(Clone, Debug)]
pub struct Rules {
    pub mode: Mode,
    pub groups: bool,
    pub age_limit: Duration,
    pub auto_resume_after: Duration,
    pub on_other_sender: OnOtherSender,
    pub auto_reply_texts: Vec<String>,
}

/// What the tables know of the chat and the message, read under the session's lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatFacts {
    /// A delivery of ours has this message id.
    pub is_our_delivery: bool,
    /// A send of ours in this chat, or in the tenant if the JID is unknown, has not ended.
    pub send_in_flight: bool,
    pub is_paused: bool,
    /// Whether the chat is among the tenant's `test_chats`.
    pub is_test_chat: bool,
}

/// The session pauses, at the message's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    pub reason: PauseReason,
}

/// What follows from an event of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    /// Stored as a message of this sender; None: nothing is stored.
    pub store_as: Option<Sender>,
    /// Whether processed_events gets a row. Not for what may still come with content.
    pub leaves_row: bool,
    /// Whether a human of the business spoke: moves `last_human_at` forward.
    pub human_spoke: bool,
    pub takeover: Option<Takeover>,
    /// Whether a reply is queued, or the open one told that there is more to answer.
    pub queue: bool,
}

impl Decision {
    fn only(action: Action) -> Self {
        Self {
            action,
            store_as: None,
            leaves_row: true,
            human_spoke: false,
            takeover: None,
            queue: false,
        }
    }

    fn store(action: Action, sender: Sender) -> Self {
        Self { store_as: Some(sender), ..Self::only(action) }
    }

    fn takeover(action: Action, sender: Sender, reason: PauseReason) -> Self {
        Self {
            human_spoke: true,
            takeover: Some(Takeover { reason }),
            ..Self::store(action, sender)
        }
    }
}

/// Row 4: what is no chat with a person. Groups count as chats when the tenant enabled them and
/// the message mentions the business (`own_jid`, or a reply to our own words is not enough).
pub fn not_a_person(message: &Message, own_jid: Option<&Jid>, rules: &Rules) -> Option<Action> {
    if own_jid.is_some_and(|own| own.user() == message.jid.user()) {
        return Some(Action::IgnoredSelf);
    }
    match message.jid.kind() {
        JidKind::Person | JidKind::Lid => None,
        JidKind::Group => {
            let mentioned = own_jid.is_some_and(|own| message.mentions.contains(own));
            (!rules.groups || !(mentioned || message.from_me)).then_some(Action::IgnoredGroup)
        }
        JidKind::StatusBroadcast | JidKind::Broadcast | JidKind::Notice => {
            Some(Action::IgnoredBroadcast)
        }
        JidKind::Newsletter => Some(Action::IgnoredNewsletter),
        JidKind::Bot => Some(Action::IgnoredBot),
        JidKind::Other => Some(Action::IgnoredEvent),
    }
}

/// Rows 6 to 17, for a message in a chat with a person. `sent_at` is never later than `now`.
pub fn decide(
    message: &Message,
    facts: ChatFacts,
    rules: &Rules,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Decision {
    if message.from_me || message.kind == MessageEvent::Send {
        from_the_business(message, facts, rules, sent_at, now)
    } else {
        from_the_customer(message, facts, rules, sent_at, now)
    }
}

fn from_the_business(
    message: &Message,
    facts: ChatFacts,
    rules: &Rules,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Decision {
    if facts.is_our_delivery {
        return Decision::store(Action::OwnEcho, Sender::Assistant);
    }
    if facts.send_in_flight {
        return Decision::store(Action::PendingEcho, Sender::Other);
    }
    if message.content.class == ContentClass::Reaction {
        return Decision::only(Action::IgnoredType);
    }
    if is_auto_reply(message, rules) {
        return Decision::store(Action::IgnoredAutoReply, Sender::AutoReply);
    }
    let sender = match message.kind {
        MessageEvent::Upsert => Sender::Owner,
        MessageEvent::Send => Sender::Other,
    };
    if sent_at + rules.auto_resume_after < now {
        return Decision { human_spoke: true, ..Decision::store(Action::IgnoredOld, sender) };
    }
    match (message.kind, rules.on_other_sender) {
        (MessageEvent::Upsert, _) => {
            Decision::takeover(Action::Paused, sender, PauseReason::HumanTakeover)
        }
        (MessageEvent::Send, OnOtherSender::Pause) => {
            Decision::takeover(Action::OtherSender, sender, PauseReason::OtherSender)
        }
        (MessageEvent::Send, OnOtherSender::Ignore) => Decision::store(Action::OtherSender, sender),
    }
}

/// Evolution answers rejected calls with a message that alone of all `messages.upsert` is PENDING
/// and has no addressingMode (2.3.6, `msgCall`); greetings are known by their text only.
fn is_auto_reply(message: &Message, rules: &Rules) -> bool {
    if message.kind != MessageEvent::Upsert {
        return false;
    }
    let answers_a_call = message.status == Some(Status::Pending) && !message.has_addressing_mode;
    let text = message.content.text.as_deref().map(str::trim);
    answers_a_call
        || text.is_some_and(|text| rules.auto_reply_texts.iter().any(|known| known.trim() == text))
}

fn from_the_customer(
    message: &Message,
    facts: ChatFacts,
    rules: &Rules,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Decision {
    let ignored = |action| Decision::store(action, Sender::Customer);
    match message.content.class {
        ContentClass::Placeholder => {
            return Decision { leaves_row: false, ..ignored(Action::IgnoredType) };
        }
        ContentClass::Reaction | ContentClass::NothingToAnswer => {
            return ignored(Action::IgnoredType);
        }
        ContentClass::Question => {}
    }
    if sent_at + rules.age_limit < now {
        return ignored(Action::IgnoredOld);
    }
    if facts.is_paused {
        return ignored(Action::IgnoredPaused);
    }
    let answers = match rules.mode {
        Mode::Off => false,
        Mode::Test => facts.is_test_chat,
        Mode::Draft | Mode::On => true,
    };
    if !answers {
        return ignored(Action::IgnoredMode);
    }
    Decision { queue: true, ..ignored(Action::AiQueued) }
}

#[cfg(test)]
mod tests;
