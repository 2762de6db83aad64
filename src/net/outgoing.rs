//! What the server's settings say about calls to the outside, and the ways out that follow from it.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::tls::TlsConfig;

use super::authorities::Authorities;
use super::connect::{self, Guard};
use super::proxy::Proxy;
use super::reach::{Reach, Refusal, Target, Way};
use super::{Limits, USER_AGENT};

/// Settings of the operator, read by whoever owns the [`super::Caller`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub reach: Reach,
    /// The error, one line: nothing is called past a proxy that is wanted but not known.
    pub proxy: Result<Option<Proxy>, String>,
    /// The error, one line: the public ones are trusted alone, and what needs others waits.
    pub authorities: Result<Authorities, String>,
}

impl Default for Outgoing {
    /// Public addresses only, directly, with public certificates.
    fn default() -> Self {
        Self { reach: Reach::default(), proxy: Ok(None), authorities: Ok(Authorities::default()) }
    }
}

/// Node closes idle connections after 5 s. One that is reused at that moment fails with the
/// request half out, which leaves a send uncertain.
const IDLE_CONNECTION: Duration = Duration::from_secs(3);

/// The agent's default of 128 KiB each is what 1,000 calls in flight are made of.
const BUFFER_BYTES: usize = 16 * 1024;

/// The longest status line and headers of an answer. Less than a buffer, in which they must fit at
/// once: a full one would be told as a server that hung up.
const HEADER_BYTES: usize = BUFFER_BYTES - 1024;

/// The connections that one set of settings allows. Another set has others: none is kept from before.
#[derive(Debug)]
pub(super) struct Ways {
    outgoing: Outgoing,
    direct: Agent,
    proxied: Option<Agent>,
}

/// Why nothing may go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoWay {
    Refused(Refusal),
    /// The proxy that is set cannot be used.
    NoProxy,
}

impl Ways {
    pub(super) fn new(outgoing: Outgoing, limits: &Limits) -> Self {
        let reach = Arc::new(outgoing.reach.clone());
        let direct = connect::agent(config(&outgoing, limits, None), Guard::Reach(reach));
        let proxy = outgoing.proxy.as_ref().ok().and_then(Option::as_ref);
        let proxied =
            proxy.map(|proxy| connect::agent(config(&outgoing, limits, Some(proxy)), Guard::Proxy));
        Self { outgoing, direct, proxied }
    }

    pub(super) fn follow(&self, outgoing: &Outgoing) -> bool {
        self.outgoing == *outgoing
    }

    /// What to call a target by, and whether it is the proxy. Directly, its addresses are still to pass.
    pub(super) fn to(&self, target: &Target) -> Result<(&Agent, bool), NoWay> {
        if self.outgoing.proxy == Ok(None) {
            return Ok((&self.direct, false));
        }
        let way = self.outgoing.reach.way(target).map_err(NoWay::Refused)?;
        match (way, &self.proxied) {
            (Way::Direct, _) => Ok((&self.direct, false)),
            (Way::ByProxy, Some(proxied)) => Ok((proxied, true)),
            (Way::ByProxy, None) => Err(NoWay::NoProxy),
        }
    }

    /// A certificate may be refused only because whaply.ca_file could not be read.
    pub(super) fn lacks_authorities(&self) -> bool {
        self.outgoing.authorities.is_err()
    }

    /// `text` without the proxy's password.
    pub(super) fn mask(&self, text: &str) -> String {
        match &self.outgoing.proxy {
            Ok(Some(proxy)) => proxy.mask(text),
            Ok(None) | Err(_) => text.to_owned(),
        }
    }
}

/// A redirect is an answer like any other: where it leads to has not been looked at. The environment's
/// proxy is not used: it would resolve the names in our place.
fn config(outgoing: &Outgoing, limits: &Limits, proxy: Option<&Proxy>) -> Config {
    let public = Authorities::default();
    let roots = outgoing.authorities.as_ref().unwrap_or(&public).roots();
    Agent::config_builder()
        .proxy(proxy.map(|proxy| proxy.proxy.clone()))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(USER_AGENT)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_resolve(Some(limits.connect_timeout))
        .timeout_connect(Some(limits.connect_timeout))
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_response_header_size(HEADER_BYTES)
        .max_idle_age(IDLE_CONNECTION)
        .max_idle_connections(limits.in_flight)
        .max_idle_connections_per_host(limits.in_flight)
        .build()
}
