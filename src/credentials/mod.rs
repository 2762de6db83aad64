//! Who may post a webhook: what a request presents is compared with what its tenant accepts, at a
//! time that is given. Pure: it reads no clock and no table, and no error of it holds a secret.

mod token;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Duration, Utc};
use subtle::ConstantTimeEq;

use crate::exchange::Secret;
use token::Token;

/// Evolution repeats a webhook with the headers it began with, and a secret is changed in two
/// places by hand: the former one goes on for this long.
const FORMER_SECRET_LASTS: Duration = Duration::hours(24);

const BEARER: &str = "bearer ";

/// What a request presents to prove whose it is.
#[derive(Clone, Debug, Default)]
pub struct Presented {
    secret: Option<Secret>,
    bearer: Option<Secret>,
}

/// What a tenant accepts. An empty text is never accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// None: only tokens are accepted, if anything is.
    pub secret: Option<Secret>,
    /// Accepted for a day beside the present one, and not where that one was taken away.
    pub secret_before: Option<FormerSecret>,
    /// The `jwt_key` of Evolution's webhook, which makes a token of it for each event.
    pub jwt_key: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerSecret {
    pub secret: Secret,
    pub changed_at: DateTime<Utc>,
}

/// The same as a tenant's row has it: each is the secret itself or names its source, and none may be
/// compared with what a request presents before that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept(Accepted);

impl Kept {
    pub fn new(columns: Accepted) -> Self {
        Self(columns)
    }

    /// What may post, with what `read` makes of each column; and why some of it is missing.
    pub fn resolve(
        self,
        read: impl Fn(&'static str, &Secret) -> Result<Secret, String>,
    ) -> (Accepted, Vec<String>) {
        let mut troubles = Vec::new();
        let mut resolved = |column, value: Option<Secret>| {
            value.and_then(|value| read(column, &value).map_err(|why| troubles.push(why)).ok())
        };
        let Accepted { secret, secret_before, jwt_key } = self.0;
        let secret = resolved("webhook_secret", secret);
        let jwt_key = resolved("webhook_jwt_key", jwt_key);
        let secret_before = secret_before.and_then(|former| {
            // It goes within a day by itself: not worth a complaint.
            Some(FormerSecret {
                secret: read("webhook_secret_before", &former.secret).ok()?,
                ..former
            })
        });
        (Accepted { secret, secret_before, jwt_key }, troubles)
    }
}

/// Why a request may not post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBecause {
    NoSecret,
    WrongSecret,
    /// The token is Evolution's own, but of another time.
    ExpiredToken,
}

impl Presented {
    /// The values of the headers `x-whaply-secret` and `authorization`. The latter counts as far
    /// as it is a Bearer: a secret, or a token that Evolution made.
    pub fn from_headers(x_whaply_secret: Option<&str>, authorization: Option<&str>) -> Self {
        let bearer = authorization.and_then(|value| {
            let (scheme, rest) = value.trim_start().split_at_checked(BEARER.len())?;
            scheme.eq_ignore_ascii_case(BEARER).then_some(rest)
        });
        Self { secret: x_whaply_secret.and_then(given), bearer: bearer.and_then(given) }
    }

    fn is_nothing(&self) -> bool {
        self.secret.is_none() && self.bearer.is_none()
    }

    fn is_secret(&self, accepted: &Secret) -> bool {
        [&self.secret, &self.bearer].into_iter().flatten().any(|one| is_same(accepted, one))
    }
}

fn given(value: &str) -> Option<Secret> {
    let value = value.trim();
    (!value.is_empty()).then(|| Secret::new(value))
}

/// Whether a request may post for the tenant. Where no secret is required everybody may.
pub fn check(
    presented: &Presented,
    accepted: &Accepted,
    require_secret: bool,
    now: DateTime<Utc>,
) -> Result<(), RefusedBecause> {
    if !require_secret || accepted.secrets(now).any(|secret| presented.is_secret(secret)) {
        return Ok(());
    }
    if presented.is_nothing() {
        return Err(RefusedBecause::NoSecret);
    }
    match (&presented.bearer, &accepted.jwt_key) {
        (Some(bearer), Some(key)) => match token::read(bearer, key, now) {
            Token::Valid => Ok(()),
            Token::OfAnotherTime => Err(RefusedBecause::ExpiredToken),
            Token::NotOurs => Err(RefusedBecause::WrongSecret),
        },
        _ => Err(RefusedBecause::WrongSecret),
    }
}

impl Accepted {
    fn secrets(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Secret> {
        let former = self.secret_before.as_ref().filter(|former| {
            self.secret.is_some() && now - former.changed_at < FORMER_SECRET_LASTS
        });
        self.secret.iter().chain(former.map(|former| &former.secret))
    }
}

/// Takes as long as what is presented is long, wherever it differs and however long the accepted
/// one is: the time tells nothing about that.
fn is_same(accepted: &Secret, presented: &Secret) -> bool {
    let (accepted, presented) = (accepted.expose().as_bytes(), presented.expose().as_bytes());
    if accepted.is_empty() {
        return false;
    }
    let mut same = accepted.len().ct_eq(&presented.len());
    // In the end only equal lengths count, so that beyond its end the accepted one may repeat.
    for (byte, own) in presented.iter().zip(accepted.iter().cycle()) {
        same &= byte.ct_eq(own);
    }
    same.into()
}
