//! The words of two columns: what was done with an event, and who wrote a message. No decision is
//! taken here.

/// What was done with an event: `processed_events.action_taken`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A customer's question: a reply is queued. Becomes one of the next five when that reply ends.
    AiQueued,
    AiReplied,
    AiFailed,
    Superseded,
    CancelledPaused,
    Drafted,
    /// The owner took over.
    Paused,
    /// The owner gave the chat back, by the resume word.
    Resumed,
    /// The owner keeps the chat, by the hold word.
    Held,
    /// A message of ours came back.
    OwnEcho,
    /// Ours or somebody else's: decided when the send in flight has ended.
    PendingEcho,
    OtherSender,
    Edited,
    EditedEarly,
    Deleted,
    DeletedEarly,
    /// Another event of the same message has stored it and acted.
    AlreadyStored,
    IgnoredEvent,
    IgnoredGroup,
    IgnoredBroadcast,
    IgnoredNewsletter,
    IgnoredSelf,
    IgnoredBot,
    IgnoredType,
    IgnoredAutoReply,
    IgnoredOld,
    IgnoredPaused,
    /// The Cloud API: whose it is cannot be told, and several customers write. A person's.
    IgnoredUnverified,
    /// The tenant's mode is off, or test and this chat is not among `test_chats`.
    IgnoredMode,
    /// `messages.update`: a status moved. Leaves no row.
    Receipt,
    /// The state of the line moved. Leaves no row.
    Line,
    /// `qrcode.updated`: another code to scan. Leaves no row.
    Qr,
    /// Aliases were learnt. Leaves no row.
    Aliases,
    /// `messages.set`: old messages from pairing. Leaves no row.
    History,
    /// Its chat was removed by `forget_chat`: this is all that is left of it.
    Forgotten,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AiQueued => "ai_queued",
            Self::AiReplied => "ai_replied",
            Self::AiFailed => "ai_failed",
            Self::Superseded => "superseded",
            Self::CancelledPaused => "cancelled_paused",
            Self::Drafted => "drafted",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Held => "held",
            Self::OwnEcho => "own_echo",
            Self::PendingEcho => "pending_echo",
            Self::OtherSender => "other_sender",
            Self::Edited => "edited",
            Self::EditedEarly => "edited_early",
            Self::Deleted => "deleted",
            Self::DeletedEarly => "deleted_early",
            Self::AlreadyStored => "already_stored",
            Self::IgnoredEvent => "ignored_event",
            Self::IgnoredGroup => "ignored_group",
            Self::IgnoredBroadcast => "ignored_broadcast",
            Self::IgnoredNewsletter => "ignored_newsletter",
            Self::IgnoredSelf => "ignored_self",
            Self::IgnoredBot => "ignored_bot",
            Self::IgnoredType => "ignored_type",
            Self::IgnoredAutoReply => "ignored_auto_reply",
            Self::IgnoredOld => "ignored_old",
            Self::IgnoredPaused => "ignored_paused",
            Self::IgnoredUnverified => "ignored_unverified",
            Self::IgnoredMode => "ignored_mode",
            Self::Receipt => "receipt",
            Self::Line => "line",
            Self::Qr => "qr",
            Self::Aliases => "aliases",
            Self::History => "history",
            Self::Forgotten => "forgotten",
        }
    }
}

/// Who wrote a message: `messages.sender`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Customer,
    Owner,
    Assistant,
    /// `send_message`: a person or program that uses this database.
    Operator,
    /// Another API client of the same instance, or a Chatwoot agent.
    Other,
    /// A greeting or away message of WhatsApp Business, or Evolution's answer to a call.
    AutoReply,
    /// The owner, to the assistant: the resume word or the hold word.
    Command,
    /// A customer, but perhaps not of this chat (Cloud API).
    Unverified,
}

impl Sender {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Owner => "owner",
            Self::Assistant => "assistant",
            Self::Operator => "operator",
            Self::Other => "other",
            Self::AutoReply => "auto_reply",
            Self::Command => "command",
            Self::Unverified => "unverified",
        }
    }
}
