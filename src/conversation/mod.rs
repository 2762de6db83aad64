//! The rules of a conversation: who spoke, what follows, what the model sees, how its answer
//! becomes WhatsApp messages. Pure: every clock, row and random number is an argument.

mod action;
mod command;
pub mod debounce;
mod decision;
pub mod loop_guard;
mod policy;
pub mod prompt;
pub mod retry;
pub mod split;
pub mod trace;
pub mod whatsapp_text;

pub use action::{Action, Sender};
pub use command::{Command, CommandWords};
pub use decision::{
    ChatFacts, Decision, OwnNames, Rules, WhoSpoke, decide, not_a_person, who_spoke,
};
pub use policy::{Mode, OnFailure, OnOtherSender, OnUncertain, OnUnverified, PauseReason};
