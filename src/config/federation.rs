//! What operators say of other datacenters: the stanza `bridge {}` and the static list `federation {}`.
//!
//! Called by `resolve` alone, after `safety`: without a fingerprint an entry needs the certificates
//! of a CA.

use super::Config;
use super::file::{BridgeStanza, File};
use super::merge::{Problems, Setting, join_key, read_object};
use super::resolve::{datacenter, set, within};
use crate::defaults;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The families of endpoints that `bridge.stale_by_default` may name: the first word of their path
/// below `/v1`.
const FAMILIES: [&str; 3] = ["catalog", "coordinate", "health"];
/// What marks the fingerprint of a static entry.
const PIN: &str = "sha256:";
/// Digits of a SHA-256 in hex.
const PIN_DIGITS: usize = 64;
/// Bytes of a DNS name.
const HOST_BYTES: usize = 253;

/// Which reads of other datacenters may be stale when their user has left it open
/// (`bridge { stale_by_default }`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StaleByDefault {
    /// None.
    #[default]
    Never,
    /// All.
    Always,
    /// Those below `/v1/<one of these>/`.
    Endpoints(BTreeSet<String>),
}

impl StaleByDefault {
    /// Whether reads of a family of endpoints (`catalog`, `health`, …) may be.
    pub fn covers(&self, family: &str) -> bool {
        match self {
            StaleByDefault::Never => false,
            StaleByDefault::Always => true,
            StaleByDefault::Endpoints(families) => families.contains(family),
        }
    }
}

impl fmt::Display for StaleByDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaleByDefault::Never => f.write_str("false"),
            StaleByDefault::Always => f.write_str("true"),
            StaleByDefault::Endpoints(families) => {
                f.write_str(&families.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Setting for StaleByDefault {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<StaleByDefault> {
        match value {
            Value::Bool(true) => Some(StaleByDefault::Always),
            Value::Bool(false) => Some(StaleByDefault::Never),
            Value::Array(_) => {
                let families: BTreeSet<String> = Vec::<String>::read(value, key, problems)?.into_iter().collect();
                for unknown in families.iter().filter(|family| !FAMILIES.contains(&family.as_str())) {
                    problems.error(format!("{key}: expected some of {}, got {unknown:?}", FAMILIES.join(", ")));
                }
                Some(StaleByDefault::Endpoints(families))
            }
            other => {
                problems.expected(key, "true, false or a list of endpoints such as [\"catalog\", \"health\"]", &other);
                None
            }
        }
    }
}

/// `federation {}` as it is written: datacenter to entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StaticLists(BTreeMap<String, Vec<String>>);

impl Setting for StaticLists {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<StaticLists> {
        let object = read_object(value, key, problems)?;
        let read_list = |(dc, list): (String, Value)| {
            let entries = Vec::<String>::read(list, &join_key(key, &dc), problems)?;
            Some((dc, entries))
        };
        Some(StaticLists(object.into_iter().filter_map(read_list).collect()))
    }

    fn merge(&mut self, later: StaticLists) {
        for (dc, entries) in later.0 {
            self.0.entry(dc).or_default().extend(entries);
        }
    }
}

/// A server of another datacenter, named by `federation {}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaticServer {
    /// An IP address or a DNS name, without brackets.
    pub host: String,
    /// Where its bridge listens (UDP).
    pub port: u16,
    /// SHA-256 of its certificate in lower-case hex; without one a CA vouches for it.
    pub pin: Option<String>,
}

impl StaticServer {
    /// Reads `host`, `host:port` or `[v6]:port`, with `#sha256:<hex>` behind it or not. The error says
    /// what was expected.
    fn parse(text: &str) -> Result<StaticServer, String> {
        let (address, pin) = match text.trim().split_once('#') {
            None => (text.trim(), None),
            Some((address, pin)) => (address, Some(parse_pin(pin)?)),
        };
        let expected = || format!("expected host, host:port or [IPv6]:port, got {text:?}");
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(expected)?;
                host.parse::<Ipv6Addr>().map_err(|_| expected())?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':').ok_or_else(expected)?),
                };
                (host, port)
            }
            None if address.parse::<IpAddr>().is_ok() => (address, None),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if host.parse::<IpAddr>().is_err() && (host.is_empty() || host.len() > HOST_BYTES || !host.chars().all(word)) {
            return Err(expected());
        }
        let port = match port {
            None => defaults::PORT_BRIDGE,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("expected a port from 1 to 65535, got {port:?} in {text:?}"))?,
        };
        Ok(StaticServer { host: host.to_ascii_lowercase(), port, pin })
    }
}

impl fmt::Display for StaticServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        self.pin.as_ref().map_or(Ok(()), |pin| write!(f, "#{PIN}{pin}"))
    }
}

fn parse_pin(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(PIN).map(|digits| digits.replace(':', "").to_ascii_lowercase());
    digits
        .filter(|digits| digits.len() == PIN_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .ok_or_else(|| format!("expected #{PIN} and {PIN_DIGITS} hex digits behind the address, got #{text}"))
}

/// Fills in what concerns other datacenters.
pub(super) fn resolve(file: &File, config: &mut Config, problems: &mut Problems) {
    let BridgeStanza { require_ca, accept_operator_writes, cache_bytes, stale_by_default, max_stale, disabled } =
        file.bridge.clone().unwrap_or_default();
    config.bridge_require_ca = require_ca;
    set(&mut config.bridge_accept_operator_writes, accept_operator_writes);
    let bounds = (defaults::BRIDGE_CACHE_LEAST, defaults::BRIDGE_CACHE_MOST);
    set(&mut config.bridge_cache_bytes, within(cache_bytes, "bridge.cache_bytes", bounds, problems));
    set(&mut config.bridge_stale_by_default, stale_by_default);
    if max_stale == Some(Duration::ZERO) {
        problems.error("bridge.max_stale: expected more than 0, such as 10m; leave it out for no bound");
    }
    config.bridge_max_stale = max_stale;
    for name in disabled.unwrap_or_default() {
        let dc = another("bridge.disabled", &name, config, problems);
        config.bridge_disabled.insert(dc);
    }
    federation(file.federation.clone().unwrap_or_default(), config, problems);
}

fn federation(lists: StaticLists, config: &mut Config, problems: &mut Problems) {
    if lists.0.len() > defaults::FEDERATION_MAX_DATACENTERS {
        let most = defaults::FEDERATION_MAX_DATACENTERS;
        problems.error(format!("federation: expected at most {most} datacenters, got {}", lists.0.len()));
    }
    let vouched = config.tls.is_whole();
    for (name, entries) in lists.0 {
        let key = join_key("federation", &name);
        let dc = another(&key, &name, config, problems);
        if entries.is_empty() || entries.len() > defaults::FEDERATION_MAX_SERVERS {
            let most = defaults::FEDERATION_MAX_SERVERS;
            problems.error(format!("{key}: expected 1 to {most} servers such as \"host:8300\", got {}", entries.len()));
        }
        for entry in entries {
            let server = match StaticServer::parse(&entry) {
                Ok(server) => server,
                Err(message) => {
                    problems.error(format!("{key}: {message}"));
                    continue;
                }
            };
            match &server.pin {
                Some(_) if config.requires_ca() => problems.error(format!(
                    "{key}: bridge {{ require_ca = true }} refuses fingerprints, and is the default with ca_file and cert_file; \
                     remove #{PIN}… behind {}:{}, or set it to false",
                    server.host, server.port
                )),
                None if !vouched && config.server => problems.error(format!(
                    "{key}: nothing vouches for {server}; add #{PIN}<fingerprint of its certificate> (`kontor info` shows it \
                     there), or set ca_file, cert_file and key_file"
                )),
                _ => {}
            }
            let servers = config.federation.entry(dc.clone()).or_default();
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
    }
    if !config.federation.is_empty() && !config.server {
        problems.warn("federation has no effect on a client agent: its servers have the links");
    }
}

/// The name of a datacenter that is not this one.
fn another(key: &str, name: &str, config: &Config, problems: &mut Problems) -> String {
    let dc = datacenter(name, key, problems);
    if dc == config.datacenter {
        problems.error(format!("{key}: expected another datacenter, got {dc:?}, which is this agent's own"));
    }
    dc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn every_way_to_write_a_server_is_read() {
        let pinned = format!("a.example:9#sha256:{}", HEX.to_ascii_uppercase());
        for (text, host, port, pin) in [
            ("a.example", "a.example", 8300, None),
            ("A.example:9", "a.example", 9, None),
            (" 10.0.0.1 ", "10.0.0.1", 8300, None),
            ("10.0.0.1:9", "10.0.0.1", 9, None),
            ("[fd00::1]:9", "fd00::1", 9, None),
            ("[fd00::1]", "fd00::1", 8300, None),
            ("fd00::1", "fd00::1", 8300, None),
            (pinned.as_str(), "a.example", 9, Some(HEX)),
        ] {
            let expected = StaticServer { host: host.to_owned(), port, pin: pin.map(str::to_owned) };
            assert_eq!(StaticServer::parse(text), Ok(expected.clone()), "{text}");
            assert_eq!(StaticServer::parse(&expected.to_string()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_named() {
        for text in ["", ":8300", "a b", "a:0", "a:x", "a:70000", "[fd00::1", "[x]:9", "[::1]9", "a:1:2", "a#", "a#sha256:12"] {
            let error = StaticServer::parse(text).unwrap_err();
            assert!(error.starts_with("expected "), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,40}|[\\[\\]:#a0.]{0,20}") {
            let _ = StaticServer::parse(&text);
        }
    }
}
