//! Which addresses this host has, and the small part of go-sockaddr's templates that chooses one.
//!
//! `resolve` asks here; everything but [`Host::read`] is pure.

use ipnet::IpNet;
use regex::Regex;
use std::net::IpAddr;

/// What the host says about itself.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The host's name.
    pub name: String,
    /// Its addresses, in the order the system lists them.
    pub interfaces: Vec<Interface>,
}

/// One address of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `eth0`
    pub name: String,
    /// The address.
    pub ip: IpAddr,
}

impl Host {
    /// Asks the system. A host that tells no name has an empty one, which `resolve` refuses.
    pub fn read() -> Result<Host, String> {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
        let name = name.ok().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default().trim().to_owned();
        let listed = if_addrs::get_if_addrs().map_err(|error| format!("the addresses of this host cannot be listed: {error}"))?;
        let interfaces = listed.into_iter().map(|found| Interface { ip: found.ip(), name: found.name }).collect();
        Ok(Host { name, interfaces })
    }

    /// The only private IPv4 address. Consul's texts.
    pub fn private_ipv4(&self) -> Result<IpAddr, String> {
        let found: Vec<IpAddr> = self.interfaces.iter().map(|it| it.ip).filter(|ip| ip.is_ipv4() && is_private(ip)).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err("No private IPv4 address found. Please configure one with 'bind' and/or 'advertise'.".to_owned()),
            _ => Err("Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.".to_owned()),
        }
    }

    /// The only public IPv6 address. Consul's texts.
    pub fn public_ipv6(&self) -> Result<IpAddr, String> {
        let found: Vec<IpAddr> = self.interfaces.iter().map(|it| it.ip).filter(|ip| ip.is_ipv6() && is_public_v6(ip)).collect();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err("No public IPv6 address found. Please configure one with 'bind' and/or 'advertise'.".to_owned()),
            _ => Err("Multiple public IPv6 addresses found. Please configure one with 'bind' and/or 'advertise'.".to_owned()),
        }
    }

    /// Replaces every `{{ … }}` of `text`.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("{{") {
            let (template, after) = tail.split_once("}}").ok_or_else(|| format!("the template in {text:?} is not closed"))?;
            expanded.push_str(before);
            expanded.push_str(&self.evaluate(template)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// One template: a source, then filters, then perhaps `attr "address"`, separated by `|`.
    fn evaluate(&self, template: &str) -> Result<String, String> {
        let refused = || {
            format!(
                "template {{{{{template}}}}} is not supported: expected GetPrivateIP, GetInterfaceIP \"<name>\", or \
                 GetAllInterfaces | include|exclude \"network|name|type\" \"<value>\" | attr \"address\""
            )
        };
        let mut stages = template.split('|').map(words);
        let source = stages.next().flatten().ok_or_else(refused)?;
        let mut chosen: Vec<&Interface> = match source.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["GetPrivateIP"] => self.interfaces.iter().filter(|it| it.ip.is_ipv4() && is_private(&it.ip)).take(1).collect(),
            ["GetPrivateInterfaces"] => self.interfaces.iter().filter(|it| it.ip.is_ipv4() && is_private(&it.ip)).collect(),
            ["GetInterfaceIP", name] => {
                let of_name = |it: &&Interface| it.name == *name;
                let v4 = self.interfaces.iter().filter(of_name).find(|it| it.ip.is_ipv4());
                v4.or_else(|| self.interfaces.iter().find(of_name)).into_iter().collect()
            }
            ["GetAllInterfaces"] => self.interfaces.iter().collect(),
            _ => return Err(refused()),
        };
        for stage in stages {
            let stage = stage.ok_or_else(refused)?;
            match stage.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["include", by, value] => {
                    let matches = matcher(by, value)?.ok_or_else(refused)?;
                    chosen.retain(|it| matches(it));
                }
                ["exclude", by, value] => {
                    let matches = matcher(by, value)?.ok_or_else(refused)?;
                    chosen.retain(|it| !matches(it));
                }
                ["attr", "address"] => chosen.truncate(1),
                ["join", "address", " "] => {}
                _ => return Err(refused()),
            }
        }
        if chosen.is_empty() {
            return Err(format!("template {{{{{template}}}}} matches no address of this host"));
        }
        Ok(chosen.iter().map(|it| it.ip.to_string()).collect::<Vec<_>>().join(" "))
    }
}

type Matcher = Box<dyn Fn(&Interface) -> bool>;

fn matcher(by: &str, value: &str) -> Result<Option<Matcher>, String> {
    Ok(Some(match by {
        "network" => {
            let network: IpNet =
                value.parse().map_err(|_| format!("template: expected a network such as 10.0.0.0/8, got {value:?}"))?;
            Box::new(move |it| network.contains(&it.ip))
        }
        "name" => {
            let pattern = Regex::new(value).map_err(|error| format!("template: {value:?} is no regular expression: {error}"))?;
            Box::new(move |it| pattern.is_match(&it.name))
        }
        "type" if value.eq_ignore_ascii_case("ipv4") => Box::new(|it| it.ip.is_ipv4()),
        "type" if value.eq_ignore_ascii_case("ipv6") => Box::new(|it| it.ip.is_ipv6()),
        _ => return Ok(None),
    }))
}

/// The words of one stage; quoted ones may hold spaces. Nothing when a quote is not closed.
fn words(stage: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = stage.trim();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = tail.trim_start();
    }
    Some(words)
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
mod tests {
    use super::*;

    fn host(addresses: &[(&str, &str)]) -> Host {
        let interface = |(name, ip): &(&str, &str)| Interface { name: (*name).to_owned(), ip: ip.parse().unwrap() };
        Host { name: "h".to_owned(), interfaces: addresses.iter().map(interface).collect() }
    }

    #[test]
    fn the_only_private_address_is_taken_and_several_are_refused_with_consul_s_text() {
        assert_eq!(host(&[("lo", "127.0.0.1"), ("eth0", "10.0.0.5")]).private_ipv4(), Ok("10.0.0.5".parse().unwrap()));
        let several = host(&[("eth0", "10.0.0.5"), ("eth1", "192.168.1.5")]).private_ipv4().unwrap_err();
        assert_eq!(several, "Multiple private IPv4 addresses found. Please configure one with 'bind' and/or 'advertise'.");
        assert!(host(&[("eth0", "8.8.8.8")]).private_ipv4().unwrap_err().starts_with("No private IPv4 address found"));
    }

    #[test]
    fn templates_choose_addresses() {
        let host = host(&[("lo", "127.0.0.1"), ("eth0", "8.8.8.8"), ("eth1", "10.1.2.3"), ("eth1", "fd00::1")]);
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("{{ GetPrivateIP }}", "10.1.2.3"),
            ("{{GetInterfaceIP \"eth0\"}}", "8.8.8.8"),
            ("127.0.0.1 {{ GetInterfaceIP \"eth1\" }}", "127.0.0.1 10.1.2.3"),
            ("{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}", "10.1.2.3"),
            (
                "{{ GetAllInterfaces | exclude \"name\" \"^lo\" | include \"type\" \"IPv4\" | join \"address\" \" \" }}",
                "8.8.8.8 10.1.2.3",
            ),
        ] {
            assert_eq!(host.expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_or_matches_nothing_is_told() {
        let host = host(&[("lo", "127.0.0.1")]);
        for text in [
            "{{ GetDefaultInterfaces }}",
            "{{ GetInterfaceIP \"eth0 }}",
            "{{ GetPrivateIP",
            "{{ GetInterfaceIP \"wlan0\" }}",
            "{{ GetAllInterfaces | include \"network\" \"ten\" }}",
            "{{ GetAllInterfaces | sort \"size\" }}",
            "{{ }}",
        ] {
            assert!(host.expand(text).is_err(), "{text}");
        }
    }
}
