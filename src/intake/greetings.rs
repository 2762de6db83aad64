//! Greetings and away messages of WhatsApp Business look exactly like the owner. What comes at once,
//! in the same words, in three chats, nobody types: it is learnt, and the pauses it caused end.

use chrono::{DateTime, Utc};

use super::pauses;
use crate::error::Result;
use crate::settings::Behaviour;
use crate::store::tenants::{self, Tenant};
use crate::store::{Chat, greetings, sessions};
use crate::webhook::{Message, MessageEvent};

/// How soon after a customer's message, or one of ours, a machine speaks.
const PROMPTLY: f64 = 10.0;

/// Other chats of the tenant in which the same words came as promptly.
const OTHER_CHATS: i64 = 2;

/// Whether a message of the owner's phone is of a machine, by what other chats have seen.
pub fn is_known(chat: &Chat, message: &Message, sent_at: DateTime<Utc>) -> Result<bool> {
    let words = message.content.text.as_deref().filter(|_| message.kind == MessageEvent::Upsert);
    let Some(words) = words else { return Ok(false) };
    Ok(greetings::chats_with_prompt_words(chat, words, PROMPTLY)? >= OTHER_CHATS
        && greetings::follows_promptly(chat, sent_at, PROMPTLY)?)
}

/// A customer's message may come after the greeting that it caused: webhooks keep no order. Whether
/// the chat, whose session the caller has locked, was taken from a machine.
pub fn came_before(
    tenant: &Tenant,
    chat: &Chat,
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let Some(words) = greetings::words_promptly_after(chat, asked_at, PROMPTLY)? else {
        return Ok(false);
    };
    if greetings::chats_with_prompt_words(chat, &words, PROMPTLY)? < OTHER_CHATS {
        return Ok(false);
    }
    learn(tenant, &words, now)?;
    Ok(true)
}

/// From now on these words of the tenant are a machine's, and so they were before.
pub fn learn(tenant: &Tenant, words: &str, now: DateTime<Utc>) -> Result<()> {
    tenants::learn_auto_reply(tenant.id, words)?;
    undo(tenant, words, now)
}

/// Applies what tenants know by now: entered by a person, or learnt while somebody held a chat.
pub fn apply_known(defaults: &Behaviour, now: DateTime<Utc>) -> Result<()> {
    for (tenant_id, words) in greetings::known_but_not_applied()? {
        if let Some(tenant) = tenants::by_id(tenant_id, defaults)? {
            undo(&tenant, &words, now)?;
        }
    }
    Ok(())
}

/// Ends the pauses that these words caused. A chat that somebody holds is left for the next time.
fn undo(tenant: &Tenant, words: &str, now: DateTime<Utc>) -> Result<()> {
    for chat in greetings::chats_with_words(tenant.id, words)? {
        if sessions::try_lock(&chat)?.is_none() {
            continue;
        }
        greetings::were_automatic(&chat, words)?;
        if sessions::forget_machine(&chat, tenant.rules.auto_resume_after)? {
            pauses::ended(tenant, &chat, now)?;
        }
    }
    Ok(())
}
