//! Tests of who may post.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use RefusedBecause::{ExpiredToken, NoSecret, WrongSecret};

const KEY: &str = "the key of the shop";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn accepted() -> Accepted {
    Accepted { secret: Some(Secret::new("right")), ..Accepted::default() }
}

fn changed(ago: Duration) -> Accepted {
    let former = FormerSecret { secret: Secret::new("former"), changed_at: now() - ago };
    Accepted { secret_before: Some(former), ..accepted() }
}

fn with_key() -> Accepted {
    Accepted { jwt_key: Some(Secret::new(KEY)), ..accepted() }
}

fn in_header(secret: &str) -> Presented {
    Presented::from_headers(Some(secret), None)
}

fn as_bearer(secret: &str) -> Presented {
    Presented::from_headers(None, Some(&format!("Bearer {secret}")))
}

fn checked(presented: &Presented, accepted: &Accepted) -> Result<(), RefusedBecause> {
    check(presented, accepted, true, now())
}

fn signed(algorithm: Algorithm, key: &str, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

/// As Evolution makes it, so many seconds ago.
fn token(seconds_ago: i64) -> String {
    let made = now().timestamp() - seconds_ago;
    let claims = json!({"iat": made, "exp": made + 600, "app": "evolution", "action": "webhook"});
    signed(Algorithm::HS256, KEY, &claims)
}

#[test]
fn the_secret_is_taken_from_its_header_and_as_a_bearer() {
    assert_eq!(checked(&in_header("right"), &accepted()), Ok(()));
    for authorization in ["Bearer right", "bearer right", "BEARER  right ", " Bearer right"] {
        let presented = Presented::from_headers(None, Some(authorization));
        assert_eq!(checked(&presented, &accepted()), Ok(()), "{authorization}");
    }
    let beside_another = Presented::from_headers(Some("right"), Some("Basic dTpw"));
    assert_eq!(checked(&beside_another, &accepted()), Ok(()));
    let beside_a_wrong_one = Presented::from_headers(Some("wrong"), Some("Bearer right"));
    assert_eq!(checked(&beside_a_wrong_one, &accepted()), Ok(()));
}

#[test]
fn what_is_missing_is_told_from_what_is_wrong() {
    for (secret, authorization) in [
        (None, None),
        (Some(""), None),
        (Some("  "), Some("Bearer ")),
        (None, Some("right")),
        (None, Some("Basic right")),
        (None, Some("Bearer")),
        (None, Some("Beareré right")),
    ] {
        let presented = Presented::from_headers(secret, authorization);
        assert_eq!(checked(&presented, &accepted()), Err(NoSecret), "{secret:?} {authorization:?}");
    }
    for wrong in ["wrong", "Right", "righ", "rightt", "rightright", "r", "right\0", "a.b.c"] {
        assert_eq!(checked(&in_header(wrong), &accepted()), Err(WrongSecret), "{wrong}");
        assert_eq!(checked(&as_bearer(wrong), &accepted()), Err(WrongSecret), "{wrong}");
    }
}

#[test]
fn a_tenant_without_a_secret_lets_nobody_in() {
    let none = Accepted::default();
    assert_eq!(checked(&in_header("right"), &none), Err(WrongSecret));
    assert_eq!(checked(&Presented::default(), &none), Err(NoSecret));
}

#[test]
fn an_empty_secret_matches_nothing() {
    let empty = || Some(Secret::new(""));
    let former = empty().map(|secret| FormerSecret { secret, changed_at: now() });
    let accepted = Accepted { secret: empty(), secret_before: former, jwt_key: empty() };
    assert_eq!(checked(&in_header(""), &accepted), Err(NoSecret));
    assert_eq!(checked(&in_header("x"), &accepted), Err(WrongSecret));
    let unsigned = signed(Algorithm::HS256, "", &json!({"exp": now().timestamp()}));
    assert_eq!(checked(&as_bearer(&unsigned), &accepted), Err(WrongSecret));
}

#[test]
fn the_former_secret_lasts_a_day_beside_the_present_one() {
    let day = Duration::hours(24);
    for (ago, result) in [
        (Duration::zero(), Ok(())),
        (day - Duration::milliseconds(1), Ok(())),
        (day, Err(WrongSecret)),
        // The clock went back.
        (Duration::hours(-1), Ok(())),
    ] {
        assert_eq!(checked(&in_header("former"), &changed(ago)), result, "{ago}");
        assert_eq!(checked(&as_bearer("former"), &changed(ago)), result, "{ago}");
        assert_eq!(checked(&in_header("right"), &changed(ago)), Ok(()));
    }
}

#[test]
fn a_secret_that_was_taken_away_ends_at_once() {
    let taken_away = Accepted { secret: None, ..changed(Duration::minutes(1)) };
    assert_eq!(checked(&in_header("former"), &taken_away), Err(WrongSecret));
}

#[test]
fn where_no_secret_is_required_everybody_may_post() {
    for presented in [Presented::default(), in_header("wrong"), as_bearer("a.b.c")] {
        assert_eq!(check(&presented, &accepted(), false, now()), Ok(()));
    }
}

#[test]
fn a_token_of_evolution_is_taken_until_30_minutes_after_its_end() {
    let end = 600 + 30 * 60;
    for (seconds_ago, result) in [
        (0, Ok(())),
        (600, Ok(())),
        (end - 1, Ok(())),
        (end, Err(ExpiredToken)),
        (86_400, Err(ExpiredToken)),
        (-30 * 60, Ok(())),
        (-30 * 60 - 1, Err(ExpiredToken)),
    ] {
        let presented = as_bearer(&token(seconds_ago));
        assert_eq!(checked(&presented, &with_key()), result, "{seconds_ago}");
    }
}

#[test]
fn a_token_counts_only_as_a_bearer_and_only_for_its_own_key() {
    assert_eq!(checked(&in_header(&token(0)), &with_key()), Err(WrongSecret));
    assert_eq!(checked(&as_bearer(&token(0)), &accepted()), Err(WrongSecret));
    let other = Accepted { jwt_key: Some(Secret::new("another key")), ..accepted() };
    assert_eq!(checked(&as_bearer(&token(0)), &other), Err(WrongSecret));
    // Who holds the key does not hold the secret, nor the other way round.
    assert_eq!(checked(&as_bearer(KEY), &with_key()), Err(WrongSecret));
    let made_of_the_secret = signed(Algorithm::HS256, "right", &json!({"exp": 9_999_999_999_u64}));
    assert_eq!(checked(&as_bearer(&made_of_the_secret), &with_key()), Err(WrongSecret));
}

#[test]
fn a_tenant_may_have_a_key_alone() {
    let accepted = Accepted { secret: None, ..with_key() };
    assert_eq!(checked(&as_bearer(&token(0)), &accepted), Ok(()));
    assert_eq!(checked(&Presented::default(), &accepted), Err(NoSecret));
}

#[test]
fn a_token_must_end_and_may_leave_out_the_rest() {
    let exp = now().timestamp();
    for (claims, result) in [
        (json!({"exp": exp}), Ok(())),
        (json!({"exp": u64::MAX}), Err(WrongSecret)),
        (json!({"exp": i64::MAX, "iat": i64::MIN}), Ok(())),
        (json!({"iat": exp}), Err(WrongSecret)),
        (json!({"exp": null}), Err(WrongSecret)),
        (json!({"exp": "never"}), Err(WrongSecret)),
        (json!({"exp": 0}), Err(ExpiredToken)),
        (json!([]), Err(WrongSecret)),
    ] {
        let presented = as_bearer(&signed(Algorithm::HS256, KEY, &claims));
        assert_eq!(checked(&presented, &with_key()), result, "{claims}");
    }
}

#[test]
fn no_other_algorithm_is_taken() {
    let claims = json!({"exp": now().timestamp() + 600});
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let presented = as_bearer(&signed(algorithm, KEY, &claims));
        assert_eq!(checked(&presented, &with_key()), Err(WrongSecret), "{algorithm:?}");
    }
    let [_, body, signature] =
        token(0).split('.').map(str::to_owned).collect::<Vec<_>>()[..].to_vec().try_into().unwrap();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"typ":"JWT","alg":"none"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"hs256"}"#,
        "{}",
    ] {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let header = URL_SAFE_NO_PAD.encode(header);
        for forged in [format!("{header}.{body}."), format!("{header}.{body}.{signature}")] {
            assert_eq!(checked(&as_bearer(&forged), &with_key()), Err(WrongSecret), "{forged}");
        }
    }
}

#[test]
fn nothing_prints_a_secret() {
    let printed = format!("{:?} {:?} {:?}", in_header("right"), as_bearer("right"), with_key());
    assert!(!printed.contains("right") && !printed.contains(KEY), "{printed}");
}

proptest! {
    #[test]
    fn only_the_same_text_is_the_same(accepted in ".{1,12}", presented in ".{0,24}") {
        let same = is_same(&Secret::new(accepted.clone()), &Secret::new(presented.clone()));
        prop_assert_eq!(same, accepted == presented);
        prop_assert!(is_same(&Secret::new(accepted.clone()), &Secret::new(accepted)));
    }

    #[test]
    fn no_bearer_makes_the_reader_panic(bearer in r"[A-Za-z0-9_\-]{0,20}(\.\PC{0,20}){0,4}") {
        prop_assert_eq!(
            checked(&Presented::from_headers(None, Some(&format!("Bearer a{bearer}"))), &with_key()),
            Err(WrongSecret)
        );
    }
}
