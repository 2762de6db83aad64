//! What the owner tells the assistant from the phone takes effect, whichever event brought it.

use chrono::{DateTime, Utc};

use super::{consequences, pauses};
use crate::conversation::Command;
use crate::error::Result;
use crate::store::tenants::Tenant;
use crate::store::{Chat, sessions};

/// Obeys a command that was given at `sent_at`. The caller holds the session's lock.
pub fn obey(
    tenant: &Tenant,
    chat: &Chat,
    command: Command,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    sessions::steered(chat, sent_at)?;
    match command {
        Command::Hold => {
            sessions::hold(chat)?;
            consequences::stop_speaking(chat, "the owner keeps the chat", true)
        }
        Command::Resume => pauses::resume(tenant, chat, now).map(drop),
    }
}
