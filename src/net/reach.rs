//! What whaply.allow_private_addresses lists, and which addresses of a host may be called because of
//! it. Pure: names are looked up elsewhere, and only what passes here is ever connected to.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use url::Host;

use super::ranges::{Place, place_of};

/// The private places that calls may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    everywhere: bool,
    listed: Vec<Listed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    place: ListedPlace,
    /// None: any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ListedPlace {
    Network(IpNet),
    /// In lower case, without a dot at its end.
    Name(String),
}

/// Why a call is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The operator may list it. With the line to add.
    NotListed(String),
    /// No list can help.
    Never(String),
}

impl Refusal {
    pub fn message(&self) -> &str {
        match self {
            Self::NotListed(message) | Self::Never(message) => message,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Refusal {}

/// Where a call goes to, as its URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: TargetHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TargetHost {
    Address(IpAddr),
    /// In lower case, without a dot at its end.
    Name(String),
}

/// How a call gets to its target where there is a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Direct,
    ByProxy,
}

impl FromStr for Reach {
    type Err = String;

    /// `on`, `off`, or a list with commas of networks, addresses and host names, the latter two with or
    /// without a port. The error is one line about the first entry that is none of them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut reach = Self::default();
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(reach);
        }
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry.eq_ignore_ascii_case("on") {
                reach.everywhere = true;
            } else {
                reach.listed.push(listed(entry)?);
            }
        }
        Ok(reach)
    }
}

fn listed(entry: &str) -> Result<Listed, String> {
    let wrong = || {
        format!(
            "\"{entry}\" is no address (10.0.3.7), network (10.0.3.0/24), host (evolution-api) or \
             host:port (evolution-api:8080)."
        )
    };
    let (place, port) = if entry.contains('/') {
        (ListedPlace::Network(entry.parse().map_err(|_| wrong())?), None)
    } else if let Ok(address) = entry.parse::<IpAddr>() {
        (ListedPlace::Network(address.into()), None)
    } else {
        // Not within the brackets of an IPv6 address.
        let (host, port) = match entry.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
            None => (entry, None),
        };
        match Host::parse(host).map_err(|_| wrong())? {
            Host::Ipv4(address) => (ListedPlace::Network(IpAddr::V4(address).into()), port),
            Host::Ipv6(address) => (ListedPlace::Network(IpAddr::V6(address).into()), port),
            Host::Domain(name) => (ListedPlace::Name(plain_name(&name).ok_or_else(wrong)?), port),
        }
    };
    if port == Some(0) {
        return Err(wrong());
    }
    let place = match place {
        ListedPlace::Network(network) => {
            let network = canonical(network);
            if let Some(what) = never_in(network) {
                return Err(format!("\"{entry}\" is {what}, which is never called."));
            }
            ListedPlace::Network(network)
        }
        name => name,
    };
    Ok(Listed { place, port })
}

/// IPv4 where it is IPv4 in IPv6's clothes.
fn canonical(network: IpNet) -> IpNet {
    let address = network.addr().to_canonical();
    let carried = u8::from(network.addr().is_ipv6() && address.is_ipv4()) * 96;
    let prefix = network.prefix_len().checked_sub(carried);
    prefix.and_then(|prefix| IpNet::new(address, prefix).ok()).unwrap_or(network)
}

/// A network of which no address is ever called, and what it is.
fn never_in(network: IpNet) -> Option<&'static str> {
    match (place_of(network.network()), place_of(network.broadcast())) {
        (Place::Never(first), Place::Never(last)) if first == last => Some(first),
        _ => None,
    }
}

/// None: no name that can be looked up, as with a wildcard.
fn plain_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_name = name.split('.').all(|label| !label.is_empty() && label.chars().all(is_plain));
    is_name.then_some(name)
}

impl Target {
    /// `host` as it stands in a URL, an IPv6 address in brackets.
    pub(super) fn new(host: &str, port: u16) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = match bare.parse() {
            Ok(address) => TargetHost::Address(address),
            Err(_) => {
                let name = bare.strip_suffix('.').unwrap_or(bare);
                TargetHost::Name(name.to_ascii_lowercase())
            }
        };
        Self { host, port }
    }

    /// As an entry of the list: an address alone, since it stays what it is, a name with its port.
    fn entry(&self) -> String {
        match &self.host {
            TargetHost::Address(address) => address.to_string(),
            TargetHost::Name(name) => format!("{name}:{}", self.port),
        }
    }

    fn is(&self, what: &str) -> String {
        match &self.host {
            TargetHost::Address(address) => format!("{address} is {what}"),
            TargetHost::Name(name) => format!("{name} has {what}"),
        }
    }
}

impl Reach {
    /// Those of a target's addresses that may be called; at least one, or why there is none.
    pub(super) fn pick(
        &self,
        target: &Target,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        let (mut open, mut refusals) = (Vec::new(), Vec::new());
        for address in addresses {
            match self.check(target, address.ip()) {
                Ok(()) => open.push(address),
                Err(refusal) => refusals.push(refusal),
            }
        }
        if !open.is_empty() {
            return Ok(open);
        }
        // Rather what somebody can do something about.
        let best = |refusal: &Refusal| matches!(refusal, Refusal::NotListed(_));
        let told = refusals.iter().position(best).unwrap_or(0);
        let none = || Refusal::Never(target.is("no address"));
        Err(refusals.into_iter().nth(told).unwrap_or_else(none))
    }

    /// With a proxy, which looks names up by itself: what is private, by its address or by its name,
    /// never goes to it, and what is listed by name is called directly.
    pub(super) fn way(&self, target: &Target) -> Result<Way, Refusal> {
        match &target.host {
            TargetHost::Address(address) => {
                self.check(target, *address)?;
                let is_public = place_of(*address) == Place::Public;
                Ok(if is_public { Way::ByProxy } else { Way::Direct })
            }
            TargetHost::Name(name) if self.names(name, target.port) => Ok(Way::Direct),
            TargetHost::Name(name) if !is_private_name(name) => Ok(Way::ByProxy),
            TargetHost::Name(_) if self.everywhere => Ok(Way::Direct),
            TargetHost::Name(_) => Err(self.not_listed(target, "a name of a private network")),
        }
    }

    fn check(&self, target: &Target, address: IpAddr) -> Result<(), Refusal> {
        match place_of(address) {
            Place::Public => Ok(()),
            Place::Never(what) => {
                Err(Refusal::Never(format!("{}, which is never called", target.is(what))))
            }
            Place::Private(_) if self.lists(target, address) => Ok(()),
            Place::Private(what) => Err(self.not_listed(target, what)),
        }
    }

    fn lists(&self, target: &Target, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_listed = |listed: &Listed| {
            matches!(&listed.place, ListedPlace::Network(network) if network.contains(&address))
                && listed.port.is_none_or(|port| port == target.port)
        };
        let by_name =
            matches!(&target.host, TargetHost::Name(name) if self.names(name, target.port));
        self.everywhere || by_name || self.listed.iter().any(is_listed)
    }

    fn names(&self, wanted: &str, port: u16) -> bool {
        self.listed.iter().any(|listed| {
            matches!(&listed.place, ListedPlace::Name(name) if name == wanted)
                && listed.port.is_none_or(|listed| listed == port)
        })
    }

    /// The list itself is not repeated: it is the operator's, and this may be read by a tenant.
    fn not_listed(&self, target: &Target, what: &str) -> Refusal {
        let entry = target.entry().replace('\'', "''");
        let before = if self.listed.is_empty() { "" } else { "..., " };
        Refusal::NotListed(format!(
            "{}: add it to whaply.allow_private_addresses (ALTER SYSTEM SET whaply.allow_private_addresses = \
             '{before}{entry}'; SELECT pg_reload_conf())",
            target.is(what)
        ))
    }
}

/// Top-level names that are never the internet's: RFC 6761, 6762 (appendix G), 8375, ICANN's internal.
const PRIVATE_NAMES: [&str; 9] =
    ["localhost", "local", "internal", "home.arpa", "intranet", "private", "corp", "home", "lan"];

/// A name without a dot is looked up in one's own network.
fn is_private_name(name: &str) -> bool {
    let ends_in = |end: &str| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.') || PRIVATE_NAMES.into_iter().any(ends_in)
}
