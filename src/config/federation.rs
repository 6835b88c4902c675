//! Settings about other datacenters: the stanza `bridge {}` and the static list `federation {}`.
//!
//! `resolve` calls it after `safety`: an entry without a fingerprint needs the certificates of a CA.

use super::Config;
use super::file::{BridgeStanza, File};
use super::merge::join_key;
use super::problems::Problems;
use super::static_servers::{PIN, StaticServer};
use super::values::{datacenter, set, within};
use crate::defaults;
use std::collections::BTreeMap;
use std::time::Duration;

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

fn federation(lists: BTreeMap<String, Vec<String>>, config: &mut Config, problems: &mut Problems) {
    let most = defaults::FEDERATION_MAX_DATACENTERS;
    if lists.len() > most {
        problems.error(format!("federation: expected at most {most} datacenters, got {}", lists.len()));
    }
    let vouched = config.tls.is_whole();
    for (name, entries) in lists {
        let key = join_key("federation", &name);
        let dc = another(&key, &name, config, problems);
        if entries.is_empty() || entries.len() > defaults::FEDERATION_MAX_SERVERS {
            let most = defaults::FEDERATION_MAX_SERVERS;
            problems.error(format!("{key}: expected 1 to {most} servers such as \"host:8300\", got {}", entries.len()));
        }
        for entry in entries {
            let parsed = StaticServer::parse(&entry).map_err(|message| problems.error(format!("{key}: {message}")));
            let Ok(server) = parsed else { continue };
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
