//! The only place that opens an outgoing socket: one HTTP call, made once, with its end told
//! honestly. It never retries, never follows a redirect and never repeats a secret.

mod body;
mod connect;
mod retry_after;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderValue, Response, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Timeout};

use self::body::{Budget, Unread};
use crate::exchange::{CallError, CallResult, HttpRequest, HttpResponse, Method, Secret};

/// What a caller may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many calls run at once; as many connections are kept for the next call.
    pub in_flight: usize,
    /// For the name, and once more for TCP and TLS; the request's own timeout bounds both.
    pub connect_timeout: Duration,
    /// The longest body that is read, counted after decompression.
    pub answer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 100,
            connect_timeout: Duration::from_secs(10),
            answer_bytes: 8 * 1024 * 1024,
        }
    }
}

/// Node closes idle connections after 5 s. One that is reused at that moment fails with the
/// request half out, which leaves a send uncertain.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);

/// The agent's default of 128 KiB each is what 1,000 calls in flight are made of.
const BUFFER_BYTES: usize = 16 * 1024;

const USER_AGENT: &str = concat!("whaply/", env!("CARGO_PKG_VERSION"));

/// The headers whose values are keys. The others are not worth hiding, and hiding them would
/// damage bodies that happen to hold them.
const KEY_HEADERS: [&str; 3] = ["apikey", "authorization", "x-api-key"];

/// Makes calls. Cheap to clone; clones share their connections. A call blocks its thread.
#[derive(Clone, Debug)]
pub struct Caller {
    agent: Agent,
    limits: Arc<Limits>,
    budget: Arc<Budget>,
}

impl Caller {
    /// Trusts the certificate authorities of Mozilla's list as compiled in, so that a call does not
    /// depend on what the server's image has installed. The environment's proxy is not used: it
    /// would resolve the names in our place.
    pub fn new(limits: &Limits) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(USER_AGENT)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::WebPki).build())
            .timeout_resolve(Some(limits.connect_timeout))
            .timeout_connect(Some(limits.connect_timeout))
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_idle_age(IDLE_CONNECTION)
            .max_idle_connections(limits.in_flight)
            .max_idle_connections_per_host(limits.in_flight)
            .build();
        Self { agent: connect::agent(config), limits: Arc::new(*limits), budget: Arc::default() }
    }

    /// Makes the call, within the request's timeout. Any status is an answer. What is told of the
    /// server's words, and the body, have the request's keys masked.
    pub fn call(&self, request: &HttpRequest) -> CallResult {
        let response = self.send(request)?;
        let status = response.status().as_u16();
        let retry_after = retry_after::read(&response, SystemTime::now());
        let limited = response.into_body().into_with_config().limit(self.limits.answer_bytes);
        let mut body =
            body::read(limited.reader(), &self.budget).map_err(|unread| match unread {
                Unread::Broken(error) => CallError::Unknown(self.explain(request, &error)),
                Unread::NoRoom => CallError::Unknown(format!(
                    "{}: too many large answers at once",
                    server(request)
                )),
            })?;
        // Whatever the status: some gateways report errors with 200.
        let text = String::from_utf8_lossy(&body);
        let masked = mask_keys(request, &text);
        if masked != text {
            body = masked.into_bytes();
        }
        Ok(HttpResponse { status, retry_after, body })
    }

    fn send(&self, request: &HttpRequest) -> Result<Response<Body>, CallError> {
        let uri = http_uri(request)?;
        let headers = headers(request)?;
        let timeout = Some(request.timeout);
        let outcome = match request.method {
            Method::Get => {
                let call = self.agent.get(uri).config().timeout_global(timeout).build();
                headers
                    .into_iter()
                    .fold(call, |call, (name, value)| call.header(name, value))
                    .call()
            }
            Method::Post => {
                let call = self.agent.post(uri).config().timeout_global(timeout).build();
                headers
                    .into_iter()
                    .fold(call, |call, (name, value)| call.header(name, value))
                    .send(request.body.as_str())
            }
        };
        outcome.map_err(|error| {
            let why = self.explain(request, &error);
            if connect::never_connected(&error) {
                CallError::NotSent(why)
            } else {
                CallError::Unknown(why)
            }
        })
    }

    /// One line on `error`: the server by host and port, since a URL may hold a password.
    fn explain(&self, request: &HttpRequest, error: &ureq::Error) -> String {
        let server = server(request);
        let why = match connect::cause(error) {
            ureq::Error::HostNotFound => format!("{server}: the name has no address"),
            ureq::Error::Timeout(Timeout::Resolve) => {
                format!("{server}: looking up the name timed out")
            }
            ureq::Error::Timeout(_) if connect::never_connected(error) => {
                format!("{server}: connecting timed out")
            }
            ureq::Error::Timeout(_) => {
                format!("{server}: no answer within {:?}", request.timeout)
            }
            ureq::Error::BodyExceedsLimit(_) => {
                format!("{server}: the answer is larger than {} bytes", self.limits.answer_bytes)
            }
            ureq::Error::Io(error) => format!("{server}: {error}"),
            other => format!("{server}: {other}"),
        };
        mask_keys(request, &why)
    }
}

fn http_uri(request: &HttpRequest) -> Result<Uri, CallError> {
    if !matches!(request.url.scheme(), "http" | "https") {
        let why = format!("{}: only http and https are called", server(request));
        return Err(CallError::NotSent(why));
    }
    let unusable = |_| CallError::NotSent(format!("{}: the URL is not usable", server(request)));
    Uri::try_from(request.url.as_str()).map_err(unusable)
}

/// Checked here because the agent's own error would not tell which header it was.
fn headers(request: &HttpRequest) -> Result<Vec<(&'static str, HeaderValue)>, CallError> {
    let checked = request.headers.iter().map(|(name, value)| {
        let unusable = |_| {
            CallError::NotSent(format!("the value of header {name} holds a character HTTP forbids"))
        };
        HeaderValue::from_str(value.expose()).map(|value| (*name, value)).map_err(unusable)
    });
    checked.collect()
}

fn server(request: &HttpRequest) -> String {
    let host = request.url.host_str().unwrap_or("a URL without host");
    match request.url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Servers like to repeat the key they refuse, without the `Bearer` in front of it.
fn mask_keys(request: &HttpRequest, text: &str) -> String {
    let keys = request.headers.iter().filter(|(name, _)| KEY_HEADERS.contains(name));
    keys.fold(text.to_owned(), |text, (_, value)| {
        let key = value.expose().trim_start_matches("Bearer ");
        Secret::new(key).mask(&text)
    })
}
