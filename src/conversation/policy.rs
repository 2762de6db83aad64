//! What a tenant can choose, and why a session pauses: the words of the columns, in one place.

/// What the assistant does with a customer's question. Column `tenants.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Store only.
    Off,
    /// Generate, keep the answer as `drafted`, send nothing.
    Draft,
    /// Answer only the chats in `test_chats`.
    Test,
    On,
}

impl Mode {
    /// The column is checked, so that any other text is one of a later version: the quietest wins.
    pub fn from_column(text: &str) -> Self {
        match text {
            "on" => Self::On,
            "test" => Self::Test,
            "draft" => Self::Draft,
            _ => Self::Off,
        }
    }
}

/// What happens in a chat after the last attempt to answer has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    HandOver,
    Fallback,
    Both,
    Nothing,
}

impl OnFailure {
    pub fn from_column(text: &str) -> Option<Self> {
        match text {
            "hand_over" => Some(Self::HandOver),
            "fallback" => Some(Self::Fallback),
            "both" => Some(Self::Both),
            "none" => Some(Self::Nothing),
            _ => None,
        }
    }

    pub fn hands_over(self) -> bool {
        matches!(self, Self::HandOver | Self::Both)
    }

    pub fn sends_fallback(self) -> bool {
        matches!(self, Self::Fallback | Self::Both)
    }
}

/// Whether a `send.message` that is not ours pauses the chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOtherSender {
    Pause,
    Ignore,
}

impl OnOtherSender {
    pub fn from_column(text: &str) -> Option<Self> {
        match text {
            "pause" => Some(Self::Pause),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

/// What to do with a message that Evolution shows no trace of after a broken call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    Send,
    Hold,
}

impl OnUncertain {
    pub fn from_column(text: &str) -> Option<Self> {
        match text {
            "send" => Some(Self::Send),
            "hold" => Some(Self::Hold),
            _ => None,
        }
    }
}

/// What to do with a message of the Cloud API of which nothing but Evolution's word tells the sender,
/// while other customers write too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnverified {
    /// Stored, and left to a person.
    Hold,
    Answer,
}

impl OnUnverified {
    pub fn from_column(text: &str) -> Option<Self> {
        match text {
            "hold" => Some(Self::Hold),
            "answer" => Some(Self::Answer),
            _ => None,
        }
    }
}

/// Why a session is paused. Column `sessions.pause_reason`; a manual pause may carry any other text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// The owner wrote from the phone, WhatsApp Web or Desktop.
    HumanTakeover,
    /// Another API client or a Chatwoot agent wrote.
    OtherSender,
    /// The assistant gave up; ends by itself.
    AiFailed,
    /// More answers in a time than people need: the other side may be a machine. Ends by itself.
    LoopGuard,
    /// The owner kept the chat by the hold word: only a person ends it.
    Manual,
}

impl PauseReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HumanTakeover => "human_takeover",
            Self::OtherSender => "other_sender",
            Self::AiFailed => "ai_failed",
            Self::LoopGuard => "loop_guard",
            Self::Manual => "manual_pause",
        }
    }
}
