//! Reads what Evolution API 2.3.6 posts to a webhook: the JSON text of one event becomes a typed
//! [`Payload`], or a [`Refusal`] that says what is wrong with it. Pure: it decides nothing about
//! the conversation and touches neither the database, the network nor the clock.

mod body;
mod change;
mod content;
mod envelope;
mod fields;
mod jid;
mod jsonb;
mod message;
mod note;
mod numeric;
mod parse;
mod phone;
mod raw;
mod refusal;
mod status;
#[cfg(test)]
mod tests;
mod value;

pub use body::{Body, LineState, QrUpdate, Receipt};
pub use change::{Change, ChangeKind};
pub use content::{ContentClass, content_of};
pub use envelope::Envelope;
pub use jid::{Jid, JidKind};
pub use jsonb::Jsonb;
pub use message::{Message, MessageEvent, is_unverified};
pub use refusal::Refusal;
pub use status::Status;

/// One webhook, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub envelope: Envelope,
    pub body: Body,
    /// The payload as it is stored: without keys, file contents and NULs, with U+FFFD in place of every
    /// lone surrogate, and as texts the numbers that `numeric` cannot hold.
    pub raw: Jsonb,
}

/// A payload as it was stored ([`Payload::raw`]), for [`content_of`]. None: it is no JSON.
pub fn stored(raw: &str) -> Option<serde_json::Value> {
    parse::parse(raw).ok()
}

/// Reads the body of one webhook POST. No `String` of the result holds U+0000.
pub fn read(text: &str) -> Result<Payload, Refusal> {
    let payload = parse::parse(text)?;
    if !payload.is_object() {
        return Err(Refusal::NotAnObject);
    }
    let envelope = Envelope::read(&payload)?;
    let body = Body::read(&envelope, fields::at(&payload, "data"))?;
    let raw = raw::kept(&payload, text.len()).ok_or(Refusal::TooLarge)?;
    Ok(Payload { envelope, body, raw })
}
