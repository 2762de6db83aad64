//! Why a webhook body is refused, and what its sender should do. Never holds a value of the body.

/// Bad input: nothing is stored. An event type that is not known is no refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `reason` is the parser's: what it expected and at which line and column.
    #[error("the payload is not JSON: {reason}")]
    NotJson { reason: String },
    #[error("the payload is not a JSON object")]
    NotAnObject,
    #[error("the payload is nested too deeply")]
    TooDeep,
    /// 256 MiB are the most.
    #[error("the payload is larger than a jsonb can be")]
    TooLarge,
    #[error("the payload has no \"event\"")]
    NoEvent,
    #[error("the payload has no \"instance\"")]
    NoInstance,
    #[error("{event} has no message id")]
    NoMessageId { event: String },
    #[error("{event} does not say which chat it belongs to")]
    NoChat { event: String },
    /// `limit` counts characters, as `varchar` does.
    #[error("\"{field}\" is longer than {limit} characters")]
    TooLong { field: &'static str, limit: usize },
}

impl Refusal {
    /// What the sender should do, as one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => {
                "Pass the body of the webhook exactly as Evolution API posted it."
            }
            Self::NotAnObject => {
                "Pass the whole webhook: an object with \"event\", \"instance\" and \"data\"."
            }
            Self::TooDeep => "A webhook of Evolution API nests a few levels; 127 are read.",
            Self::TooLarge => "Turn off the option base64 of the webhook in Evolution.",
            Self::NoEvent => "\"event\" is a text such as \"messages.upsert\".",
            Self::NoInstance => "\"instance\" is the name of the Evolution instance, as a text.",
            Self::NoMessageId { .. } => {
                "\"data\" is one message object with \"key.id\"; send a list one by one."
            }
            Self::NoChat { .. } => "\"data.key.remoteJid\" is the JID of the chat, as a text.",
            Self::TooLong { .. } => {
                "No identifier of WhatsApp is that long: the payload was not made by Evolution API."
            }
        }
    }
}
