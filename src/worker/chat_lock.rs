//! The lock of a chat under the name it has today: its session may have become one with an older one
//! while a message of it was on its way. It never waits.

use crate::error::Result;
use crate::store::sessions::{self, Session};
use crate::store::{Chat, chat_aliases};

/// Locks the session that a chat belongs to today. None: somebody holds it, to be tried again.
pub fn try_lock(chat: &Chat) -> Result<Option<Session>> {
    let Some(session) = sessions::try_lock(chat)? else { return Ok(None) };
    // Under this lock no other session takes the chat over.
    let today = name_today(chat)?;
    if today == *chat {
        return Ok(Some(session));
    }
    sessions::try_lock(&today)
}

fn name_today(chat: &Chat) -> Result<Chat> {
    let names = [chat.chat_id.clone()];
    let known = chat_aliases::sessions_of(chat.tenant_id, &names)?.into_iter().next();
    let chat_id = known.unwrap_or_else(|| chat.chat_id.clone());
    Ok(Chat { tenant_id: chat.tenant_id, chat_id })
}
