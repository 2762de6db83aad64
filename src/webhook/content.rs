//! What a message says: its text, a bracketed line for what a text-only model cannot see, and
//! whether it can be answered. Looks at the content itself, never at `messageType`, which names the
//! wrapper where there is one.

use serde_json::Value;

use super::fields::{self, at, text};
use super::{note, parse};

/// Wrappers around wrappers: WhatsApp nests two or three (ephemeral, view once, caption).
const MAX_WRAPPERS: usize = 5;

/// Evolution's mark before what speech-to-text heard.
const TRANSCRIPTION_MARK: &str = "[audio]";

/// What Evolution writes after the mark when speech-to-text is not set up.
const NO_TRANSCRIPTION: &str = "null";

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub class: ContentClass,
    /// The words of the person, unchanged: text, caption, label of a button, transcription.
    pub text: Option<String>,
    /// One line of English in brackets for the model, such as `[image: I cannot see it]`. Comes
    /// before the text; plain text has none.
    pub note: Option<String>,
}

/// Whether a message of a customer asks for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentClass {
    /// Text, or a file, place, contact or order, also without text.
    Question,
    Reaction,
    /// Sticker, album header, poll.
    NothingToAnswer,
    /// Nothing readable; the content may follow under the same id.
    Placeholder,
}

impl ContentClass {
    /// For tests, which compare with `tests/fixtures/expected.json`.
    #[cfg(test)]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Reaction => "reaction",
            Self::NothingToAnswer => "nothing_to_answer",
            Self::Placeholder => "placeholder",
        }
    }
}

/// The content of a message object: `data` of `messages.upsert` or `send.message`, fresh or from a
/// stored `raw`.
pub fn content_of(data: &Value) -> Content {
    of_message(at(fields::single(data), "message"))
}

/// The content of WhatsApp's message object itself.
pub(super) fn of_message(message: &Value) -> Content {
    // The channel EVOLUTION hands on whatever its caller posted.
    if let Some(content) = plain(message.as_str()) {
        return content;
    }
    layers(message).find_map(known_content).unwrap_or(Content {
        class: ContentClass::Placeholder,
        text: None,
        note: None,
    })
}

/// Every `contextInfo` (quote, mentions) of a message object, the outermost first.
pub(super) fn contexts(data: &Value) -> impl Iterator<Item = &Value> {
    let message = at(data, "message");
    let inner = layers(message).filter_map(Value::as_object).flat_map(|fields| fields.values());
    [data, message]
        .into_iter()
        .chain(inner)
        .map(|holder| at(holder, "contextInfo"))
        .filter(|context| context.is_object())
}

/// The message, then what its wrappers hold: `ephemeralMessage`, `viewOnceMessageV2` and the like
/// all are `{"message": {…}}`.
fn layers(message: &Value) -> impl Iterator<Item = &Value> {
    std::iter::successors(Some(message), |layer| {
        layer
            .as_object()?
            .values()
            .find_map(|field| is_wrapper(field).then(|| at(field, "message")))
    })
    .take(MAX_WRAPPERS + 1)
}

fn is_wrapper(field: &Value) -> bool {
    at(field, "message").is_object()
}

fn known_content(message: &Value) -> Option<Content> {
    message
        .as_object()?
        .iter()
        .filter(|(_, field)| !field.is_null() && !is_wrapper(field))
        .find_map(|(name, field)| content_of_field(name, field, message))
}

/// The content in `field`, called `name` in `message`. None for fields that say nothing.
fn content_of_field(name: &str, field: &Value, message: &Value) -> Option<Content> {
    match name {
        "conversation" => plain(field.as_str()),
        "extendedTextMessage" => plain(text(field, "text")),
        "imageMessage" => question(text(field, "caption"), note::image()),
        "videoMessage" => question(text(field, "caption"), note::video("video", field)),
        "ptvMessage" => question(None, note::video("video note", field)),
        "audioMessage" => Some(audio(field, message)),
        "documentMessage" => question(text(field, "caption"), note::document(field)),
        "locationMessage" => question(None, note::location("location", field)),
        "liveLocationMessage" => {
            question(text(field, "caption"), note::location("live location", field))
        }
        "contactMessage" => question(None, note::contact(field)),
        "contactsArrayMessage" => question(None, note::contacts(field)),
        "orderMessage" => question(text(field, "message"), note::order(field)),
        "productMessage" => question(text(field, "body"), note::product(field)),
        "reactionMessage" | "encReactionMessage" => Some(Content {
            class: ContentClass::Reaction,
            text: None,
            note: Some(note::reaction(field)),
        }),
        "stickerMessage" | "lottieStickerMessage" => nothing_to_answer("[sticker]".to_owned()),
        "albumMessage" => nothing_to_answer(note::album(field)),
        "pollUpdateMessage" => nothing_to_answer("[poll vote]".to_owned()),
        _ if name.starts_with("pollCreationMessage") => nothing_to_answer(note::poll(field)),
        _ => plain(label(name, field).as_deref()),
    }
}

/// A message that is words alone.
fn plain(text: Option<&str>) -> Option<Content> {
    let text = text.filter(|text| !text.trim().is_empty())?;
    Some(Content { class: ContentClass::Question, text: Some(text.to_owned()), note: None })
}

fn question(text: Option<&str>, note: String) -> Option<Content> {
    let text = text.map(str::to_owned);
    Some(Content { class: ContentClass::Question, text, note: Some(note) })
}

fn nothing_to_answer(note: String) -> Option<Content> {
    Some(Content { class: ContentClass::NothingToAnswer, text: None, note: Some(note) })
}

fn audio(field: &Value, message: &Value) -> Content {
    let heard = text(message, "speechToText").map(|heard| {
        let heard = heard.trim();
        heard.strip_prefix(TRANSCRIPTION_MARK).unwrap_or(heard).trim()
    });
    let heard = heard.filter(|heard| !heard.is_empty() && *heard != NO_TRANSCRIPTION);
    Content {
        class: ContentClass::Question,
        text: heard.map(str::to_owned),
        note: Some(note::audio(field, heard.is_some())),
    }
}

/// The words of an interactive message: what the customer tapped, or what a business offered. The
/// id of the choice stands in where WhatsApp brings no label.
fn label(name: &str, field: &Value) -> Option<String> {
    match name {
        "buttonsResponseMessage" => text(field, "selectedDisplayText")
            .or(text(field, "selectedButtonId"))
            .map(str::to_owned),
        "templateButtonReplyMessage" => {
            text(field, "selectedDisplayText").or(text(field, "selectedId")).map(str::to_owned)
        }
        "listResponseMessage" => title_and_description(field)
            .or_else(|| text(at(field, "singleSelectReply"), "selectedRowId").map(str::to_owned)),
        "interactiveResponseMessage" => interactive_response(field),
        "buttonsMessage" => text(field, "contentText").map(str::to_owned),
        "listMessage" => title_and_description(field),
        "interactiveMessage" => text(at(field, "body"), "text").map(str::to_owned),
        "templateMessage" => ["hydratedTemplate", "hydratedFourRowTemplate"]
            .into_iter()
            .find_map(|template| text(at(field, template), "hydratedContentText"))
            .map(str::to_owned),
        _ => None,
    }
}

fn title_and_description(field: &Value) -> Option<String> {
    let lines: Vec<_> =
        ["title", "description"].into_iter().filter_map(|key| text(field, key)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn interactive_response(field: &Value) -> Option<String> {
    if let Some(body) = text(at(field, "body"), "text") {
        return Some(body.to_owned());
    }
    // JSON inside a JSON string, with traps of its own.
    let parameters = text(at(field, "nativeFlowResponseMessage"), "paramsJson")?;
    let parameters = parse::parse(parameters).ok()?;
    ["display_text", "title", "id"]
        .into_iter()
        .find_map(|key| text(&parameters, key))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
