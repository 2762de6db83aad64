//! Proves the fakes themselves, without PostgreSQL and without whaply: a test that trusts a fake is
//! worth no more than the fake.

mod evolution;
mod llm;
mod pairing;
mod webhooks;

use std::time::Duration;

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(10);

/// Long enough for an answer that is there at once, and no more.
const IMPATIENCE: Duration = Duration::from_millis(300);

fn client(limit: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    config.timeout_global(Some(limit)).build().new_agent()
}

type Headers<'a> = &'a [(&'a str, &'a str)];

fn post(url: &str, headers: Headers, body: &Value) -> Result<(u16, Value), ureq::Error> {
    post_within(LIMIT, url, headers, body)
}

fn post_within(
    limit: Duration,
    url: &str,
    headers: Headers,
    body: &Value,
) -> Result<(u16, Value), ureq::Error> {
    let mut request = client(limit).post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(body.to_string())?;
    let text = answer.body_mut().read_to_string()?;
    Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
