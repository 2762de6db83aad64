//! Whether a chat is among those that a tenant in mode test answers.

use crate::error::Result;
use crate::store::{Chat, chat_aliases};
use crate::webhook::Jid;

/// `listed` may name a chat by any of its JIDs, or by a phone number in any writing. `also` are
/// names that the tables do not know yet.
pub fn is_listed(listed: &[String], chat: &Chat, also: &[&Jid]) -> Result<bool> {
    let listed: Vec<Jid> = listed
        .iter()
        .filter_map(|writing| Jid::from_any_writing(writing))
        .flat_map(|jid| jid.phone_variants())
        .collect();
    if listed.is_empty() {
        return Ok(false);
    }
    if listed.iter().any(|jid| also.contains(&jid)) {
        return Ok(true);
    }
    let names = chat_aliases::of_chat(chat)?;
    Ok(listed.iter().any(|jid| names.iter().any(|name| name == jid.as_str())))
}
