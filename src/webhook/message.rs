//! One message as `messages.upsert` and `send.message` bring it: its key, author, time and content.
//! Never decides who spoke.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::content::{self, Content};
use super::fields::{self, MAX_IDENTIFIER, at};
use super::{Envelope, Jid, JidKind, Refusal, Status, phone};
use crate::text;

/// `messages.message_type`.
const MAX_MESSAGE_TYPE: usize = 50;

/// WhatsApp allows 25; the rest is room for other channels.
const MAX_PUSH_NAME: usize = 255;

/// A time above this many seconds (the year 5138) is one in milliseconds.
const MAX_SECONDS: i64 = 100_000_000_000;

/// What the ids of the Cloud API begin with.
const WAMID: &str = "wamid.";

/// What a wamid begins with once decoded: two bytes, then a length and that many digits.
const WAMID_PREFIX: [u8; 2] = [0x1C, 0x18];

/// Base64 characters that cover the prefix, the length and 15 digits; the rest is of no interest.
const WAMID_HEAD: usize = 32;

const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Which event brought a message. It tells a machine from a human: what goes through Evolution's
/// API comes as `send.message`, what is typed on a phone as `messages.upsert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageEvent {
    Upsert,
    Send,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageEvent,
    /// WhatsApp's id, unique per tenant and chat; 255 characters at most.
    pub id: String,
    /// The chat: a customer, a group, … also when the message is ours.
    pub jid: Jid,
    /// The same person's other JID: the LID of a phone, the phone of a LID. Never the tenant's
    /// own, never for anything but a person.
    pub alt: Option<Jid>,
    /// Always true for `send.message`.
    pub from_me: bool,
    /// Who wrote it, in groups and broadcasts.
    pub author: Option<Jid>,
    /// On one line; the owner's own name when `from_me`.
    pub push_name: Option<String>,
    pub status: Option<Status>,
    /// Present in all that comes from WhatsApp, absent in what Evolution made itself.
    pub has_addressing_mode: bool,
    /// Evolution's `messageType`, cut to 50 characters; `unknown` when absent.
    pub message_type: String,
    pub content: Content,
    /// Unix seconds; may lie half a second ahead, since Evolution rounds.
    pub sent_at: Option<i64>,
    pub mentions: Vec<Jid>,
    /// The id of the message that this one answers.
    pub quoted_id: Option<String>,
    /// The customer's number inside a wamid (WHATSAPP-BUSINESS), in digits. `jid` agrees with it.
    pub cloud_number: Option<String>,
}

impl Message {
    pub fn is_from_the_business(&self) -> bool {
        self.from_me || self.kind == MessageEvent::Send
    }

    /// Evolution wrote it into WhatsApp itself, in answer to a call or for an API client; what is
    /// typed is past PENDING when it comes, and has an addressingMode.
    pub fn is_made_by_evolution(&self) -> bool {
        self.status == Some(Status::Pending) && !self.has_addressing_mode
    }

    /// Its words, if they went out through Evolution, by whomever: what is typed is nobody's echo.
    pub fn words_through_evolution(&self) -> Option<&str> {
        let by_machine = self.kind == MessageEvent::Send || self.is_made_by_evolution();
        self.content.text.as_deref().filter(|_| by_machine)
    }

    /// See [`is_unverified`].
    pub fn is_unverified(&self) -> bool {
        self.cloud_number.is_none() && is_unverified(&self.id)
    }

    pub(super) fn read(
        kind: MessageEvent,
        envelope: &Envelope,
        data: &Value,
    ) -> Result<Self, Refusal> {
        let event = || envelope.event.clone();
        let key = at(data, "key");
        let id = fields::identifier(key, "id", "key.id")?
            .ok_or_else(|| Refusal::NoMessageId { event: event() })?;
        let jid = jid_at(key, "remoteJid", "key.remoteJid")?
            .ok_or_else(|| Refusal::NoChat { event: event() })?;
        let cloud_number = number_in_wamid(&id);
        let jid = set_right(jid, cloud_number.as_deref());
        Ok(Self {
            kind,
            alt: alternative(key, &jid, envelope.own_jid.as_ref())?,
            from_me: kind == MessageEvent::Send || fields::is_true(at(key, "fromMe")),
            author: jid_at(key, "participant", "key.participant")?,
            push_name: fields::text(data, "pushName").map(push_name),
            status: Status::read(at(data, "status")),
            has_addressing_mode: !at(key, "addressingMode").is_null(),
            message_type: message_type(data),
            content: content::content_of(data),
            sent_at: seconds(at(data, "messageTimestamp")),
            mentions: mentions(data),
            quoted_id: quoted_id(data),
            cloud_number,
            id,
            jid,
        })
    }
}

/// Whether the id of a message is of the Cloud API and tells no customer's number: then nothing but
/// Evolution's word says whose it is, and Evolution mixes customers up who write at once (2.3.6).
pub fn is_unverified(id: &str) -> bool {
    id.starts_with(WAMID) && number_in_wamid(id).is_none()
}

fn jid_at(key: &Value, name: &str, field: &'static str) -> Result<Option<Jid>, Refusal> {
    let Some(text) = fields::identifier(key, name, field)? else { return Ok(None) };
    match Jid::new(&text) {
        // Its normal form is what no column can hold.
        None => Err(Refusal::TooLong { field, limit: MAX_IDENTIFIER }),
        jid => Ok(jid),
    }
}

/// The number inside a wamid outranks `remoteJid`, which on WHATSAPP-BUSINESS comes from a variable
/// that all customers share. Where they are the same phone WhatsApp's writing stays.
fn set_right(jid: Jid, cloud_number: Option<&str>) -> Jid {
    match cloud_number.map(Jid::of_digits) {
        Some(number) if jid.kind() == JidKind::Person && !jid.is_same_phone(&number) => number,
        _ => jid,
    }
}

/// `senderPn` and `senderLid` are the names of Evolution API 2.3.0 to 2.3.2.
fn alternative(key: &Value, jid: &Jid, own_jid: Option<&Jid>) -> Result<Option<Jid>, Refusal> {
    let wanted = match jid.kind() {
        JidKind::Person => JidKind::Lid,
        JidKind::Lid => JidKind::Person,
        _ => return Ok(None),
    };
    for (name, field) in [
        ("remoteJidAlt", "key.remoteJidAlt"),
        ("senderPn", "key.senderPn"),
        ("senderLid", "key.senderLid"),
    ] {
        let is_own = |alt: &Jid| own_jid.is_some_and(|own| own.is_same_phone(alt));
        match jid_at(key, name, field)? {
            Some(alt) if alt.kind() == wanted && !is_own(&alt) => return Ok(Some(alt)),
            _ => {}
        }
    }
    Ok(None)
}

fn push_name(text: &str) -> String {
    text::cut(&text::one_line(text), MAX_PUSH_NAME).to_owned()
}

fn message_type(data: &Value) -> String {
    let name = fields::text(data, "messageType").unwrap_or("unknown");
    text::cut(name, MAX_MESSAGE_TYPE).to_owned()
}

fn seconds(value: &Value) -> Option<i64> {
    match fields::integer(value)? {
        seconds if seconds <= 0 => None,
        milliseconds if milliseconds > MAX_SECONDS => {
            Some(milliseconds / 1000).filter(|seconds| *seconds <= MAX_SECONDS)
        }
        seconds => Some(seconds),
    }
}

fn mentions(data: &Value) -> Vec<Jid> {
    content::contexts(data)
        .filter_map(|context| at(context, "mentionedJid").as_array())
        .find(|mentioned| !mentioned.is_empty())
        .into_iter()
        .flatten()
        .filter_map(|jid| jid.as_str().and_then(Jid::new))
        .collect()
}

fn quoted_id(data: &Value) -> Option<String> {
    content::contexts(data)
        .find_map(|context| fields::text(context, "stanzaId"))
        // No stored message has a longer id.
        .filter(|id| !fields::is_longer(id, MAX_IDENTIFIER))
        .map(str::to_owned)
}

fn number_in_wamid(id: &str) -> Option<String> {
    let encoded = id.strip_prefix(WAMID)?;
    let head = encoded.get(..WAMID_HEAD).unwrap_or(encoded);
    let bytes = LENIENT_BASE64.decode(head).ok()?;
    let (length, rest) = bytes.strip_prefix(&WAMID_PREFIX)?.split_first()?;
    let digits = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
    phone::is_phone(digits).then(|| digits.to_owned())
}

#[cfg(test)]
mod tests;
