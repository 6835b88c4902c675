//! The addresses of this host, and its private or public one. All but [`Host::read`] is pure.

use ipnet::IpNet;
use std::net::IpAddr;
use std::path::Path;

/// Beginnings of the names of container engines' interfaces: Docker, CNI, podman, Kubernetes' plugins, LXC, libvirt.
const CONTAINER_INTERFACES: [&str; 11] =
    ["docker", "br-", "veth", "cni", "podman", "flannel", "cali", "cilium", "kube-", "lxc", "virbr"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    /// Its addresses, in the order the system lists them.
    pub interfaces: Vec<Interface>,
    pub default_interface: Option<String>,
    /// Files that a process may have open; `None` for any number.
    pub open_files: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub ip: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
    pub flags: Flags,
}

/// The flags of an interface, as the kernel numbers them (`IFF_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    pub(super) const UP: Flags = Flags(0x1);
    pub(super) const BROADCAST: Flags = Flags(0x2);
    pub(super) const LOOPBACK: Flags = Flags(0x8);
    pub(super) const POINT_TO_POINT: Flags = Flags(0x10);
    pub(super) const MULTICAST: Flags = Flags(0x1000);

    pub(super) fn has(self, others: Flags) -> bool {
        self.0 & others.0 == others.0
    }
}

impl Interface {
    /// An interface that is up, as most are.
    pub fn up(name: &str, ip: IpAddr, prefix: u8) -> Interface {
        let kind = if ip.is_loopback() { Flags::LOOPBACK } else { Flags(Flags::BROADCAST.0 | Flags::MULTICAST.0) };
        Interface { name: name.to_owned(), ip, prefix, flags: Flags(Flags::UP.0 | kind.0) }
    }

    pub(super) fn net(&self) -> IpNet {
        IpNet::new(self.ip, self.prefix).unwrap_or_else(|_too_long| IpNet::from(self.ip))
    }
}

impl Host {
    /// Reads the system's facts. A missing name is empty, which `resolve` refuses.
    pub fn read() -> Result<Host, String> {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
        let name = name.ok().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default().trim().to_owned();
        let mut listed =
            if_addrs::get_if_addrs().map_err(|error| format!("the addresses of this host cannot be listed: {error}"))?;
        // The system lists all of one family before the other; here an interface stays together.
        listed.sort_by_key(|found| found.index);
        let interfaces = listed.into_iter().map(interface).collect();
        let routes = |file| std::fs::read_to_string(Path::new("/proc/net").join(file)).unwrap_or_default();
        let default_interface = default_route_v4(&routes("route")).or_else(|| default_route_v6(&routes("ipv6_route")));
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Ok(Host { name, interfaces, default_interface, open_files })
    }

    /// The same host with the addresses `in_use` first, so that of equal addresses those in use stay.
    pub fn preferring(mut self, in_use: &[IpAddr]) -> Host {
        self.interfaces.sort_by_key(|it| !in_use.contains(&it.ip));
        self
    }

    /// True for an address of the host. Unspecified addresses and all of 127.0.0.0/8 count without being listed.
    pub fn has(&self, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || self.interfaces.iter().any(|it| it.ip == ip)
    }

    /// The addresses, as a hint for the user.
    pub(super) fn described(&self) -> String {
        if self.interfaces.is_empty() { "none".to_owned() } else { shown(&self.interfaces) }
    }

    /// The only private IPv4 address. Consul's texts.
    pub fn private_ipv4(&self) -> Result<IpAddr, String> {
        self.only("private IPv4", |ip| ip.is_ipv4() && is_private(ip))
    }

    /// The only public IPv6 address. Consul's texts.
    pub fn public_ipv6(&self) -> Result<IpAddr, String> {
        self.only("public IPv6", |ip| ip.is_ipv6() && is_public_v6(ip))
    }

    /// The only address of a kind. Interfaces for containers count last, since no other host reaches them.
    fn only(&self, kind: &str, fits: fn(&IpAddr) -> bool) -> Result<IpAddr, String> {
        let all = || self.interfaces.iter().filter(|it| it.flags.has(Flags::UP) && fits(&it.ip));
        let is_for_containers = |it: &&Interface| CONTAINER_INTERFACES.iter().any(|start| it.name.starts_with(start));
        let mut found: Vec<&Interface> = all().filter(|it| !is_for_containers(it)).collect();
        if found.is_empty() {
            found = all().collect();
        }
        let wanted = "Please configure one with 'bind' and/or 'advertise'.";
        match found.as_slice() {
            [one] => Ok(one.ip),
            [] => Err(format!("No {kind} address found. {wanted} This host has {}", self.described())),
            _ => Err(format!("Multiple {kind} addresses found. {wanted} Found {}", shown(found.iter().copied()))),
        }
    }
}

fn shown<'a>(interfaces: impl IntoIterator<Item = &'a Interface>) -> String {
    interfaces.into_iter().map(|it| format!("{} {}", it.name, it.net())).collect::<Vec<_>>().join(", ")
}

fn interface(found: if_addrs::Interface) -> Interface {
    let (ip, prefix) = match &found.addr {
        if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
        if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
    };
    let usual = Interface::up(&found.name, ip, prefix);
    // `eth0:1` is a label of an address of `eth0`.
    let device = found.name.split(':').next().unwrap_or_default();
    let flags = std::fs::read_to_string(Path::new("/sys/class/net").join(device).join("flags"));
    let flags = flags.ok().and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
    Interface { flags: flags.map_or(usual.flags, Flags), ..usual }
}

/// The interface of the default route with the lowest metric, in `/proc/net/route`.
fn default_route_v4(table: &str) -> Option<String> {
    let metric_and_name = |line: &str| match line.split_whitespace().collect::<Vec<&str>>()[..] {
        [name, "00000000", _, flags, _, _, metric, "00000000", ..] if is_up(flags) => {
            Some((metric.parse::<u32>().ok()?, name.to_owned()))
        }
        _ => None,
    };
    table.lines().filter_map(metric_and_name).min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// The same, in `/proc/net/ipv6_route`.
fn default_route_v6(table: &str) -> Option<String> {
    let metric_and_name = |line: &str| match line.split_whitespace().collect::<Vec<&str>>()[..] {
        ["00000000000000000000000000000000", "00", _, _, _, metric, _, _, flags, name] if is_up(flags) && name != "lo" => {
            Some((u32::from_str_radix(metric, 16).ok()?, name.to_owned()))
        }
        _ => None,
    };
    table.lines().filter_map(metric_and_name).min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// `RTF_UP`
fn is_up(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 != 0)
}

/// RFC 1918 and RFC 6598, as Consul's private addresses.
fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(_) => false,
    }
}

/// Not loopback, link-local, unique-local or multicast.
fn is_public_v6(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            !v6.is_loopback()
                && !v6.is_unspecified()
                && !v6.is_multicast()
                && first & 0xffc0 != 0xfe80
                && first & 0xfe00 != 0xfc00
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host with these addresses, each `name` and `ip/prefix`.
    pub(crate) fn host(addresses: &[(&str, &str)]) -> Host {
        let interface = |(name, net): &(&str, &str)| {
            let net: IpNet = net.parse().unwrap();
            Interface::up(name, net.addr(), net.prefix_len())
        };
        Host { name: "h".to_owned(), interfaces: addresses.iter().map(interface).collect(), ..Host::default() }
    }

    #[test]
    fn the_only_private_address_is_taken_and_several_are_refused_with_consul_s_text() {
        assert_eq!(host(&[("lo", "127.0.0.1/8"), ("eth0", "10.0.0.5/24")]).private_ipv4(), Ok("10.0.0.5".parse().unwrap()));
        let several = host(&[("eth0", "10.0.0.5/24"), ("eth1", "192.168.1.5/24")]).private_ipv4().unwrap_err();
        let text = "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.";
        assert_eq!(several, format!("{text} Found eth0 10.0.0.5/24, eth1 192.168.1.5/24"));
        let bridged =
            [("docker0", "172.17.0.1/16"), ("br-12ab", "172.18.0.1/16"), ("eth0", "10.0.0.5/24"), ("veth1", "10.9.0.1/24")];
        assert_eq!(host(&bridged).private_ipv4(), Ok("10.0.0.5".parse().unwrap()));
        assert_eq!(host(&bridged[..1]).private_ipv4(), Ok("172.17.0.1".parse().unwrap()));
        assert!(host(&bridged[..2]).private_ipv4().unwrap_err().starts_with(text));
        assert!(host(&[("eth0", "8.8.8.8/24")]).private_ipv4().unwrap_err().starts_with("No private IPv4 address found"));
    }

    #[test]
    fn this_host_can_be_asked() {
        let host = Host::read().unwrap();
        assert!(
            host.interfaces.iter().any(|it| it.ip == std::net::Ipv4Addr::LOCALHOST && it.flags.has(Flags::LOOPBACK)),
            "{host:?}"
        );
    }

    #[test]
    fn the_default_route_is_the_one_with_the_lowest_metric() {
        let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let rows = "eth1 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\neth2 00000000 0100000A 0003 0 0 200 00000000 0 0 0\n\
                    eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\n";
        assert_eq!(default_route_v4(&format!("{head}{rows}")).as_deref(), Some("eth0"));
        assert_eq!(default_route_v4(head), None);
        let zero = "0".repeat(32);
        let rows = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n{zero} 00 {zero} 00 fe80{} 00000400 1 0 00000003 eth5\n",
            "0".repeat(28)
        );
        assert_eq!(default_route_v6(&rows).as_deref(), Some("eth5"));
    }
}
