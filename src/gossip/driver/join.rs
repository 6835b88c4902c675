//! Finding the pool: joins by address, tried for ever, and again whenever this agent is alone.
//! `mod.rs` starts the loop and calls [`join`] for a user's request.

use super::super::core::Contact;
use super::super::{GossipError, Pool, Roster};
use super::CoreHandle;
use super::dial::exchange;
use crate::config::defaults;
use crate::telemetry::Trouble;
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// What one attempt reached.
#[derive(Debug, Default)]
struct Reached {
    members: usize,
    ourselves: usize,
    failures: Vec<String>,
}

/// What [`keep_joined`] works with.
#[derive(Debug)]
pub(in crate::gossip) struct JoinPlan {
    pub pool: Pool,
    pub retry_join: Vec<String>,
    pub interval: Duration,
    /// Tries of `retry_join` before it is given up; 0 for ever.
    pub max: u32,
    /// Last known members, from disk.
    pub last_known: Vec<SocketAddr>,
    /// Turns true when this agent leaves.
    pub left: watch::Receiver<bool>,
    /// Told the reason when the configured addresses are given up.
    pub given_up: watch::Sender<Option<String>>,
}

/// Joins by any of `addresses`; the number that answered, this agent itself included.
pub(in crate::gossip) async fn join(core: &CoreHandle, pool: Pool, addresses: &[String]) -> Result<usize, GossipError> {
    let reached = attempt(core, pool, addresses, &[]).await;
    match reached.members + reached.ourselves {
        0 if addresses.is_empty() => Err(GossipError("expected at least one address to join, got none".to_owned())),
        0 => Err(GossipError(reached.failures.join("; "))),
        answered => Ok(answered),
    }
}

/// Joins by the configured addresses until one has answered; from then on, whenever nobody else is
/// alive, by them and by every last known member.
pub(in crate::gossip) async fn keep_joined(core: CoreHandle, mut plan: JoinPlan) {
    let (mut joined, mut given_up, mut tries) = (plan.retry_join.is_empty(), false, 0);
    let mut trouble = Trouble::default();
    loop {
        let roster = core.roster.borrow().clone();
        let alone = roster.alive().count() <= 1;
        if !*plan.left.borrow() && ((!joined && !given_up) || alone) {
            let configured: &[String] = if given_up { &[] } else { &plan.retry_join };
            let known = if alone { last_known(&plan, &roster, core.view().addr) } else { Vec::new() };
            let reached = attempt(&core, plan.pool, configured, &known).await;
            tries += 1;
            if reached.members > 0 {
                info!(pool = ?plan.pool, members = reached.members, "joined");
                joined = true;
                trouble.worked();
            } else if !reached.failures.is_empty() {
                told(&plan, &mut trouble, &reached.failures.join("; "));
            }
            if !joined && plan.max > 0 && tries >= plan.max && !given_up {
                given_up = true;
                let causes = reached.failures.join("; ");
                plan.given_up.send_replace(Some(format!("no agent was reached in {tries} tries (retry_max) to join: {causes}")));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(plan.interval) => {}
            Ok(()) = plan.left.changed() => {}
        }
    }
}

/// Says that nobody was reached: at first as news, for agents of one pool often start together, and
/// as a warning when it lasts.
fn told(plan: &JoinPlan, trouble: &mut Trouble, causes: &str) {
    let (pool, retry_in) = (plan.pool, plan.interval);
    let first = trouble.is_over();
    if trouble.failed(Instant::now()) {
        warn!(?pool, ?retry_in, %causes, "nobody is reached to join");
    } else if first {
        info!(?pool, ?retry_in, %causes, "nobody is reached to join yet");
    } else {
        debug!(?pool, ?retry_in, %causes, "nobody is reached to join yet");
    }
}

/// Members on disk, and those in the roster that are not alive.
fn last_known(plan: &JoinPlan, roster: &Roster, me: SocketAddr) -> Vec<SocketAddr> {
    let failed = roster.members.values().filter(|member| member.status == crate::model::member::MemberStatus::Failed);
    let all: BTreeSet<SocketAddr> = plan.last_known.iter().copied().chain(failed.map(|member| member.addr)).collect();
    all.into_iter().filter(|addr| *addr != me).take(defaults::GOSSIP_MAX_SNAPSHOT).collect()
}

async fn attempt(core: &CoreHandle, pool: Pool, names: &[String], known: &[SocketAddr]) -> Reached {
    let mut reached = Reached::default();
    let mut targets: Vec<SocketAddr> = known.to_vec();
    for name in names {
        match resolve(name, pool).await {
            Ok(addresses) => targets.extend(addresses),
            Err(reason) => reached.failures.push(reason),
        }
    }
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
            Err(reason) => reached.failures.push(format!("{addr}: {reason}")),
        }
    }
    reached
}

/// The addresses of `host`, `host:port`, `[v6]:port` or a bare IP address, looked up now.
async fn resolve(text: &str, pool: Pool) -> Result<Vec<SocketAddr>, String> {
    let port = match pool {
        Pool::Lan => defaults::SERF_LAN_PORT,
        Pool::Wan => defaults::SERF_WAN_PORT,
    };
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
