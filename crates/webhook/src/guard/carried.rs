use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 addresses that an IPv6 address leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Carried {
    Nothing,
    /// The IPv6 address is only a way of writing these, or a tunnel to them. Never empty.
    Instead(Vec<Ipv4Addr>),
    /// An address in its own right, behind which a router may unwrap this one (ISATAP).
    Besides(Ipv4Addr),
}

impl Carried {
    pub(super) fn by(address: Ipv6Addr) -> Self {
        let octets = address.octets();
        let at = |places: [usize; 4]| Ipv4Addr::from(places.map(|place| octets[place]));
        let last = at([12, 13, 14, 15]);
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Nothing,
            // IPv4-compatible, IPv4-mapped and NAT64 (RFC 4291, RFC 6052).
            [0, 0, 0, 0, 0, 0 | 0xFFFF, ..] | [0x64, 0xFF9B, 0, 0, 0, 0, ..] => {
                Self::Instead(vec![last])
            }
            // NAT64 of local use (RFC 8215): where the IPv4 stands depends on the prefix length that
            // the network chose (RFC 6052, section 2.2), and trailing bits are ignored. Every reading
            // counts, but for those that lead nowhere.
            [0x64, 0xFF9B, 1, ..] => {
                let readings = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12]].map(at);
                let mut readings = readings.to_vec();
                readings.retain(|reading| reading.octets()[0] != 0);
                if readings.is_empty() || last.octets()[0] != 0 {
                    readings.push(last);
                }
                Self::Instead(readings)
            }
            // Teredo (RFC 4380): the server, and the client with its bits inverted.
            [0x2001, 0, ..] => {
                let client = Ipv4Addr::from(!u32::from(last));
                Self::Instead(vec![at([4, 5, 6, 7]), client])
            }
            // 6to4 (RFC 3056).
            [0x2002, ..] => Self::Instead(vec![at([2, 3, 4, 5])]),
            // ISATAP (RFC 5214).
            [_, _, _, _, 0 | 0x200, 0x5EFE, ..] => Self::Besides(last),
            _ => Self::Nothing,
        }
    }
}
