//! The principals that other agents are believed. A token proves itself. An agent speaks for itself alone, as far as its
//! connection proves its name. A server passes on the principals that it gets.

use super::Core;
use crate::gossip::Roster;
use crate::model::fault::{Fault, FaultKind};
use crate::model::member::Member;
use crate::model::operation::Access;
use crate::model::principal::Principal;
use crate::model::request::{Operation, Request};
use crate::store::Reader;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Settles the principal of a request of this datacenter by the address of its connection. The address of another member
/// makes an agent a user without a token, who may not do what is the agent's alone. An address of no member proves nothing.
pub(super) fn admit(request: &mut Request, from: IpAddr, roster: impl FnOnce() -> Arc<Roster>) -> Result<(), Fault> {
    let refused = match principal(&request.operation) {
        Principal::Token(_) => return Ok(()),
        Principal::Agent(name) => match not_itself(name, from, &roster()) {
            Some(other) if access(&request.operation) == Access::Agent => {
                let what = if matches!(request.operation, Operation::Write(_)) { "votes" } else { "a request" };
                format!("{what} of {name} came from {from}, which is the address of {other}")
            }
            Some(_other) => {
                *principal_mut(&mut request.operation) = Principal::anonymous();
                return Ok(());
            }
            None => return Ok(()),
        },
        Principal::Leader => format!("a request of the leader came from {from}: its duties are done at the leader alone"),
    };
    let counter = match request.operation {
        Operation::Write(_) => metrics::counter!("kontor.router.votes_refused"),
        Operation::Read(_) => metrics::counter!("kontor.router.principals_refused"),
    };
    counter.increment(1);
    Err(Fault::new(FaultKind::Denied, refused))
}

/// Refuses a request of `from_dc` by any principal but a user; servers, proved by certificate, ask what is between servers.
pub(super) fn admit_across(ask: &Operation, from_dc: &str) -> Result<(), Fault> {
    match principal(ask) {
        Principal::Token(_) => Ok(()),
        Principal::Agent(_) if access(ask) == Access::Server => Ok(()),
        Principal::Agent(_) | Principal::Leader => Err(not_of_users(from_dc)),
    }
}

/// Refuses to feed another datacenter for any principal but a user.
pub(super) fn admit_feed(principal: &Principal) -> Result<(), Fault> {
    match principal {
        Principal::Token(_) => Ok(()),
        Principal::Agent(_) | Principal::Leader => Err(not_of_users("another datacenter")),
    }
}

fn not_of_users(from: &str) -> Fault {
    metrics::counter!("kontor.router.crossings_refused").increment(1);
    Fault::new(FaultKind::Denied, format!("agents of {from} have no rights of their own here"))
}

fn principal(operation: &Operation) -> &Principal {
    match operation {
        Operation::Read(query) => &query.identity.principal,
        Operation::Write(request) => &request.principal,
    }
}

fn principal_mut(operation: &mut Operation) -> &mut Principal {
    match operation {
        Operation::Read(query) => &mut query.identity_mut().principal,
        Operation::Write(request) => &mut request.principal,
    }
}

/// The access that its operation needs.
fn access(ask: &Operation) -> Access {
    match ask {
        Operation::Read(query) => query.identity.read.spec().access,
        Operation::Write(request) => request.write.spec().access,
    }
}

/// The living member at address `from`, where that is neither the agent called `name` nor a server.
fn not_itself<'r>(name: &str, from: IpAddr, roster: &'r Roster) -> Option<&'r str> {
    let is_there = |address: SocketAddr| address.ip().to_canonical() == from;
    let is_at = |member: &&Member| is_there(member.addr) || member.rpc_addr().is_some_and(is_there);
    if roster.members.get(name).as_ref().is_some_and(is_at) {
        return None;
    }
    let may = |member: &&Member| member.is_server() || member.name.eq_ignore_ascii_case(name);
    let mut there = roster.alive().filter(is_at);
    let first = there.next()?;
    if may(&first) || there.any(|member| may(&member)) { None } else { Some(&first.name) }
}

impl Core {
    /// Refuses a question that its principal may not ask. The store leaves out rows that are not for its principal.
    pub(super) fn permit(&self, reader: &Reader, ask: &Operation) -> Result<(), Fault> {
        match ask {
            Operation::Read(query) => {
                let spec = query.identity.read.spec();
                reader.permit_read(&query.identity.principal, spec.access, spec.name)
            }
            Operation::Write(request) => {
                let spec = request.write.spec();
                reader.permit(&request.principal, spec.access, spec.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::model::ids::Token;
    use crate::model::member::{MemberStatus, tag};
    use crate::model::operation::{CatalogRead, FederationRead, HealthWrite, Read, Write};
    use crate::model::query::Query;
    use crate::model::request::{Hops, WriteRequest};
    use crate::model::vote::Ballot;
    use crate::store::Store;

    fn roster() -> Roster {
        let member = |name, last, role| testing::member(name, last, MemberStatus::Alive, [(tag::ROLE, role)]);
        testing::roster([member("s1", 1, "consul"), member("c1", 2, "node"), member("c2", 3, "node")])
    }

    fn ballot(observer: &str) -> Request {
        let write = Write::Health(HealthWrite::Vote(Ballot { observer: observer.to_owned(), votes: Vec::new() }));
        let operation = Operation::Write(WriteRequest { dc: None, principal: Principal::agent(observer), write });
        Request { operation, hops: Hops::default() }
    }

    fn settled(principal: Principal, last: u8) -> Result<Principal, Fault> {
        let mut request = Request { operation: read(principal), hops: Hops::default() };
        admit(&mut request, [10, 0, 0, last].into(), || Arc::new(roster()))?;
        Ok(super::principal(&request.operation).clone())
    }

    fn read(principal: Principal) -> Operation {
        Operation::Read(Query::new(Read::Catalog(CatalogRead::Nodes), principal))
    }

    #[test]
    fn an_agent_votes_for_itself_alone_and_servers_pass_on() {
        let refused = |observer: &str, last: u8| {
            let sent = admit(&mut ballot(observer), [10, 0, 0, last].into(), || Arc::new(roster()));
            sent.err().map(|fault| fault.message)
        };
        assert_eq!(refused("c1", 2), None);
        assert_eq!(refused("C1", 2), None);
        assert_eq!(refused("c1", 1), None, "a server passes it on");
        assert_eq!(refused("c1", 9), None, "an address that nobody tells");
        assert_eq!(refused("c1", 3).expect("is refused"), "votes of c1 came from 10.0.0.3, which is the address of c2");
    }

    #[test]
    fn an_agent_votes_in_its_own_name_alone_and_the_duties_are_the_leader_s() {
        let reader = Store::new("dc1").reader();
        let may = |principal: &Principal, access| reader.permit(principal, access, b"c1").is_ok();
        for other in [Principal::anonymous(), Principal::agent("c1")] {
            assert!(!may(&other, Access::Leader), "{other:?}");
        }
        assert!(may(&Principal::Leader, Access::Leader));
        assert!(may(&Principal::agent("C1"), Access::Agent) && !may(&Principal::agent("c2"), Access::Agent));
    }

    #[test]
    fn a_member_that_failed_owns_no_address_any_more() {
        let mut roster = roster();
        let sent = |roster: Roster| admit(&mut ballot("c9"), [10, 0, 0, 3].into(), || Arc::new(roster));
        roster.members.get_mut("c2").unwrap().status = MemberStatus::Failed;
        assert!(sent(self::roster()).is_err());
        assert_eq!(sent(roster), Ok(()));
    }

    #[test]
    fn nobody_is_believed_to_be_the_leader() {
        for last in [1, 2, 9] {
            assert!(settled(Principal::Leader, last).is_err());
        }
    }

    #[test]
    fn an_agent_at_the_address_of_another_is_no_more_than_a_user() {
        assert_eq!(settled(Principal::agent("c1"), 2), Ok(Principal::agent("c1")));
        assert_eq!(settled(Principal::agent("c1"), 3), Ok(Principal::anonymous()));
    }

    #[test]
    fn from_another_datacenter_only_users_ask_and_servers_what_is_between_servers() {
        let dial_back = Read::Federation(FederationRead::DialBack { dc: "dc2".to_owned() });
        assert_eq!(admit_across(&read(Principal::Token(Token("secret".to_owned()))), "dc2"), Ok(()));
        assert_eq!(admit_across(&Operation::Read(Query::new(dial_back.clone(), Principal::agent("s1"))), "dc2"), Ok(()));
        for refused in
            [read(Principal::agent("s1")), read(Principal::Leader), Operation::Read(Query::new(dial_back, Principal::Leader))]
        {
            assert_eq!(admit_across(&refused, "dc2").unwrap_err().kind, FaultKind::Denied);
        }
        assert!(admit_feed(&Principal::agent("s1")).is_err() && admit_feed(&Principal::anonymous()).is_ok());
    }
}
