//! Edits, deletions and receipts: what happens to a message after it was said.

use chrono::{DateTime, Utc};

use super::{Outcome, chat};
use crate::conversation::Action;
use crate::error::Result;
use crate::store::messages::Changed;
use crate::store::processed_events::Seen;
use crate::store::tenants::Tenant;
use crate::store::{Chat, messages, processed_events, replies};
use crate::webhook::{Change, ChangeKind, Receipt, Status};

/// Edits of one message leave one row, whatever their number and order; so do its deletions,
/// whichever event reports them.
const EDITED: &str = "messages.edited";
const DELETED: &str = "messages.delete";

/// Takes an edit or a deletion. Before its message it waits for it.
pub fn take(tenant: &Tenant, change: &Change, now: DateTime<Utc>) -> Result<Outcome> {
    let at = change.at_ms.and_then(DateTime::from_timestamp_millis).map_or(now, |at| at.min(now));
    match &change.what {
        ChangeKind::Nothing => Ok(Outcome::new(tenant, Action::IgnoredEvent)),
        ChangeKind::Edited { text } => apply(
            tenant,
            &change.id,
            (at, now),
            EDITED,
            [Action::Edited, Action::EditedEarly],
            || messages::edit(tenant.id, &change.id, text.as_deref(), at),
        ),
        ChangeKind::Deleted => apply(
            tenant,
            &change.id,
            (at, now),
            DELETED,
            [Action::Deleted, Action::DeletedEarly],
            || messages::delete(tenant.id, &change.id, at),
        ),
    }
}

fn apply(
    tenant: &Tenant,
    message_id: &str,
    (at, now): (DateTime<Utc>, DateTime<Utc>),
    event: &str,
    [on_time, early]: [Action; 2],
    change: impl FnOnce() -> Result<bool>,
) -> Result<Outcome> {
    let mut known = messages::find(tenant.id, message_id)?;
    if known.is_none() && processed_events::was_taken(tenant.id, message_id)? {
        return Ok(Outcome::new(tenant, Action::IgnoredEvent));
    }
    if known.is_none() && !messages::keep_place(tenant.id, message_id, at)? {
        // The message came at the same moment, and its transaction was first.
        known = messages::find(tenant.id, message_id)?;
    }
    let chat = lock_chat(known.as_ref())?;
    if !change()? {
        let seen = processed_events::seen(tenant.id, message_id, event)?;
        // An edit of what was deleted since was never recorded: it changes nothing.
        let seen = seen.unwrap_or_else(|| Seen::nothing_more(on_time));
        return Ok(Outcome::duplicate(tenant, message_id, seen));
    }
    let action = if chat.is_some() { on_time } else { early };
    processed_events::overwrite(tenant.id, message_id, event, action)?;
    let mut outcome =
        Outcome { message_id: Some(message_id.to_owned()), ..Outcome::new(tenant, action) };
    if let Some(chat) = chat {
        if known.is_some_and(|known| known.sender_is_customer) {
            outcome.wakes_worker = replies::question_changed(&chat)?.then_some(now);
        }
        outcome.chat_id = Some(chat.chat_id);
    }
    Ok(outcome)
}

/// Locks the chat of a message that is known, under the name it has today.
fn lock_chat(known: Option<&Changed>) -> Result<Option<Chat>> {
    let Some(stored_in) = known.and_then(|known| known.chat.clone()) else { return Ok(None) };
    chat::lock_today(&stored_in).map(Some)
}

/// Takes a receipt: the status of a message moves forward only, and no row is left.
pub fn receipt(tenant: &Tenant, receipt: &Receipt) -> Result<Outcome> {
    let mut outcome =
        Outcome { message_id: Some(receipt.id.clone()), ..Outcome::new(tenant, Action::Receipt) };
    if let Some(to) = receipt.status
        && let Some(from) = messages::lock_status(tenant.id, &receipt.id)?
    {
        outcome.duplicate = !Status::moves_forward(from, to);
        if !outcome.duplicate {
            messages::set_status(tenant.id, &receipt.id, to)?;
        }
    }
    Ok(outcome)
}
