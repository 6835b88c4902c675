//! `federation {}`: servers of other datacenters.

use crate::defaults;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The mark of a static entry's fingerprint.
pub(super) const PIN: &str = "sha256:";
/// Digits of a SHA-256 in hex.
const PIN_DIGITS: usize = 64;
const HOST_BYTES: usize = 253;

/// A server of another datacenter, named by `federation {}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StaticServer {
    /// An IP address or a DNS name, without brackets.
    pub host: String,
    /// The UDP port of its bridge.
    pub port: u16,
    /// SHA-256 of its certificate in lower-case hex; without it a CA vouches for the server.
    pub pin: Option<String>,
}

impl StaticServer {
    /// Reads `host`, `host:port` or `[v6]:port`, with or without `#sha256:<hex>`. The error names the expectation.
    pub(super) fn parse(text: &str) -> Result<StaticServer, String> {
        let (address, pin) = match text.trim().split_once('#') {
            None => (text.trim(), None),
            Some((address, pin)) => (address, Some(parse_pin(pin)?)),
        };
        let expected = || format!("expected host, host:port or [IPv6]:port, got {text:?}");
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(expected)?;
                host.parse::<Ipv6Addr>().map_err(|_| expected())?;
                let port = (!rest.is_empty()).then(|| rest.strip_prefix(':').ok_or_else(expected)).transpose()?;
                (host, port)
            }
            None if address.parse::<IpAddr>().is_ok() => (address, None),
            None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if host.parse::<IpAddr>().is_err() && (host.is_empty() || host.len() > HOST_BYTES || !host.chars().all(word)) {
            return Err(expected());
        }
        let wrong = |port: &str| format!("expected a port from 1 to 65535, got {port:?} in {text:?}");
        let read = |port: &str| port.parse().ok().filter(|number| *number != 0).ok_or_else(|| wrong(port));
        let port = port.map_or(Ok(defaults::PORT_BRIDGE), read)?;
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
