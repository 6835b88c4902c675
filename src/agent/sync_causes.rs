//! Why the registrations are compared with the catalog before their time: a server has joined, or
//! another one leads.
//!
//! Consul tells all its agents of a new leader by an event; here a client agent hears of new
//! servers, and what it pushes meanwhile waits for the new leader.

use crate::gossip::{Gossip, Roster};
use crate::local::Local;
use crate::model::ids::NodeId;
use crate::raft::Leadership;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Asks for a full synchronisation soon at each such cause, until the pool ends.
pub(super) async fn follow(lan: Gossip, mut leadership: Option<watch::Receiver<Leadership>>, local: Local) {
    let mut roster = lan.changes();
    let mut causes = Causes::default();
    loop {
        let joined = causes.servers(&roster.borrow_and_update());
        let leader = leadership.as_mut().and_then(|leadership| leadership.borrow_and_update().leader);
        if causes.leader(leader) || joined {
            local.sync_soon();
        }
        let elected = async {
            match &mut leadership {
                Some(leadership) => leadership.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = roster.changed() => if changed.is_err() { return },
            changed = elected => if changed.is_err() { return },
        }
    }
}

/// What was seen last.
#[derive(Debug, Default)]
struct Causes {
    servers: BTreeSet<NodeId>,
    leader: Option<NodeId>,
}

impl Causes {
    /// Whether there is a server that was not alive before.
    fn servers(&mut self, roster: &Roster) -> bool {
        let alive = roster.alive().filter(|member| member.is_server()).filter_map(|member| member.id()).collect();
        let before = std::mem::replace(&mut self.servers, alive);
        !self.servers.is_subset(&before)
    }

    /// Whether another server leads than the one that was known last.
    fn leader(&mut self, leader: Option<NodeId>) -> bool {
        let differs = leader.is_some() && leader != self.leader;
        if differs {
            self.leader = leader;
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::member::{Member, MemberStatus, tag};
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    fn id(number: u8) -> NodeId {
        NodeId::from_u128(u128::from(number))
    }

    fn roster(members: &[(u8, &str, MemberStatus)]) -> Roster {
        let member = |(number, role, status): &(u8, &str, MemberStatus)| {
            let tags = [(tag::ROLE, (*role).to_owned()), (tag::ID, id(*number).to_string())];
            let member = Member {
                name: format!("n{number}"),
                addr: SocketAddr::from(([127, 0, 0, *number], 8301)),
                tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
                status: *status,
            };
            (member.name.clone(), member)
        };
        Roster { members: members.iter().map(member).collect() }
    }

    #[test]
    fn servers_that_come_or_come_back_are_causes_and_nothing_else_is() {
        use MemberStatus::{Alive, Failed};
        let mut causes = Causes::default();
        assert!(!causes.servers(&roster(&[(9, "node", Alive)])));
        assert!(causes.servers(&roster(&[(9, "node", Alive), (1, "consul", Alive)])));
        assert!(!causes.servers(&roster(&[(8, "node", Alive), (1, "consul", Alive)])));
        assert!(!causes.servers(&roster(&[(1, "consul", Failed)])));
        assert!(causes.servers(&roster(&[(1, "consul", Alive)])));
    }

    #[test]
    fn another_leader_is_a_cause_and_none_is_not() {
        let mut causes = Causes::default();
        assert!(!causes.leader(None));
        assert!(causes.leader(Some(id(1))));
        assert!(!causes.leader(None));
        assert!(!causes.leader(Some(id(1))));
        assert!(causes.leader(Some(id(2))));
    }
}
