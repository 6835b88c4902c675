//! Causes of an early full synchronisation: a server has joined, or another one leads.
//!
//! Consul announces a new leader by an event; here the leader carries a tag.

use crate::gossip::{Gossip, Roster};
use crate::local::Local;
use crate::model::ids::NodeId;
use crate::model::member::tag;
use crate::raft::Leadership;
use std::collections::BTreeSet;
use tokio::sync::watch;

/// Asks for a full synchronisation soon at each such cause, until the pool ends.
pub(super) async fn follow(lan: Gossip, local: Local) {
    let mut roster = lan.changes();
    let mut causes = Causes::default();
    loop {
        if causes.new_among(&roster.borrow_and_update()) {
            local.sync_soon();
        }
        if roster.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps this server's tag `leads` up to date, until Raft ends.
pub(super) async fn tell_leadership(lan: Gossip, mut leadership: watch::Receiver<Leadership>) {
    loop {
        let now = *leadership.borrow_and_update();
        lan.set_tag(tag::LEADS, now.is_self.then(|| now.term.to_string()));
        if leadership.changed().await.is_err() {
            return;
        }
    }
}

/// The servers and leaders seen last.
#[derive(Debug, Default)]
struct Causes {
    servers: BTreeSet<NodeId>,
    /// Leaders with their terms. During a change there may be two.
    leaders: BTreeSet<(NodeId, String)>,
}

impl Causes {
    /// True when a server is newly alive, or newly leads.
    fn new_among(&mut self, roster: &Roster) -> bool {
        let mut now = Causes::default();
        for member in roster.alive().filter(|member| member.is_server()) {
            let Some(id) = member.id() else { continue };
            now.servers.insert(id);
            let term = member.tag(tag::LEADS);
            if !term.is_empty() {
                now.leaders.insert((id, term.to_owned()));
            }
        }
        let before = std::mem::replace(self, now);
        !self.servers.is_subset(&before.servers) || !self.leaders.is_subset(&before.leaders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::member::{Member, MemberStatus};
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    fn roster(members: &[(u8, &str, MemberStatus, &str)]) -> Roster {
        let member = |(number, role, status, leads): &(u8, &str, MemberStatus, &str)| {
            let id = NodeId::from_u128(u128::from(*number)).to_string();
            let tags = [(tag::ROLE, (*role).to_owned()), (tag::ID, id), (tag::LEADS, (*leads).to_owned())];
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
        assert!(!causes.new_among(&roster(&[(9, "node", Alive, "")])));
        assert!(causes.new_among(&roster(&[(9, "node", Alive, ""), (1, "consul", Alive, "")])));
        assert!(!causes.new_among(&roster(&[(8, "node", Alive, ""), (1, "consul", Alive, "")])));
        assert!(!causes.new_among(&roster(&[(1, "consul", Failed, "")])));
        assert!(causes.new_among(&roster(&[(1, "consul", Alive, "")])));
    }

    #[test]
    fn another_leader_or_another_term_is_a_cause_and_none_is_not() {
        use MemberStatus::{Alive, Failed};
        let mut causes = Causes::default();
        let mut cause = |first: &str, second: &str, status: MemberStatus| {
            causes.new_among(&roster(&[(1, "consul", status, first), (2, "consul", Alive, second)]))
        };
        assert!(cause("", "", Alive), "the servers themselves");
        assert!(cause("1", "", Alive));
        assert!(!cause("1", "", Alive));
        assert!(!cause("1", "", Failed));
        assert!(cause("1", "2", Failed));
        assert!(cause("1", "2", Alive), "it comes back");
        assert!(!cause("", "2", Alive), "and knows that it leads no more");
        assert!(!cause("", "", Alive));
        assert!(cause("", "4", Alive));
    }
}
