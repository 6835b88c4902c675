//! The addresses that the agent binds, advertises and answers clients on: at start, and again while it runs.

use super::chooser::Chooser;
use super::file::{Addresses, File, Ports};
use super::interfaces::Host;
use super::problems::Problems;
use super::{Config, HttpAddress};
use crate::defaults;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) fn addresses(file: &File, chooser: &mut Chooser<'_>, config: &mut Config, problems: &mut Problems) {
    let ports = file.ports.clone().unwrap_or_default();
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let default_bind = if config.dev { loopback } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let before = problems.errors.len();
    config.bind = chooser.one(file.bind_addr.as_deref(), "bind_addr", problems).unwrap_or(default_bind);
    if problems.errors.len() > before {
        // Already refused; a choice among the host's addresses would add a second error.
        config.bind = loopback;
    }
    let serf_wan = chooser.one(file.serf_wan.as_deref(), "serf_wan", problems);
    advertise(file, chooser, serf_wan, config, problems);
    let serf_lan = chooser.one(file.serf_lan.as_deref(), "serf_lan", problems).unwrap_or(config.bind);
    let serf_wan = serf_wan.unwrap_or(config.bind);
    let needed = |configured: Option<i64>, name: &str, default: i64, problems: &mut Problems| {
        let port = port(configured.unwrap_or(default), name, problems);
        if port.is_none() && configured.is_some_and(|number| number < 0) {
            problems.error(format!("ports.{name} cannot be disabled: agents of a datacenter need it"));
        }
        port.unwrap_or(0)
    };
    config.rpc = SocketAddr::new(config.bind, needed(ports.server, "server", defaults::PORT_SERVER, problems));
    config.bridge = SocketAddr::new(serf_wan, config.rpc.port());
    config.serf_lan = SocketAddr::new(serf_lan, needed(ports.serf_lan, "serf_lan", defaults::PORT_SERF_LAN, problems));
    config.serf_wan =
        port(ports.serf_wan.unwrap_or(defaults::PORT_SERF_WAN), "serf_wan", problems).map(|port| SocketAddr::new(serf_wan, port));
    let clients = chooser.several(file.client_addr.as_deref(), "client_addr", problems);
    config.client_addrs = if clients.is_empty() { vec![loopback] } else { clients };
    listeners(file, &ports, chooser, config, problems);
    refuse_doubles(config, problems);
}

/// The advertised addresses, and those by family. Without any, the WAN pool advertises the address of `serf_wan`.
fn advertise(file: &File, chooser: &mut Chooser<'_>, serf_wan: Option<IpAddr>, config: &mut Config, problems: &mut Problems) {
    let lan = [
        ("advertise_addr", &file.advertise_addr),
        ("advertise_addr_ipv4", &file.advertise_addr_ipv4),
        ("advertise_addr_ipv6", &file.advertise_addr_ipv6),
    ]
    .map(|(key, text)| chooser.advertised(text.as_deref(), key, problems));
    let wan = [
        ("advertise_addr_wan", &file.advertise_addr_wan),
        ("advertise_addr_wan_ipv4", &file.advertise_addr_wan_ipv4),
        ("advertise_addr_wan_ipv6", &file.advertise_addr_wan_ipv6),
    ]
    .map(|(key, text)| chooser.advertised(text.as_deref(), key, problems));
    let chosen = lan.iter().copied().flatten().next();
    config.advertise = chosen.unwrap_or_else(|| match config.bind {
        bind if !bind.is_unspecified() => bind,
        bind => chooser.only(if bind.is_ipv4() { Host::private_ipv4 } else { Host::public_ipv6 }, problems).unwrap_or(bind),
    });
    let listening = serf_wan.filter(|ip| chosen.is_none() && !ip.is_unspecified());
    config.advertise_wan = wan.iter().copied().flatten().next().or(listening).unwrap_or(config.advertise);
    let mut tagged = BTreeMap::new();
    for (place, main, by_family) in [("lan", config.advertise, lan), ("wan", config.advertise_wan, wan)] {
        tagged.insert(place.to_owned(), main.to_string());
        // A named address wins over the main one of the same family.
        for ip in [Some(main), by_family[1], by_family[2]].into_iter().flatten() {
            let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
            tagged.insert(format!("{place}_{family}"), ip.to_string());
        }
    }
    tagged.extend(file.tagged_addresses.clone().unwrap_or_default());
    config.tagged_addresses = tagged;
}

/// HTTP, HTTPS and DNS: on `addresses {}`, else on the client addresses.
fn listeners(file: &File, ports: &Ports, chooser: &mut Chooser<'_>, config: &mut Config, problems: &mut Problems) {
    let Addresses { dns, http, https } = file.addresses.clone().unwrap_or_default();
    let (sockets, tcp): (Vec<&str>, Vec<&str>) =
        http.as_deref().unwrap_or_default().split_whitespace().partition(|word| word.starts_with("unix://"));
    let tcp = tcp.join(" ");
    let mut on = |text: Option<&str>, key: &'static str, config: &Config, problems: &mut Problems| {
        let named = chooser.several(text, key, problems);
        if named.is_empty() { config.client_addrs.clone() } else { named }
    };
    for word in &sockets {
        let path = &word["unix://".len()..];
        if path.is_empty() {
            problems.error("addresses.http: expected unix://<path>, got no path");
        }
        config.http.push(HttpAddress::Unix(path.into()));
    }
    if sockets.is_empty() || !tcp.is_empty() {
        let ips = on(Some(&tcp), "addresses.http", config, problems);
        if let Some(port) = port(ports.http.unwrap_or(defaults::PORT_HTTP), "http", problems) {
            config.http.extend(ips.into_iter().map(|ip| HttpAddress::Tcp(SocketAddr::new(ip, port))));
        }
    }
    if let Some(port) = port(ports.https.unwrap_or(defaults::PORT_HTTPS), "https", problems) {
        let ips = on(https.as_deref(), "addresses.https", config, problems);
        config.https = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    }
    for (key, is_set) in [("ports.dns", ports.dns.is_some_and(|port| port >= 0)), ("addresses.dns", dns.is_some())] {
        if is_set {
            problems.warn(format!("{key} is accepted and has no effect yet: DNS is not answered"));
        }
    }
    if let Some(port) = port(ports.dns.unwrap_or(defaults::PORT_DNS), "dns", problems) {
        let ips = on(dns.as_deref(), "addresses.dns", config, problems);
        config.dns = ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
    }
}

/// A port; none when it is off (negative) or, noted, impossible. 0 lets the system choose.
fn port(number: i64, name: &str, problems: &mut Problems) -> Option<u16> {
    if number < 0 {
        return None;
    }
    let port = u16::try_from(number);
    port.map_err(|_| problems.error(format!("ports.{name}: expected 1 to 65535, or -1 to disable, got {number}"))).ok()
}

/// Refuses two listeners on one TCP address, with Consul's texts.
fn refuse_doubles(config: &Config, problems: &mut Problems) {
    let mut all: Vec<(&str, SocketAddr)> = config.http.iter().filter_map(|http| Some(("HTTP", http.tcp()?))).collect();
    all.extend(config.https.iter().map(|address| ("HTTPS", *address)));
    all.extend(config.dns.iter().map(|address| ("DNS", *address)));
    all.push(("Server RPC", config.rpc));
    all.push(("Serf Advertise LAN", config.serf_lan));
    all.extend(config.serf_wan.map(|address| ("Serf Advertise WAN", address)));
    for (n, (name, address)) in all.iter().enumerate() {
        if let Some((earlier, _)) = all[..n].iter().find(|(_, other)| other == address && address.port() != 0) {
            problems.error(format!("{name} address {address} already configured for {earlier}"));
        }
    }
}

/// Networks in CIDR notation; a bare address counts as a network of one.
pub(super) fn cidrs(texts: Option<&Vec<String>>, key: &str, problems: &mut Problems) -> Vec<IpNet> {
    let read = |text: &String| {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| problems.error(format!("{key}: expected networks such as 10.0.0.0/8, got {text:?}"))).ok()
    };
    texts.into_iter().flatten().filter_map(read).collect()
}
