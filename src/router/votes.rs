//! Votes of observers on their way to the log: whose they may be, and which of them still count.
//!
//! An agent votes through its own router, so only what comes from other agents is asked who sent it.
//! The sender is known by its address, where that is the one that some member tells: an agent whose
//! connections leave from another address is taken by its word, as everybody in the pool is.

use super::Core;
use super::paths::Catalog;
use crate::defaults::{VOTE_OUTPUT_BYTES, VOTES_PER_BALLOT};
use crate::gossip::Roster;
use crate::model::command::Command;
use crate::model::fault::{Fault, FaultKind};
use crate::model::member::Member;
use crate::model::operation::{HealthWrite, Write};
use crate::model::request::{Ask, Request};
use crate::model::vote::Ballot;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Refuses votes that another agent sends than the one that casts them, but for the servers, which
/// pass on what they get.
pub(super) fn check_sender(request: &Request, from: IpAddr, roster: impl FnOnce() -> Arc<Roster>) -> Result<(), Fault> {
    let Ask::Write(write) = &request.ask else { return Ok(()) };
    let Write::Health(HealthWrite::Vote(ballot)) = &write.write else { return Ok(()) };
    sent_by_itself(ballot, from, &roster()).inspect_err(|_denied| {
        metrics::counter!("kontor.router.votes_refused").increment(1);
    })
}

fn sent_by_itself(ballot: &Ballot, from: IpAddr, roster: &Roster) -> Result<(), Fault> {
    let is_there = |address: SocketAddr| address.ip() == from;
    let mut there = roster.members.values().filter(|member| is_there(member.addr) || member.rpc_addr().is_some_and(is_there));
    let Some(first) = there.next() else { return Ok(()) };
    let may = |member: &Member| member.is_server() || member.name.eq_ignore_ascii_case(&ballot.observer);
    if may(first) || there.any(may) {
        return Ok(());
    }
    let text = format!("votes of {} came from {from}, which is the address of {}", ballot.observer, first.name);
    Err(Fault::new(FaultKind::Denied, text))
}

impl Core {
    /// The command that counts those votes of `ballot` that are of an assignment that still stands; nothing where none
    /// is.
    pub(super) fn counted(&self, catalog: &dyn Catalog, ballot: &Ballot) -> Result<Option<Command>, Fault> {
        if ballot.votes.len() > VOTES_PER_BALLOT {
            let text = format!("expected at most {VOTES_PER_BALLOT} votes in one ballot, got {}", ballot.votes.len());
            return Err(Fault::bad_request(text));
        }
        let mut ballot = catalog.reader().countable(ballot);
        if ballot.votes.is_empty() {
            return Ok(None);
        }
        ballot.votes.iter_mut().for_each(|vote| cut(&mut vote.output));
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Command::Vote { ballot, at }))
    }
}

/// Shortens an output to what the catalog keeps of one vote.
fn cut(output: &mut String) {
    let end = output.floor_char_boundary(VOTE_OUTPUT_BYTES);
    output.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::member::{MemberStatus, tag};
    use crate::model::principal::Principal;
    use crate::model::request::{Hops, WriteRequest};

    fn roster() -> Roster {
        let member = |name: &str, last: u8, role: &str| Member {
            name: name.to_owned(),
            addr: ([10, 0, 0, last], 8301).into(),
            tags: [(tag::ROLE.to_owned(), role.to_owned())].into(),
            status: MemberStatus::Alive,
        };
        let members = [member("s1", 1, "consul"), member("c1", 2, "node"), member("c2", 3, "node")];
        Roster { members: members.map(|member| (member.name.clone(), member)).into() }
    }

    fn ballot(observer: &str) -> Request {
        let write = Write::Health(HealthWrite::Vote(Ballot { observer: observer.to_owned(), votes: Vec::new() }));
        let ask = Ask::Write(WriteRequest { dc: None, principal: Principal::anonymous(), write });
        Request { ask, hops: Hops::default() }
    }

    #[test]
    fn an_agent_votes_for_itself_alone_and_servers_pass_on() {
        let refused = |observer: &str, last: u8| {
            let sent = check_sender(&ballot(observer), [10, 0, 0, last].into(), || Arc::new(roster()));
            sent.err().map(|fault| fault.message)
        };
        assert_eq!(refused("c1", 2), None);
        assert_eq!(refused("C1", 2), None);
        assert_eq!(refused("c1", 1), None, "a server passes it on");
        assert_eq!(refused("c1", 9), None, "an address that nobody tells");
        assert_eq!(refused("c1", 3).expect("is refused"), "votes of c1 came from 10.0.0.3, which is the address of c2");
    }

    #[test]
    fn an_output_is_cut_between_characters() {
        let mut output = "ö".repeat(VOTE_OUTPUT_BYTES);
        cut(&mut output);
        assert!(output.len() <= VOTE_OUTPUT_BYTES && output.ends_with('ö'));
    }
}
