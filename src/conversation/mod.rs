//! The rules of a conversation: who spoke, what follows, what the model sees, how its answer
//! becomes WhatsApp messages. Pure: every clock, row and random number is an argument.

pub mod debounce;
mod decision;
mod policy;
pub mod prompt;
pub mod retry;
pub mod split;
pub mod trace;
pub mod whatsapp_text;

pub use decision::{Action, ChatFacts, Decision, Rules, Sender, decide, not_a_person};
pub use policy::{Mode, OnFailure, OnOtherSender, OnUncertain, PauseReason};
