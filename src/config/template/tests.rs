//! Templates on hosts made for them.

use super::super::interfaces::tests::host;
use super::super::interfaces::{Flags, Interface};
use super::*;

/// A container of a federation: two networks beside the usual interfaces of Linux.
fn container() -> Host {
    let mut host = host(&[
        ("lo", "127.0.0.1/8"),
        ("lo", "::1/128"),
        ("eth0", "172.20.0.5/16"),
        ("eth0", "fe80::42:acff:fe14:5/64"),
        ("eth1", "10.9.1.7/24"),
        ("eth1", "fd00:9::7/64"),
        ("eth10", "10.10.1.7/24"),
        ("ppp0", "8.8.8.8/32"),
    ]);
    host.default_interface = Some("eth1".to_owned());
    host
}

fn text(template: &str, host: &Host) -> Result<String, String> {
    expand(template, host).map(|expanded| expanded.text)
}

#[test]
fn sources_give_what_their_names_say() {
    for (template, expected) in [
        ("10.0.0.1", "10.0.0.1"),
        ("{{ GetPrivateIP }}", "10.9.1.7"),
        ("{{GetPrivateIPs}}", "172.20.0.5 10.9.1.7 10.10.1.7 fd00:9::7"),
        ("{{ GetPublicIP }}", "8.8.8.8"),
        ("{{ GetPublicIPs }}", "8.8.8.8"),
        (r#"{{GetInterfaceIP "eth0"}}"#, "172.20.0.5"),
        ("{{ GetInterfaceIP `eth1` }}", "10.9.1.7"),
        (r#"{{ GetInterfaceIP "eth1." }}"#, "10.10.1.7"),
        (r#"{{ GetInterfaceIPs "eth1" }}"#, "10.9.1.7 fd00:9::7"),
        (r#"{{ GetInterfaceIP "lo" }}"#, "127.0.0.1"),
        (r#"127.0.0.1 {{ GetInterfaceIP "eth1" }}"#, "127.0.0.1 10.9.1.7"),
        (r#"{{ GetDefaultInterfaces | attr "address" }}"#, "10.9.1.7"),
        (r#"{{ GetPrivateInterfaces | attr "address" }}"#, "10.9.1.7"),
        (r#"{{ GetPublicInterfaces | attr "name" }}"#, "ppp0"),
        (r#"{{ . | limit 1 | attr "name" }}"#, "lo"),
        // Go's marks take the spaces around a template.
        (r#"10.  {{- GetInterfaceIP "eth0" -}}  /8"#, "10.172.20.0.5/8"),
    ] {
        assert_eq!(text(template, &container()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn filters_take_and_leave_by_every_selector() {
    let all = "GetAllInterfaces";
    for (filters, expected) in [
        (r#"include "network" "10.0.0.0/8""#, "10.9.1.7 10.10.1.7"),
        (r#"include "network" "10.9.0.0/16|172.16.0.0/12""#, "172.20.0.5 10.9.1.7"),
        (r#"include "network" "10.9.1.7""#, "10.9.1.7"),
        (r#"include "name" "^eth1$" | exclude "type" "ipv6""#, "10.9.1.7"),
        (r#"include "type" "IPv4" | exclude "name" "^(lo|ppp)""#, "172.20.0.5 10.9.1.7 10.10.1.7"),
        (r#"include "type" "ipv4|ipv6" | include "size" "64""#, "fe80::42:acff:fe14:5 fd00:9::7"),
        (r#"include "flags" "loopback""#, "127.0.0.1 ::1"),
        (r#"exclude "flags" "forwardable""#, "127.0.0.1 ::1 fe80::42:acff:fe14:5"),
        (r#"include "flag" "link-local unicast""#, "fe80::42:acff:fe14:5"),
        (r#"include "rfc" "1918" | exclude "RFC" "6598""#, "172.20.0.5 10.9.1.7 10.10.1.7"),
        (r#"include "rfcs" "4193|3927""#, "fd00:9::7"),
        (r#"include "address" "^10\\.9""#, "10.9.1.7"),
        (r#"include "port" "0" | include "name" "ppp0""#, "8.8.8.8"),
    ] {
        let template = format!(r#"{{{{ {all} | {filters} | join "address" " " }}}}"#);
        assert_eq!(text(&template, &container()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn addresses_are_ordered_cut_and_told_as_asked() {
    for (stages, expected) in [
        (r#"include "rfc" "1918" | sort "-address" | join "address" ",""#, "172.20.0.5,10.10.1.7,10.9.1.7"),
        (r#"include "type" "ipv4" | sort "size,-address" | join "mask_bits" " ""#, "8 16 24 24 32"),
        (r#"sort "default,type" | attr "address""#, "10.9.1.7"),
        (r#"sort "-name" | limit 1 | attr "address""#, "8.8.8.8"),
        (r#"sort "private,type,-size" | attr "address""#, "10.9.1.7"),
        (r#"sort "name" | unique "name" | join "name" " ""#, "eth0 eth1 eth10 lo ppp0"),
        (r#"include "type" "ipv4" | offset 2 | join "address" " ""#, "10.9.1.7 10.10.1.7 8.8.8.8"),
        (r#"include "type" "ipv4" | offset -1 | attr "string""#, "8.8.8.8"),
        (r#"include "name" "eth0" | attr "network""#, "172.20.0.0/16"),
        (r#"include "name" "eth0" | attr "netmask""#, "255.255.0.0"),
        (r#"include "name" "eth0" | attr "broadcast""#, "172.20.255.255"),
        (r#"include "name" "eth0" | join "type" "/""#, "IPv4/IPv6"),
        (r#"include "name" "eth0" | attr "string""#, "172.20.0.5/16"),
        (r#"include "name" "eth0" | math "address" "+256" | attr "address""#, "172.20.1.5"),
        (r#"include "name" "eth0" | math "network" "-1" | attr "address""#, "172.20.255.255"),
        (r#"include "name" "eth0" | math "network" "+9" | attr "address""#, "172.20.0.9"),
        (r#"include "name" "eth0" | math "mask" "8" | attr "string""#, "172.0.0.0/8"),
        (r#"include "network" "fd00::/8" | math "network" "-1" | attr "address""#, "fd00:9::ffff:ffff:ffff:ffff"),
    ] {
        let template = format!("{{{{ GetAllInterfaces | {stages} }}}}");
        assert_eq!(text(&template, &container()).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn interfaces_that_are_down_are_no_private_addresses() {
    let mut host = container();
    host.interfaces.retain(|it| it.name.starts_with("eth1"));
    for it in &mut host.interfaces {
        if it.name == "eth1" {
            it.flags = Flags::BROADCAST;
        }
    }
    assert_eq!(text("{{ GetPrivateIP }}", &host).as_deref(), Ok("10.10.1.7"));
    let up = r#"{{ GetAllInterfaces | include "flags" "up" | join "address" " " }}"#;
    assert_eq!(text(up, &host).as_deref(), Ok("10.10.1.7"));
}

#[test]
fn of_equals_the_one_in_use_stays() {
    let equals = host(&[("eth0", "10.1.0.5/24"), ("eth1", "10.2.0.5/24")]);
    assert_eq!(text("{{ GetPrivateIP }}", &equals).as_deref(), Ok("10.1.0.5"));
    let in_use = equals.preferring(&["10.2.0.5".parse().unwrap()]);
    assert_eq!(text("{{ GetPrivateIP }}", &in_use).as_deref(), Ok("10.2.0.5"));
}

#[test]
fn what_matches_nothing_leaves_nothing_and_says_what_there_is() {
    let host = host(&[("lo", "127.0.0.1/8"), ("eth0", "10.0.0.5/24")]);
    let expanded = expand(r#"127.0.0.1 {{ GetInterfaceIP "wlan0" }}"#, &host).unwrap();
    assert_eq!(expanded.text, "127.0.0.1 ");
    assert_eq!(
        expanded.unmatched,
        [r#"template {{ GetInterfaceIP "wlan0" }} matches no address of this host, which has: lo 127.0.0.1/8, eth0 10.0.0.5/24"#]
    );
    assert!(expand("{{ GetPublicIP }}", &Host::default()).unwrap().unmatched[0].ends_with("has: none"));
}

#[test]
fn what_is_wrong_with_a_template_is_told() {
    for (template, reason) in [
        ("{{ GetDefaultInterfaces }}", "no default route"),
        ("{{ GetPrivateIP", "not closed"),
        (r#"{{ GetInterfaceIP "eth0 }}"#, "not closed"),
        (r#"{{ GetInterfaceIP }}"#, "GetInterfaceIP \"<name>\""),
        ("{{ GetWifiIP }}", "got GetWifiIP"),
        ("{{ }}", "got nothing"),
        (r#"{{ GetAllInterfaces | include "network" "ten" }}"#, "such as 10.0.0.0/8"),
        (r#"{{ GetAllInterfaces | include "name" "[" }}"#, "regular expression"),
        (r#"{{ GetAllInterfaces | include "colour" "red" }}"#, "got \"colour\""),
        (r#"{{ GetAllInterfaces | include "type" "ipx" }}"#, "expected ip, ipv4 or ipv6"),
        (r#"{{ GetAllInterfaces | include "flags" "sideways" }}"#, "got \"sideways\""),
        (r#"{{ GetAllInterfaces | include "rfc" "1" }}"#, "number of an RFC"),
        (r#"{{ GetAllInterfaces | include "size" "x" }}"#, "bits of a network"),
        (r#"{{ GetAllInterfaces | sort "age" }}"#, "got \"age\""),
        ("{{ GetAllInterfaces | limit -1 }}", "number from 0"),
        ("{{ GetAllInterfaces | offset 9 }}", "past"),
        ("{{ GetAllInterfaces | order 1 }}", "got order 1"),
        ("{{ GetAllInterfaces | }}", "got nothing"),
        (r#"{{ GetAllInterfaces | attr "colour" }}"#, "got \"colour\""),
        (r#"{{ GetAllInterfaces | math "address" "1" }}"#, "with its sign"),
        (r#"{{ GetPrivateIP | attr "address" }}"#, "text already"),
        (r#"{{ attr "address" (GetAllInterfaces) }}"#, "parentheses"),
        (r#"{{ GetInterfaceIP "\d" }}"#, r"\d in a text"),
    ] {
        let error = text(template, &host(&[("lo", "127.0.0.1/8")])).unwrap_err();
        assert!(error.contains(reason), "{template}: {error}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let host = container();
    let pieces = r#"{{,}}, ,GetAllInterfaces,|,",`,\,offset,-1,math,"network",ü,-,(,limit 3"#;
    let pieces: Vec<&str> = pieces.split(',').collect();
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut template = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            template.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        let _ = expand(&template, &host);
    }
    let odd = Interface { prefix: 200, ..Interface::up("x", "10.0.0.1".parse().unwrap(), 0) };
    let odd = Host { interfaces: vec![odd], ..Host::default() };
    for stage in [r#"attr "network""#, r#"math "network" "-1" | attr "string""#, r#"math "mask" "0" | attr "string""#] {
        assert!(text(&format!("{{{{ GetAllInterfaces | {stage} }}}}"), &odd).is_ok());
    }
}
