use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// The model: first and last addresses, written down apart from the table that is tested.
const BLOCKED: [(&str, &str); 15] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.255"),
];

/// Azure's wire server: the one address of metadata that looks like any other.
const AZURE: &str = "168.63.129.16";

fn number(address: &str) -> u32 {
    address.parse::<Ipv4Addr>().unwrap().into()
}

struct Model(Vec<(u32, u32)>);

impl Model {
    fn new() -> Self {
        let blocked = BLOCKED.iter().chain([&(AZURE, AZURE)]);
        Self(blocked.map(|(a, b)| (number(a), number(b))).collect())
    }

    fn passes(&self, address: u32) -> bool {
        let inside = |(first, last): &(u32, u32)| (*first..=*last).contains(&address);
        !self.0.iter().any(inside)
    }
}

fn guard(networks: &[&str]) -> Guard {
    let networks: Vec<IpNet> = networks.iter().map(|net| net.parse().unwrap()).collect();
    Guard::new(networks)
}

fn passes(guard: &Guard, address: impl Into<IpAddr>) -> bool {
    guard.check(Passage::Open, address.into()).is_ok()
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap()
}

#[test]
fn every_boundary_of_ipv4_falls_as_the_registry_says() {
    let (model, guard) = (Model::new(), guard(&[]));
    for (first, last) in &model.0 {
        for edge in [first.wrapping_sub(1), *first, *last, last.wrapping_add(1)] {
            let address = Ipv4Addr::from(edge);
            assert_eq!(passes(&guard, address), model.passes(edge), "{address}");
        }
    }
}

/// Every block of 256 addresses, each at another of its places, so that every value of every octet
/// comes up. What is finer than such a block is a boundary, and stands in the test above.
#[test]
fn the_whole_of_ipv4_falls_as_the_registry_says() {
    let sweep = |first: u32| {
        let (model, guard) = (Model::new(), guard(&[]));
        for block in (first..1 << 24).step_by(4) {
            let number = block << 8 | block.wrapping_mul(97) & 0xFF;
            let address = Ipv4Addr::from(number);
            assert_eq!(passes(&guard, address), model.passes(number), "{address}");
        }
    };
    std::thread::scope(|scope| {
        for first in 0..4 {
            scope.spawn(move || sweep(first));
        }
    });
}

#[test]
fn metadata_is_the_one_hole_in_what_is_allowed_whole() {
    let everything = guard(&["0.0.0.0/0"]);
    let metadata = [
        "169.254.169.254",
        "169.254.169.253",
        "169.254.169.123",
        "169.254.170.2",
        "169.254.170.23",
        "169.254.0.23",
        "169.254.42.42",
        "100.100.100.200",
        "192.0.0.192",
        AZURE,
    ]
    .map(number);
    let near = metadata
        .iter()
        .flat_map(|at| at.saturating_sub(300)..at.saturating_add(300));
    for number in near {
        let expected = !metadata.contains(&number);
        assert_eq!(
            passes(&everything, Ipv4Addr::from(number)),
            expected,
            "{number}"
        );
    }
}

#[test]
fn ipv6_that_is_not_global_is_refused() {
    let guard = guard(&[]);
    for address in [
        "::",
        "::1",
        "::2",
        "1::",
        "64:ff9b:2::1",
        "100::1",
        "100:0:0:1::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:0:8.8.8.8",
        "1fff:ffff::1",
    ] {
        assert!(!passes(&guard, parse(address)), "{address}");
    }
    for address in [
        "2000::1",
        "2001:200::1",
        "2606:4700::1111",
        "2a00::1",
        "3ffe::1",
        "3fff:1000::1",
    ] {
        assert!(passes(&guard, parse(address)), "{address}");
    }
}

#[test]
fn metadata_is_refused_whatever_is_allowed() {
    let everything = guard(&[
        "0.0.0.0/0",
        "::/0",
        "169.254.169.254/32",
        "fd00:ec2::254/128",
    ]);
    for address in [
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        AZURE,
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fe80::5efe:a9fe:a9fe",
        "64:ff9b:1:a9fe:00a9:fe00::",
        "64:ff9b:1:a9fe:00a9:fe00:808:808",
    ] {
        let refused = everything.check(Passage::Open, parse(address));
        assert!(
            matches!(refused, Err(Refusal::Metadata { .. })),
            "{address}"
        );
    }
    assert!(passes(&everything, parse("169.254.169.1")));
}

#[test]
fn plain_http_reaches_allowed_networks_only() {
    let guard = guard(&["10.1.0.0/16", "fd12::/16"]);
    for (address, http, https) in [
        ("10.1.2.3", true, true),
        ("::ffff:10.1.2.3", true, true),
        ("fd12::1", true, true),
        ("10.2.0.1", false, false),
        ("8.8.8.8", false, true),
        ("2606:4700::1111", false, true),
        ("fd12::5efe:808:808", false, true),
        ("fd12::5efe:a01:203", true, true),
        ("fd12::5efe:a02:1", false, false),
    ] {
        let address = parse(address);
        assert_eq!(
            guard.check(Passage::PlainHttp, address).is_ok(),
            http,
            "{address}"
        );
        assert_eq!(
            guard.check(Passage::Open, address).is_ok(),
            https,
            "{address}"
        );
    }
}

#[test]
fn a_port_that_is_not_listed_and_a_scheme_narrow_the_passage() {
    let guard = guard(&["10.0.0.0/8"])
        .with_ports([443, 8443])
        .with_schemes([Scheme::Https]);
    let passage = |url: &str| guard.passage(&url.parse().unwrap());
    for (url, expected) in [
        ("https://h.example/", Ok(Passage::Open)),
        ("https://h.example:8443/", Ok(Passage::Open)),
        ("https://h.example:25/", Ok(Passage::OtherPort)),
        ("https://10.0.0.1:25/", Ok(Passage::OtherPort)),
        ("http://10.0.0.1/", Err(Refusal::Scheme(Scheme::Http))),
        (
            "https://8.8.8.8:25/",
            Err(Refusal::OtherPort {
                address: parse("8.8.8.8"),
            }),
        ),
    ] {
        assert_eq!(passage(url), expected, "{url}");
    }
    assert!(guard.check(Passage::OtherPort, parse("10.0.0.1")).is_ok());
    assert!(guard.check(Passage::OtherPort, parse("8.8.8.8")).is_err());
    assert!(
        guard
            .check(Passage::OtherPort, parse("::ffff:8.8.8.8"))
            .is_err()
    );
    let any = Guard::new([]).with_ports([]).with_schemes([]);
    assert_eq!(
        any.passage(&"http://h.example:1/".parse().unwrap()),
        Ok(Passage::PlainHttp)
    );
}

#[test]
fn a_refusal_says_what_to_do() {
    let refused = |address| {
        let refused = guard(&[]).check(Passage::Open, parse(address));
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refused("::ffff:10.0.0.5"),
        "10.0.0.5 is private; to send there, add its network to webhooks.allow_networks"
    );
    assert!(refused("169.254.169.254").contains("nothing is ever sent there"));
}

/// An IPv4 address inside each form of IPv6 that leads to nothing but it.
fn forms(inner: u32) -> [Ipv6Addr; 6] {
    let [high, low] = halves(inner);
    let [client_high, client_low] = halves(!inner);
    [
        Ipv6Addr::new(0, 0, 0, 0, 0, 0xFFFF, high, low),
        Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xFF9B, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0, client_high, client_low),
        Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5EFE, high, low),
    ]
}

/// The same as a NAT64 of local use writes it whose prefix has 48 bits, with whatever behind it.
fn behind_48_bits(inner: u32, suffix: u32) -> Ipv6Addr {
    let [high, _] = halves(inner);
    let [_, _, c, d] = inner.to_be_bytes().map(u16::from);
    let [suffix_high, suffix_low] = halves(suffix);
    Ipv6Addr::new(0x64, 0xFF9B, 1, high, c, d << 8, suffix_high, suffix_low)
}

fn halves(number: u32) -> [u16; 2] {
    [(number >> 16) as u16, number as u16]
}

/// Numbers near the edges of the model's ranges as often as any other.
fn ipv4() -> impl Strategy<Value = u32> {
    let edges: Vec<u32> = Model::new().0.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let near = (prop::sample::select(edges), -2..=2i32);
    prop_oneof![
        any::<u32>(),
        near.prop_map(|(edge, by)| edge.wrapping_add_signed(by)),
    ]
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    let prefixes = [
        0u128,
        0x0064_FF9B,
        0x2001_0000,
        0x2002_0000,
        0x2001_0DB8,
        0xFD00_0000,
        0xFE80_0000,
    ];
    let near = (prop::sample::select(prefixes.to_vec()), any::<u128>());
    prop_oneof![
        any::<u128>().prop_map(Ipv6Addr::from),
        near.prop_map(|(prefix, rest)| Ipv6Addr::from(prefix << 96 | rest >> 32)),
        (ipv4(), any::<u32>()).prop_map(|(inner, suffix)| behind_48_bits(inner, suffix)),
        ipv4().prop_flat_map(|inner| prop::sample::select(forms(inner).to_vec())),
    ]
}

/// The model of IPv6, on plain numbers: whether an address passes where nothing is allowed. NAT64 of
/// local use has tests of its own.
fn model_of_ipv6(address: u128) -> bool {
    let model = Model::new();
    let ipv4_at = |shift: u32| model.passes((address >> shift) as u32);
    let begins = |prefix: u128, bits: u32| address >> (128 - bits) == prefix;
    let written_as_ipv4 =
        address > 1 && begins(0, 96) || begins(0xFFFF, 96) || begins(0x64_FF9B << 64, 96);
    if written_as_ipv4 {
        return ipv4_at(0);
    }
    if begins(0x2001_0000, 32) {
        return ipv4_at(64) && model.passes(!(address as u32));
    }
    if begins(0x2002, 16) {
        return ipv4_at(80);
    }
    let documentation = begins(0x2001_0DB8, 32) || begins(0x3FFF0, 20);
    let protocols = begins(0x2001_0000 >> 9, 23);
    let global = begins(1, 3) && !documentation && !protocols;
    let isatap = (address >> 32) as u32 & !0x0200_0000 == 0x5EFE;
    global && (!isatap || ipv4_at(0))
}

/// Where the model's verdict changes, and where a form begins or ends.
fn edges_of_ipv6() -> Vec<u128> {
    let networks = [
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "100::/64",
        "2000::/3",
        "2001::/32",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];
    let networks = networks.map(|net| net.parse::<ipnet::Ipv6Net>().unwrap());
    let ends = networks.map(|net| [net.network(), net.broadcast()].map(u128::from));
    ends.into_iter().flatten().collect()
}

#[test]
fn every_boundary_of_ipv6_falls_as_the_model_says() {
    let guard = guard(&[]);
    for edge in edges_of_ipv6() {
        for number in [edge.wrapping_sub(1), edge, edge.wrapping_add(1)] {
            let address = Ipv6Addr::from(number);
            assert_eq!(passes(&guard, address), model_of_ipv6(number), "{address}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn sampled_ipv6_falls_as_the_model_says(
        address in ipv6(), edge in prop::sample::select(edges_of_ipv6()), by in any::<u64>(),
        isatap in prop::sample::select(vec![0x5EFE_u128, 0x0200_5EFE]), global in any::<u64>(), inner in ipv4(),
    ) {
        let guard = guard(&[]);
        let unwrapping = u128::from(global) << 64 | isatap << 32 | u128::from(inner);
        let near = edge ^ u128::from(by);
        for number in [u128::from(address), near, edge.wrapping_add(by.into()), unwrapping] {
            let address = Ipv6Addr::from(number);
            if number >> 80 == 0x64_FF9B_0001 {
                continue;
            }
            prop_assert_eq!(passes(&guard, address), model_of_ipv6(number), "{}", address);
        }
    }
}

proptest! {
    #[test]
    fn what_carries_an_ipv4_address_is_judged_as_it(
        inner in ipv4(), networks in prop::sample::select(vec!["", "10.0.0.0/8", "0.0.0.0/0", "8.0.0.0/6"]),
    ) {
        let networks: Vec<&str> = [networks].into_iter().filter(|net| !net.is_empty()).collect();
        let guard = guard(&networks);
        let expected = passes(&guard, Ipv4Addr::from(inner));
        for form in forms(inner) {
            prop_assert_eq!(passes(&guard, form), expected, "{}", form);
        }
    }

    #[test]
    fn no_reading_of_a_local_nat64_is_wider_than_its_ipv4(inner in ipv4(), suffix in ipv4()) {
        let guard = guard(&["::/0"]);
        let leads_nowhere = inner >> 24 == 0;
        prop_assume!(!leads_nowhere && !passes(&guard, Ipv4Addr::from(inner)));
        prop_assert!(!passes(&guard, behind_48_bits(inner, suffix)));
    }

    #[test]
    fn allowing_all_of_ipv6_opens_no_way_to_ipv4(inner in ipv4()) {
        let guard = guard(&["::/0"]);
        if !passes(&guard, Ipv4Addr::from(inner)) {
            for form in forms(inner) {
                prop_assert!(!passes(&guard, form), "{form}");
            }
        }
    }

    #[test]
    fn ipv6_outside_global_unicast_passes_only_for_an_ipv4_inside(address in ipv6()) {
        let carries = Carried::by(address) != Carried::Nothing;
        let global = address.segments()[0] >> 13 == 1;
        prop_assert!(carries || global || !passes(&guard(&[]), address), "{address}");
    }

    #[test]
    fn plain_http_is_never_wider_than_https(address in ipv6(), inner in ipv4()) {
        let guard = guard(&["10.0.0.0/8", "fd00::/8"]);
        for address in [IpAddr::from(address), Ipv4Addr::from(inner).into()] {
            let http = guard.check(Passage::PlainHttp, address).is_ok();
            prop_assert!(!http || guard.check(Passage::Open, address).is_ok());
        }
    }
}
