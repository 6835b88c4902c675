//! Carries out the leader's duties for as long as this server leads, term by term.
//!
//! What is to be done is decided in `reconcile`, `membership`, `pools`, `observers` and `coordinates`; this file
//! waits, reads, writes and logs. A duty that fails is logged and tried again; none stops the others.

use super::LeaderParts;
use super::batches::batches;
use super::coordinates;
use super::membership::{Change, Membership, Situation};
use super::observers::Observers;
use super::pools::{Departures, Rosters};
use super::reconcile::{Extent, Reconciler};
use crate::defaults::{
    COORDINATE_INTERVAL, LEADER_GAP, LEADER_TICK, MEMBERSHIP_CALM_INTERVAL, MEMBERSHIP_CHANGE_TIMEOUT, MEMBERSHIP_INTERVAL,
    OBSERVERS_BATCH, RECONCILE_BATCH, RECONCILE_GATHER, RECONCILE_INTERVAL, RECONCILE_RETRY,
};
use crate::gossip::{Gossip, Pool};
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Command;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::NodeId;
use crate::model::operation::Access;
use crate::model::principal::Principal;
use crate::telemetry::FailureThrottle;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

/// Does the duties whenever this server leads, until the task is dropped.
pub(super) async fn run(parts: LeaderParts) {
    let mut leadership = parts.raft.leadership();
    loop {
        let Ok(won) = leadership.wait_for(|now| now.is_self).await.map(|now| *now) else { return };
        info!(term = won.term, "this server leads; taking up the leader's duties");
        let lost = leadership.wait_for(|now| !now.is_self || now.term != won.term);
        tokio::select! {
            lost = lost => match lost {
                Ok(now) => {
                    let leader = now.leader.map_or_else(|| "none".to_owned(), |id| name(&parts, id));
                    info!(term = won.term, %leader, "leadership is over; the leader's duties rest");
                }
                Err(_stopped) => return,
            },
            () = lead(&parts) => {}
        }
    }
}

/// All duties of one term, side by side: a server that is slow to catch up keeps no node waiting.
async fn lead(parts: &LeaderParts) {
    tokio::join!(
        watch_gaps(),
        keep_level(parts),
        keep_autopilot(parts),
        keep_nodes(parts),
        keep_servers(parts),
        keep_coordinates(parts),
        keep_observers(parts)
    );
}

/// Tells when this process was not run for a while: timers are then not to be trusted.
async fn watch_gaps() {
    let mut last = Instant::now();
    loop {
        sleep(LEADER_TICK).await;
        let gap = last.elapsed();
        if gap > LEADER_GAP + LEADER_TICK {
            metrics::counter!("kontor.leader.gaps").increment(1);
            warn!(?gap, "the leader was not run for a while; this machine is overloaded or was paused");
        }
        last = Instant::now();
    }
}

/// The format level rises as soon as every server of the configuration reads the next.
async fn keep_level(parts: &LeaderParts) {
    let mut changes = parts.lan.changes();
    let mut known = Vec::new();
    loop {
        changes.mark_unchanged();
        match parts.raft.raise_level().await {
            Ok(below) if below.is_empty() => return,
            Ok(below) if below != known => {
                info!(servers = %below.join(", "), "servers of an older version keep the format level down; upgrade them");
                known = below;
            }
            Ok(_known) => {}
            Err(fault) => debug!(%fault, "the format level is not raised yet"),
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(RECONCILE_INTERVAL) => {}
        }
    }
}

/// What the configuration files say of autopilot becomes part of the replicated state, once and for all.
async fn keep_autopilot(parts: &LeaderParts) {
    let mut changes = parts.lan.changes();
    while parts.reader.autopilot().is_none() {
        changes.mark_unchanged();
        let first = Command::SetAutopilot { config: Box::new(parts.autopilot.clone()), only_at: Some(0) };
        let pause = match parts.raft.propose(first).await {
            Ok(_written) => return,
            Err(fault) => {
                debug!(%fault, "autopilot's configuration is not written down yet");
                if is_refused(&fault) { RECONCILE_INTERVAL } else { RECONCILE_RETRY }
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// How servers are treated now.
fn autopilot(parts: &LeaderParts) -> Arc<AutopilotConfig> {
    parts.reader.autopilot().unwrap_or_else(|| Arc::new(parts.autopilot.clone()))
}

/// Members become nodes, on every change of the roster and from time to time.
async fn keep_nodes(parts: &LeaderParts) {
    let mut reconciler = Reconciler::new(&parts.node_name, &parts.datacenter, Instant::now().into_std());
    let mut changes = parts.lan.changes();
    let mut trouble = FailureThrottle::default();
    let mut whole_at = Instant::now();
    loop {
        changes.mark_unchanged();
        let extent = if Instant::now() < whole_at { Extent::Changes } else { Extent::Whole };
        if extent == Extent::Whole {
            whole_at = Instant::now() + RECONCILE_INTERVAL;
        }
        let result;
        (reconciler, result) = reconcile_once(parts, reconciler, extent).await;
        match result {
            Ok(()) => _ = trouble.worked(),
            Err(fault) => {
                metrics::counter!("kontor.leader.reconcile_failed").increment(1);
                // What the catalog refuses, it refuses again a second later.
                let refused = is_refused(&fault);
                let pause = if refused { RECONCILE_INTERVAL } else { RECONCILE_RETRY };
                whole_at = Instant::now() + pause;
                if refused || trouble.failed(Instant::now().into_std()) {
                    warn!(%fault, again_in = ?pause, "the catalog does not agree with the members");
                } else {
                    debug!(%fault, again_in = ?pause, "the catalog does not agree with the members yet");
                }
            }
        }
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => sleep(RECONCILE_GATHER).await,
                // The pool has stopped, and the agent is about to.
                Err(_stopped) => return,
            },
            () = sleep_until(whole_at) => {}
        }
    }
}

async fn reconcile_once(parts: &LeaderParts, mut reconciler: Reconciler, extent: Extent) -> (Reconciler, Result<(), Fault>) {
    let (roster, catalog, now) = (parts.lan.roster(), parts.reader.view(), Instant::now().into_std());
    let seen = Arc::clone(&roster);
    let decide = move || {
        let commands = reconciler.reconcile(&seen, &catalog, extent, now);
        (reconciler, commands)
    };
    let (mut reconciler, commands) = off_the_runtime(decide).await;
    let mut result = Ok(());
    for batch in batches(&commands, RECONCILE_BATCH) {
        debug!(commands = batch.len(), "members have changed");
        let command = if let [single] = batch { single.clone() } else { Command::Batch(batch.to_vec()) };
        // A refusal (a name that belongs to another node) must not keep the rest back.
        result = result.and(propose(parts, command).await);
    }
    if result.is_ok() {
        reconciler.agreed(roster);
    }
    (reconciler, result)
}

/// Servers become voters, and those that are gone are taken out, one change at a time, and made to leave.
async fn keep_servers(parts: &LeaderParts) {
    let mut membership = Membership::new(parts.node_id, &parts.datacenter, Instant::now().into_std());
    let mut departures = Departures::new(&parts.datacenter);
    let mut changes = parts.lan.changes();
    let mut pause = MEMBERSHIP_INTERVAL;
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
        see_off(parts, &mut departures).await;
        let due = next_change(parts, &mut membership);
        pause = if membership.is_calm() { MEMBERSHIP_CALM_INTERVAL } else { MEMBERSHIP_INTERVAL };
        let Some(change) = due else { continue };
        let server = name(parts, change.server());
        info!(%server, %change, "changing the Raft configuration");
        if let Err(fault) = carry_out(parts, change).await {
            metrics::counter!("kontor.leader.membership_failed").increment(1);
            warn!(%server, %change, %fault, "the Raft configuration could not be changed; trying again");
            membership.failed(change, Instant::now().into_std());
        }
    }
}

/// Has those leave the pools that are gone for good.
async fn see_off(parts: &LeaderParts, departures: &mut Departures) {
    let (lan, wan, peers) = (parts.lan.roster(), parts.wan.as_ref().map(Gossip::roster), parts.raft.peers());
    let rosters = Rosters { lan: &lan, wan: wan.as_deref(), peers: &peers, cluster: *parts.raft.cluster().borrow() };
    for (pool, member) in departures.due(&rosters, Instant::now().into_std()) {
        let (gossip, pool) = match pool {
            Pool::Lan => (Some(&parts.lan), "LAN"),
            Pool::Wan => (parts.wan.as_ref(), "WAN"),
        };
        let Some(gossip) = gossip else { continue };
        metrics::counter!("kontor.leader.made_to_leave").increment(1);
        match gossip.force_leave(&member, false).await {
            Ok(()) => info!(server = %member, pool, "a server that is gone for good is made to leave the pool"),
            Err(error) => debug!(server = %member, pool, %error, "a server that is gone could not be made to leave"),
        }
    }
}

/// The name of a server, as far as gossip or Raft know it.
fn name(parts: &LeaderParts, id: NodeId) -> String {
    let roster = parts.lan.roster();
    let member = roster.members.values().find(|member| member.id() == Some(id));
    member.map_or_else(|| parts.raft.name_of(id), |member| member.name.clone())
}

fn next_change(parts: &LeaderParts, membership: &mut Membership) -> Option<Change> {
    let settings = autopilot(parts);
    let (roster, peers, progress) = (parts.lan.roster(), parts.raft.peers(), parts.raft.progress());
    let situation = Situation {
        roster: &roster,
        peers: &peers,
        progress: &progress,
        last_index: parts.raft.stats().last_log_index,
        cluster: *parts.raft.cluster().borrow(),
        settings: &settings,
    };
    membership.next(&situation, Instant::now().into_std())
}

async fn carry_out(parts: &LeaderParts, change: Change) -> Result<(), Fault> {
    let done = async {
        match change {
            Change::AddLearner(id) => parts.raft.add_learner(id).await,
            Change::Promote(id) => parts.raft.promote(id).await,
            Change::Remove(id, _reason) => parts.raft.remove(id).await,
        }
    };
    within(MEMBERSHIP_CHANGE_TIMEOUT, Box::pin(done)).await
}

/// Coordinates of members that have moved go to the catalog.
async fn keep_coordinates(parts: &LeaderParts) {
    loop {
        sleep(COORDINATE_INTERVAL).await;
        if let Err(fault) = write_coordinates(parts).await {
            metrics::counter!("kontor.leader.coordinates_failed").increment(1);
            debug!(%fault, "coordinates not written");
        }
    }
}

async fn write_coordinates(parts: &LeaderParts) -> Result<(), Fault> {
    let (catalog, lan, own) = (parts.reader.view(), parts.lan.clone(), parts.node_name.clone());
    let decide = move || {
        // Only of nodes that are registered: the catalog passes over the others.
        let measured = catalog.all_nodes().filter_map(|row| {
            let node = row.node().node.as_str();
            let measured = if node == own { Some(lan.coordinate()) } else { lan.coordinate_of(node) };
            Some((node, catalog.coordinate_of(node), measured?))
        });
        coordinates::updates(measured)
    };
    let mut result = Ok(());
    for command in off_the_runtime(decide).await {
        result = match propose(parts, command).await {
            // It keeps no other back.
            Err(fault) if fault.kind == FaultKind::BadRequest => result.and(Err(fault)),
            written => {
                written?;
                result
            }
        };
    }
    result
}

/// Voted checks get their observers, on every change of the roster and of what is voted on.
async fn keep_observers(parts: &LeaderParts) {
    let mut observers = Observers::new(&parts.datacenter);
    let mut changes = parts.lan.changes();
    loop {
        changes.mark_unchanged();
        let watch = parts.reader.watch_observed();
        let (roster, reader, now) = (parts.lan.roster(), parts.reader.clone(), Instant::now().into_std());
        let plan;
        (observers, plan) = off_the_runtime(move || {
            let plan = observers.plan(&roster, &reader.observed(), now);
            (observers, plan)
        })
        .await;
        let mut look_again = plan.look_again.map_or(Instant::now() + RECONCILE_INTERVAL, Instant::from_std);
        for assigns in batches(&plan.assigns, OBSERVERS_BATCH) {
            info!(checks = assigns.len(), "voted checks get other observers");
            if let Err(fault) = propose(parts, Command::AssignObservers(assigns.to_vec())).await {
                metrics::counter!("kontor.leader.assignments_failed").increment(1);
                // What the log does not take, it does not take a second later, and that keeps no other back.
                let refused = is_refused(&fault);
                let pause = if refused { RECONCILE_INTERVAL } else { RECONCILE_RETRY };
                warn!(%fault, again_in = ?pause, "voted checks did not get their observers");
                look_again = look_again.min(Instant::now() + pause);
                if !refused {
                    break;
                }
            }
        }
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => sleep(RECONCILE_GATHER).await,
                // The pool has stopped, and the agent is about to.
                Err(_stopped) => return,
            },
            () = watch.changed() => sleep(RECONCILE_GATHER).await,
            () = sleep_until(look_again) => {}
        }
    }
}

/// Looks through what may be long without keeping a thread of the runtime.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime stops, and this task with it.
        Err(_cancelled) => pending().await,
    }
}

/// Through this server alone: what one that no longer leads has seen is not for its successor to write.
async fn propose(parts: &LeaderParts, command: Command) -> Result<(), Fault> {
    parts.reader.permit(&Principal::Leader, Access::Leader, &parts.node_name)?;
    parts.raft.propose(command).await.map(drop)
}

/// Whether it would be refused again a second later.
fn is_refused(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::BadRequest | FaultKind::Failed | FaultKind::Denied)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = || Err(Fault::outcome_unknown(format!("a duty of the leader did not end within {limit:?}")));
    timeout(limit, work).await.unwrap_or_else(|_elapsed| late())
}
