//! The words in which the pure code and the network speak to each other: a request to make, the
//! answer that came, or why none came. Pure: nothing here opens a socket or reads a clock.

use std::fmt;
use std::time::Duration;

use url::Url;

/// A key, token or password. Its `Debug` prints `***`, and it has no `Display`, so that it cannot
/// slip into an error or a log line; `expose` marks the few places that need the text itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every occurrence of this secret replaced by `***`: servers like to repeat the
    /// key they refuse.
    pub fn mask(&self, text: &str) -> String {
        if self.0.len() < 4 { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// One HTTP request, complete but for the connection.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    pub method: Method,
    pub url: Url,
    /// Header names in lower case. Every value is treated as secret: most that matter are.
    pub headers: Vec<(&'static str, Secret)>,
    /// JSON text, or empty for GET.
    pub body: String,
    /// The whole call, from DNS to the last byte of the answer.
    pub timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    pub status: u16,
    /// `Retry-After`, as a duration from now (a date is converted where the answer is read).
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

/// Why there is no answer. What matters is whether the request can have left this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Name not resolved, connection refused, TLS refused, bad URL: the server has seen nothing.
    NotSent(String),
    /// Timeout, cut or unreadable answer: the server may have done what was asked.
    Unknown(String),
    /// The settings of this server keep the call in, and can be changed to let it out. Nothing was sent.
    Withheld(String),
    /// The URL leads to where no setting lets a call go. Nothing was sent.
    Forbidden(String),
}

impl CallError {
    pub fn message(&self) -> &str {
        match self {
            Self::NotSent(message)
            | Self::Unknown(message)
            | Self::Withheld(message)
            | Self::Forbidden(message) => message,
        }
    }
}

/// What one HTTP call came to.
pub type CallResult = Result<HttpResponse, CallError>;
