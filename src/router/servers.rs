//! The servers of this datacenter in the order in which this agent asks them. Time and randomness come from outside.

use crate::defaults::SERVER_REBALANCE;
use crate::gossip::Roster;
use crate::model::ids::NodeId;
use crate::model::member::{Member, MemberStatus};
use rand::RngExt;
use rand::seq::SliceRandom;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub id: NodeId,
    /// The address at which it takes requests.
    pub addr: SocketAddr,
    pub alive: bool,
}

impl Server {
    fn of(member: &Member) -> Option<Server> {
        let here = member.is_server() && member.status != MemberStatus::Left;
        let alive = member.status == MemberStatus::Alive;
        here.then(|| Some(Server { id: member.id()?, addr: member.rpc_addr()?, alive }))?
    }
}

/// The list. The first server is asked; one that fails goes to the end.
#[derive(Debug, Default)]
pub(super) struct ServerList {
    order: Vec<Server>,
    /// The roster that the list agrees with; it is read anew only when there is another.
    seen: Option<Arc<Roster>>,
    rebalance_at: Option<Instant>,
}

impl ServerList {
    /// Makes the list agree with `roster`. A server that stays keeps its place, a new one gets a random one.
    pub(super) fn follow(&mut self, roster: &Arc<Roster>, rng: &mut impl rand::Rng) {
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, roster)) {
            return;
        }
        let mut present: Vec<Server> = roster.members.values().filter_map(Server::of).collect();
        let mut order = Vec::with_capacity(present.len());
        for old in &self.order {
            if let Some(at) = present.iter().position(|server| server.id == old.id) {
                order.push(present.swap_remove(at));
            }
        }
        for new in present {
            order.insert(rng.random_range(0..=order.len()), new);
        }
        self.order = order;
        self.seen = Some(Arc::clone(roster));
    }

    pub(super) fn rebalance(&mut self, now: Instant, rng: &mut impl rand::Rng) {
        match self.rebalance_at {
            Some(at) if now < at => return,
            Some(_) => self.order.shuffle(rng),
            // The first list is in random order already.
            None => {}
        }
        self.rebalance_at = Some(now + rng.random_range(SERVER_REBALANCE.0..=SERVER_REBALANCE.1));
    }

    /// The server to ask, without `except`. A server that gossip takes for dead is asked only when there is no other.
    pub(super) fn first(&self, except: Option<NodeId>) -> Option<SocketAddr> {
        let others = || self.order.iter().filter(|server| Some(server.id) != except);
        others().find(|server| server.alive).or_else(|| others().next()).map(|server| server.addr)
    }

    /// At most `max` servers that gossip takes for alive, without `except`.
    pub(super) fn alive(&self, except: NodeId, max: usize) -> Vec<SocketAddr> {
        let alive = self.order.iter().filter(|server| server.alive && server.id != except);
        alive.take(max).map(|server| server.addr).collect()
    }

    /// Moves a server that failed to the end.
    pub(super) fn failed(&mut self, addr: SocketAddr) {
        if let Some(at) = self.order.iter().position(|server| server.addr == addr) {
            let server = self.order.remove(at);
            self.order.push(server);
        }
    }

    /// The address at which the server `id` takes requests.
    pub(super) fn addr_of(&self, id: NodeId) -> Option<SocketAddr> {
        self.order.iter().find(|server| server.id == id).map(|server| server.addr)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, agent as member, id};
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn addr(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 8300))
    }

    fn roster(members: impl IntoIterator<Item = Member>) -> Arc<Roster> {
        Arc::new(testing::roster(members))
    }

    fn servers(numbers: impl IntoIterator<Item = u8>) -> Arc<Roster> {
        roster(numbers.into_iter().map(|number| member(number, "consul", MemberStatus::Alive)))
    }

    fn list(roster: &Arc<Roster>, seed: u64) -> (ServerList, StdRng) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut list = ServerList::default();
        list.follow(roster, &mut rng);
        (list, rng)
    }

    fn order(list: &ServerList) -> Vec<NodeId> {
        list.order.iter().map(|server| server.id).collect()
    }

    #[test]
    fn clients_and_those_who_left_are_not_in_the_list() {
        let roster = roster([
            member(1, "consul", MemberStatus::Alive),
            member(2, "node", MemberStatus::Alive),
            member(3, "consul", MemberStatus::Left),
        ]);
        let (list, _) = list(&roster, 0);
        assert_eq!(order(&list), [id(1)]);
        assert_eq!((list.addr_of(id(1)), list.addr_of(id(3)), list.len()), (Some(addr(1)), None, 1));
    }

    #[test]
    fn a_server_that_failed_is_asked_last_and_keeps_that_place_when_others_come() {
        let (mut list, mut rng) = list(&servers(1..=3), 1);
        let first = list.first(None).unwrap();
        list.failed(first);
        assert_ne!(list.first(None), Some(first));
        list.failed(list.first(None).unwrap());
        list.failed(list.first(None).unwrap());
        assert_eq!(list.first(None), Some(first), "after the others failed too it is tried again");
        let before = order(&list);
        list.follow(&servers(1..=4), &mut rng);
        let after: Vec<NodeId> = order(&list).into_iter().filter(|server| *server != id(4)).collect();
        assert_eq!(after, before);
    }

    #[test]
    fn the_dead_are_asked_only_when_nobody_lives() {
        let failed = |number| member(number, "consul", MemberStatus::Failed);
        let (list_mixed, _) = list(&roster([failed(1), failed(2), member(3, "consul", MemberStatus::Alive)]), 2);
        assert_eq!(list_mixed.first(None), Some(addr(3)));
        let (list_dead, _) = list(&roster([failed(1)]), 2);
        assert_eq!(list_dead.first(None), Some(addr(1)));
    }

    #[test]
    fn the_living_are_listed_without_the_asker_and_up_to_a_bound() {
        let alive = |number| member(number, "consul", MemberStatus::Alive);
        let (list, _) = list(&roster([alive(1), alive(2), member(3, "consul", MemberStatus::Failed), alive(4)]), 6);
        let mut found = list.alive(id(1), 9);
        found.sort();
        assert_eq!(found, [addr(2), addr(4)]);
        assert_eq!(list.alive(id(1), 1).len(), 1);
    }

    #[test]
    fn a_server_never_picks_itself() {
        let (list, _) = list(&servers([1]), 3);
        assert_eq!(list.first(Some(id(1))), None);
    }

    #[test]
    fn a_new_address_of_a_known_server_takes_the_place_of_the_old() {
        let (mut list, mut rng) = list(&servers(1..=3), 4);
        let before = order(&list);
        let mut moved = member(2, "consul", MemberStatus::Alive);
        moved.addr = SocketAddr::from(([10, 0, 0, 99], 8301));
        let alive = |number| member(number, "consul", MemberStatus::Alive);
        list.follow(&roster([alive(1), moved, alive(3)]), &mut rng);
        assert_eq!(order(&list), before);
        assert_eq!(list.addr_of(id(2)), Some(addr(99)));
    }

    #[test]
    fn agents_spread_over_the_servers() {
        let firsts: BTreeSet<SocketAddr> = (0..64).filter_map(|seed| list(&servers(1..=3), seed).0.first(None)).collect();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn the_list_is_shuffled_after_its_time_and_not_before() {
        let (mut list, mut rng) = list(&servers(1..=20), 5);
        let start = Instant::now();
        list.rebalance(start, &mut rng);
        let before = order(&list);
        list.rebalance(start + SERVER_REBALANCE.0 - Duration::from_millis(1), &mut rng);
        assert_eq!(order(&list), before);
        list.rebalance(start + SERVER_REBALANCE.1, &mut rng);
        assert_ne!(order(&list), before);
    }
}
