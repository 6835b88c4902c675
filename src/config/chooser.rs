//! Addresses as they are written, read on a host as it is.

use super::interfaces::Host;
use super::problems::Problems;
use super::template;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The key of the address that is advertised when none is named.
pub(super) const ONLY: &str = "the only address";

/// Addresses by the key that named them.
pub(super) type Found = BTreeMap<&'static str, Vec<IpAddr>>;

/// Reads addresses, templates included.
#[derive(Debug)]
pub(super) struct Chooser<'a> {
    host: &'a Host,
    /// The addresses of a running agent.
    before: Found,
    /// The addresses read now, or those from before.
    pub(super) found: Found,
    pub(super) missing: Vec<String>,
}

impl<'a> Chooser<'a> {
    /// The chooser of an agent that has the addresses `before`, if it runs already.
    pub(super) fn new(host: &'a Host, before: Found) -> Chooser<'a> {
        Chooser { host, before, found: Found::new(), missing: Vec::new() }
    }

    /// The addresses of a space-separated list.
    pub(super) fn several(&mut self, text: Option<&str>, key: &'static str, problems: &mut Problems) -> Vec<IpAddr> {
        let Some(text) = text else { return Vec::new() };
        self.take(key, read(text, key, self.host), problems)
    }

    pub(super) fn one(&mut self, text: Option<&str>, key: &'static str, problems: &mut Problems) -> Option<IpAddr> {
        let read = read(text?, key, self.host).and_then(|ips| match ips.len() {
            0 | 1 => Ok(ips),
            _ => Err(vec![format!("{key} cannot contain multiple addresses")]),
        });
        self.take(key, read, problems).first().copied()
    }

    /// At most one address, which others can reach.
    pub(super) fn advertised(&mut self, text: Option<&str>, key: &'static str, problems: &mut Problems) -> Option<IpAddr> {
        let ip = self.one(text, key, problems)?;
        if ip.is_unspecified() {
            problems.error(format!("{key}: Advertise address cannot be 0.0.0.0, :: or [::]"));
        }
        Some(ip)
    }

    /// The only address of its kind. An address advertised before stays for as long as the host has it.
    pub(super) fn only(&mut self, of: fn(&Host) -> Result<IpAddr, String>, problems: &mut Problems) -> Option<IpAddr> {
        let held = self.before.get(ONLY).and_then(|ips| ips.first()).filter(|ip| self.host.has(**ip));
        let read = held.map_or_else(|| of(self.host), |ip| Ok(*ip));
        self.take(ONLY, read.map(|ip| vec![ip]).map_err(|error| vec![error]), problems).first().copied()
    }

    /// The addresses read, or those from before.
    fn take(&mut self, key: &'static str, read: Result<Vec<IpAddr>, Vec<String>>, problems: &mut Problems) -> Vec<IpAddr> {
        let ips = match (read, self.before.get(key)) {
            (Ok(ips), _) => ips,
            (Err(causes), Some(before)) => {
                self.missing.extend(causes);
                before.clone()
            }
            (Err(causes), None) => {
                causes.into_iter().for_each(|cause| problems.error(cause));
                Vec::new()
            }
        };
        self.found.insert(key, ips.clone());
        ips
    }
}

/// The addresses that a text names on this host, or all reasons why there are none.
fn read(text: &str, key: &str, host: &Host) -> Result<Vec<IpAddr>, Vec<String>> {
    let expanded = template::expand(text, host).map_err(|error| vec![format!("{key}: {error}")])?;
    let (mut ips, mut causes) = (Vec::new(), Vec::new());
    for word in expanded.text.split_whitespace() {
        match word.trim_start_matches('[').trim_end_matches(']').parse() {
            Ok(ip) if !ips.contains(&ip) => ips.push(ip),
            Ok(_) => {}
            Err(_) => causes.push(format!("{key}: expected an IP address, got {word:?}")),
        }
    }
    if ips.is_empty() {
        causes.extend(expanded.unmatched.iter().map(|cause| format!("{key}: {cause}")));
    }
    if causes.is_empty() { Ok(ips) } else { Err(causes) }
}
