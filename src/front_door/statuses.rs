//! Which HTTP status an error becomes. Evolution API 2.3.6 drops 400, 401, 403, 404 and 422 for ever
//! and repeats everything else ten times within 20 minutes: what may go well later must be none of
//! those five. Pure.

use crate::credentials::RefusedBecause;
use crate::error::{Blame, Error};
use crate::refusals::Reason;

/// Why a request is not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No later attempt can go well. What is wrong, and what to do about it.
    Invalid {
        message: String,
        hint: Option<String>,
    },
    TooLarge,
    /// Of the tenant that is named.
    Credentials(RefusedBecause),
    /// No tenant has the instance.
    UnknownInstance,
    /// The tenant posts more than its share.
    TooFast,
    /// The address was refused too often of late.
    TooManyRefused,
    /// It may go well later. What is the matter.
    Unavailable {
        message: String,
    },
}

/// When to come back, in seconds. Evolution has delays of its own; others read it.
const SOON: u32 = 1;
const LATER: u32 = 5;
const NEXT_MINUTE: u32 = 60;

impl Refusal {
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into() }
    }

    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid { .. } | Self::TooLarge => 400,
            Self::Credentials(_) => 401,
            Self::UnknownInstance => 404,
            Self::TooFast | Self::TooManyRefused => 429,
            Self::Unavailable { .. } => 503,
        }
    }

    /// Seconds for `Retry-After`, where it may go well later.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::TooFast => Some(SOON),
            Self::TooManyRefused => Some(NEXT_MINUTE),
            Self::Unavailable { .. } => Some(LATER),
            _ => None,
        }
    }

    /// For counting, as in `refused_webhooks.reason` where that knows it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::TooLarge => "too_large",
            Self::Credentials(because) => Reason::from(*because).as_str(),
            Self::UnknownInstance => "unknown_instance",
            Self::TooFast => "too_fast",
            Self::TooManyRefused => "too_many_refused",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Invalid { message, .. } | Self::Unavailable { message } => message,
            Self::TooLarge => "the webhook is larger than whaply.max_body",
            Self::Credentials(RefusedBecause::NoSecret) => "the webhook carries no secret",
            Self::Credentials(RefusedBecause::WrongSecret) => "the webhook's secret is wrong",
            Self::Credentials(RefusedBecause::ExpiredToken) => "the webhook's token has expired",
            Self::UnknownInstance => "no tenant has this instance",
            Self::TooFast => "more webhooks a second than whaply.webhook_rate",
            Self::TooManyRefused => "too many posts of this address were refused",
        }
    }

    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Invalid { hint, .. } => hint.as_deref(),
            Self::TooLarge => Some("Turn off the option base64 of the webhook in Evolution."),
            Self::Credentials(_) => Some(
                "SELECT whaply.webhook_settings(instance_name) prints what to enter in Evolution.",
            ),
            Self::UnknownInstance => {
                Some("Insert the tenant first, with the name it has in Evolution.")
            }
            _ => None,
        }
    }
}

/// An error as the log may have it: a data exception repeats the value, which may be what somebody
/// said.
pub fn without_values(error: &Error) -> String {
    match error {
        Error::Raised { sqlstate, .. } if sqlstate.starts_with("22") => {
            format!("the data is not valid (SQLSTATE {sqlstate})")
        }
        error => format!("{error} (SQLSTATE {})", error.sqlstate()),
    }
}

/// What is answered to an event that failed alone.
pub fn refusal(error: &Error) -> Refusal {
    match error {
        Error::UnknownInstance { .. } | Error::WebhookForUnknownInstance { .. } => {
            Refusal::UnknownInstance
        }
        Error::WrongSecret => Refusal::Credentials(RefusedBecause::WrongSecret),
        error if error.blame() == Blame::Event => {
            Refusal::Invalid { message: error.to_string(), hint: error.hint() }
        }
        // The error's own words may hold a value: they stand in the log, not in an answer.
        Error::Standby | Error::Outdated { .. } | Error::WithoutRole | Error::SecretIsElsewhere => {
            Refusal::unavailable(error.to_string())
        }
        error => Refusal::unavailable(format!(
            "the database cannot take it now (SQLSTATE {})",
            error.sqlstate()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 400, 401, 403, 404 and 422 are never repeated by Evolution API 2.3.6.
    const DROPPED_FOR_EVER: [u16; 5] = [400, 401, 403, 404, 422];

    fn raised(sqlstate: &str) -> Error {
        Error::Raised { sqlstate: sqlstate.to_owned(), message: "a value".to_owned() }
    }

    #[test]
    fn what_may_go_well_later_is_answered_so_that_evolution_repeats_it() {
        for sqlstate in [
            "40P01", "40001", "55P03", "53100", "53200", "53300", "57P01", "57P03", "57014",
            "25006", "08006", "58030", "XX000", "XX001", "23503", "23505", "42P01", "P0001",
            "0A000", "2200H",
        ] {
            let refusal = refusal(&raised(sqlstate));
            assert_eq!(refusal.status(), 503, "{sqlstate}");
            assert!(refusal.retry_after().is_some(), "{sqlstate}");
            assert!(!refusal.message().contains("a value"), "{sqlstate}");
        }
    }

    #[test]
    fn what_fails_for_ever_is_answered_so_that_evolution_drops_it() {
        for sqlstate in ["22001", "22P05", "22023", "54000", "54001", "23502", "23514"] {
            let refusal = refusal(&raised(sqlstate));
            assert!(DROPPED_FOR_EVER.contains(&refusal.status()), "{sqlstate}");
            assert_eq!(refusal.retry_after(), None, "{sqlstate}");
        }
    }

    #[test]
    fn a_library_newer_than_its_tables_and_a_standby_lose_nothing() {
        let outdated = Error::Outdated { tables: "0.2.0".to_owned(), library: "0.3.0" };
        for error in [outdated, Error::Standby] {
            assert_eq!(refusal(&error).status(), 503);
            assert_eq!(error.blame(), Blame::Server);
        }
    }

    #[test]
    fn refusals_have_the_statuses_that_the_manual_names() {
        for (refusal, status) in [
            (Refusal::Invalid { message: String::new(), hint: None }, 400),
            (Refusal::TooLarge, 400),
            (Refusal::Credentials(RefusedBecause::WrongSecret), 401),
            (Refusal::UnknownInstance, 404),
            (Refusal::TooFast, 429),
            (Refusal::TooManyRefused, 429),
            (Refusal::unavailable(""), 503),
        ] {
            assert_eq!(refusal.status(), status);
            assert_eq!(refusal.retry_after().is_some(), status > 404);
        }
    }
}
