//! The special-purpose networks of the RFCs that address templates may name.
//!
//! `template` asks here, by the numbers that go-sockaddr knows.

use ipnet::IpNet;
use std::net::IpAddr;

/// RFC number and the networks it sets apart. RFC 6890 stands below. Of RFC 4291 those that are no ordinary
/// addresses.
const RFCS: [(u32, &[&str]); 11] = [
    (919, &["255.255.255.255/32"]),
    (1112, &["224.0.0.0/4"]),
    (1122, &["0.0.0.0/8", "127.0.0.0/8"]),
    (1918, &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
    (2544, &["198.18.0.0/15"]),
    (3849, &["2001:db8::/32"]),
    (3927, &["169.254.0.0/16"]),
    (4193, &["fc00::/7"]),
    (4291, &["::/128", "::1/128", "fe80::/10", "ff00::/8"]),
    (5737, &["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
    (6598, &["100.64.0.0/10"]),
];

/// The networks of RFC 6890, and whether packets of theirs may be forwarded between networks.
const SPECIAL: [(&str, bool); 26] = [
    ("0.0.0.0/8", false),
    ("10.0.0.0/8", true),
    ("100.64.0.0/10", true),
    ("127.0.0.0/8", false),
    ("169.254.0.0/16", false),
    ("172.16.0.0/12", true),
    ("192.0.0.0/24", false),
    ("192.0.2.0/24", false),
    ("192.88.99.0/24", true),
    ("192.168.0.0/16", true),
    ("198.18.0.0/15", true),
    ("198.51.100.0/24", false),
    ("203.0.113.0/24", false),
    ("240.0.0.0/4", false),
    ("255.255.255.255/32", false),
    ("::1/128", false),
    ("::/128", false),
    ("64:ff9b::/96", true),
    ("::ffff:0:0/96", false),
    ("100::/64", true),
    ("2001::/23", true),
    ("2001:10::/28", false),
    ("2001:db8::/32", false),
    ("2002::/16", true),
    ("fc00::/7", true),
    ("fe80::/10", false),
];

/// The networks of an RFC; the error says which are known.
pub(super) fn of_rfc(number: &str) -> Result<Vec<IpNet>, String> {
    let wanted = number.trim().parse::<u32>().ok();
    if wanted == Some(6890) {
        return Ok(special());
    }
    let found = RFCS.iter().find(|(rfc, _)| Some(*rfc) == wanted);
    found.map(|(_, networks)| parsed(networks.iter().copied())).ok_or_else(|| {
        let known: Vec<String> = RFCS.iter().map(|(rfc, _)| *rfc).chain([6890]).map(|rfc| rfc.to_string()).collect();
        format!("expected the number of an RFC with networks ({}), got {number:?}", known.join(", "))
    })
}

/// Whether RFC 6890 sets this address apart.
pub(super) fn is_special(ip: IpAddr) -> bool {
    lies_in(ip, &special())
}

/// Whether packets of this address may leave its network.
pub(super) fn is_forwardable(ip: IpAddr) -> bool {
    !lies_in(ip, &parsed(SPECIAL.iter().filter(|(_, forwardable)| !forwardable).map(|(network, _)| *network)))
}

fn special() -> Vec<IpNet> {
    parsed(SPECIAL.iter().map(|(network, _)| *network))
}

/// Whether the address lies in any of these.
pub(super) fn lies_in(ip: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

fn parsed(networks: impl Iterator<Item = &'static str>) -> Vec<IpNet> {
    networks.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_tables_can_be_read() {
        let of_others = RFCS.iter().flat_map(|(_, networks)| networks.iter());
        for text in of_others.chain(SPECIAL.iter().map(|(network, _)| network)) {
            assert!(text.parse::<IpNet>().is_ok(), "{text}");
        }
    }

    #[test]
    fn private_public_and_unforwardable_addresses_are_told_apart() {
        for (ip, special, forwardable) in [
            ("10.1.2.3", true, true),
            ("100.64.0.9", true, true),
            ("8.8.8.8", false, true),
            ("169.254.1.1", true, false),
            ("127.0.0.1", true, false),
            ("fd00::1", true, true),
            ("fe80::1", true, false),
            ("2a00::1", false, true),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!((is_special(ip), is_forwardable(ip)), (special, forwardable), "{ip}");
        }
        assert!(of_rfc("793").unwrap_err().contains("1918"));
    }
}
