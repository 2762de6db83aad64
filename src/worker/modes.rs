//! What the tenant's mode leaves of an answer at this moment. It is looked at on arrival too; here it
//! counts for what was queued or written before somebody changed it.

use crate::conversation::Mode;
use crate::error::Result;
use crate::intake::test_chats;
use crate::store::Chat;
use crate::store::tenants::Assistant;

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The answer is generated and kept.
    Draft,
    /// There is no answer. The words are for `error`.
    Off(&'static str),
}

/// None: the tenant speaks in this chat.
pub fn silence_of(assistant: &Assistant, chat: &Chat) -> Result<Option<Silence>> {
    Ok(match assistant.mode {
        Mode::On => None,
        Mode::Draft => Some(Silence::Draft),
        Mode::Off => Some(Silence::Off("the tenant's mode was set to off")),
        Mode::Test if test_chats::is_listed(&assistant.test_chats, chat, &[])? => None,
        Mode::Test => {
            Some(Silence::Off("the tenant's mode is test and the chat is not among test_chats"))
        }
    })
}
