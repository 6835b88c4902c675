//! The health of the servers as one term of leadership has seen it. No I/O.

use crate::defaults::SERVER_SILENT_AFTER;
use crate::gossip::Roster;
use crate::model::autopilot::AutopilotConfig;
use crate::model::ids::{ClusterId, NodeId};
use crate::model::member::{Member, MemberStatus};
use crate::raft::{Peer, PeerProgress};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The servers at one moment, by gossip and by Raft.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    pub(super) roster: &'a Roster,
    pub(super) peers: &'a [Peer],
    pub(super) progress: &'a [PeerProgress],
    /// The leader's own last index.
    pub(super) last_index: u64,
    pub(super) cluster: Option<ClusterId>,
    pub(super) settings: &'a AutopilotConfig,
}

impl<'a> Situation<'a> {
    /// The servers of the datacenter by id. A renamed one shows twice: its living entry counts.
    pub(super) fn servers(&self, datacenter: &str) -> BTreeMap<NodeId, &'a Member> {
        let mut servers: BTreeMap<NodeId, &Member> = BTreeMap::new();
        for member in self.roster.members.values().filter(|member| member.is_server() && member.dc() == datacenter) {
            let Some(id) = member.id() else { continue };
            let entry = servers.entry(id).or_insert(member);
            if member.status == MemberStatus::Alive {
                *entry = member;
            }
        }
        servers
    }

    pub(super) fn is_peer(&self, id: NodeId) -> bool {
        self.peers.iter().any(|peer| peer.id == id)
    }
}

/// The times since when each peer has been healthy or dead.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The name and status of each peer as gossip showed it last.
    shown: BTreeMap<NodeId, (String, MemberStatus)>,
    healthy_since: BTreeMap<NodeId, Instant>,
    dead_since: BTreeMap<NodeId, Instant>,
    calm: bool,
    /// The leader's last index at the last look. A healthy server has reached it by now, but for the trailing logs.
    last_index: u64,
}

impl Health {
    /// Notes the health of each peer but `me`. Dead takes two witnesses: gossip has given the server up or does not
    /// know it (a wiped server lives on under another id), and Raft has not heard of it either.
    pub(super) fn observe(&mut self, me: NodeId, situation: &Situation<'_>, servers: &BTreeMap<NodeId, &Member>, now: Instant) {
        let peers = || situation.peers.iter().map(|peer| peer.id).filter(|id| *id != me);
        let progress = |id| situation.progress.iter().find(|progress| progress.id == id);
        let longest = situation.settings.last_contact_threshold.max(SERVER_SILENT_AFTER);
        let silent = |id| progress(id).and_then(|progress| progress.last_contact).is_none_or(|contact| contact > longest);
        let behind = |id| {
            let reached = progress(id).map_or(0, |progress| progress.last_index);
            reached.saturating_add(situation.settings.max_trailing_logs) < self.last_index
        };
        let status = |id: NodeId| servers.get(&id).map(|member| member.status);
        let healthy = |id: &NodeId| status(*id) == Some(MemberStatus::Alive) && !silent(*id) && !behind(*id);
        let dead = |id: &NodeId| matches!(status(*id), None | Some(MemberStatus::Failed)) && silent(*id);
        let healthy: Vec<NodeId> = peers().filter(healthy).collect();
        let dead: Vec<NodeId> = peers().filter(dead).collect();
        keep(&mut self.healthy_since, &healthy, now);
        keep(&mut self.dead_since, &dead, now);
        self.calm = peers().all(|id| healthy.contains(&id)) && situation.peers.iter().all(|peer| peer.voter);
        for (id, member) in servers {
            self.shown.insert(*id, (member.name.clone(), member.status));
        }
        self.shown.retain(|id, _| situation.is_peer(*id));
        self.last_index = situation.last_index;
    }

    /// Every other server was a healthy voter at the last look.
    pub(super) fn is_calm(&self) -> bool {
        self.calm
    }

    pub(super) fn is_dead(&self, id: NodeId) -> bool {
        self.dead_since.contains_key(&id)
    }

    pub(super) fn has_been_dead_for(&self, id: NodeId, time: Duration, now: Instant) -> bool {
        self.dead_since.get(&id).is_some_and(|since| now.saturating_duration_since(*since) >= time)
    }

    pub(super) fn has_been_healthy_for(&self, id: NodeId, time: Duration, now: Instant) -> bool {
        self.healthy_since.get(&id).is_some_and(|since| now.saturating_duration_since(*since) >= time)
    }

    /// True when a server has left: it says so, was made to, or is dead and was forgotten after that or after it had
    /// failed. A server whose name another has taken was wiped, and has not left.
    pub(super) fn has_left(&self, id: NodeId, situation: &Situation<'_>, servers: &BTreeMap<NodeId, &Member>) -> bool {
        if let Some(member) = servers.get(&id) {
            return member.status == MemberStatus::Left;
        }
        let was_gone = |status| matches!(status, MemberStatus::Left | MemberStatus::Failed);
        let forgotten =
            |(name, status): &(String, MemberStatus)| was_gone(*status) && !situation.roster.members.contains_key(name);
        self.is_dead(id) && self.shown.get(&id).is_some_and(forgotten)
    }
}

/// Keeps the times of the servers `now_so`, starts those of newcomers, forgets the others.
fn keep(since: &mut BTreeMap<NodeId, Instant>, now_so: &[NodeId], now: Instant) {
    since.retain(|id, _| now_so.contains(id));
    for id in now_so {
        since.entry(*id).or_insert(now);
    }
}
