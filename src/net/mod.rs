//! The only place that opens an outgoing socket: one HTTP call, made once, with its end told
//! honestly. It never retries, never follows a redirect, never repeats a secret, and never connects to
//! an address that the operator's settings keep it from.

mod authorities;
mod body;
mod connect;
mod outgoing;
mod proxy;
mod ranges;
mod reach;
mod retry_after;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
use ureq::http::{HeaderValue, Response, Uri};
use ureq::{Agent, Body, Timeout};

pub use self::authorities::Authorities;
use self::body::{Budget, Unread};
pub use self::outgoing::Outgoing;
use self::outgoing::{NoWay, Ways};
pub use self::proxy::Proxy;
use self::reach::Target;
pub use self::reach::{Reach, Refusal};
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

const USER_AGENT: &str = concat!("whaply/", env!("CARGO_PKG_VERSION"));

/// The headers whose values are keys. The others are not worth hiding, and hiding them would
/// damage bodies that happen to hold them.
const KEY_HEADERS: [&str; 3] = ["apikey", "authorization", "x-api-key"];

/// Makes calls. Cheap to clone; clones share their connections and what they may reach. A call blocks
/// its thread.
#[derive(Clone, Debug)]
pub struct Caller {
    ways: Arc<RwLock<Arc<Ways>>>,
    limits: Arc<Limits>,
    budget: Arc<Budget>,
}

/// One call: what is asked, and by which way.
struct Call<'a> {
    request: &'a HttpRequest,
    limits: &'a Limits,
    ways: &'a Ways,
    is_proxied: bool,
}

impl Caller {
    pub fn new(limits: &Limits, outgoing: Outgoing) -> Self {
        let ways = Arc::new(RwLock::new(Arc::new(Ways::new(outgoing, limits))));
        Self { ways, limits: Arc::new(*limits), budget: Arc::default() }
    }

    /// Every call from here on, of all clones, goes by these settings; whether they are others.
    pub fn go_by(&self, outgoing: Outgoing) -> bool {
        if self.ways().follow(&outgoing) {
            return false;
        }
        let ways = Arc::new(Ways::new(outgoing, &self.limits));
        *self.ways.write().unwrap_or_else(PoisonError::into_inner) = ways;
        true
    }

    fn ways(&self) -> Arc<Ways> {
        Arc::clone(&self.ways.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the call, within the request's timeout. Any status is an answer. What is told of the
    /// server's words, and the body, have the request's keys masked.
    pub fn call(&self, request: &HttpRequest) -> CallResult {
        let uri = http_uri(request)?;
        let headers = headers(request)?;
        let ways = self.ways();
        let port = request.url.port_or_known_default().unwrap_or_default();
        let target = Target::new(request.url.host_str().unwrap_or_default(), port);
        let (agent, is_proxied) = ways.to(&target).map_err(|why| withheld(request, &why))?;
        let call = Call { request, limits: &self.limits, ways: &ways, is_proxied };
        let response = call.send(agent, uri, headers)?;
        let status = response.status().as_u16();
        let retry_after = retry_after::read(&response, SystemTime::now());
        let limited = response.into_body().into_with_config().limit(self.limits.answer_bytes);
        let mut body =
            body::read(limited.reader(), &self.budget).map_err(|unread| match unread {
                Unread::Broken(error) => CallError::Unknown(call.explain(&error)),
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
}

impl Call<'_> {
    fn send(
        &self,
        agent: &Agent,
        uri: Uri,
        headers: Vec<(&'static str, HeaderValue)>,
    ) -> Result<Response<Body>, CallError> {
        let timeout = Some(self.request.timeout);
        let outcome = match self.request.method {
            Method::Get => {
                let call = agent.get(uri).config().timeout_global(timeout).build();
                headers
                    .into_iter()
                    .fold(call, |call, (name, value)| call.header(name, value))
                    .call()
            }
            Method::Post => {
                let call = agent.post(uri).config().timeout_global(timeout).build();
                headers
                    .into_iter()
                    .fold(call, |call, (name, value)| call.header(name, value))
                    .send(self.request.body.as_str())
            }
        };
        outcome.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &ureq::Error) -> CallError {
        if let Some(refusal) = connect::refusal(error) {
            return withheld(self.request, &NoWay::Refused(refusal.clone()));
        }
        let why = self.explain(error);
        let certificate = refused_certificate(connect::cause(error));
        if matches!(certificate, Some(UnknownIssuer)) && self.ways.lacks_authorities() {
            let why = format!("{why}, which could not be read: see the server's log");
            return CallError::Withheld(why);
        }
        if connect::never_connected(error) {
            CallError::NotSent(why)
        } else {
            CallError::Unknown(why)
        }
    }

    /// One line on `error`: the server by host and port, since a URL may hold a password.
    fn explain(&self, error: &ureq::Error) -> String {
        let never_connected = connect::never_connected(error);
        let by = if self.is_proxied && never_connected { " by whaply.http_proxy" } else { "" };
        let server = format!("{}{by}", server(self.request));
        let error = connect::cause(error);
        let why = match (error, refused_certificate(error)) {
            (_, Some(UnknownIssuer)) => format!(
                "{server}: its certificate is of no authority that is known; a private one belongs into \
                 whaply.ca_file"
            ),
            (_, Some(NotValidForName | NotValidForNameContext { .. })) => {
                format!("{server}: its certificate is for another name")
            }
            (_, Some(why)) => format!("{server}: its certificate is refused: {why}"),
            (ureq::Error::HostNotFound, _) => format!("{server}: the name has no address"),
            (ureq::Error::Timeout(Timeout::Resolve), _) => {
                format!("{server}: looking up the name timed out")
            }
            (ureq::Error::Timeout(_), _) if never_connected => {
                format!("{server}: connecting timed out")
            }
            (ureq::Error::Timeout(_), _) => {
                format!("{server}: no answer within {:?}", self.request.timeout)
            }
            (ureq::Error::BodyExceedsLimit(_), _) => {
                format!("{server}: the answer is larger than {} bytes", self.limits.answer_bytes)
            }
            (ureq::Error::LargeResponseHeader(_, most), _) => {
                format!("{server}: the headers of the answer are larger than {most} bytes")
            }
            (ureq::Error::Io(error), _) => format!("{server}: {error}"),
            (other, _) => format!("{server}: {other}"),
        };
        self.ways.mask(&mask_keys(self.request, &why))
    }
}

/// What is wrong with the server's certificate, if that is the error.
fn refused_certificate(error: &ureq::Error) -> Option<&rustls::CertificateError> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    match error {
        rustls::Error::InvalidCertificate(why) => Some(why),
        _ => None,
    }
}

/// Nothing was sent, because of the settings.
fn withheld(request: &HttpRequest, why: &NoWay) -> CallError {
    match why {
        NoWay::Refused(Refusal::NotListed(why)) => CallError::Withheld(why.clone()),
        NoWay::Refused(Refusal::Never(why)) => CallError::Forbidden(why.clone()),
        NoWay::NoProxy => CallError::Withheld(format!(
            "{}: whaply.http_proxy cannot be used: see the server's log",
            server(request)
        )),
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
