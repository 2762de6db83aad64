//! Finds the server and connects to it, to no address but those that may be called, and marks every
//! error on that way: up to there, and only up to there, it is certain that no byte of the request has
//! left. The addresses that were checked are those that are connected to: nothing is looked up twice.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::reach::{Reach, Refusal, Target};

/// Which addresses an agent may connect to.
#[derive(Clone, Debug)]
pub(super) enum Guard {
    Reach(Arc<Reach>),
    /// The only name it looks up is that of the proxy, which the operator has chosen.
    Proxy,
}

pub(super) fn agent(config: Config, guard: Guard) -> Agent {
    let resolver = GuardedResolver { names: DefaultResolver::default(), guard };
    Agent::with_parts(config, MarkingConnector::default(), resolver)
}

/// Whether `error` came before the connection stood, TLS included.
pub(super) fn never_connected(error: &Error) -> bool {
    match error {
        Error::Other(marked) => marked.is::<NeverConnected>(),
        Error::BadUri(_) => true,
        _ => false,
    }
}

/// `error` without its marks: a proxy's name is looked up while it is connected to.
pub(super) fn cause(error: &Error) -> &Error {
    match error {
        Error::Other(marked) => match marked.downcast_ref() {
            Some(NeverConnected(inner)) => cause(inner),
            None => error,
        },
        _ => error,
    }
}

/// Why no address of the server may be called, if that is the error.
pub(super) fn refusal(error: &Error) -> Option<&Refusal> {
    match cause(error) {
        Error::Other(other) => other.downcast_ref(),
        _ => None,
    }
}

#[derive(Debug)]
struct NeverConnected(Error);

impl fmt::Display for NeverConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NeverConnected {}

fn mark(error: Error) -> Error {
    Error::Other(Box::new(NeverConnected(error)))
}

#[derive(Debug)]
struct GuardedResolver {
    names: DefaultResolver,
    guard: Guard,
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        // A look-up that can time out costs a thread, which an address does not need.
        let timeout = if is_address(uri) {
            NextTimeout { after: Duration::NotHappening, ..timeout }
        } else {
            timeout
        };
        let found = self.names.resolve(uri, config, timeout).map_err(mark)?;
        match &self.guard {
            Guard::Proxy => Ok(found),
            Guard::Reach(reach) => self.pick(reach, uri, &found),
        }
    }
}

impl GuardedResolver {
    fn pick(
        &self,
        reach: &Reach,
        uri: &Uri,
        found: &ResolvedSocketAddrs,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let port = found.first().map_or(0, |address| address.port());
        let target = Target::new(uri.host().unwrap_or_default(), port);
        let picked = reach.pick(&target, found.iter().copied());
        let mut open = self.empty();
        for address in picked.map_err(|refusal| mark(Error::Other(Box::new(refusal))))? {
            open.push(address);
        }
        Ok(open)
    }
}

fn is_address(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

#[derive(Debug, Default)]
struct MarkingConnector(DefaultConnector);

impl Connector for MarkingConnector {
    type Out = <DefaultConnector as Connector>::Out;

    /// Each request brings its own timeout, which makes its configuration `request_level`; that
    /// would build a new TLS configuration, without resumption, for every connection. The TLS
    /// settings are always the agent's, so the flag is cleared.
    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: false,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.0.connect(&details, chained).map_err(mark)
    }
}
