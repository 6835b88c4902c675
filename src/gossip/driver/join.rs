//! Joins by address, for ever, and again whenever this agent is alone: of all, or in the WAN pool with its own datacenter.

use super::super::core::Contact;
use super::super::{GossipError, Joined, Pool, Roster};
use super::CoreHandle;
use super::dial::exchange;
use crate::defaults;
use crate::model::member::{Member, MemberStatus, cloud_provider};
use crate::telemetry::FailureThrottle;
use futures_util::StreamExt;
use rand::seq::SliceRandom;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{debug, info, warn};

#[derive(Debug, Default)]
struct Reached {
    members: usize,
    /// Members that were alive already and needed no exchange.
    known_alive: usize,
    ourselves: usize,
    /// Datacenters that were removed here, of members that answered.
    removed: BTreeSet<String>,
    failures: Vec<String>,
}

#[derive(Debug)]
pub(in crate::gossip) struct JoinPlan {
    pub company: Company,
    pub retry_join: Vec<String>,
    pub interval: Duration,
    /// Tries of `retry_join` before it is given up; 0 for ever.
    pub max: u32,
    /// The last known members, from disk at first.
    pub last_known: Vec<SocketAddr>,
    pub left: watch::Receiver<bool>,
    /// The reason, once the configured addresses are given up.
    pub given_up: watch::Sender<Option<String>>,
}

/// The members without which this agent is alone: in the LAN pool all others, in the WAN pool the servers of the other
/// datacenters, since the LAN pool finds those of its own.
#[derive(Clone, Debug)]
pub(in crate::gossip) struct Company {
    pub pool: Pool,
    pub datacenter: String,
}

impl Company {
    fn is_alone(&self, roster: &Roster) -> bool {
        match self.pool {
            Pool::Lan => roster.alive().count() <= 1,
            Pool::Wan => roster.alive().all(|member| member.dc() == self.datacenter),
        }
    }

    /// The addresses of the members it would miss: alive, failed, and while it is alone those of `before` that have not left.
    pub(in crate::gossip) fn last_known(&self, roster: &Roster, me: SocketAddr, before: &[SocketAddr]) -> Vec<SocketAddr> {
        let missed = |member: &&Member| self.pool == Pool::Lan || member.dc() != self.datacenter;
        let of = |status| roster.members.values().filter(missed).filter(move |member| member.status == status);
        let mut seen: BTreeSet<SocketAddr> = of(MemberStatus::Left).map(|member| member.addr).chain([me]).collect();
        let before = if self.is_alone(roster) { before } else { &[] };
        let all = of(MemberStatus::Alive).chain(of(MemberStatus::Failed)).map(|member| member.addr).chain(before.iter().copied());
        all.filter(|addr| seen.insert(*addr)).take(defaults::GOSSIP_MAX_SNAPSHOT).collect()
    }
}

pub(in crate::gossip) async fn join(core: &CoreHandle, pool: Pool, addresses: &[String]) -> Result<Joined, GossipError> {
    let (targets, failures) = resolve_all(addresses, pool).await;
    let reached = attempt(core, targets, failures, usize::MAX).await;
    match reached.members + reached.ourselves {
        0 if addresses.is_empty() => Err(GossipError("expected at least one address to join, got none".to_owned())),
        0 if reached.removed.is_empty() => Err(GossipError(reached.failures.join("; "))),
        answered => Ok(Joined { answered, removed: reached.removed }),
    }
}

/// Joins by the configured addresses until one has answered, and whenever this agent is alone by all known ones.
pub(in crate::gossip) async fn keep_joined(core: CoreHandle, mut plan: JoinPlan) {
    let (mut joined, mut given_up, mut tries) = (plan.retry_join.is_empty(), false, 0);
    let (mut trouble, mut failed) = (FailureThrottle::default(), 0);
    loop {
        let roster = core.roster.borrow().clone();
        let alone = plan.company.is_alone(&roster);
        plan.last_known = plan.company.last_known(&roster, core.view().addr, &plan.last_known);
        if !*plan.left.borrow() && ((!joined && !given_up) || alone) {
            let reached = retry(&core, &plan, &roster, alone, given_up).await;
            tries += 1;
            // A removed member is there, and not to be waited for.
            joined |= reached.members > 0 || !reached.removed.is_empty();
            if reached.members > reached.known_alive {
                info!(pool = %plan.company.pool, members = reached.members, "joined");
                trouble.worked();
            } else if !reached.failures.is_empty() {
                report(&plan, &mut trouble, &reached.failures.join("; "));
            }
            if !joined && plan.max > 0 && tries >= plan.max && !given_up {
                given_up = true;
                let causes = reached.failures.join("; ");
                plan.given_up.send_replace(Some(format!("no agent was reached in {tries} tries (retry_max) to join: {causes}")));
            }
            failed = if reached.members > 0 { 0 } else { failed + 1 };
        } else {
            trouble.worked();
            failed = 0;
        }
        tokio::select! {
            () = tokio::time::sleep(pause(plan.interval, plan.max, failed)) => {}
            Ok(()) = plan.left.changed() => {}
        }
    }
}

/// The pause before the next try: short at first, as agents often start together; fixed with counted tries (`retry_max`).
fn pause(interval: Duration, max: u32, failed: u32) -> Duration {
    if failed == 0 || max > 0 {
        return interval;
    }
    let doubled = defaults::GOSSIP_JOIN_FIRST_PAUSE.saturating_mul(1 << (failed - 1).min(16));
    doubled.min(interval)
}

/// Reports that no agent was reached: first as information, as agents often start together, then as a warning.
fn report(plan: &JoinPlan, trouble: &mut FailureThrottle, causes: &str) {
    let (pool, retry_in) = (plan.company.pool, plan.interval);
    let first = trouble.is_over();
    // Another datacenter that is not configured here may be gone for good; its links report that.
    if pool == Pool::Wan && plan.retry_join.is_empty() {
        debug!(%pool, ?retry_in, %causes, "nobody is reached to join");
    } else if trouble.failed(Instant::now()) {
        warn!(%pool, ?retry_in, %causes, "nobody is reached to join");
    } else if first {
        info!(%pool, ?retry_in, %causes, "nobody is reached to join yet");
    } else {
        debug!(%pool, ?retry_in, %causes, "nobody is reached to join yet");
    }
}

/// One round of [`keep_joined`]: the configured addresses, then the last known members in random order, to spread the load.
async fn retry(core: &CoreHandle, plan: &JoinPlan, roster: &Roster, alone: bool, given_up: bool) -> Reached {
    let pool = plan.company.pool;
    let configured: &[String] = if given_up { &[] } else { &plan.retry_join };
    let (mut targets, failures) = resolve_all(configured, pool).await;
    let me = core.view().addr;
    let alive: BTreeSet<SocketAddr> = roster.alive().map(|member| member.addr).filter(|addr| *addr != me).collect();
    let known_alive = targets.extract_if(.., |addr| alive.contains(addr)).count();
    if alone {
        let mut known: Vec<SocketAddr> = plan.last_known.iter().copied().filter(|addr| !alive.contains(addr)).collect();
        known.shuffle(&mut rand::rng());
        targets.extend(known);
    }
    // A LAN pool is found by a few; in the WAN pool each may be the only one of its datacenter.
    let enough = if pool == Pool::Lan { defaults::GOSSIP_JOIN_ENOUGH } else { usize::MAX };
    let mut reached = attempt(core, targets, failures, enough).await;
    reached.known_alive = known_alive;
    reached.members += known_alive;
    reached
}

async fn attempt(core: &CoreHandle, mut targets: Vec<SocketAddr>, failures: Vec<String>, enough: usize) -> Reached {
    let mut reached = Reached { failures, ..Reached::default() };
    let mut seen = BTreeSet::new();
    targets.retain(|addr| seen.insert(*addr));
    let me = core.view().addr;
    let mut outcomes = futures_util::stream::iter(targets)
        .map(|addr| async move { (addr, if addr == me { Ok(Contact::Ourselves) } else { exchange(core, addr).await }) })
        .buffer_unordered(defaults::GOSSIP_JOINS_AT_ONCE);
    while let Some((addr, outcome)) = outcomes.next().await {
        match outcome {
            Ok(Contact::Member) => reached.members += 1,
            Ok(Contact::Ourselves) => reached.ourselves += 1,
            Ok(Contact::Removed(dc)) => {
                reached
                    .failures
                    .push(format!("{addr}: datacenter {dc:?} was removed here; `kontor join -wan {addr}` lets it in again"));
                reached.removed.insert(dc);
            }
            Err(reason) => reached.failures.push(format!("{addr}: {reason}")),
        }
        if reached.members >= enough {
            break;
        }
    }
    reached
}

/// The addresses of all names, and the failures of the others.
async fn resolve_all(names: &[String], pool: Pool) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut addresses, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match resolve(name, pool).await {
            Ok(found) => addresses.extend(found),
            Err(reason) => failures.push(reason),
        }
    }
    (addresses, failures)
}

/// The addresses of `host`, `host:port`, `[v6]:port` or a bare IP address, looked up now.
async fn resolve(text: &str, pool: Pool) -> Result<Vec<SocketAddr>, String> {
    let port = match pool {
        Pool::Lan => defaults::SERF_LAN_PORT,
        Pool::Wan => defaults::SERF_WAN_PORT,
    };
    if let Some(provider) = cloud_provider(text) {
        // The rest of the text may be a secret.
        return Err(format!("provider={provider}: no cloud auto-join is offered; name addresses or DNS names in its place"));
    }
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let target = if text.contains(':') { text.trim().to_owned() } else { format!("{}:{port}", text.trim()) };
    let found = tokio::net::lookup_host(&target).await.map_err(|error| format!("{text}: cannot be resolved: {error}"))?;
    let found: Vec<SocketAddr> = found.take(defaults::GOSSIP_MAX_RESOLVED).collect();
    if found.is_empty() { Err(format!("{text}: has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cloud_provider_is_a_failure_that_tells_no_secret() {
        let wanted = ["provider=aws tag_key=a secret_access_key=geheim".to_owned(), "127.0.0.1:5".to_owned()];
        let (addresses, failures) = resolve_all(&wanted, Pool::Lan).await;
        assert_eq!(addresses, [SocketAddr::from(([127, 0, 0, 1], 5))]);
        assert!(failures[0].starts_with("provider=aws: no cloud auto-join is offered"), "{failures:?}");
        assert!(!failures[0].contains("geheim"), "{failures:?}");
    }

    #[test]
    fn the_first_tries_that_fail_follow_quickly_unless_they_are_counted() {
        let interval = Duration::from_secs(30);
        let pauses: Vec<u64> = [1, 2, 3, 6, 7, 40].map(|failed| pause(interval, 0, failed).as_millis() as u64).into();
        assert_eq!(pauses, [500, 1_000, 2_000, 16_000, 30_000, 30_000]);
        assert_eq!(pause(interval, 0, 0), interval);
        assert_eq!(pause(interval, 5, 1), interval);
    }
    use crate::model::member::tag;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 8302))
    }

    fn roster(members: &[(u8, &str, MemberStatus)]) -> Roster {
        let member = |(last, dc, status): &(u8, &str, MemberStatus)| {
            let tags = [(tag::DC.to_owned(), (*dc).to_owned())].into();
            Member { name: format!("s{last}.{dc}"), addr: at(*last), tags, status: *status }
        };
        Roster { members: members.iter().map(member).map(|member| (member.name.clone(), member)).collect() }
    }

    #[test]
    fn a_server_among_those_of_its_own_datacenter_alone_goes_on_looking_for_the_others() {
        let (lan, wan) = [Pool::Lan, Pool::Wan].map(|pool| Company { pool, datacenter: "dc1".to_owned() }).into();
        let cut_off = roster(&[
            (1, "dc1", MemberStatus::Alive),
            (2, "dc1", MemberStatus::Alive),
            (3, "dc2", MemberStatus::Failed),
            (4, "dc2", MemberStatus::Left),
        ]);
        assert!(wan.is_alone(&cut_off) && !lan.is_alone(&cut_off));
        assert_eq!(wan.last_known(&cut_off, at(1), &[at(9), at(4)]), [at(3), at(9)], "a member that has left is not looked for");
        assert_eq!(lan.last_known(&cut_off, at(1), &[at(9)]), [at(2), at(3)]);
        let whole = roster(&[(1, "dc1", MemberStatus::Alive), (3, "dc2", MemberStatus::Alive)]);
        assert!(!wan.is_alone(&whole));
        assert_eq!(wan.last_known(&whole, at(1), &[at(9)]), [at(3)], "a server with company needs no former members");
    }

    #[tokio::test]
    async fn addresses_get_the_pools_port_when_they_name_none() {
        for (text, pool, expected) in [
            ("127.0.0.1", Pool::Lan, "127.0.0.1:8301"),
            ("127.0.0.1", Pool::Wan, "127.0.0.1:8302"),
            ("127.0.0.1:9", Pool::Lan, "127.0.0.1:9"),
            ("::1", Pool::Lan, "[::1]:8301"),
            ("[::1]", Pool::Lan, "[::1]:8301"),
            ("[::1]:9", Pool::Wan, "[::1]:9"),
        ] {
            assert_eq!(resolve(text, pool).await.unwrap(), [expected.parse().unwrap()], "{text}");
        }
        assert!(resolve("name.invalid", Pool::Lan).await.unwrap_err().contains("name.invalid"));
    }
}
