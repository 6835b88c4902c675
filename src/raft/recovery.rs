//! A cluster whose majority is gone for good goes on with the servers that an operator lists.
//! Runs before the core starts. The list becomes the last entry of the log, under a vote of its own, as if this server had
//! led and changed the membership. The cluster gets another id, the same on every server with the same list: servers that
//! return with the old id cannot make a second cluster of it.

use super::bootstrap_driver::{CLUSTER, GRANT, kept};
use super::log_store::LogStore;
use super::machine::Machine;
use super::openraft_types::{Entry, LogId, TypeConfig, Vote};
use super::peers_file::{self, Listed};
use super::snapshot_file::SnapshotShelf;
use super::state_machine::StateMachine;
use super::{RaftError, RaftSettings};
use crate::defaults::RAFT_APPEND_ENTRIES;
use crate::model::ids::{ClusterId, NodeId};
use openraft::alias::LeaderIdOf;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// The change that is under way, in case it is interrupted.
const RECOVERY: &str = "recovery";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    voters: BTreeSet<u128>,
    learners: BTreeSet<u128>,
}

/// Takes the servers of `peers.json`, if there is one.
pub(super) async fn recover(
    settings: &RaftSettings,
    machine: &dyn Machine,
    log: &LogStore,
    shelf: &SnapshotShelf,
) -> Result<(), RaftError> {
    let Some(data_dir) = &settings.data_dir else { return Ok(()) };
    if let Err(error) = peers_file::explain(data_dir) {
        tracing::warn!(%error, "the explanation of peers.json cannot be written");
    }
    let path = peers_file::path(data_dir);
    let failed = |error: io::Error| RaftError::Storage(format!("the membership of {} cannot be taken: {error}", path.display()));
    let Some(listed) = peers_file::read(data_dir)? else {
        // A former run may have been interrupted at its very end.
        return if log.get(RECOVERY)?.is_some() { log.put(RECOVERY, None).await.map_err(failed) } else { Ok(()) };
    };
    let cluster: ClusterId = kept(log, CLUSTER)?
        .ok_or_else(|| peers_file::wrong(&path, "this server has never been part of a cluster, and has no data to go on with"))?;
    let replayed = Replayed::of(machine.blank(), log.clone(), shelf).await?;
    let Some(last) = replayed.last else {
        return Err(peers_file::wrong(&path, "this server has no data to go on with"));
    };
    let wanted = wanted(&listed, settings, &replayed.servers).map_err(|why| peers_file::wrong(&path, why))?;
    write(settings.node_id, log, last, cluster, &wanted).await.map_err(failed)?;
    peers_file::take(data_dir).map_err(failed)?;
    log.put(RECOVERY, None).await.map_err(failed)?;
    tracing::warn!(
        file = %path.display(), voters = wanted.voters.len(), learners = wanted.learners.len(),
        "the servers of the cluster are those of peers.json from now on; the file is renamed to peers.json.taken"
    );
    Ok(())
}

/// Writes the list into the log. Interrupted at any point, it comes to the same when done again.
async fn write(me: NodeId, log: &LogStore, last: LogId, cluster: ClusterId, wanted: &Wanted) -> io::Result<()> {
    let mut log = log.clone();
    let next = next_cluster(cluster, wanted);
    // The former cluster of an interrupted change, which may have the new id already.
    let begun = log.get(RECOVERY).map_err(io::Error::other)?;
    let part = |range| Some(ClusterId(uuid::Uuid::from_slice(begun.as_deref()?.get(range)?).ok()?));
    let (former, wanted_then) = (part(0..16), part(16..32));
    if former.is_none_or(|former| next_cluster(former, wanted) != cluster) {
        log.put(RECOVERY, Some([*cluster.0.as_bytes(), *next.0.as_bytes()].concat())).await?;
        if log.last_index() < Some(last.index()) {
            log.purge(last).await?;
        }
        // A second entry would put this server before the others.
        let written = (former, wanted_then) == (Some(cluster), Some(next)) && is_of_recovery(last);
        if !written {
            let membership = Membership::new_with_defaults(vec![wanted.voters.clone()], wanted.learners.clone());
            let id = id_after(last);
            let term = id.committed_leader_id().term.max(log.vote().map_or(0, |vote| vote.leader_id().term)) + 1;
            log.save_vote(&Vote::new(term, me.as_u128())).await?;
            log.blocking_append([Entry::new(id, EntryPayload::Membership(membership))]).await?;
        }
        log.put(CLUSTER, Some(rmp_serde::to_vec_named(&next).map_err(io::Error::other)?)).await?;
    }
    log.put(GRANT, None).await
}

/// The place of the new list in the log. Of several servers that recover, the one with the longer log must win an
/// election, which goes by term, then by leader, then by index: so the leader is named by the index. Servers whose logs
/// end with the same entry write the same one.
fn id_after(last: LogId) -> LogId {
    let former = last.committed_leader_id();
    let leader =
        LeaderIdOf::<TypeConfig>::new(former.term + 1, u128::from(last.index()) << 64 | former.node_id & u128::from(u64::MAX));
    LogId::new(leader.to_committed(), last.index() + 1)
}

/// True for an id of [`id_after`]: no server has such an id.
fn is_of_recovery(id: LogId) -> bool {
    id.index().checked_sub(1).is_some_and(|before| id.committed_leader_id().node_id >> 64 == u128::from(before))
}

/// The id of a cluster after this change.
fn next_cluster(cluster: ClusterId, wanted: &Wanted) -> ClusterId {
    let mut sum = Sha256::new();
    sum.update(cluster.0.as_bytes());
    for (servers, kind) in [(&wanted.voters, 1_u8), (&wanted.learners, 0)] {
        servers.iter().for_each(|id| {
            sum.update([kind]);
            sum.update(id.to_be_bytes());
        });
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&sum.finalize()[..16]);
    ClusterId(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// The servers of the list. `known` has their addresses.
fn wanted(listed: &[Listed], settings: &RaftSettings, known: &[(SocketAddr, NodeId)]) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for server in listed {
        let (id, voter) = match server {
            Listed::Id { id, voter } => (*id, *voter),
            Listed::Address(address) if Some(*address) == settings.address => (settings.node_id, true),
            Listed::Address(address) => {
                let found = known.iter().find(|(place, _)| place == address);
                let id = found.map(|(_, id)| *id).ok_or_else(|| {
                    format!("the catalog knows of no server at {address}; name it by its id, which is in its file node-id")
                })?;
                (id, true)
            }
        };
        let servers = if voter { &mut wanted.voters } else { &mut wanted.learners };
        if !servers.insert(id.as_u128()) {
            return Err(format!("server {id} is listed twice"));
        }
    }
    if let Some(both) = wanted.voters.intersection(&wanted.learners).next() {
        return Err(format!("server {} is listed with a vote and without", NodeId::from_u128(*both)));
    }
    if !wanted.voters.contains(&settings.node_id.as_u128()) {
        let me = settings.node_id;
        return Err(format!("this server ({me}) is not among the voters, and could not lead what it has the data of"));
    }
    Ok(wanted)
}

/// The state of log and snapshot, committed or not: only for the addresses of servers.
struct Replayed {
    last: Option<LogId>,
    servers: Vec<(SocketAddr, NodeId)>,
}

impl Replayed {
    async fn of(machine: Box<dyn Machine>, mut log: LogStore, shelf: &SnapshotShelf) -> Result<Replayed, RaftError> {
        let unreadable = |error: io::Error| RaftError::Storage(format!("the Raft log cannot be replayed: {error}"));
        let shelf = shelf.apart();
        let started = tokio::task::spawn_blocking(move || StateMachine::start(machine, shelf, Arc::default())).await;
        let mut state = started.map_err(|error| RaftError::Storage(error.to_string()))??;
        let end = log.get_log_state().await.map_err(unreadable)?.last_log_id;
        let mut next = state.applied().map_or(0, |applied| applied.index() + 1);
        while end.is_some_and(|end| next <= end.index()) {
            let entries = log.try_get_log_entries(next..next + RAFT_APPEND_ENTRIES).await.map_err(unreadable)?;
            let Some(last) = entries.last() else { break };
            next = last.index() + 1;
            let mut before = state;
            let replay = move || before.replay(&entries).map(|()| before);
            let replayed = tokio::task::spawn_blocking(replay).await.map_err(io::Error::other);
            state = replayed.and_then(|replayed| replayed).map_err(unreadable)?;
        }
        Ok(Replayed { last: end.max(state.applied()), servers: state.servers() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, leader: u128, index: u64) -> LogId {
        LogId::new(LeaderIdOf::<TypeConfig>::new(term, leader).to_committed(), index)
    }

    #[test]
    fn the_longer_log_comes_first_whoever_leads_and_equal_ones_stay_equal() {
        for (low, high) in [(1, 2), (1, u128::MAX), (u128::MAX - 1, u128::MAX)] {
            let (short, long) = (entry(5, high, 90), entry(5, low, 100));
            assert!(id_after(short) < id_after(long), "{low} {high}");
            assert!(id_after(long) < id_after(entry(6, low, 80)), "a later term counts for more");
            assert!(long < id_after(long));
        }
        assert_eq!(id_after(entry(5, 3, 90)), id_after(entry(5, 3, 90)));
        assert!(is_of_recovery(id_after(entry(5, 3, 90))) && !is_of_recovery(entry(5, u128::MAX, 90)));
    }
}
