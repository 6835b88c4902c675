//! The servers that the Raft configuration shall have: one change at a time, decided without I/O.
//!
//! It never removes the leader itself, nor so many servers that the living ones lose their majority.

use super::health::{Health, Situation};
use crate::defaults::{MEMBERSHIP_RETRY, SERVER_DEAD_AFTER};
use crate::model::ids::NodeId;
use crate::model::member::{Member, MemberStatus, tag};
use crate::raft::Peer;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    AddLearner(NodeId),
    Promote(NodeId),
    Remove(NodeId, Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server has left, or was made to.
    Left,
    /// The server is dead, and the others are enough.
    Dead,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::AddLearner(_) => "add it without a vote",
            Change::Promote(_) => "give it its vote",
            Change::Remove(_, Reason::Left) => "remove it: it has left",
            Change::Remove(_, Reason::Dead) => "remove it: it is dead",
        })
    }
}

impl Change {
    pub(super) fn server(self) -> NodeId {
        match self {
            Change::AddLearner(id) | Change::Promote(id) | Change::Remove(id, _) => id,
        }
    }
}

#[derive(Debug)]
pub(super) struct Membership {
    me: NodeId,
    datacenter: String,
    leading_since: Instant,
    health: Health,
    /// Servers whose last change failed, and the time of the next try.
    not_before: BTreeMap<NodeId, Instant>,
}

impl Membership {
    pub(super) fn new(me: NodeId, datacenter: &str, now: Instant) -> Membership {
        let (datacenter, health, not_before) = (datacenter.to_owned(), Health::default(), BTreeMap::new());
        Membership { me, datacenter, leading_since: now, health, not_before }
    }

    /// The next change, if one is due, to be ended before the next call. Removals come first: newcomers replace the dead.
    pub(super) fn next(&mut self, situation: &Situation<'_>, now: Instant) -> Option<Change> {
        let servers = situation.servers(&self.datacenter);
        self.health.observe(self.me, situation, &servers, now);
        self.not_before.retain(|_, at| *at > now);
        self.removal(situation, &servers, now)
            .or_else(|| self.promotion(situation, now))
            .or_else(|| self.addition(situation, &servers))
            .filter(|change| change.server() != self.me)
    }

    /// True when every other server was a healthy voter at the last look: time alone then brings no change.
    pub(super) fn is_calm(&self) -> bool {
        self.health.is_calm()
    }

    /// Notes that `change` has failed; other servers come first for a while.
    pub(super) fn failed(&mut self, change: Change, now: Instant) {
        self.not_before.insert(change.server(), now + MEMBERSHIP_RETRY);
    }

    fn removal(&self, situation: &Situation<'_>, servers: &BTreeMap<NodeId, &Member>, now: Instant) -> Option<Change> {
        let candidates = || situation.peers.iter().filter(|peer| peer.id != self.me && self.may(peer.id));
        let left = |peer: &&Peer| self.health.has_left(peer.id, situation, servers);
        if let Some(peer) = candidates().find(left) {
            return Some(Change::Remove(peer.id, Reason::Left));
        }
        if !situation.settings.cleanup_dead_servers {
            return None;
        }
        let dead = |peer: &&Peer| self.health.has_been_dead_for(peer.id, SERVER_DEAD_AFTER, now);
        let dead = candidates().find(|peer| dead(peer) && (!peer.voter || self.may_lose_one(situation)));
        dead.map(|peer| Change::Remove(peer.id, Reason::Dead))
    }

    /// True when a dead voter may go, by Consul's rules: the dead are a minority, and `min_quorum` voters stay.
    fn may_lose_one(&self, situation: &Situation<'_>) -> bool {
        let voters = || situation.peers.iter().filter(|peer| peer.voter);
        let dead = voters().filter(|peer| self.health.is_dead(peer.id)).count();
        let left = voters().count().saturating_sub(1);
        let needed = usize::try_from(situation.settings.min_quorum).unwrap_or(usize::MAX);
        dead <= left / 2 && left >= needed
    }

    /// A learner that has been healthy for long enough; a leader that is itself young asks for less, as in Consul.
    fn promotion(&self, situation: &Situation<'_>, now: Instant) -> Option<Change> {
        let leading = now.saturating_duration_since(self.leading_since);
        let stabilization = situation.settings.server_stabilization_time.min(leading / 2);
        let mut learners = situation.peers.iter().filter(|peer| !peer.voter && self.may(peer.id));
        let stable = learners.find(|peer| self.health.has_been_healthy_for(peer.id, stabilization, now));
        stable.map(|peer| Change::Promote(peer.id))
    }

    fn addition(&self, situation: &Situation<'_>, servers: &BTreeMap<NodeId, &Member>) -> Option<Change> {
        let own = situation.cluster.map(|cluster| cluster.to_string());
        // A server that belongs to another cluster has a log of its own, and must be emptied first.
        let free = |member: &Member| match member.tag(tag::CLUSTER) {
            "" => true,
            other => own.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(other)),
        };
        let is_new = |id: NodeId, member: &Member| {
            member.status == MemberStatus::Alive && !situation.is_peer(id) && free(member) && self.may(id)
        };
        servers.iter().find(|(id, member)| is_new(**id, member)).map(|(id, _)| Change::AddLearner(*id))
    }

    fn may(&self, id: NodeId) -> bool {
        !self.not_before.contains_key(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::gossip::Roster;
    use crate::model::autopilot::AutopilotConfig;
    use crate::model::ids::ClusterId;
    use crate::raft::PeerProgress;
    use MemberStatus::{Alive, Failed, Left};
    use std::time::Duration;

    /// A datacenter whose changes are carried out at once.
    struct World {
        members: BTreeMap<String, Member>,
        peers: Vec<Peer>,
        silent: Vec<NodeId>,
        last_index: u64,
        settings: AutopilotConfig,
        membership: Membership,
        now: Instant,
    }

    fn id(number: u128) -> NodeId {
        NodeId::from_u128(number)
    }

    impl World {
        /// Servers 1 to `voters`, led by 1, for an hour already.
        fn new(voters: u128) -> World {
            let start = Instant::now();
            let mut world = World {
                members: BTreeMap::new(),
                peers: (1..=voters).map(|number| Peer { id: id(number), voter: true }).collect(),
                silent: Vec::new(),
                last_index: 1_000,
                settings: AutopilotConfig::default(),
                membership: Membership::new(id(1), "dc1", start),
                now: start + Duration::from_secs(3600),
            };
            (1..=voters).for_each(|number| world.set(&format!("s{number}"), number, Alive));
            world
        }

        /// [`World::new`], with servers `s<number>` of these states.
        fn with(voters: u128, servers: &[(u128, MemberStatus)]) -> World {
            let mut world = World::new(voters);
            servers.iter().for_each(|(number, status)| world.set(&format!("s{number}"), *number, *status));
            world
        }

        fn set(&mut self, name: &str, number: u128, status: MemberStatus) {
            self.members.insert(name.to_owned(), testing::server(name, number, status));
            self.silent.retain(|silent| *silent != id(number));
            if status != MemberStatus::Alive {
                self.silent.push(id(number));
            }
        }

        fn next(&mut self) -> Option<Change> {
            let roster = Roster { members: self.members.clone() };
            let heard = self.peers.iter().filter(|peer| !self.silent.contains(&peer.id));
            let last_contact = Some(Duration::from_millis(10));
            let progress = heard.map(|peer| PeerProgress { id: peer.id, last_index: 1_000, last_contact });
            let progress: Vec<PeerProgress> = progress.collect();
            let (peers, settings, last_index) = (&self.peers, &self.settings, self.last_index);
            let situation = Situation { roster: &roster, peers, progress: &progress, last_index, cluster: None, settings };
            self.membership.next(&situation, self.now)
        }

        /// Lets `seconds` pass and carries out every change; all of them, in order.
        fn run(&mut self, seconds: u64) -> Vec<Change> {
            let mut changes = Vec::new();
            for _ in 0..seconds * 4 {
                if let Some(change) = self.next() {
                    match change {
                        Change::AddLearner(id) => self.peers.push(Peer { id, voter: false }),
                        Change::Promote(id) => {
                            self.peers.iter_mut().find(|peer| peer.id == id).expect("known").voter = true;
                        }
                        Change::Remove(id, _) => self.peers.retain(|peer| peer.id != id),
                    }
                    changes.push(change);
                }
                self.now += Duration::from_millis(250);
            }
            changes
        }
    }

    #[test]
    fn a_new_server_learns_first_and_votes_once_it_has_been_healthy_long_enough() {
        let mut world = World::with(1, &[(2, Alive)]);
        assert_eq!(world.run(9), [Change::AddLearner(id(2))]);
        assert_eq!(world.run(2), [Change::Promote(id(2))]);
        assert_eq!(world.run(60), []);
    }

    #[test]
    fn a_cluster_that_is_just_being_built_does_not_wait() {
        let mut world = World::with(1, &[(2, Alive), (3, Alive)]);
        world.membership.leading_since = world.now;
        assert_eq!(world.run(2).len(), 4, "two added and two promoted within two seconds");
    }

    #[test]
    fn a_learner_that_falters_starts_its_time_anew() {
        let mut world = World::with(1, &[(2, Alive)]);
        assert_eq!(world.run(5), [Change::AddLearner(id(2))]);
        world.silent.push(id(2));
        assert_eq!(world.run(1), []);
        world.silent.clear();
        assert_eq!(world.run(9), []);
        assert_eq!(world.run(2), [Change::Promote(id(2))]);
    }

    #[test]
    fn a_learner_that_has_not_caught_up_does_not_vote() {
        let mut world = World::with(1, &[(2, Alive)]);
        world.last_index = 2_000;
        assert_eq!(world.run(60), [Change::AddLearner(id(2))]);
        world.last_index = 1_250;
        assert_eq!(world.run(12), [Change::Promote(id(2))]);
    }

    #[test]
    fn clients_and_servers_of_other_clusters_or_datacenters_are_never_added() {
        let mut world = World::new(1);
        for (name, tag, value) in [("c", tag::ROLE, "node"), ("d", tag::DC, "dc2")] {
            world.set(name, 7, Alive);
            world.members.get_mut(name).expect("set").tags.insert(tag.to_owned(), value.to_owned());
        }
        assert_eq!(world.run(30), []);
        world.set("x", 8, Alive);
        let foreign = ClusterId(uuid::Uuid::from_u128(5)).to_string();
        world.members.get_mut("x").expect("set").tags.insert(tag::CLUSTER.to_owned(), foreign);
        let roster = Roster { members: world.members.clone() };
        let cluster = Some(ClusterId(uuid::Uuid::from_u128(6)));
        let (settings, peers) = (&world.settings, &world.peers);
        let situation = Situation { roster: &roster, peers, progress: &[], last_index: 0, cluster, settings };
        assert_eq!(world.membership.next(&situation, world.now), None);
    }

    #[test]
    fn a_server_that_left_goes_at_once() {
        let mut world = World::with(3, &[(3, Left)]);
        assert_eq!(world.next(), Some(Change::Remove(id(3), Reason::Left)));
    }

    #[test]
    fn a_dead_server_of_three_goes_and_comes_back_as_a_newcomer() {
        let mut world = World::with(3, &[(3, Failed)]);
        assert_eq!(world.run(9), []);
        assert_eq!(world.run(600), [Change::Remove(id(3), Reason::Dead)]);
        world.set("s3", 3, Alive);
        assert_eq!(world.run(30), [Change::AddLearner(id(3)), Change::Promote(id(3))]);
    }

    #[test]
    fn the_dead_stay_where_they_are_no_minority() {
        let mut world = World::with(2, &[(2, Failed)]);
        assert_eq!(world.run(600), []);
        let mut world = World::with(5, &[(3, Failed), (4, Failed), (5, Failed)]);
        assert_eq!(world.run(600), []);
        world.set("s3", 3, Alive);
        assert_eq!(world.run(60), [4, 5].map(|number| Change::Remove(id(number), Reason::Dead)));
    }

    #[test]
    fn a_server_that_was_made_to_leave_and_forgotten_goes_at_once_whatever_the_quorum() {
        let mut world = World::with(3, &[(3, Failed)]);
        world.settings.min_quorum = 3;
        assert_eq!(world.run(600), []);
        world.members.remove("s3");
        assert_eq!(world.next(), Some(Change::Remove(id(3), Reason::Left)));
    }

    #[test]
    fn all_is_calm_while_every_server_is_a_healthy_voter() {
        let mut world = World::new(3);
        assert_eq!((world.next(), world.membership.is_calm()), (None, true));
        world.set("s3", 3, Failed);
        assert_eq!((world.next(), world.membership.is_calm()), (None, false));
        world.run(60);
        assert_eq!((world.next(), world.membership.is_calm()), (None, true));
        world.set("s3", 3, Alive);
        world.run(1);
        assert_eq!((world.next(), world.membership.is_calm()), (None, false), "it has no vote yet");
    }

    #[test]
    fn a_server_that_restarts_is_not_taken_for_dead() {
        let mut world = World::with(4, &[(4, Failed)]);
        assert_eq!(world.run(8), []);
        world.set("s4", 4, Alive);
        assert_eq!(world.run(60), []);
    }

    #[test]
    fn gossip_alone_does_not_kill_a_server_that_raft_still_hears() {
        let mut world = World::with(4, &[(4, Failed)]);
        world.silent.clear();
        assert_eq!(world.run(600), []);
        world.members.remove("s4");
        assert_eq!(world.run(600), []);
    }

    #[test]
    fn a_wiped_server_takes_its_old_place_over_under_its_new_id() {
        let mut world = World::with(3, &[(3, Failed)]);
        assert_eq!(world.run(1), []);
        world.set("s3", 33, Alive);
        let changes = [Change::AddLearner(id(33)), Change::Remove(id(3), Reason::Dead), Change::Promote(id(33))];
        assert_eq!(world.run(30), changes);
    }

    #[test]
    fn of_two_dead_servers_each_goes_when_its_own_replacement_votes() {
        let mut world = World::with(5, &[(4, Failed), (5, Failed)]);
        world.settings.min_quorum = 5;
        assert_eq!(world.run(600), []);
        world.set("s6", 6, Alive);
        assert_eq!(world.run(60).last(), Some(&Change::Remove(id(4), Reason::Dead)));
        world.set("s7", 7, Alive);
        assert_eq!(world.run(60).last(), Some(&Change::Remove(id(5), Reason::Dead)));
        assert_eq!(world.peers.len(), 5);
    }

    #[test]
    fn settings_keep_dead_servers_in() {
        let mut world = World::with(4, &[(4, Failed)]);
        world.settings.min_quorum = 4;
        assert_eq!(world.run(60), []);
        world.settings.min_quorum = 3;
        world.settings.cleanup_dead_servers = false;
        assert_eq!(world.run(60), []);
        world.settings.cleanup_dead_servers = true;
        assert_eq!(world.run(60), [Change::Remove(id(4), Reason::Dead)]);
    }

    #[test]
    fn a_change_that_failed_lets_the_others_go_first() {
        let mut world = World::with(1, &[(2, Alive), (3, Alive)]);
        let first = world.next().expect("a change");
        world.membership.failed(first, world.now);
        assert_eq!(world.next(), Some(Change::AddLearner(id(3))));
        world.now += MEMBERSHIP_RETRY;
        assert_eq!(world.next(), Some(first));
    }
}
