//! The token that Evolution API makes of a webhook's `jwt_key` (HS256; claims `iat`, `exp` = `iat` +
//! 600 s, `app`, `action`). Judges it at a time that is given; makes none.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use crate::exchange::Secret;

/// Evolution makes one token for an event and repeats the event with it for about 20 minutes.
const LEEWAY_SECONDS: i64 = 30 * 60;

pub(super) enum Token {
    Valid,
    /// Signed with the key, but it expired, or was made in the future.
    OfAnotherTime,
    /// No token, of another algorithm, without a time, or signed with another key.
    NotOurs,
}

/// Times in whole seconds since 1970, as Evolution writes them.
#[derive(Deserialize)]
struct Claims {
    exp: i64,
    iat: Option<i64>,
}

pub(super) fn read(bearer: &Secret, key: &Secret, now: DateTime<Utc>) -> Token {
    if key.expose().is_empty() {
        return Token::NotOurs;
    }
    // One algorithm: a token must not choose how it is verified.
    let mut validation = Validation::new(Algorithm::HS256);
    // The library would ask the system's clock.
    validation.validate_exp = false;
    let key = DecodingKey::from_secret(key.expose().as_bytes());
    let Ok(token) = decode::<Claims>(bearer.expose(), &key, &validation) else {
        return Token::NotOurs;
    };
    let now = now.timestamp();
    let is_expired = token.claims.exp.saturating_add(LEEWAY_SECONDS) <= now;
    let is_of_the_future = token.claims.iat.is_some_and(|made| made > now + LEEWAY_SECONDS);
    if is_expired || is_of_the_future { Token::OfAnotherTime } else { Token::Valid }
}
