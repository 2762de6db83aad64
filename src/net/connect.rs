//! Finds the server and connects to it, and marks every error on that way: up to there, and only
//! up to there, it is certain that no byte of the request has left.

use std::fmt;
use std::net::IpAddr;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

pub(super) fn agent(config: Config) -> Agent {
    Agent::with_parts(config, MarkingConnector::default(), MarkingResolver::default())
}

/// Whether `error` came before the connection stood, TLS included.
pub(super) fn never_connected(error: &Error) -> bool {
    match error {
        Error::Other(marked) => marked.is::<NeverConnected>(),
        Error::BadUri(_) => true,
        _ => false,
    }
}

/// `error` without the mark.
pub(super) fn cause(error: &Error) -> &Error {
    match error {
        Error::Other(marked) => marked.downcast_ref().map_or(error, |NeverConnected(cause)| cause),
        _ => error,
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

#[derive(Debug, Default)]
struct MarkingResolver(DefaultResolver);

impl Resolver for MarkingResolver {
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
        self.0.resolve(uri, config, timeout).map_err(mark)
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
