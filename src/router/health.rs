//! Autopilot's view on the leader: the healthy servers, and since when they are. Pure; times come from outside.

use crate::gossip::Roster;
use crate::model::ids::NodeId;
use crate::model::member::MemberStatus;
use crate::raft::{Peer, PeerProgress, RaftStats};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerHealth {
    pub id: NodeId,
    pub voter: bool,
    pub healthy: bool,
    /// Zero for the leader, and for a server that was never heard of, which is not healthy.
    pub last_contact: Duration,
    pub last_term: u64,
    pub last_index: u64,
    /// When `healthy` last changed, as far as this leader has seen.
    pub stable_since: SystemTime,
}

/// The facts that a leader judges by.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub own_id: NodeId,
    pub peers: &'a [Peer],
    pub progress: &'a [PeerProgress],
    pub stats: &'a RaftStats,
    pub roster: &'a Roster,
    /// The longest silence of a healthy server.
    pub last_contact_threshold: Duration,
    /// The longest lag of a healthy server, in log entries.
    pub max_trailing_logs: u64,
}

impl Evidence<'_> {
    fn judge(&self, peer: &Peer, now: SystemTime) -> ServerHealth {
        let own = peer.id == self.own_id;
        let progress = self.progress.iter().find(|progress| progress.id == peer.id);
        let last_contact = if own { Some(Duration::ZERO) } else { progress.and_then(|progress| progress.last_contact) };
        let last_index = if own { self.stats.last_log_index } else { progress.map_or(0, |progress| progress.last_index) };
        let in_time = last_contact.is_some_and(|contact| contact <= self.last_contact_threshold);
        let caught_up = last_index.saturating_add(self.max_trailing_logs) >= self.stats.last_log_index;
        ServerHealth {
            id: peer.id,
            voter: peer.voter,
            healthy: in_time && caught_up && self.is_alive(peer.id),
            last_contact: last_contact.unwrap_or_default(),
            // The log that a follower acknowledges is the leader's own.
            last_term: self.stats.last_log_term,
            last_index,
            stable_since: now,
        }
    }

    fn is_alive(&self, id: NodeId) -> bool {
        let alive = |status| status == MemberStatus::Alive;
        self.roster.members.values().any(|member| alive(member.status) && member.is_server() && member.id() == Some(id))
    }
}

/// The time since which each server is as it is.
#[derive(Debug, Default)]
pub(super) struct Stability {
    since: BTreeMap<NodeId, (bool, SystemTime)>,
}

impl Stability {
    /// Judges all servers now, and remembers what has changed.
    pub(super) fn observe(&mut self, evidence: &Evidence<'_>, now: SystemTime) -> Vec<ServerHealth> {
        let mut servers: Vec<ServerHealth> = evidence.peers.iter().map(|peer| evidence.judge(peer, now)).collect();
        for server in &mut servers {
            if let Some((_, since)) = self.since.get(&server.id).filter(|(healthy, _)| *healthy == server.healthy) {
                server.stable_since = *since;
            }
        }
        self.since = servers.iter().map(|server| (server.id, (server.healthy, server.stable_since))).collect();
        servers
    }

    /// Forgets everything: this server leads no more.
    pub(super) fn clear(&mut self) {
        self.since.clear();
    }
}

impl ServerHealth {
    /// `stable_since` as RFC 3339 in UTC, to the second.
    pub(super) fn stable_since_text(&self) -> String {
        let since = OffsetDateTime::from(self.stable_since).truncate_to_second();
        since.format(&Rfc3339).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{agent, id, roster};
    use super::*;

    fn observe(stability: &mut Stability, status: MemberStatus, contact: Option<u64>, last_index: u64, now: u64) -> ServerHealth {
        let peers = [Peer { id: id(1), voter: true }, Peer { id: id(2), voter: true }];
        let last_contact = contact.map(Duration::from_millis);
        let evidence = Evidence {
            own_id: id(1),
            peers: &peers,
            progress: &[PeerProgress { id: id(2), last_index, last_contact }],
            stats: &RaftStats { last_log_index: 1_000, last_log_term: 4, ..RaftStats::default() },
            roster: &roster([agent(1, "consul", MemberStatus::Alive), agent(2, "consul", status)]),
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
        };
        let mut servers = stability.observe(&evidence, SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        assert!(servers[0].healthy, "the leader itself");
        assert_eq!((servers[0].last_index, servers[0].last_term), (1_000, 4));
        servers.remove(1)
    }

    #[test]
    fn a_server_is_healthy_when_it_is_alive_heard_of_and_caught_up() {
        use MemberStatus::{Alive, Failed, Left};
        for (status, contact, last_index, healthy) in [
            (Alive, Some(50), 1_000, true),
            (Alive, Some(200), 750, true),
            (Alive, Some(201), 1_000, false),
            (Alive, Some(50), 749, false),
            (Alive, None, 1_000, false),
            (Failed, Some(50), 1_000, false),
            (Left, Some(50), 1_000, false),
        ] {
            let found = observe(&mut Stability::default(), status, contact, last_index, 1);
            assert_eq!(found.healthy, healthy, "{status:?} {contact:?} {last_index}");
        }
    }

    #[test]
    fn stable_since_moves_only_when_the_health_changes() {
        let mut stability = Stability::default();
        let mut since = |contact, now| {
            let server = observe(&mut stability, MemberStatus::Alive, Some(contact), 1_000, now);
            server.stable_since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
        };
        assert_eq!([since(10, 100), since(20, 200), since(999, 300), since(999, 400), since(10, 500)], [100, 100, 300, 300, 500]);
    }
}
