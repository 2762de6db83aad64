//! Edits and deletions. Never says whose message it was: the key of an edit is written from its
//! sender's point of view, so that only its id can be trusted.

use serde_json::Value;

use super::Refusal;
use super::content;
use super::fields::{self, at};

/// `REVOKE` as a number, which `send.message.update` uses.
const REVOKE: i64 = 0;

/// A message that changed after it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of the message that changed.
    pub id: String,
    /// When it changed, in unix milliseconds; the newest change wins. A deletion may have none.
    pub at_ms: Option<i64>,
    pub what: ChangeKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// `text` is the new one; None when the new content has no text.
    Edited {
        text: Option<String>,
    },
    Deleted,
    /// Another protocol message: disappearing messages, keys, history notices.
    Nothing,
}

impl Change {
    /// `messages.edited` and `send.message.update`: `data` is the protocol message, of which an
    /// edit is one kind and a deletion another. None without an id.
    pub(super) fn of_edit(data: &Value) -> Result<Option<Self>, Refusal> {
        let Some(id) = fields::identifier(at(data, "key"), "id", "key.id")? else {
            return Ok(None);
        };
        let edited = at(data, "editedMessage");
        let what = if is_revoke(at(data, "type")) {
            ChangeKind::Deleted
        } else if edited.is_object() {
            ChangeKind::Edited { text: content::of_message(edited).text }
        } else {
            ChangeKind::Nothing
        };
        Ok(Some(Self { id, at_ms: fields::integer(at(data, "timestampMs")), what }))
    }

    /// `messages.delete`: a bare key when someone deletes on a phone; an object with `key`, whose
    /// own `id` is one of Evolution's database, when the API does. None without an id.
    pub(super) fn of_deletion(data: &Value) -> Result<Option<Self>, Refusal> {
        let key = Some(at(data, "key")).filter(|key| key.is_object()).unwrap_or(data);
        let id = fields::identifier(key, "id", "key.id")?;
        Ok(id.map(|id| Self { id, at_ms: None, what: ChangeKind::Deleted }))
    }
}

fn is_revoke(kind: &Value) -> bool {
    kind == "REVOKE" || fields::integer(kind) == Some(REVOKE)
}
