//! The reasons of a refusal, and their names in `refused_webhooks`. Pure.

use crate::credentials::RefusedBecause;

/// Why a post was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    WrongSecret,
    NoSecret,
    ExpiredToken,
    UnknownInstance,
    TooLarge,
    Invalid,
    TooFast,
}

impl Reason {
    pub const ALL: [Self; 7] = [
        Self::WrongSecret,
        Self::NoSecret,
        Self::ExpiredToken,
        Self::UnknownInstance,
        Self::TooLarge,
        Self::Invalid,
        Self::TooFast,
    ];

    /// As it stands in `refused_webhooks.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongSecret => "wrong_secret",
            Self::NoSecret => "no_secret",
            Self::ExpiredToken => "expired_token",
            Self::UnknownInstance => "unknown_instance",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
            Self::TooFast => "too_fast",
        }
    }
}

impl From<RefusedBecause> for Reason {
    fn from(because: RefusedBecause) -> Self {
        match because {
            RefusedBecause::NoSecret => Self::NoSecret,
            RefusedBecause::WrongSecret => Self::WrongSecret,
            RefusedBecause::ExpiredToken => Self::ExpiredToken,
        }
    }
}
