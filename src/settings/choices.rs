//! The settings that allow a few words: each word, and what it means to a conversation.

use pgrx::guc::PostgresGucEnum;

use crate::conversation::{OnFailure, OnOtherSender, OnUncertain, OnUnverified};

/// GUC spelling of [`OnFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub(super) enum OnFailureGuc {
    #[name = c"hand_over"]
    HandOver,
    #[name = c"fallback"]
    Fallback,
    #[name = c"both"]
    Both,
    #[name = c"none"]
    Nothing,
}

impl From<OnFailureGuc> for OnFailure {
    fn from(word: OnFailureGuc) -> Self {
        match word {
            OnFailureGuc::HandOver => Self::HandOver,
            OnFailureGuc::Fallback => Self::Fallback,
            OnFailureGuc::Both => Self::Both,
            OnFailureGuc::Nothing => Self::Nothing,
        }
    }
}

/// GUC spelling of [`OnOtherSender`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub(super) enum OnOtherSenderGuc {
    #[name = c"pause"]
    Pause,
    #[name = c"ignore"]
    Ignore,
}

impl From<OnOtherSenderGuc> for OnOtherSender {
    fn from(word: OnOtherSenderGuc) -> Self {
        match word {
            OnOtherSenderGuc::Pause => Self::Pause,
            OnOtherSenderGuc::Ignore => Self::Ignore,
        }
    }
}

/// GUC spelling of [`OnUncertain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub(super) enum OnUncertainGuc {
    #[name = c"send"]
    Send,
    #[name = c"hold"]
    Hold,
}

impl From<OnUncertainGuc> for OnUncertain {
    fn from(word: OnUncertainGuc) -> Self {
        match word {
            OnUncertainGuc::Send => Self::Send,
            OnUncertainGuc::Hold => Self::Hold,
        }
    }
}

/// GUC spelling of [`OnUnverified`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub(super) enum OnUnverifiedGuc {
    #[name = c"hold"]
    Hold,
    #[name = c"answer"]
    Answer,
}

impl From<OnUnverifiedGuc> for OnUnverified {
    fn from(word: OnUnverifiedGuc) -> Self {
        match word {
            OnUnverifiedGuc::Hold => Self::Hold,
            OnUnverifiedGuc::Answer => Self::Answer,
        }
    }
}
