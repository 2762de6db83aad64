//! `GET /instance/connectionState/{instance}`: what Evolution believes about its socket to
//! WhatsApp. It is a flag in memory; users have seen `open` while sends failed.

use std::str::FromStr;
use std::time::Duration;

use super::error::{MOST_CHARACTERS, read_query};
use super::{Instance, request};
use crate::exchange::{CallResult, HttpRequest, Method};
use crate::text::short_line;

const CALL: &str = "connectionState";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Open,
    Connecting,
    Close,
}

impl State {
    pub const ALL: [Self; 3] = [Self::Open, Self::Connecting, Self::Close];

    /// Evolution's own word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Connecting => "connecting",
            Self::Close => "close",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown connection state {0:?}")]
pub struct UnknownState(pub String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| UnknownState(text.to_owned()))
    }
}

pub fn connection_state(instance: &Instance, timeout: Duration) -> HttpRequest {
    request(instance, Method::Get, ["instance", CALL], None, timeout)
}

/// `None`: Evolution knows the instance but has not loaded it, so there is no state. The error is
/// one line on why nothing is known.
pub fn read_connection_state(result: CallResult) -> Result<Option<State>, String> {
    let body = read_query(CALL, result)?;
    let instance =
        body.get("instance").ok_or_else(|| format!("{CALL} answered without instance"))?;
    match instance.get("state").and_then(|state| state.as_str()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error: UnknownState| {
            short_line(&format!("{CALL} answered: {error}"), MOST_CHARACTERS)
        }),
    }
}
