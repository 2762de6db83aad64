//! The lock of a chat under the name it has today: its session may have become one with an older one
//! while a message of it was on its way. It never waits.

use crate::error::Result;
use crate::store::sessions::{self, Session};
use crate::store::{Chat, chat_aliases};

/// Locks the session that a chat belongs to today. None: somebody holds it, to be tried again.
pub fn try_lock(chat: &Chat) -> Result<Option<Session>> {
    let Some(session) = sessions::try_lock(chat)? else { return Ok(None) };
    // Under this lock no other session takes the chat over.
    let today = chat_aliases::today(chat)?;
    if today == *chat {
        return Ok(Some(session));
    }
    sessions::try_lock(&today)
}
