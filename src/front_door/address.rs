//! Whose request it is: the peer's address, or what a proxy that is trusted says. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// The proxies whose `X-Forwarded-For` is believed, beside those of the own machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// `text`: addresses and networks, separated by commas. The error is what cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let nets = parts.map(|part| {
            let net = part.parse::<IpNet>().ok();
            let net = net.or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
            net.ok_or_else(|| part.to_owned())
        });
        nets.collect::<Result<_, _>>().map(Self)
    }

    fn include(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.iter().any(|net| net.contains(&address))
    }
}

/// The address behind `peer`. Each proxy appends whom it heard, so that the last one that no trusted
/// proxy has is the client; what stands before it, the client may have made up.
pub fn client(peer: IpAddr, forwarded_for: &[&str], trusted: &TrustedProxies) -> IpAddr {
    let mut client = peer.to_canonical();
    let hops = forwarded_for.iter().flat_map(|value| value.split(','));
    for hop in hops.rev() {
        if !trusted.include(client) {
            break;
        }
        let Some(address) = address_of(hop) else { break };
        client = address;
    }
    client
}

/// Some proxies write the port too.
fn address_of(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let address = hop.parse().ok();
    let address = address.or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, forwarded_for: &[&str], trusted: &str) -> String {
        let trusted = TrustedProxies::parse(trusted).unwrap();
        client(peer.parse().unwrap(), forwarded_for, &trusted).to_string()
    }

    #[test]
    fn a_proxy_of_the_own_machine_is_believed_and_nobody_else_unless_named() {
        assert_eq!(client_of("127.0.0.1", &["192.0.2.7"], ""), "192.0.2.7");
        assert_eq!(client_of("::1", &["192.0.2.7:4711"], ""), "192.0.2.7");
        assert_eq!(client_of("198.51.100.1", &["192.0.2.7"], ""), "198.51.100.1");
        assert_eq!(client_of("198.51.100.1", &["192.0.2.7"], "198.51.100.0/24"), "192.0.2.7");
        assert_eq!(client_of("::ffff:198.51.100.1", &["192.0.2.7"], "198.51.100.1"), "192.0.2.7");
    }

    #[test]
    fn what_a_client_made_up_is_not_believed() {
        assert_eq!(client_of("127.0.0.1", &["203.0.113.9, 192.0.2.7"], ""), "192.0.2.7");
        assert_eq!(client_of("127.0.0.1", &["203.0.113.9", "192.0.2.7"], ""), "192.0.2.7");
        assert_eq!(client_of("127.0.0.1", &["192.0.2.7, 10.0.0.1"], "10.0.0.0/8"), "192.0.2.7");
        assert_eq!(client_of("127.0.0.1", &["nobody"], ""), "127.0.0.1");
    }

    #[test]
    fn a_proxy_that_cannot_be_read_is_told() {
        assert_eq!(TrustedProxies::parse("10.0.0.0/8, proxy"), Err("proxy".to_owned()));
        assert_eq!(TrustedProxies::parse(" , "), Ok(TrustedProxies::default()));
    }
}
