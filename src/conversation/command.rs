//! The words by which the owner steers the assistant from the phone. What a command does to a chat is
//! not decided here.

use crate::webhook::Message;

/// The words by which the owner steers a chat from the phone. None: there is no such word.
#[derive(Clone, Debug, Default)]
pub struct CommandWords {
    pub resume: Option<String>,
    pub hold: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The assistant has the chat again.
    Resume,
    /// The owner keeps the chat: only a person ends that.
    Hold,
}

impl CommandWords {
    /// A message is a command if it is the word alone; phones write its first letter as they like.
    pub fn command_in(&self, message: &Message) -> Option<Command> {
        let said = message.content.text.as_deref()?.trim().to_lowercase();
        let is = |word: &Option<String>| {
            word.as_deref().is_some_and(|word| word.trim().to_lowercase() == said)
        };
        if is(&self.resume) {
            Some(Command::Resume)
        } else {
            is(&self.hold).then_some(Command::Hold)
        }
    }
}
