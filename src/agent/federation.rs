//! Operators' rules about other datacenters for gossip and bridge: disabled and removed ones, and the static list.
//!
//! Names of the static list are resolved anew for ever. The core is pure; the tasks at the end feed it.

use super::kept_removals::KeptRemovals;
use super::publish;
use crate::bridge::{Admission, RemoteServer, UnresolvedName};
use crate::config::{Config, StaticServer};
use crate::defaults;
use crate::gossip::Gossip;
use crate::model::removals::Removals;
use crate::model::request::BoxFuture;
use crate::store::Reader;
use crate::telemetry::FailureThrottle;
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// The settings about other datacenters that a reload changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    pub disabled: BTreeSet<String>,
    pub servers: BTreeMap<String, Vec<StaticServer>>,
}

impl Rules {
    pub(super) fn of(config: &Config) -> Rules {
        Rules { disabled: config.bridge_disabled.clone(), servers: config.federation.clone() }
    }

    pub(super) fn admission(&self, removals: Arc<Removals>) -> Admission {
        let mut pins = crate::tls::PinTable::new();
        for (dc, servers) in &self.servers {
            pins.entry(dc.clone()).or_default().extend(servers.iter().filter_map(|server| server.pin.clone()));
        }
        Admission { disabled: self.disabled.clone(), removals, pins }
    }

    /// The names to resolve, with their datacenters. An IP address is a name too.
    fn names(&self) -> impl Iterator<Item = (&String, Name)> {
        let of = |server: &StaticServer| Name { host: server.host.clone(), port: server.port };
        self.servers.iter().flat_map(move |(dc, servers)| {
            servers.iter().map(of).collect::<BTreeSet<Name>>().into_iter().map(move |name| (dc, name))
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    host: String,
    port: u16,
}

/// Finds the addresses of a name; the error says why there are none.
pub(super) type Lookup = Arc<dyn Fn(Name) -> BoxFuture<Result<Vec<SocketAddr>, String>> + Send + Sync>;

pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.host.as_str(), name.port));
            match tokio::time::timeout(defaults::FEDERATION_RESOLVE_TIMEOUT, found).await {
                Ok(Ok(found)) => Ok(found.collect()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_elapsed) => Err(format!("no answer within {:?}", defaults::FEDERATION_RESOLVE_TIMEOUT)),
            }
        })
    })
}

#[derive(Debug, Default)]
struct Known {
    addresses: BTreeSet<SocketAddr>,
    trouble: FailureThrottle,
    asked: Option<Instant>,
    /// Why the last lookup failed.
    cause: Option<String>,
}

/// The names of the static list and their last addresses.
#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<Name, Known>,
}

impl Names {
    /// Forgets names that left the list, and gives those due at `now`: sooner where `has_outage` reports links down.
    fn due(&mut self, rules: &Rules, has_outage: impl Fn(&str) -> bool, now: Instant) -> Vec<Name> {
        let mut intervals: BTreeMap<Name, Duration> = BTreeMap::new();
        for (dc, name) in rules.names() {
            let interval =
                if has_outage(dc) { defaults::FEDERATION_RESOLVE_RETRY } else { defaults::FEDERATION_RESOLVE_INTERVAL };
            let least = intervals.entry(name).or_insert(interval);
            *least = interval.min(*least);
        }
        self.known.retain(|name, _| intervals.contains_key(name));
        let mut due = Vec::new();
        for (name, interval) in intervals {
            let known = self.known.entry(name.clone()).or_default();
            if known.asked.is_none_or(|resolved| now.saturating_duration_since(resolved) >= interval) {
                known.asked = Some(now);
                due.push(name);
            }
        }
        due
    }

    /// Takes in the outcome of a lookup. A failed one keeps the last addresses, so that it takes no link down.
    fn learn(&mut self, name: &Name, outcome: Result<Vec<SocketAddr>, String>, now: Instant) {
        let Some(known) = self.known.get_mut(name) else { return };
        let found = outcome.and_then(|found| if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) });
        match found {
            Ok(found) => {
                if found.len() > defaults::FEDERATION_MAX_RESOLVED {
                    metrics::counter!("kontor.bridge.addresses_passed_over").increment(1);
                }
                let addresses = found.into_iter().take(defaults::FEDERATION_MAX_RESOLVED).collect();
                if known.addresses != addresses && name.host.parse::<IpAddr>().is_err() {
                    info!(host = %name.host, ?addresses, "static server resolved");
                }
                known.addresses = addresses;
                known.trouble.worked();
                known.cause = None;
            }
            Err(cause) => {
                metrics::counter!("kontor.bridge.names_unresolved").increment(1);
                let first = known.trouble.is_over();
                if known.trouble.failed(now) || first {
                    warn!(host = %name.host, %cause, last_known = ?known.addresses, "static server cannot be resolved; it is tried for ever");
                } else {
                    debug!(host = %name.host, %cause, "static server cannot be resolved");
                }
                known.cause = Some(cause);
            }
        }
    }

    fn unresolved(&self, rules: &Rules) -> Vec<UnresolvedName> {
        let failed = rules.names().filter_map(|(dc, name)| {
            let cause = self.known.get(&name)?.cause.clone()?;
            Some(UnresolvedName { dc: dc.clone(), name: format!("{}:{}", name.host, name.port), cause })
        });
        failed.collect()
    }

    /// The servers of the list: one for each address.
    fn servers(&self, rules: &Rules) -> Vec<RemoteServer> {
        let mut found: BTreeMap<(String, SocketAddr), RemoteServer> = BTreeMap::new();
        for (dc, entries) in &rules.servers {
            for entry in entries {
                let name = Name { host: entry.host.clone(), port: entry.port };
                let addresses = self.known.get(&name).map(|known| &known.addresses);
                for addr in addresses.into_iter().flatten() {
                    let server = found.entry((dc.clone(), *addr)).or_insert_with(|| RemoteServer {
                        name: addr.to_string(),
                        dc: dc.clone(),
                        addr: *addr,
                        pins: BTreeSet::new(),
                        cluster: None,
                        // Its link will find out.
                        alive: true,
                        estimate: None,
                    });
                    server.pins.extend(entry.pin.clone());
                }
            }
        }
        found.into_values().collect()
    }
}

/// The servers of pool and static list, one for each address: the pool's name, configured fingerprints before the pool's.
pub(super) fn merged(mut pool: Vec<RemoteServer>, listed: &[RemoteServer]) -> Vec<RemoteServer> {
    for server in listed {
        let known = pool.iter_mut().find(|known| known.addr == server.addr && known.dc.eq_ignore_ascii_case(&server.dc));
        match known {
            None => pool.push(server.clone()),
            Some(known) if !server.pins.is_empty() => known.pins.clone_from(&server.pins),
            Some(_) => {}
        }
    }
    pool
}

/// Keeps the rules of bridge and WAN pool. `kept` removals count until `is_whole` finds the catalog no older than a leader's.
pub(super) async fn follow_rules(
    mut rules: watch::Receiver<Rules>,
    reader: Reader,
    mut kept: KeptRemovals,
    is_whole: impl Fn() -> bool + Send,
    wan: Option<Gossip>,
    admission: watch::Sender<Arc<Admission>>,
) {
    let mut whole = false;
    loop {
        let removed = reader.watch_removals();
        whole = whole || is_whole();
        let of_catalog = reader.removals();
        let removals = if whole { Arc::clone(&of_catalog) } else { kept.beside(&of_catalog) };
        let wanted = Arc::new(rules.borrow_and_update().admission(removals));
        if let Some(wan) = &wan {
            wan.set_removals(Arc::clone(&wanted.removals));
        }
        if publish(&admission, Arc::clone(&wanted)) {
            info!(disabled = ?wanted.disabled, removed = wanted.removals.len(), "the rules about other datacenters have changed");
        }
        let settled = whole && kept.keep(&of_catalog).await;
        let look = async { if settled { pending().await } else { tokio::time::sleep(defaults::FEDERATION_REMOVALS_LOOK).await } };
        tokio::select! {
            () = removed.changed() => {}
            () = look => {}
            changed = rules.changed() => if changed.is_err() { return },
        }
    }
}

/// Keeps the servers of the static list resolved.
pub(super) async fn resolve_names(
    mut rules: watch::Receiver<Rules>,
    lookup: Lookup,
    has_outage: impl Fn(&str) -> bool + Send,
    tell_unresolved: impl Fn(Vec<UnresolvedName>) + Send + Sync,
    servers: watch::Sender<Vec<RemoteServer>>,
) {
    let mut names = Names::default();
    loop {
        let wanted = rules.borrow_and_update().clone();
        let due = names.due(&wanted, &has_outage, now());
        let look = |name: Name| {
            let found = lookup(name.clone());
            async move { (name, found.await) }
        };
        let tell = |names: &Names| {
            tell_unresolved(names.unresolved(&wanted));
            publish(&servers, names.servers(&wanted));
        };
        // Names that left the list are gone before any lookup.
        tell(&names);
        let mut outcomes = futures_util::stream::iter(due).map(look).buffer_unordered(defaults::FEDERATION_LOOKUPS);
        while let Some((name, outcome)) = outcomes.next().await {
            names.learn(&name, outcome, now());
            // Each at once, so that a silent resolver delays no other name.
            tell(&names);
        }
        let pause = async {
            if wanted.servers.is_empty() { pending().await } else { tokio::time::sleep(defaults::FEDERATION_RESOLVE_RETRY).await }
        };
        tokio::select! {
            () = pause => {}
            changed = rules.changed() => if changed.is_err() { return },
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8300))
    }

    fn rules(entries: &[(&str, Option<&str>)]) -> Rules {
        let entry = |(host, pin): &(&str, Option<&str>)| StaticServer {
            host: (*host).to_owned(),
            port: 8300,
            pin: pin.map(str::to_owned),
        };
        Rules { servers: [("dc2".to_owned(), entries.iter().map(entry).collect())].into(), ..Rules::default() }
    }

    fn addresses(servers: &[RemoteServer]) -> Vec<SocketAddr> {
        servers.iter().map(|server| server.addr).collect()
    }

    /// A resolver whose answer can be changed.
    fn scripted(answer: &Arc<Mutex<Result<Vec<SocketAddr>, String>>>) -> Lookup {
        let answer = Arc::clone(answer);
        Arc::new(move |_| {
            let answer = answer.lock().unwrap().clone();
            Box::pin(async move { answer })
        })
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_resolved_anew_for_ever_and_sooner_while_links_are_down() {
        let answer = Arc::new(Mutex::new(Ok(vec![addr(1), addr(2)])));
        let outage = Arc::new(Mutex::new(false));
        let (rules_in, rules_out) = watch::channel(rules(&[("a", Some("p1")), ("a", Some("p2"))]));
        let (servers_in, mut servers) = watch::channel(Vec::new());
        let seen = Arc::clone(&outage);
        tokio::spawn(resolve_names(rules_out, scripted(&answer), move |_| *seen.lock().unwrap(), |_| {}, servers_in));
        servers.changed().await.unwrap();
        let first = servers.borrow_and_update().clone();
        assert_eq!(addresses(&first), [addr(1), addr(2)]);
        assert_eq!(first[0].pins, ["p1".to_owned(), "p2".to_owned()].into(), "any of the name's fingerprints");

        *answer.lock().unwrap() = Ok(vec![addr(3)]);
        let began = tokio::time::Instant::now();
        servers.changed().await.unwrap();
        assert_eq!(addresses(&servers.borrow_and_update()), [addr(3)]);
        let whole =
            defaults::FEDERATION_RESOLVE_INTERVAL..defaults::FEDERATION_RESOLVE_INTERVAL + defaults::FEDERATION_RESOLVE_RETRY;
        assert!(whole.contains(&began.elapsed()), "{:?}", began.elapsed());

        *outage.lock().unwrap() = true;
        *answer.lock().unwrap() = Err("no such name".to_owned());
        tokio::time::sleep(defaults::FEDERATION_RESOLVE_INTERVAL * 3).await;
        assert!(!servers.has_changed().unwrap(), "the last addresses stay");
        *answer.lock().unwrap() = Ok(vec![addr(4)]);
        let began = tokio::time::Instant::now();
        servers.changed().await.unwrap();
        assert_eq!(addresses(&servers.borrow_and_update()), [addr(4)]);
        assert!(began.elapsed() < defaults::FEDERATION_RESOLVE_RETRY * 2, "{:?}", began.elapsed());

        rules_in.send_replace(Rules::default());
        servers.changed().await.unwrap();
        assert!(servers.borrow_and_update().is_empty(), "what is no longer listed is gone at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_on_which_the_resolver_is_silent_holds_up_no_other() {
        let (_rules_in, rules_out) = watch::channel(rules(&[("a-silent", None), ("b", None)]));
        let (servers_in, mut servers) = watch::channel(Vec::new());
        let lookup: Lookup = Arc::new(|name: Name| {
            Box::pin(async move {
                if name.host == "a-silent" {
                    tokio::time::sleep(defaults::FEDERATION_RESOLVE_TIMEOUT).await;
                    return Err("no answer".to_owned());
                }
                Ok(vec![addr(2)])
            })
        });
        let began = tokio::time::Instant::now();
        tokio::spawn(resolve_names(rules_out, lookup, |_| true, |_| {}, servers_in));
        servers.changed().await.unwrap();
        assert_eq!(addresses(&servers.borrow_and_update()), [addr(2)]);
        assert!(began.elapsed() < defaults::FEDERATION_RESOLVE_TIMEOUT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_removed_before_a_start_is_refused_until_the_catalog_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (mut before, mut removals) = (KeptRemovals::open(Some(folder.path())).unwrap(), Removals::default());
        removals.remove("dc2", None);
        assert!(before.keep(&Arc::new(removals)).await);
        let kept = KeptRemovals::open(Some(folder.path())).unwrap();
        let (_rules_in, rules) = watch::channel(Rules::default());
        let (admission_in, mut admission) = watch::channel(Arc::<Admission>::default());
        let whole = Arc::new(AtomicBool::new(false));
        let is_whole = Arc::clone(&whole);
        let reader = crate::store::Store::new("dc1").reader();
        let follow = follow_rules(rules, reader, kept, move || is_whole.load(Ordering::Relaxed), None, admission_in);
        tokio::spawn(follow);
        admission.changed().await.unwrap();
        assert!(admission.borrow_and_update().removals.refuses("dc2", None));
        tokio::time::sleep(defaults::FEDERATION_REMOVALS_LOOK * 10).await;
        assert!(!admission.has_changed().unwrap(), "no leader has said otherwise");
        whole.store(true, Ordering::Relaxed);
        admission.changed().await.unwrap();
        assert!(!admission.borrow_and_update().removals.refuses("dc2", None), "it was readmitted meanwhile");
    }

    #[tokio::test]
    async fn ip_addresses_need_no_resolver() {
        for (host, expected) in [("127.0.0.1", "127.0.0.1:8300"), ("::1", "[::1]:8300")] {
            let found = system_lookup()(Name { host: host.to_owned(), port: 8300 }).await.unwrap();
            assert_eq!(found, [expected.parse().unwrap()]);
        }
    }

    #[test]
    fn one_address_is_one_server_and_a_configured_fingerprint_counts() {
        let server = |name: &str, last: u8, pin: Option<&str>| {
            let (name, dc, pins) = (name.to_owned(), "dc2".to_owned(), pin.map(str::to_owned).into_iter().collect());
            RemoteServer { name, dc, addr: addr(last), pins, cluster: None, alive: true, estimate: None }
        };
        let pool = vec![server("s1", 1, Some("told")), server("s2", 2, Some("told"))];
        let listed = [server("x", 1, Some("configured")), server("y", 2, None), server("z", 3, Some("configured"))];
        let all = merged(pool, &listed);
        let pins: Vec<(&str, bool)> =
            all.iter().map(|server| (server.name.as_str(), server.pins.contains("configured"))).collect();
        assert_eq!(pins, [("s1", true), ("s2", false), ("z", true)]);
    }
}
