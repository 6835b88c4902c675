//! The stages of a template: sources of addresses, filters, order, and attributes.
//!
//! Names and results are go-sockaddr's. Equals stay in the order of the host, so that an address in use stays first.

use super::super::interfaces::{Flags, Host, Interface};
use super::super::ranges;
use super::tokens::{Token, shown};
use ipnet::IpNet;
use regex::Regex;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Addresses(Vec<Interface>),
    Text(String),
}

const SOURCES: &str = "GetAllInterfaces, GetDefaultInterfaces, GetPrivateInterfaces, GetPublicInterfaces, GetPrivateIP, \
     GetPrivateIPs, GetPublicIP, GetPublicIPs, GetInterfaceIP \"<name>\" or GetInterfaceIPs \"<name>\"";
const STAGES: &str = "include or exclude \"<selector>\" \"<value>\", sort \"<keys>\", unique \"<attribute>\", limit <number>, \
     offset <number>, math \"<operation>\" \"<value>\", attr \"<attribute>\" or join \"<attribute>\" \"<separator>\"";

/// The first stage.
pub(super) fn source(stage: &[Token], host: &Host) -> Result<Value, String> {
    let all = || host.interfaces.clone();
    Ok(match stage {
        [Token::Word(name)] => match name.as_str() {
            "." | "GetAllInterfaces" => Value::Addresses(all()),
            "GetDefaultInterfaces" => Value::Addresses(of_default(host)?),
            "GetPrivateInterfaces" => Value::Addresses(reachable(host, true)),
            "GetPublicInterfaces" => Value::Addresses(reachable(host, false)),
            "GetPrivateIP" => first(&reachable(host, true)),
            "GetPublicIP" => first(&reachable(host, false)),
            "GetPrivateIPs" => every(&sorted(reachable(host, true), "type,size", host)?),
            "GetPublicIPs" => every(&sorted(reachable(host, false), "type,size", host)?),
            _ => return Err(format!("expected {SOURCES}, got {}", shown(stage))),
        },
        [Token::Word(name), Token::Quoted(wanted)] if name == "GetInterfaceIP" => first(&named(wanted, host)?),
        [Token::Word(name), Token::Quoted(wanted)] if name == "GetInterfaceIPs" => every(&named(wanted, host)?),
        _ => return Err(format!("expected {SOURCES}, got {}", shown(stage))),
    })
}

pub(super) fn apply(stage: &[Token], mut addresses: Vec<Interface>, host: &Host) -> Result<Value, String> {
    let refused = || format!("expected {STAGES}, got {}", shown(stage));
    let [Token::Word(name), arguments @ ..] = stage else { return Err(refused()) };
    match (name.as_str(), arguments) {
        ("include" | "exclude", [Token::Quoted(selector), Token::Quoted(value)]) => {
            let matches = matcher(selector, value)?;
            addresses.retain(|it| matches(it) == (name == "include"));
        }
        ("sort", [Token::Quoted(keys)]) => addresses = sorted(addresses, keys, host)?,
        ("unique", [Token::Quoted(by)]) => match by.to_lowercase().as_str() {
            "address" => addresses.dedup_by(|a, b| a.net() == b.net()),
            "name" => addresses.dedup_by(|a, b| a.name == b.name),
            _ => return Err(format!("unique: expected \"address\" or \"name\", got {by:?}")),
        },
        ("limit", [Token::Word(number)]) => {
            let limit = number.parse().map_err(|_| format!("limit: expected a number from 0, got {number}"))?;
            addresses.truncate(limit);
        }
        ("offset", [Token::Word(number)]) => addresses = offset(addresses, number)?,
        ("math", [Token::Quoted(operation), Token::Quoted(value)]) => {
            addresses = addresses.into_iter().map(|it| calculated(it, operation, value)).collect::<Result<_, _>>()?;
        }
        ("attr", [Token::Quoted(name)]) => {
            let first = addresses.first().map(|it| attribute(it, name)).transpose()?;
            return Ok(Value::Text(first.unwrap_or_default()));
        }
        ("join", [Token::Quoted(name), Token::Quoted(separator)]) => {
            let all = addresses.iter().map(|it| attribute(it, name)).collect::<Result<Vec<String>, String>>()?;
            return Ok(Value::Text(all.join(separator)));
        }
        _ => return Err(refused()),
    }
    Ok(Value::Addresses(addresses))
}

fn first(addresses: &[Interface]) -> Value {
    every(addresses.get(..1).unwrap_or_default())
}

fn every(addresses: &[Interface]) -> Value {
    Value::Text(joined(addresses))
}

/// The addresses with spaces between them.
pub(super) fn joined(addresses: &[Interface]) -> String {
    addresses.iter().map(|it| it.ip.to_string()).collect::<Vec<String>>().join(" ")
}

/// The forwardable addresses, private or public, of interfaces that are up; those of the default route first.
fn reachable(host: &Host, private: bool) -> Vec<Interface> {
    let wanted =
        |it: &&Interface| it.flags.has(Flags::UP) && ranges::is_forwardable(it.ip) && ranges::is_special(it.ip) == private;
    let found: Vec<Interface> = host.interfaces.iter().filter(wanted).cloned().collect();
    sorted(found, "default,type,size", host).unwrap_or_default()
}

fn of_default(host: &Host) -> Result<Vec<Interface>, String> {
    let name = host.default_interface.as_deref().ok_or("this host has no default route, which GetDefaultInterfaces needs")?;
    Ok(host.interfaces.iter().filter(|it| it.name == name).cloned().collect())
}

/// The addresses of the interface `name`, or of those that match it as a regular expression, but for those of a link alone.
fn named(name: &str, host: &Host) -> Result<Vec<Interface>, String> {
    let exact = host.interfaces.iter().any(|it| it.name == name);
    let pattern = regular_expression("name", name)?;
    let matches = |it: &&Interface| if exact { it.name == name } else { pattern.is_match(&it.name) };
    let usable = |it: &&Interface| ranges::is_forwardable(it.ip) || it.ip.is_loopback();
    let found: Vec<Interface> = host.interfaces.iter().filter(matches).filter(usable).cloned().collect();
    sorted(found, "type,size", host)
}

type Property = fn(IpAddr) -> bool;
type Matcher = Box<dyn Fn(&Interface) -> bool>;

fn matcher(selector: &str, value: &str) -> Result<Matcher, String> {
    let choices = || value.split('|').map(str::trim);
    Ok(match selector.to_lowercase().as_str() {
        "address" => {
            let pattern = regular_expression(selector, value)?;
            Box::new(move |it| pattern.is_match(&it.net().to_string()))
        }
        "name" => {
            let pattern = regular_expression(selector, value)?;
            Box::new(move |it| pattern.is_match(&it.name))
        }
        "network" => {
            let networks = choices().map(network).collect::<Result<Vec<IpNet>, String>>()?;
            Box::new(move |it| ranges::lies_in(it.ip, &networks))
        }
        "rfc" | "rfcs" => {
            let networks: Vec<IpNet> =
                choices().map(ranges::of_rfc).collect::<Result<Vec<Vec<IpNet>>, String>>()?.into_iter().flatten().collect();
            Box::new(move |it| ranges::lies_in(it.ip, &networks))
        }
        "size" => {
            let wrong = || format!("size: expected the bits of a network such as \"24\", got {value:?}");
            let bits = bits_within(128, value).ok_or_else(wrong)?;
            Box::new(move |it| it.prefix == bits)
        }
        "type" => {
            let kinds = choices().map(|kind| family(kind, value)).collect::<Result<Vec<(bool, bool)>, String>>()?;
            Box::new(move |it| kinds.iter().any(|(v4, v6)| if it.ip.is_ipv4() { *v4 } else { *v6 }))
        }
        "flag" | "flags" => flags(value)?,
        // Addresses of interfaces have port 0.
        "port" => {
            let matches = regular_expression(selector, value)?.is_match("0");
            Box::new(move |_| matches)
        }
        _ => {
            return Err(format!("expected a selector address, flags, name, network, port, rfc, size or type, got {selector:?}"));
        }
    })
}

fn regular_expression(selector: &str, value: &str) -> Result<Regex, String> {
    Regex::new(value).map_err(|error| format!("{selector}: expected a regular expression, got {value:?}: {error}"))
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("network: expected one such as 10.0.0.0/8, or several with | between, got {text:?}"))
}

/// The families of a type: IPv4, IPv6.
fn family(kind: &str, all: &str) -> Result<(bool, bool), String> {
    match kind.to_lowercase().as_str() {
        "ip" => Ok((true, true)),
        "ipv4" => Ok((true, false)),
        "ipv6" => Ok((false, true)),
        "unix" => Ok((false, false)),
        _ => Err(format!("type: expected ip, ipv4 or ipv6, or several with | between, got {all:?}")),
    }
}

/// As in go-sockaddr, the interface has all flags named, or the address any property named.
fn flags(value: &str) -> Result<Matcher, String> {
    let (mut wanted, mut asks_flags) = (0, false);
    let mut properties: Vec<Property> = Vec::new();
    for name in value.to_lowercase().split('|') {
        let (flag, property): (Option<Flags>, Option<Property>) = match name.trim() {
            "up" => (Some(Flags::UP), None),
            "down" => (Some(Flags(0)), None),
            "broadcast" => (Some(Flags::BROADCAST), None),
            "point-to-point" => (Some(Flags::POINT_TO_POINT), None),
            "loopback" => (Some(Flags::LOOPBACK), Some(|ip| ip.is_loopback())),
            "multicast" => (Some(Flags::MULTICAST), Some(|ip| ip.is_multicast())),
            "forwardable" => (None, Some(ranges::is_forwardable)),
            "global unicast" => (None, Some(is_global_unicast)),
            "link-local unicast" => (None, Some(is_link_local)),
            "unspecified" => (None, Some(|ip| ip.is_unspecified())),
            "interface-local multicast" => (None, Some(|ip| is_multicast_of_scope(ip, 1))),
            "link-local multicast" => (None, Some(|ip| is_multicast_of_scope(ip, 2))),
            _ => {
                return Err(format!(
                    "flags: expected up, down, broadcast, loopback, multicast, point-to-point, forwardable, \
                     \"global unicast\", \"link-local unicast\" and the like with | between, got {name:?}"
                ));
            }
        };
        if let Some(Flags(bits)) = flag {
            (wanted, asks_flags) = (wanted | bits, true);
        }
        properties.extend(property);
    }
    Ok(Box::new(move |it| asks_flags && it.flags.has(Flags(wanted)) || properties.iter().any(|property| property(it.ip))))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip) || broadcast)
}

fn is_multicast_of_scope(ip: IpAddr, scope: u16) -> bool {
    match ip {
        IpAddr::V4(v4) => scope == 2 && v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => ip.is_multicast() && v6.segments()[0] & 0xf == scope,
    }
}

/// Sorts by `type,-size` and the like.
fn sorted(mut addresses: Vec<Interface>, keys: &str, host: &Host) -> Result<Vec<Interface>, String> {
    type Order = fn(&Interface, &Interface, &Host) -> Ordering;
    let mut orders: Vec<(bool, Order)> = Vec::new();
    for key in keys.split(',') {
        let key = key.trim().to_lowercase();
        let (descending, name) = match key.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, key.strip_prefix('+').unwrap_or(&key)),
        };
        let order: Order = match name {
            "address" => |a, b, _| a.ip.cmp(&b.ip),
            "default" => |a, b, host| {
                let is_other = |it: &Interface| host.default_interface.as_ref() != Some(&it.name);
                is_other(a).cmp(&is_other(b))
            },
            "name" => |a, b, _| a.name.cmp(&b.name),
            "port" => |_, _, _| Ordering::Equal,
            "private" => |a, b, _| ranges::is_special(b.ip).cmp(&ranges::is_special(a.ip)),
            "size" => |a, b, _| a.prefix.cmp(&b.prefix),
            "type" => |a, b, _| a.ip.is_ipv6().cmp(&b.ip.is_ipv6()),
            _ => {
                return Err(format!(
                    "sort: expected address, default, name, port, private, size or type, with - in front for the \
                     opposite order and commas between, got {key:?}"
                ));
            }
        };
        orders.push((descending, order));
    }
    addresses.sort_by(|a, b| {
        let by = |(descending, order): &(bool, Order)| {
            let order = order(a, b, host);
            if *descending { order.reverse() } else { order }
        };
        orders.iter().map(by).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    });
    Ok(addresses)
}

/// Leaves out the first addresses, or with a negative number all but the last.
fn offset(mut addresses: Vec<Interface>, number: &str) -> Result<Vec<Interface>, String> {
    let by: i64 = number.parse().map_err(|_| format!("offset: expected a number such as 1 or -1, got {number}"))?;
    let count = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    if count > addresses.len() {
        return Err(format!("offset: there are {} addresses, which {number} is past", addresses.len()));
    }
    let start = if by < 0 { addresses.len() - count } else { count };
    Ok(addresses.split_off(start))
}

/// An address near another: `math "address" "+1"`, `math "network" "-1"`, `math "mask" "24"`.
fn calculated(it: Interface, operation: &str, value: &str) -> Result<Interface, String> {
    let width = if it.ip.is_ipv4() { 32 } else { 128 };
    let signed = || {
        let number = value.trim().parse::<i64>().ok().filter(|_| value.trim_start().starts_with(['+', '-']));
        number.ok_or_else(|| format!("math {operation:?}: expected a number with its sign such as \"+1\", got {value:?}"))
    };
    let low = u128::MAX >> (128 - width);
    let hosts = low.checked_shr(u32::from(it.prefix)).unwrap_or(0);
    match operation.to_lowercase().as_str() {
        "address" => {
            let number = number_of(it.ip).wrapping_add_signed(i128::from(signed()?)) & low;
            Ok(Interface { ip: address_of(number, it.ip), ..it })
        }
        "network" => {
            // From the first address of the network, or from behind its last, within the network.
            let number = (number_of(it.ip) & !hosts) | (0_u128.wrapping_add_signed(i128::from(signed()?)) & hosts);
            Ok(Interface { ip: address_of(number, it.ip), ..it })
        }
        "mask" => {
            let wrong = || format!("math \"mask\": expected 0 to {width} bits for {}, got {value:?}", it.ip);
            let bits = bits_within(width, value).ok_or_else(wrong)?;
            let number = number_of(it.ip) & !low.checked_shr(u32::from(bits)).unwrap_or(0);
            Ok(Interface { ip: address_of(number, it.ip), prefix: it.prefix.min(bits), ..it })
        }
        _ => Err(format!("math: expected \"address\", \"network\" or \"mask\", got {operation:?}")),
    }
}

fn bits_within(width: u32, text: &str) -> Option<u8> {
    text.parse().ok().filter(|bits| u32::from(*bits) <= width)
}

fn number_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address with this number, of the family of `like`.
fn address_of(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((number & u128::from(u32::MAX)) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

fn attribute(it: &Interface, name: &str) -> Result<String, String> {
    let net = it.net();
    Ok(match name.to_lowercase().as_str() {
        "address" => it.ip.to_string(),
        "name" => it.name.clone(),
        "type" => if it.ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        "string" if u32::from(it.prefix) == u32::from(net.max_prefix_len()) => it.ip.to_string(),
        "string" => net.to_string(),
        "network" => net.trunc().to_string(),
        "netmask" => net.netmask().to_string(),
        "broadcast" => net.broadcast().to_string(),
        "mask_bits" => it.prefix.to_string(),
        _ => {
            return Err(format!(
                "expected an attribute address, name, type, string, network, netmask, broadcast or mask_bits, got {name:?}"
            ));
        }
    })
}
