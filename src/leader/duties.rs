//! Carries out the leader's duties, term by term. A duty that fails is logged and tried again; none stops the others.

use super::LeaderParts;
use super::batches::batches;
use super::coordinates;
use super::expiry;
use super::health::Situation;
use super::membership::{Change, Membership};
use super::observers::Observers;
use super::pools::{Departures, Rosters};
use super::reconcile::{Extent, Reconciler};
use crate::clock;
use crate::defaults::{
    COORDINATE_INTERVAL, LEADER_GAP, LEADER_TICK, MEMBERSHIP_CALM_INTERVAL, MEMBERSHIP_CHANGE_TIMEOUT, MEMBERSHIP_INTERVAL,
    OBSERVERS_BATCH, RECONCILE_BATCH, RECONCILE_GATHER, RECONCILE_INTERVAL, RECONCILE_RETRY,
};
use crate::gossip::{Gossip, Pool};
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Command;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::NodeId;
use crate::telemetry::FailureThrottle;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
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
        keep_observers(parts),
        expiry::keep(parts),
        expiry::keep_graveyard(parts)
    );
}

/// Warns when this process was not run for a while: timers are then not to be trusted.
async fn watch_gaps() {
    let mut last = Instant::now();
    loop {
        clock::sleep_shared(LEADER_TICK).await;
        let gap = last.elapsed();
        if gap > LEADER_GAP + LEADER_TICK {
            metrics::counter!("kontor.leader.gaps").increment(1);
            warn!(?gap, "the leader was not run for a while; this machine is overloaded or was paused");
        }
        last = Instant::now();
    }
}

/// Raises the format level as soon as every server of the configuration reads the next.
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
        let Some(()) = wait(&mut changes, RECONCILE_INTERVAL).await else { return };
    }
}

/// Writes autopilot's configuration of the files into the replicated state, once and for all.
async fn keep_autopilot(parts: &LeaderParts) {
    let mut changes = parts.lan.changes();
    while parts.reader.autopilot().is_none() {
        changes.mark_unchanged();
        let first = Command::SetAutopilot { config: Box::new(parts.autopilot.clone()), only_at: Some(0) };
        let pause = match parts.raft.propose(first).await {
            Ok(_written) => return,
            Err(fault) => {
                debug!(%fault, "autopilot's configuration is not written down yet");
                pause_after(&fault)
            }
        };
        let Some(()) = wait(&mut changes, pause).await else { return };
    }
}

/// Waits for a change of the pool, at most for `limit`. Unset when the pool has stopped, and the agent is about to.
async fn wait<T>(changes: &mut watch::Receiver<T>, limit: Duration) -> Option<()> {
    timeout(limit, changes.changed()).await.unwrap_or(Ok(())).ok()
}

/// Waits until `at`, or for a change of the pool or another one and then for more of them. Unset as in [`wait`].
async fn gather<T>(changes: &mut watch::Receiver<T>, other: impl Future<Output = ()>, at: Instant) -> Option<()> {
    tokio::select! {
        changed = changes.changed() => changed.ok()?,
        () = other => {}
        () = sleep_until(at) => return Some(()),
    }
    sleep(RECONCILE_GATHER).await;
    Some(())
}

fn autopilot(parts: &LeaderParts) -> Arc<AutopilotConfig> {
    parts.reader.autopilot().unwrap_or_else(|| Arc::new(parts.autopilot.clone()))
}

/// Makes members nodes, on every change of the roster and every [`RECONCILE_INTERVAL`].
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
                let pause = pause_after(&fault);
                whole_at = Instant::now() + pause;
                if is_refused(&fault) || trouble.failed(Instant::now().into_std()) {
                    warn!(%fault, again_in = ?pause, "the catalog does not agree with the members");
                } else {
                    debug!(%fault, again_in = ?pause, "the catalog does not agree with the members yet");
                }
            }
        }
        let Some(()) = gather(&mut changes, pending(), whole_at).await else { return };
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
        result = result.and(parts.propose(command).await);
    }
    if result.is_ok() {
        reconciler.agreed(roster);
    }
    (reconciler, result)
}

/// Makes servers voters, takes out those that are gone, one change at a time, and has them leave the pools.
async fn keep_servers(parts: &LeaderParts) {
    let mut membership = Membership::new(parts.node_id, &parts.datacenter, Instant::now().into_std());
    let mut departures = Departures::new(&parts.datacenter);
    let mut changes = parts.lan.changes();
    let mut pause = MEMBERSHIP_INTERVAL;
    loop {
        let Some(()) = wait(&mut changes, pause).await else { return };
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

/// Has the servers leave the pools that are gone for good.
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
    let (last_index, cluster) = (parts.raft.stats().last_log_index, *parts.raft.cluster().borrow());
    let (roster, peers, progress, settings) = (&*roster, &*peers, &*progress, &*settings);
    membership.next(&Situation { roster, peers, progress, last_index, cluster, settings }, Instant::now().into_std())
}

async fn carry_out(parts: &LeaderParts, change: Change) -> Result<(), Fault> {
    let done = async {
        match change {
            Change::AddLearner(id) => parts.raft.add_learner(id).await,
            Change::Promote(id) => parts.raft.promote(id).await,
            Change::Remove(id, _reason) => parts.raft.remove(id).await,
        }
    };
    let late = |_elapsed| {
        let text = format!("a duty of the leader did not end within {MEMBERSHIP_CHANGE_TIMEOUT:?}");
        Err(Fault::outcome_unknown(text))
    };
    timeout(MEMBERSHIP_CHANGE_TIMEOUT, Box::pin(done)).await.unwrap_or_else(late)
}

/// Writes coordinates of members that have moved to the catalog.
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
        // Registered nodes only: the catalog passes over the others.
        let measured = catalog.all_nodes().filter_map(|row| {
            let node = row.node().node.as_str();
            let measured = if node == own { Some(lan.coordinate()) } else { lan.coordinate_of(node) };
            Some((node, catalog.coordinate_of(node), measured?))
        });
        coordinates::updates(measured)
    };
    let mut result = Ok(());
    for command in off_the_runtime(decide).await {
        match parts.propose(command).await {
            // A refusal keeps no other back.
            Err(fault) if fault.kind == FaultKind::BadRequest => result = result.and(Err(fault)),
            written => written?,
        }
    }
    result
}

/// Assigns observers to voted checks, on every change of the roster and of these checks.
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
            if let Err(fault) = parts.propose(Command::AssignObservers(assigns.to_vec())).await {
                metrics::counter!("kontor.leader.assignments_failed").increment(1);
                let pause = pause_after(&fault);
                warn!(%fault, again_in = ?pause, "voted checks did not get their observers");
                look_again = look_again.min(Instant::now() + pause);
                // A refusal keeps no other back.
                if !is_refused(&fault) {
                    break;
                }
            }
        }
        let Some(()) = gather(&mut changes, watch.changed(), look_again).await else { return };
    }
}

/// Runs long work without keeping a thread of the runtime.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime stops, and this task with it.
        Err(_cancelled) => pending().await,
    }
}

fn pause_after(fault: &Fault) -> Duration {
    if is_refused(fault) { RECONCILE_INTERVAL } else { RECONCILE_RETRY }
}

/// True for a fault that would come again a second later.
fn is_refused(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::BadRequest | FaultKind::Failed | FaultKind::Denied)
}
