//! From `data` to what happened, by the event's name. Never decides what follows from it.

use serde_json::Value;

use super::fields::{self, at};
use super::{Change, Envelope, Jid, JidKind, Message, MessageEvent, Refusal, Status};
use crate::evolution::QrCode;

/// What a webhook reports (Evolution API 2.3.6).
#[expect(clippy::large_enum_variant, reason = "most webhooks are messages: a box would only cost")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `messages.upsert`, `send.message`.
    Message(Message),
    /// `messages.update`.
    Receipt(Receipt),
    /// `messages.edited`, `messages.delete`, `send.message.update`.
    Change(Change),
    /// `connection.update`, `status.instance`, `logout.instance`.
    Line(LineState),
    /// `qrcode.updated`: while nobody has linked the number.
    Qr(QrUpdate),
    /// `group-participants.update`: the LID and the phone of one person each.
    Aliases(Vec<(Jid, Jid)>),
    /// `messages.set`: what was said while the number was not paired. Of it only what the business
    /// said is of use: somebody may be in a conversation. What cannot be read is left out.
    History(Vec<Message>),
    /// Known to be of no use, not known, or not readable where that is no error.
    Other,
}

/// How far one message has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Of the message, not of the receipt.
    pub id: String,
    pub status: Option<Status>,
    /// May be a LID although the message went to a phone number.
    pub jid: Option<Jid>,
    /// False with `Read` means that the owner has read a customer's message; on WHATSAPP-BUSINESS
    /// it is always false.
    pub from_me: bool,
}

/// What is to be scanned now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QrUpdate {
    Code(QrCode),
    /// Evolution makes no more of them until somebody asks it to connect again.
    LimitReached,
}

/// Whether the number is connected to WhatsApp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    Open,
    Connecting,
    Close,
    /// Nobody scanned the code in time.
    Refused,
}

impl Body {
    pub(super) fn read(envelope: &Envelope, data: &Value) -> Result<Self, Refusal> {
        let event = envelope.event.as_str();
        let one = fields::single(data);
        Ok(match event {
            "messages.upsert" => Self::Message(Message::read(MessageEvent::Upsert, envelope, one)?),
            "send.message" => Self::Message(Message::read(MessageEvent::Send, envelope, one)?),
            "messages.update" => Receipt::read(one)?.map_or(Self::Other, Self::Receipt),
            "messages.edited" => Self::Change(Change::of_edit(one)?.ok_or_else(|| no_id(event))?),
            "messages.delete" => {
                Self::Change(Change::of_deletion(one)?.ok_or_else(|| no_id(event))?)
            }
            "send.message.update" => Change::of_edit(one)?.map_or(Self::Other, Self::Change),
            "connection.update" => line(fields::text(one, "state")),
            "status.instance" => line(fields::text(one, "status")),
            "logout.instance" => Self::Line(LineState::Close),
            "qrcode.updated" => qr(one),
            "group-participants.update" => Self::Aliases(aliases(at(one, "participantsData"))),
            "messages.set" | "messaging-history.set" => Self::History(history(envelope, data)),
            _ => Self::Other,
        })
    }
}

fn no_id(event: &str) -> Refusal {
    Refusal::NoMessageId { event: event.to_owned() }
}

impl Receipt {
    /// None without the id of a message.
    fn read(data: &Value) -> Result<Option<Self>, Refusal> {
        let Some(id) = fields::identifier(data, "keyId", "keyId")? else { return Ok(None) };
        let jid = fields::identifier(data, "remoteJid", "remoteJid")?;
        Ok(Some(Self {
            id,
            status: Status::read(at(data, "status")),
            jid: jid.as_deref().and_then(Jid::new),
            from_me: fields::is_true(at(data, "fromMe")),
        }))
    }
}

impl LineState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Connecting => "connecting",
            Self::Close => "close",
            Self::Refused => "refused",
        }
    }

    /// The inverse of [`Self::as_str`]; takes `closed` too, the word of `status.instance`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "open" => Some(Self::Open),
            "connecting" => Some(Self::Connecting),
            "close" | "closed" => Some(Self::Close),
            "refused" => Some(Self::Refused),
            _ => None,
        }
    }
}

fn line(state: Option<&str>) -> Body {
    state.and_then(LineState::parse).map_or(Body::Other, Body::Line)
}

/// At the limit it is `{message, statusCode: 500}`.
fn qr(data: &Value) -> Body {
    match QrCode::read(at(data, "qrcode")) {
        Some(code) => Body::Qr(QrUpdate::Code(code)),
        None if fields::integer(at(data, "statusCode")) == Some(500) => {
            Body::Qr(QrUpdate::LimitReached)
        }
        None => Body::Other,
    }
}

fn history(envelope: &Envelope, data: &Value) -> Vec<Message> {
    let read = |item| Message::read(MessageEvent::Upsert, envelope, item).ok();
    let messages = data.as_array().into_iter().flatten().filter_map(read);
    messages.filter(|message| message.from_me).collect()
}

fn aliases(participants: &Value) -> Vec<(Jid, Jid)> {
    participants.as_array().into_iter().flatten().filter_map(alias).collect()
}

fn alias(participant: &Value) -> Option<(Jid, Jid)> {
    let named = |kind: JidKind| {
        ["jid", "phoneNumber", "lid", "id"]
            .into_iter()
            .filter_map(|key| fields::text(participant, key).and_then(Jid::new))
            .find(|jid| jid.kind() == kind)
    };
    Some((named(JidKind::Lid)?, named(JidKind::Person)?))
}
