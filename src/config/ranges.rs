//! The special-purpose networks of RFCs, by the numbers that go-sockaddr knows in address templates.

use ipnet::IpNet;
use std::net::IpAddr;

/// Numbers of RFCs and the networks they set apart, but RFC 6890; of RFC 4291 only those of special addresses.
const RFCS: [(u32, &str); 11] = [
    (919, "255.255.255.255/32"),
    (1112, "224.0.0.0/4"),
    (1122, "0.0.0.0/8 127.0.0.0/8"),
    (1918, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16"),
    (2544, "198.18.0.0/15"),
    (3849, "2001:db8::/32"),
    (3927, "169.254.0.0/16"),
    (4193, "fc00::/7"),
    (4291, "::/128 ::1/128 fe80::/10 ff00::/8"),
    (5737, "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24"),
    (6598, "100.64.0.0/10"),
];

/// The networks of RFC 6890 whose packets may be forwarded between networks.
const FORWARDABLE: &str = "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 \
    64:ff9b::/96 100::/64 2001::/23 2002::/16 fc00::/7";

/// The other networks of RFC 6890.
const UNFORWARDABLE: &str = "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 192.0.0.0/24 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 \
    240.0.0.0/4 255.255.255.255/32 ::1/128 ::/128 ::ffff:0:0/96 2001:10::/28 2001:db8::/32 fe80::/10";

/// The networks of an RFC; the error says which are known.
pub(super) fn of_rfc(number: &str) -> Result<Vec<IpNet>, String> {
    let wanted = number.trim().parse::<u32>().ok();
    if wanted == Some(6890) {
        return Ok(special());
    }
    let found = RFCS.iter().find(|(rfc, _)| Some(*rfc) == wanted);
    found.map(|(_, networks)| parsed(networks)).ok_or_else(|| {
        let known: Vec<String> = RFCS.iter().map(|(rfc, _)| *rfc).chain([6890]).map(|rfc| rfc.to_string()).collect();
        format!("expected the number of an RFC with networks ({}), got {number:?}", known.join(", "))
    })
}

/// True for an address that RFC 6890 sets apart.
pub(super) fn is_special(ip: IpAddr) -> bool {
    lies_in(ip, &special())
}

/// True for an address whose packets may leave its network.
pub(super) fn is_forwardable(ip: IpAddr) -> bool {
    !lies_in(ip, &parsed(UNFORWARDABLE))
}

fn special() -> Vec<IpNet> {
    [parsed(FORWARDABLE), parsed(UNFORWARDABLE)].concat()
}

pub(super) fn lies_in(ip: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

fn parsed(networks: &str) -> Vec<IpNet> {
    networks.split_whitespace().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_tables_can_be_read() {
        for networks in RFCS.iter().map(|(_, networks)| *networks).chain([FORWARDABLE, UNFORWARDABLE]) {
            assert_eq!(parsed(networks).len(), networks.split_whitespace().count(), "{networks}");
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
