//! Why there is no answer, and what follows from it. It counts no attempts and picks no delay; the
//! queue does.

use std::time::Duration;

use serde_json::Value;

use super::Provider;
use super::answer::Answer;
use super::complaint::Complaint;
use crate::exchange::{CallError, HttpResponse};
use crate::text::short_line;

/// What a failure says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The provider is full (429, 529, 503 with Retry-After), or the server's settings keep the call
    /// in. Not an attempt.
    Deferred,
    /// 5xx, timeout, cut, unreadable or empty answer: the same request may succeed.
    Transient,
    /// Key, account, URL or model are wrong: no message of the tenant can be answered.
    Configuration,
    /// The same request never fits; one with a shorter history may.
    ContextTooLong,
    /// The provider will not write this answer.
    Refused,
    /// Any other 4xx: the request itself is wrong.
    Rejected,
}

impl FailureClass {
    /// Whether the failure uses up one of the reply's attempts.
    pub fn is_attempt(self) -> bool {
        self != Self::Deferred
    }

    /// Whether the same request may succeed later without anyone changing a setting.
    pub fn is_retried(self) -> bool {
        matches!(self, Self::Deferred | Self::Transient)
    }

    /// What the reader of `replies.error` can do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Deferred => "it is asked again later, without using up an attempt",
            Self::Transient => "it is asked again unless this was the last attempt",
            Self::Configuration => "check the tenant's llm_api_key, llm_base_url and llm_model",
            Self::ContextTooLong => "shorten the system prompt or lower history_limit",
            Self::Refused => "a person should answer this customer",
            Self::Rejected => "it is not asked again: retry_reply does so by hand",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: FailureClass,
    /// What failed and what to do, for `replies.error`: one line of at most 500 characters.
    pub message: String,
    /// The provider's own wish, from its Retry-After.
    pub retry_after: Option<Duration>,
}

/// Leaves room for the advice within the 500 characters of a message.
const MOST_OF_WHAT: usize = 380;

impl Failure {
    pub(super) fn new(class: FailureClass, what: &str) -> Self {
        let message = format!("{}; {}", short_line(what, MOST_OF_WHAT), class.advice());
        Self { class, message, retry_after: None }
    }

    pub(super) fn no_answer(provider: Provider, error: &CallError) -> Self {
        let provider = provider.as_str();
        let (class, what) = match error {
            CallError::NotSent(_) => (FailureClass::Transient, "was not reached"),
            CallError::Unknown(_) => (FailureClass::Transient, "did not answer"),
            // Waits for the operator as for a provider that is full: the message can do nothing for it.
            CallError::Withheld(_) => (FailureClass::Deferred, "is not called"),
            CallError::Forbidden(_) => (FailureClass::Configuration, "is not called"),
        };
        Self::new(class, &format!("{provider} {what}: {}", error.message()))
    }

    pub(super) fn malformed(provider: Provider) -> Self {
        let what = format!(
            "{} answered in a format that is not its own (does llm_base_url lead to its API?)",
            provider.as_str()
        );
        Self::new(FailureClass::Transient, &what)
    }

    pub(super) fn empty_answer(provider: Provider, answer: &Answer) -> Self {
        let why = if answer.cut_by_limit {
            ": it spent max_tokens before its first word, so raise max_tokens"
        } else {
            ""
        };
        let what = format!("empty answer from {}{why}", provider.as_str());
        Self::new(FailureClass::Transient, &what)
    }

    pub(super) fn refused(provider: Provider, words: &str) -> Self {
        let what = format!("{} refused to answer: {words}", provider.as_str());
        Self::new(FailureClass::Refused, &what)
    }

    /// A response that is no answer: any status but 2xx, or a 2xx whose body is an error.
    pub(super) fn refusing_response(provider: Provider, response: &HttpResponse) -> Self {
        let complaint = Complaint::read(&response.body);
        let status = complaint.status_behind(response.status);
        let has_retry_after = response.retry_after.is_some();
        Self {
            retry_after: response.retry_after,
            ..Self::from_complaint(provider, status, has_retry_after, &complaint)
        }
    }

    /// OpenRouter: the error of a choice, in an answer of status 200.
    pub(super) fn reported_in_answer(provider: Provider, error: &Value) -> Self {
        let complaint = Complaint::from_error(error);
        Self::from_complaint(provider, complaint.status_behind(200), false, &complaint)
    }

    fn from_complaint(
        provider: Provider,
        status: u16,
        has_retry_after: bool,
        complaint: &Complaint,
    ) -> Self {
        let words = if (300..400).contains(&status) {
            "it redirects; enter the final URL"
        } else {
            complaint.words.as_str()
        };
        let what = format!("{} answered {status}: {words}", provider.as_str());
        Self::new(complaint.class(status, has_retry_after), &what)
    }
}
