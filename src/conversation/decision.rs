//! Who spoke, and what follows: an event and what is known of its chat go in, a decision comes out. It
//! never reads a clock or a table.
//!
//! What an event can be is a list, of which the first row that fits counts. Of the rows before those of
//! [`WhoSpoke`] `intake` takes care: 1, it has no message id; 2, a receipt; 3, it came before; 4, it is of
//! no chat with a person ([`not_a_person`]); 5, an edit or a deletion.

use chrono::{DateTime, Duration, Utc};

use super::action::{Action, Sender};
use super::command::{Command, CommandWords};
use super::policy::{Mode, OnOtherSender, OnUnverified, PauseReason};
use crate::webhook::{ContentClass, Jid, JidKind, Message, MessageEvent};

/// What the tenant has chosen, as far as a decision needs it.
#[derive(Clone, Debug)]
pub struct Rules {
    pub mode: Mode,
    pub groups: bool,
    pub age_limit: Duration,
    pub auto_resume_after: Duration,
    pub on_other_sender: OnOtherSender,
    pub on_unverified: OnUnverified,
    pub auto_reply_texts: Vec<String>,
    pub commands: CommandWords,
}

/// What the tables know of the chat and the message, read under the session's lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatFacts {
    /// The message is a delivery of ours, by its id or as the echo of one that was given up.
    pub is_our_delivery: bool,
    /// A send of ours in this chat, or in the tenant if the JID is unknown, has not ended.
    pub send_in_flight: bool,
    pub is_paused: bool,
    /// Whether the chat is among the tenant's `test_chats`.
    pub is_test_chat: bool,
    /// When a human of the business last wrote.
    pub last_human_at: Option<DateTime<Utc>>,
    /// When the owner last gave a command.
    pub steered_at: Option<DateTime<Utc>>,
    /// The same words came as promptly in two other chats of the tenant: nobody types them.
    pub is_known_greeting: bool,
    /// Other customers of the tenant write at this moment.
    pub others_write_too: bool,
}

/// The rows from the sixth on: the first that fits a message says who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoSpoke {
    /// 6: we did, and this is the echo.
    Ourselves,
    /// 7: we or somebody else; a send in flight has not ended.
    NotYetKnown,
    /// 8: somebody of the business, by a reaction: nothing is said.
    OwnersReaction,
    /// 9: a machine of the business: greeting, away message, answer to a call.
    AutoReply,
    /// 10: somebody of the business, too long ago, or before what was said since.
    BusinessLongAgo,
    /// 11: the owner, to the assistant.
    OwnersCommand(Command),
    /// 11: the owner, to the customer.
    Owner,
    /// 12: another API client or a Chatwoot agent.
    OtherSender,
    /// 13: a customer of whom nobody can say which one.
    Unverified,
    /// 13: a customer, but the words have not come yet.
    NotYetThere,
    /// 14: a customer, with nothing to answer.
    NothingToAnswer,
    /// 15: a customer, too long ago.
    CustomerLongAgo,
    /// 16: a customer, to the human who has the chat.
    CustomerOfTheHuman,
    /// 17: a customer, where the tenant's mode does not answer.
    CustomerLeftAlone,
    /// 17: a customer, with a question.
    Customer,
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
    /// What the owner told the assistant.
    pub command: Option<Command>,
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
            command: None,
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

/// The names of the business itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnNames<'a> {
    /// As the envelope tells it.
    pub jid: Option<&'a Jid>,
    /// As far as they were found out.
    pub lids: &'a [String],
}

impl OwnNames<'_> {
    fn has(&self, jid: &Jid) -> bool {
        self.jid.is_some_and(|own| own.user() == jid.user())
            || self.lids.iter().any(|lid| lid == jid.as_str())
    }
}

/// Row 4: what is no chat with a person. Groups count as chats when the tenant enabled them and
/// the message mentions the business (a reply to our own words is not enough).
pub fn not_a_person(message: &Message, own: OwnNames<'_>, rules: &Rules) -> Option<Action> {
    // Nobody else writes under our name: a LID under which a customer does was wrongly learnt.
    let names = if message.from_me { own } else { OwnNames { jid: own.jid, lids: &[] } };
    if names.has(&message.jid) {
        return Some(Action::IgnoredSelf);
    }
    match message.jid.kind() {
        JidKind::Person | JidKind::Lid => None,
        JidKind::Group => {
            let mentioned = message.mentions.iter().any(|jid| own.has(jid));
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
    what_follows(who_spoke(message, facts, rules, sent_at, now), message, rules)
}

/// The row that fits.
pub fn who_spoke(
    message: &Message,
    facts: ChatFacts,
    rules: &Rules,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> WhoSpoke {
    if message.is_from_the_business() {
        who_of_the_business(message, facts, rules, sent_at, now)
    } else {
        which_customer(message, facts, rules, sent_at, now)
    }
}

fn who_of_the_business(
    message: &Message,
    facts: ChatFacts,
    rules: &Rules,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> WhoSpoke {
    if facts.is_our_delivery {
        return WhoSpoke::Ourselves;
    }
    if facts.send_in_flight {
        return WhoSpoke::NotYetKnown;
    }
    if message.content.class == ContentClass::Reaction {
        return WhoSpoke::OwnersReaction;
    }
    if is_auto_reply(message, facts, rules) {
        return WhoSpoke::AutoReply;
    }
    let command = command_in(message, rules);
    let is_later = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > sent_at);
    // The owner's newest word counts, in whatever order the webhooks come.
    let overtaken =
        is_later(facts.steered_at) || (command.is_some() && is_later(facts.last_human_at));
    if overtaken || sent_at + rules.auto_resume_after < now {
        return WhoSpoke::BusinessLongAgo;
    }
    match (command, message.kind) {
        (Some(command), _) => WhoSpoke::OwnersCommand(command),
        (None, MessageEvent::Upsert) => WhoSpoke::Owner,
        (None, MessageEvent::Send) => WhoSpoke::OtherSender,
    }
}

/// Only the owner steers: what other programs send through Evolution is no command.
fn command_in(message: &Message, rules: &Rules) -> Option<Command> {
    if message.kind == MessageEvent::Upsert { rules.commands.command_in(message) } else { None }
}

/// Evolution answers rejected calls with a message that alone of all `messages.upsert` is PENDING
/// and has no addressingMode (2.3.6, `msgCall`); greetings are known by their text only.
fn is_auto_reply(message: &Message, facts: ChatFacts, rules: &Rules) -> bool {
    if message.kind != MessageEvent::Upsert {
        return false;
    }
    let text = message.content.text.as_deref().map(str::trim);
    message.is_made_by_evolution()
        || facts.is_known_greeting
        || text.is_some_and(|text| rules.auto_reply_texts.iter().any(|known| known.trim() == text))
}

fn which_customer(
    message: &Message,
    facts: ChatFacts,
    rules: &Rules,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> WhoSpoke {
    let is_held = rules.on_unverified == OnUnverified::Hold && facts.others_write_too;
    if is_held && message.is_unverified() {
        return WhoSpoke::Unverified;
    }
    match message.content.class {
        ContentClass::Placeholder => return WhoSpoke::NotYetThere,
        ContentClass::Reaction | ContentClass::NothingToAnswer => return WhoSpoke::NothingToAnswer,
        ContentClass::Question => {}
    }
    if sent_at + rules.age_limit < now {
        return WhoSpoke::CustomerLongAgo;
    }
    if facts.is_paused {
        return WhoSpoke::CustomerOfTheHuman;
    }
    let answers = match rules.mode {
        Mode::Off => false,
        Mode::Test => facts.is_test_chat,
        Mode::Draft | Mode::On => true,
    };
    if answers { WhoSpoke::Customer } else { WhoSpoke::CustomerLeftAlone }
}

fn what_follows(who: WhoSpoke, message: &Message, rules: &Rules) -> Decision {
    let customer = |action| Decision::store(action, Sender::Customer);
    match who {
        WhoSpoke::Ourselves => Decision::store(Action::OwnEcho, Sender::Assistant),
        WhoSpoke::NotYetKnown => Decision::store(Action::PendingEcho, Sender::Other),
        WhoSpoke::OwnersReaction => Decision::only(Action::IgnoredType),
        WhoSpoke::AutoReply => Decision::store(Action::IgnoredAutoReply, Sender::AutoReply),
        WhoSpoke::BusinessLongAgo => match (command_in(message, rules), message.kind) {
            (Some(_), _) => Decision::store(Action::IgnoredOld, Sender::Command),
            (None, kind) => Decision {
                human_spoke: true,
                ..Decision::store(Action::IgnoredOld, human_behind(kind))
            },
        },
        WhoSpoke::OwnersCommand(command) => Decision {
            command: Some(command),
            ..Decision::store(
                match command {
                    Command::Resume => Action::Resumed,
                    Command::Hold => Action::Held,
                },
                Sender::Command,
            )
        },
        WhoSpoke::Owner => {
            Decision::takeover(Action::Paused, Sender::Owner, PauseReason::HumanTakeover)
        }
        WhoSpoke::OtherSender => match rules.on_other_sender {
            OnOtherSender::Pause => {
                Decision::takeover(Action::OtherSender, Sender::Other, PauseReason::OtherSender)
            }
            OnOtherSender::Ignore => Decision::store(Action::OtherSender, Sender::Other),
        },
        WhoSpoke::Unverified => Decision::store(Action::IgnoredUnverified, Sender::Unverified),
        WhoSpoke::NotYetThere => Decision { leaves_row: false, ..customer(Action::IgnoredType) },
        WhoSpoke::NothingToAnswer => customer(Action::IgnoredType),
        WhoSpoke::CustomerLongAgo => customer(Action::IgnoredOld),
        WhoSpoke::CustomerOfTheHuman => customer(Action::IgnoredPaused),
        WhoSpoke::CustomerLeftAlone => customer(Action::IgnoredMode),
        WhoSpoke::Customer => Decision { queue: true, ..customer(Action::AiQueued) },
    }
}

fn human_behind(kind: MessageEvent) -> Sender {
    match kind {
        MessageEvent::Upsert => Sender::Owner,
        MessageEvent::Send => Sender::Other,
    }
}

#[cfg(test)]
mod tests;
