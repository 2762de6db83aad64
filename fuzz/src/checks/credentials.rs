//! Who may post: whatever a request presents, it is let in only with the very secret, or with a token that
//! was signed with the tenant's key and is of this time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Duration, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;

use crate::credentials::{Accepted, FormerSecret, Presented, check as may_post};
use crate::exchange::Secret;

const SECRET: &str = "the-right-secret";
const FORMER: &str = "the-former-secret";
const KEY: &str = "the-key-of-tokens";

/// Of Evolution's tokens, both ways: half an hour.
const LEEWAY: i64 = 1_800;

/// In unix seconds.
const NOW: i64 = 1_761_055_200;

/// Lines: `x-whaply-secret`, `authorization`, the header and the claims of a token.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(4, '\n');
    let (secret, authorization) = (lines.next(), lines.next());
    check_one(secret, authorization);
    // Its signature is right: what it says is the input's.
    if let (Some(header), Some(claims)) = (lines.next(), lines.next()) {
        let token = signed(header, claims);
        check_one(None, Some(&format!("Bearer {token}")));
        check_one(Some(&token), None);
    }
}

fn check_one(secret: Option<&str>, authorization: Option<&str>) {
    let now = DateTime::from_timestamp(NOW, 0).expect("a time");
    let presented = Presented::from_headers(secret, authorization);
    assert!(!format!("{presented:?}").contains(SECRET));
    for (lasts, has_key) in [(23, true), (23, false), (25, true)] {
        let accepted = accepted(now - Duration::hours(lasts), has_key);
        let outcome = may_post(&presented, &accepted, true, now);
        assert_eq!(outcome, may_post(&presented, &accepted, true, now), "checked twice");
        assert!(may_post(&presented, &accepted, false, now).is_ok(), "no secret is required");
        if outcome.is_ok() {
            let right = if lasts < 24 { &[SECRET, FORMER][..] } else { &[SECRET] };
            let given = given(secret, authorization);
            let is_right = given.iter().any(|one| right.contains(&one.as_str()));
            assert!(is_right || (has_key && given.iter().any(|one| is_token(one))), "{given:?}");
        }
    }
    assert!(may_post(&presented, &Accepted::default(), true, now).is_err(), "nothing is accepted");
}

fn accepted(changed_at: DateTime<Utc>, has_key: bool) -> Accepted {
    Accepted {
        secret: Some(Secret::new(SECRET)),
        secret_before: Some(FormerSecret { secret: Secret::new(FORMER), changed_at }),
        jwt_key: has_key.then(|| Secret::new(KEY)),
    }
}

fn given(secret: Option<&str>, authorization: Option<&str>) -> Vec<String> {
    let bearer = authorization.map(str::trim_start).filter(|value| {
        value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
    });
    let bearer = bearer.and_then(|value| value.get(7..));
    secret.into_iter().chain(bearer).map(|text| text.trim().to_owned()).collect()
}

/// Whether it is a token as Evolution makes it, read without the library's rules.
fn is_token(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = parts[..] else { return false };
    let json = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let (Some(head), Some(said)) = (json(header), json(claims)) else { return false };
    let is_of_now = said["exp"].as_i64().is_some_and(|exp| exp.saturating_add(LEEWAY) > NOW)
        && said["iat"].as_i64().is_none_or(|made| made <= NOW + LEEWAY);
    head["alg"] == "HS256" && is_of_now && signature == sign(&format!("{header}.{claims}"))
}

fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(&message);
    format!("{message}.{signature}")
}

fn sign(message: &str) -> String {
    let key = EncodingKey::from_secret(KEY.as_bytes());
    crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature")
}
