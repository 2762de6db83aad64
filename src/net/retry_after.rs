//! Reads Retry-After in both of its forms. It never trusts a server with more than an hour.

use std::time::{Duration, SystemTime};

use ureq::http::Response;
use ureq::http::header::RETRY_AFTER;

/// A server that names a longer time is asked again sooner: it costs one request, where believing
/// a wrong date would silence a tenant.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) fn read<T>(response: &Response<T>, now: SystemTime) -> Option<Duration> {
    parse(response.headers().get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// Seconds, of which some servers send fractions, or an HTTP date; a date in the past is zero.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok()?,
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST))
}
