//! The networks that are not globally routable, by IANA's special-purpose address registries.
//!
//! Sources: <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(segments: [u16; 4], length: u8) -> IpNet {
    let [a, b, c, d] = segments;
    let address = Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

const NETWORKS: &[(IpNet, &str)] = &[
    (v4(0, 0, 0, 0, 8), "of this network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (
        v4(100, 64, 0, 0, 10),
        "behind a carrier's address translation",
    ),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved for protocols"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "for benchmarks"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    (v6([0, 0, 0, 0], 127), "unspecified or loopback"),
    (v6([0x100, 0, 0, 0], 64), "for discarding"),
    (v6([0x2001, 0, 0, 0], 23), "reserved for protocols"),
    (v6([0x2001, 0xDB8, 0, 0], 32), "for documentation"),
    (v6([0x3FFF, 0, 0, 0], 20), "for documentation"),
    (v6([0x5F00, 0, 0, 0], 16), "for segment routing"),
    (v6([0xFC00, 0, 0, 0], 7), "unique-local"),
    (v6([0xFE80, 0, 0, 0], 10), "link-local"),
    (v6([0xFEC0, 0, 0, 0], 10), "site-local"),
    (v6([0xFF00, 0, 0, 0], 8), "multicast"),
];

/// All of IPv6 that has ever been assigned for global unicast.
const GLOBAL_UNICAST: IpNet = v6([0x2000, 0, 0, 0], 3);

/// What the address is, where it is not globally routable.
pub(super) fn kind(address: IpAddr) -> Option<&'static str> {
    let named = NETWORKS.iter().find(|(net, _)| net.contains(&address));
    match named {
        Some((_, kind)) => Some(kind),
        None if address.is_ipv6() && !GLOBAL_UNICAST.contains(&address) => {
            Some("no global unicast address")
        }
        None => None,
    }
}

/// Where clouds serve a machine's credentials and settings to whoever asks from that machine.
const METADATA: &[IpAddr] = &[
    // AWS, Azure, GCP, DigitalOcean, Hetzner, OpenStack, Oracle and more
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    // AWS: name server, time, containers, pods
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 123)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    // Tencent, Scaleway
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    // Alibaba, Oracle Classic, Azure's wire server (all outside link-local)
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // AWS: instances, pods
    IpAddr::V6(Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x23)),
    // GCP, Scaleway
    IpAddr::V6(Ipv6Addr::new(0xFD20, 0xCE, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xFD00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

pub(super) fn is_metadata(address: IpAddr) -> bool {
    METADATA.contains(&address)
}
