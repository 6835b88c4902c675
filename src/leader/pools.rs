//! The servers that are made to leave the pools, because the Raft configuration or the other pool is rid of them. No I/O.

use crate::defaults::{REAP_UNKNOWN_AFTER, SERVER_DEAD_AFTER};
use crate::gossip::{Pool, Roster};
use crate::model::ids::ClusterId;
use crate::model::member::{Member, MemberStatus, tag};
use crate::raft::Peer;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The members of both pools and of Raft at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rosters<'a> {
    pub(super) lan: &'a Roster,
    pub(super) wan: Option<&'a Roster>,
    pub(super) peers: &'a [Peer],
    pub(super) cluster: Option<ClusterId>,
}

pub(super) type Departure = (Pool, String);

/// The members that are to leave, as one term of leadership has seen them.
#[derive(Debug)]
pub(super) struct Departures {
    datacenter: String,
    /// The earliest time at which each is named next.
    due: HashMap<Departure, Instant>,
    /// Servers of this datacenter that the LAN pool has shown in this term.
    shown: BTreeSet<String>,
}

impl Departures {
    pub(super) fn new(datacenter: &str) -> Departures {
        Departures { datacenter: datacenter.to_owned(), due: HashMap::new(), shown: BTreeSet::new() }
    }

    /// The members to leave now. A member that stays is named again after [`SERVER_DEAD_AFTER`].
    pub(super) fn due(&mut self, rosters: &Rosters<'_>, now: Instant) -> Vec<Departure> {
        let own = rosters.lan.members.values().filter(|member| is_server_of(member, &self.datacenter));
        self.shown.extend(own.map(|member| member.name.clone()));
        let lan = self.failed(rosters.lan).filter(|member| rosters.is_removed(member));
        let lan = lan.map(|member| ((Pool::Lan, member.name.clone()), Duration::ZERO));
        let wan = rosters.wan.into_iter().flat_map(|wan| self.failed(wan));
        let wan = wan.filter_map(|member| Some(((Pool::Wan, member.name.clone()), self.patience(rosters.lan, member)?)));
        let wanted: Vec<(Departure, Duration)> = lan.chain(wan).collect();
        self.due.retain(|departure, _| wanted.iter().any(|(wanted, _)| wanted == departure));
        let mut now_due = Vec::new();
        for (departure, patience) in wanted {
            let due = self.due.entry(departure.clone()).or_insert(now + patience);
            if now >= *due {
                *due = now + SERVER_DEAD_AFTER;
                now_due.push(departure);
            }
        }
        now_due
    }

    /// The servers of this datacenter that a pool takes for failed.
    fn failed<'a>(&self, roster: &'a Roster) -> impl Iterator<Item = &'a Member> + use<'a, '_> {
        roster.members.values().filter(|member| member.status == MemberStatus::Failed && is_server_of(member, &self.datacenter))
    }

    /// The time that a server which has failed in the WAN pool may stay there; unset while the LAN pool expects it back.
    /// A server that this leader has never seen in the LAN pool may be news still on its way.
    fn patience(&self, lan: &Roster, member: &Member) -> Option<Duration> {
        let name = member.node_name();
        match lan.members.get(name).map(|here| here.status) {
            Some(MemberStatus::Alive | MemberStatus::Leaving | MemberStatus::Failed) => None,
            None if !self.shown.contains(name) => Some(REAP_UNKNOWN_AFTER),
            Some(MemberStatus::Left) | None => Some(Duration::ZERO),
        }
    }
}

fn is_server_of(member: &Member, datacenter: &str) -> bool {
    member.is_server() && member.dc() == datacenter
}

impl Rosters<'_> {
    /// True when a failed server has been part of this cluster and is so no more.
    fn is_removed(&self, member: &Member) -> bool {
        let was_ours = self.cluster.is_some_and(|own| member.tag(tag::CLUSTER).eq_ignore_ascii_case(&own.to_string()));
        was_ours && !self.peers.iter().any(|peer| Some(peer.id) == member.id())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{roster, server};
    use super::*;
    use crate::model::ids::NodeId;

    fn cluster() -> ClusterId {
        ClusterId(uuid::Uuid::from_u128(7))
    }

    fn member(name: &str, number: u128, status: MemberStatus) -> Member {
        let mut member = server(name, number, status);
        member.tags.insert(tag::CLUSTER.to_owned(), cluster().to_string());
        member
    }

    fn peers(numbers: &[u128]) -> Vec<Peer> {
        numbers.iter().map(|number| Peer { id: NodeId::from_u128(*number), voter: true }).collect()
    }

    /// The departures named within `seconds`, each with the second of its first naming.
    fn named(lan: &Roster, wan: &Roster, peers: &[Peer], seconds: u64) -> Vec<(u64, Departure)> {
        let (start, mut departures) = (Instant::now(), Departures::new("dc1"));
        let rosters = Rosters { lan, wan: Some(wan), peers, cluster: Some(cluster()) };
        let mut named: Vec<(u64, Departure)> = Vec::new();
        for second in 0..seconds {
            for departure in departures.due(&rosters, start + Duration::from_secs(second)) {
                if named.iter().all(|(_, known)| *known != departure) {
                    named.push((second, departure));
                }
            }
        }
        named
    }

    #[test]
    fn a_failed_server_that_is_no_peer_any_more_leaves_the_lan_pool_and_a_stranger_stays() {
        use MemberStatus::{Alive, Failed};
        let never_of_this_cluster = server("s4", 4, Failed);
        let lan = roster([member("s1", 1, Alive), member("s2", 2, Failed), member("s3", 3, Failed), never_of_this_cluster]);
        assert_eq!(named(&lan, &roster([]), &peers(&[1, 3]), 600), [(0, (Pool::Lan, "s2".to_owned()))]);
    }

    #[test]
    fn the_wan_pool_follows_the_lan_pool() {
        use MemberStatus::{Alive, Failed, Left};
        let lan = roster([member("back", 1, Alive), member("away", 2, Failed), member("left", 3, Left)]);
        let mut far = member("s1.dc2", 9, Failed);
        far.tags.insert(tag::DC.to_owned(), "dc2".to_owned());
        let of_wan = |(name, number)| member(name, number, Failed);
        let known = [("back.dc1", 1), ("away.dc1", 2), ("left.dc1", 3), ("pruned.dc1", 4)].map(of_wan);
        let wan = roster(known.into_iter().chain([far]));
        let expected =
            [(0, (Pool::Wan, "left.dc1".to_owned())), (REAP_UNKNOWN_AFTER.as_secs(), (Pool::Wan, "pruned.dc1".to_owned()))];
        assert_eq!(named(&lan, &wan, &peers(&[1, 2]), 600), expected);
    }

    #[test]
    fn what_this_leader_has_seen_in_the_lan_pool_was_pruned_there() {
        let (start, mut departures) = (Instant::now(), Departures::new("dc1"));
        let wan = roster([member("s2.dc1", 2, MemberStatus::Failed)]);
        let mut at = |lan: &Roster, seconds: u64| {
            let rosters = Rosters { lan, wan: Some(&wan), peers: &[], cluster: None };
            departures.due(&rosters, start + Duration::from_secs(seconds))
        };
        assert_eq!(at(&roster([member("s2", 2, MemberStatus::Failed)]), 0), []);
        assert_eq!(at(&roster([]), 1), [(Pool::Wan, "s2.dc1".to_owned())]);
    }

    #[test]
    fn one_that_does_not_go_is_named_again_and_one_that_comes_back_is_not() {
        let lan = roster([member("s2", 2, MemberStatus::Failed)]);
        let (start, mut departures) = (Instant::now(), Departures::new("dc1"));
        let mut at = |lan: &Roster, seconds: u64| {
            let rosters = Rosters { lan, wan: None, peers: &[], cluster: Some(cluster()) };
            departures.due(&rosters, start + Duration::from_secs(seconds)).len()
        };
        let again = SERVER_DEAD_AFTER.as_secs();
        assert_eq!([at(&lan, 0), at(&lan, again - 1), at(&lan, again)], [1, 0, 1]);
        let back = roster([member("s2", 2, MemberStatus::Alive)]);
        assert_eq!([at(&back, again + 1), at(&lan, again + 2)], [0, 1]);
    }
}
