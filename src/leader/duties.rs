//! Carries out the leader's duties for as long as this server leads, term by term.
//!
//! What is to be done is decided in `reconcile`, `membership`, `observers` and `coordinates`; this file waits,
//! reads, writes and logs. A duty that fails is logged and tried again; none stops the others.

use super::LeaderParts;
use super::batches::batches;
use super::coordinates;
use super::membership::{Change, Membership, Situation};
use super::observers::Observers;
use super::reconcile::{self, Nodes, Reconciler};
use crate::config::defaults::{
    COORDINATE_INTERVAL, LEADER_GAP, LEADER_TICK, MEMBERSHIP_CHANGE_TIMEOUT, MEMBERSHIP_INTERVAL, OBSERVERS_BATCH,
    RECONCILE_BATCH, RECONCILE_GATHER, RECONCILE_INTERVAL, RECONCILE_RETRY,
};
use crate::model::command::{Command, Outcome};
use crate::model::coordinate::{Coordinate, NodeCoordinate};
use crate::model::fault::{Fault, FaultKind};
use crate::model::node::Node;
use crate::model::query::{Lookup, Query, QueryOptions, Read};
use crate::telemetry::Trouble;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
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
                Ok(now) => info!(term = won.term, leader = ?now.leader, "leadership is over; the leader's duties rest"),
                Err(_stopped) => return,
            },
            () = lead(&parts) => {}
        }
    }
}

/// All duties of one term, side by side: a server that is slow to catch up keeps no node waiting.
async fn lead(parts: &LeaderParts) {
    tokio::join!(watch_gaps(), keep_nodes(parts), keep_servers(parts), keep_coordinates(parts), keep_observers(parts));
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

/// Members become nodes, on every change of the roster and from time to time.
async fn keep_nodes(parts: &LeaderParts) {
    let mut reconciler = Reconciler::new(&parts.node_name, &parts.datacenter, Instant::now().into_std());
    let mut changes = parts.lan.changes();
    let mut trouble = Trouble::default();
    loop {
        changes.mark_unchanged();
        let pause = match reconcile_once(parts, &mut reconciler).await {
            Ok(()) => {
                trouble.worked();
                RECONCILE_INTERVAL
            }
            Err(fault) => {
                metrics::counter!("kontor.leader.reconcile_failed").increment(1);
                // What the catalog refuses, it refuses again a second later.
                let refused = matches!(fault.kind, FaultKind::BadRequest | FaultKind::Failed | FaultKind::Denied);
                let pause = if refused { RECONCILE_INTERVAL } else { RECONCILE_RETRY };
                if refused || trouble.failed(Instant::now().into_std()) {
                    warn!(%fault, again_in = ?pause, "the catalog does not agree with the members");
                } else {
                    debug!(%fault, again_in = ?pause, "the catalog does not agree with the members yet");
                }
                pause
            }
        };
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => sleep(RECONCILE_GATHER).await,
                // The pool has stopped, and the agent is about to.
                Err(_stopped) => return,
            },
            () = sleep(pause) => {}
        }
    }
}

async fn reconcile_once(parts: &LeaderParts, reconciler: &mut Reconciler) -> Result<(), Fault> {
    let nodes = read_nodes(parts)?;
    let commands = reconciler.reconcile(&parts.lan.roster(), &nodes, Instant::now().into_std());
    let mut result = Ok(());
    for batch in batches(&commands, RECONCILE_BATCH) {
        debug!(commands = batch.len(), "members have changed");
        let command = if let [single] = batch { single.clone() } else { Command::Batch(batch.to_vec()) };
        // A refusal (a name that belongs to another node) must not keep the rest back.
        result = result.and(write(parts, command).await);
    }
    result
}

fn read_nodes(parts: &LeaderParts) -> Result<Nodes, Fault> {
    let nodes = read(parts, Read::CatalogNodes)?;
    let checks = read(parts, Read::HealthState { state: "any".to_owned() })?;
    let consul = read(parts, Read::CatalogService { name: "consul".to_owned(), lookup: Lookup::Plain })?;
    reconcile::parse(&nodes, &checks, &consul).map_err(unreadable)
}

/// Servers become voters, and those that are gone are taken out, one change at a time.
async fn keep_servers(parts: &LeaderParts) {
    let now = Instant::now().into_std();
    let mut membership = Membership::new(parts.node_id, &parts.datacenter, parts.autopilot.clone(), now);
    let mut ticks = interval(MEMBERSHIP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(change) = next_change(parts, &mut membership) else { continue };
        info!(server = %change.server(), ?change, "changing the raft configuration");
        if let Err(fault) = carry_out(parts, change).await {
            metrics::counter!("kontor.leader.membership_failed").increment(1);
            warn!(server = %change.server(), ?change, %fault, "the raft configuration could not be changed; trying again");
            membership.failed(change, Instant::now().into_std());
        }
    }
}

fn next_change(parts: &LeaderParts, membership: &mut Membership) -> Option<Change> {
    let (roster, peers, progress) = (parts.lan.roster(), parts.raft.peers(), parts.raft.progress());
    let situation = Situation {
        roster: &roster,
        peers: &peers,
        progress: &progress,
        last_index: parts.raft.stats().last_log_index,
        cluster: *parts.raft.cluster().borrow(),
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
    let nodes: Vec<Node> = serde_json::from_slice(&read(parts, Read::CatalogNodes)?).map_err(unreadable)?;
    let stored: Vec<NodeCoordinate> = serde_json::from_slice(&read(parts, Read::CoordinateNodes)?).map_err(unreadable)?;
    // Only of nodes that are registered: the catalog passes over the others.
    let of = |node: Node| -> Option<(String, Coordinate)> {
        let coordinate = match node.node == parts.node_name {
            true => Some(parts.lan.coordinate()),
            false => parts.lan.coordinate_of(&node.node),
        };
        coordinate.map(|coordinate| (node.node, coordinate))
    };
    let told: BTreeMap<String, Coordinate> = nodes.into_iter().filter_map(of).collect();
    let mut result = Ok(());
    for command in coordinates::updates(&stored, told) {
        result = match write(parts, command).await {
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
        let plan = observers.plan(&parts.lan.roster(), &parts.reader.observed(), Instant::now().into_std());
        let mut look_again = plan.look_again.map_or(Instant::now() + RECONCILE_INTERVAL, Instant::from_std);
        for assigns in batches(&plan.assigns, OBSERVERS_BATCH) {
            info!(checks = assigns.len(), "voted checks get other observers");
            if let Err(fault) = write(parts, Command::AssignObservers(assigns.to_vec())).await {
                metrics::counter!("kontor.leader.assignments_failed").increment(1);
                // What the log does not take, it does not take a second later, and that keeps no other back.
                let refused = fault.kind == FaultKind::BadRequest;
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

fn read(parts: &LeaderParts, read: Read) -> Result<Bytes, Fault> {
    let query = Query { read, options: QueryOptions::default() };
    parts.reader.read(&query).map(|rendered| rendered.body)
}

/// Through this server alone: what one that no longer leads has seen is not for its successor to write.
async fn write(parts: &LeaderParts, command: Command) -> Result<(), Fault> {
    match parts.raft.propose(command).await? {
        (_index, Outcome::Done) => Ok(()),
        (_index, Outcome::Refused(fault)) => Err(fault),
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = || Err(Fault::outcome_unknown(format!("a duty of the leader did not end within {limit:?}")));
    timeout(limit, work).await.unwrap_or_else(|_elapsed| late())
}

fn unreadable(error: serde_json::Error) -> Fault {
    Fault::failed(format!("the catalog's own answer cannot be read: {error}"))
}
