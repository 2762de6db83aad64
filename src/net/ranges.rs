//! What kind of place an address is, by IANA's registries of special-purpose addresses and the clouds'
//! own documents. Pure: it looks nothing up, and an address it does not know to be safe is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Whether an address may be called. The texts complete "… is".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Public,
    /// In a network of one's own: only if the operator says so.
    Private(&'static str),
    /// No service that whaply is for is ever there.
    Never(&'static str),
}

use Place::{Never, Private, Public};

const METADATA: Place = Never("a metadata address of a cloud");
const LINK_LOCAL: Place = Never("a link-local address");
const DOCUMENTATION: Place = Never("an address for documentation");
const MULTICAST: Place = Never("a multicast address");
const UNSPECIFIED: Place = Never("an unspecified address");
const RESERVED: Place = Never("a reserved address");
const PRIVATE: Place = Private("a private address");
const LOOPBACK: Place = Private("a loopback address");

/// The first that contains the address counts; what is in none is public.
const IPV4: [(Ipv4Net, Place); 21] = [
    // Alibaba, Azure, and Oracle's of old: inside ranges that are otherwise harmless.
    (v4([100, 100, 100, 200], 32), METADATA),
    (v4([168, 63, 129, 16], 32), METADATA),
    (v4([192, 0, 0, 192], 32), METADATA),
    (v4([169, 254, 169, 254], 32), METADATA),
    (v4([169, 254, 0, 0], 16), LINK_LOCAL),
    (v4([10, 0, 0, 0], 8), PRIVATE),
    (v4([172, 16, 0, 0], 12), PRIVATE),
    (v4([192, 168, 0, 0], 16), PRIVATE),
    (v4([127, 0, 0, 0], 8), LOOPBACK),
    (v4([100, 64, 0, 0], 10), Private("a carrier's shared address")),
    (v4([0, 0, 0, 0], 8), UNSPECIFIED),
    (v4([255, 255, 255, 255], 32), Never("the broadcast address")),
    (v4([224, 0, 0, 0], 4), MULTICAST),
    (v4([240, 0, 0, 0], 4), RESERVED),
    (v4([192, 0, 0, 0], 24), RESERVED),
    (v4([192, 0, 2, 0], 24), DOCUMENTATION),
    (v4([198, 51, 100, 0], 24), DOCUMENTATION),
    (v4([203, 0, 113, 0], 24), DOCUMENTATION),
    (v4([233, 252, 0, 0], 24), DOCUMENTATION),
    (v4([198, 18, 0, 0], 15), Never("an address for benchmarks")),
    (v4([192, 88, 99, 0], 24), RESERVED),
];

/// Likewise, but for what carries an IPv4 address; outside 2000::/3 nothing else is public.
const IPV6: [(Ipv6Net, Place); 16] = [
    // Amazon, Google, Oracle, Scaleway: inside what is otherwise unique-local.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), METADATA),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), METADATA),
    (v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), METADATA),
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), METADATA),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), UNSPECIFIED),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), LOOPBACK),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Private("a unique-local address")),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), RESERVED),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
    // Teredo, ORCHID, benchmarks: none of it is a web server.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), RESERVED),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), DOCUMENTATION),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), DOCUMENTATION),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), Never("a discard address")),
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), Public),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 0), RESERVED),
];

const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// Where a network may put a translation of its own: what lies behind is for its operator to know.
const NAT64_LOCAL: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// An IPv6 address that carries an IPv4 address is as that one is.
pub(super) fn place_of(address: IpAddr) -> Place {
    match address.to_canonical() {
        IpAddr::V4(address) => place_of_v4(address),
        IpAddr::V6(address) => place_of_v6(address),
    }
}

fn place_of_v4(address: Ipv4Addr) -> Place {
    let found = IPV4.iter().find(|(network, _)| network.contains(&address));
    found.map_or(Public, |(_, place)| *place)
}

fn place_of_v6(address: Ipv6Addr) -> Place {
    let [_, b, c, .., g, h] = address.segments();
    if NAT64.contains(&address) {
        return place_of_v4(carried(g, h));
    }
    if SIX_TO_FOUR.contains(&address) {
        return place_of_v4(carried(b, c));
    }
    if NAT64_LOCAL.contains(&address) {
        return match place_of_v4(carried(g, h)) {
            Never(what) => Never(what),
            Public | Private(_) => Private("an address of a translation of its own network"),
        };
    }
    let found = IPV6.iter().find(|(network, _)| network.contains(&address));
    found.map_or(RESERVED, |(_, place)| *place)
}

fn carried(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> &'static str {
        match place_of(address.parse().unwrap()) {
            Public => "public",
            Private(_) => "private",
            Never(_) => "never",
        }
    }

    /// The first and the last address of each range, and their public neighbours.
    #[test]
    fn each_special_range_of_ipv4_ends_where_it_ends() {
        let table = [
            ("never", "0.0.0.0 0.255.255.255"),
            ("public", "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255"),
            ("private", "10.0.0.0 10.255.255.255"),
            ("private", "100.64.0.0 100.100.100.199 100.100.100.201 100.127.255.255"),
            ("never", "100.100.100.200"),
            ("public", "100.128.0.0 126.255.255.255 128.0.0.0"),
            ("private", "127.0.0.0 127.0.0.1 127.255.255.255"),
            ("public", "168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0"),
            ("never", "168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255"),
            ("private", "172.16.0.0 172.31.255.255"),
            ("public", "172.15.255.255 172.32.0.0 191.255.255.255"),
            ("never", "192.0.0.0 192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255"),
            ("public", "192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0"),
            ("never", "192.88.99.0 192.88.99.255"),
            ("private", "192.168.0.0 192.168.255.255"),
            ("public", "192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0"),
            ("never", "198.18.0.0 198.19.255.255 198.51.100.0 198.51.100.255"),
            ("public", "198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255"),
            ("never", "203.0.113.0 203.0.113.255 224.0.0.0 233.252.0.1 239.255.255.255"),
            ("never", "240.0.0.0 255.255.255.254 255.255.255.255"),
        ];
        for (expected, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(kind(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn each_special_range_of_ipv6_ends_where_it_ends() {
        let table = [
            ("never", ":: ::2 ::127.0.0.1 ::10.0.0.1 100:: 100::ffff 5f00:: 4000::1 e000::1"),
            ("private", "::1 fc00:: fd00:: fd12:3456::1 fdff:ffff::"),
            ("never", "fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe fd00:42::42"),
            ("never", "fe80:: fe80::1 febf:ffff::1 fec0::1 feff::1 ff00:: ff02::1 ffff::1"),
            ("public", "2000:: 2001:200:: 2606:4700::1111 2a00:1450:4001::1 3ffe:ffff::1"),
            ("never", "2001:: 2001:0:4136::1 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::"),
            ("never", "2001:db8:: 2001:db8:ffff::1 3fff:: 3fff:fff:ffff::1"),
            ("public", "2001:db7:: 2001:db9:: 3fff:1000::"),
        ];
        for (expected, addresses) in table {
            for address in addresses.split(' ') {
                assert_eq!(kind(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn what_carries_an_ipv4_address_is_as_that_one_is() {
        let table = [
            ("private", "10.0.3.7 127.0.0.1 192.168.1.1 100.64.0.1"),
            ("never", "169.254.169.254 0.0.0.0 224.0.0.1 255.255.255.255 192.0.2.1"),
            ("public", "1.1.1.1 8.8.8.8"),
        ];
        for (expected, addresses) in table {
            for address in addresses.split(' ') {
                let bits = address.parse::<Ipv4Addr>().unwrap().to_bits();
                let (high, low) = (bits >> 16, bits & 0xffff);
                for carrier in [
                    format!("::ffff:{address}"),
                    format!("64:ff9b::{address}"),
                    format!("2002:{high:x}:{low:x}::1"),
                ] {
                    assert_eq!(kind(&carrier), expected, "{carrier}");
                }
                let local = if expected == "never" { "never" } else { "private" };
                assert_eq!(kind(&format!("64:ff9b:1::{address}")), local, "{address}");
                // SIIT's form is for routers.
                assert_eq!(kind(&format!("::ffff:0:{address}")), "never", "{address}");
            }
        }
    }
}
