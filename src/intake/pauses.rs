//! The end of a pause: what was asked meanwhile stays unanswered, unless the tenant wants it
//! answered while it is fresh. It never pauses anything.

use chrono::{DateTime, Utc};

use super::consequences;
use crate::error::Result;
use crate::settings::Behaviour;
use crate::store::resumptions::Resumed;
use crate::store::sessions;
use crate::store::tenants::{self, Tenant};
use crate::store::{Chat, messages};

/// Ends the pause of a chat, whose session the caller has locked; whether it was paused.
pub fn resume(tenant: &Tenant, chat: &Chat, now: DateTime<Utc>) -> Result<bool> {
    if !sessions::resume(chat)? {
        return Ok(false);
    }
    ended(tenant, chat, now)?;
    Ok(true)
}

/// A pause has ended. The reply that answers what was asked during it, if there is to be one.
pub fn ended(tenant: &Tenant, chat: &Chat, now: DateTime<Utc>) -> Result<Option<i64>> {
    if !tenant.answer_after_pause {
        return Ok(None);
    }
    match messages::reopen_unanswered(chat, now - tenant.rules.age_limit)? {
        Some(first_sent_at) => consequences::ask_again(chat, first_sent_at, now).map(Some),
        None => Ok(None),
    }
}

/// Pauses of many chats have ended; how many chats get an answer to what was asked meanwhile.
pub fn all_ended(resumed: &Resumed, defaults: &Behaviour, now: DateTime<Utc>) -> Result<usize> {
    let mut answered = 0;
    for chat in &resumed.with_questions {
        if let Some(tenant) = tenants::by_id(chat.tenant_id, defaults)? {
            answered += usize::from(ended(&tenant, chat, now)?.is_some());
        }
    }
    Ok(answered)
}
