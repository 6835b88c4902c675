//! How a cluster begins: the rule, without I/O.
//! The lowest server of those with the flag proposes a set under a new cluster id. Each member grants one set, on disk.
//! The proposer alone initialises the set, once all have granted it; until then it may take the proposal back.
//! A server that has Raft state, or hears of a cluster, begins none.

use super::Candidate;
use crate::defaults::RAFT_MEMBERS_MAX;
use crate::model::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A proposed cluster; a member keeps the one it granted on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) cluster: ClusterId,
    /// The server that proposes it, and alone may initialise it.
    pub(crate) proposer: NodeId,
    pub(crate) members: BTreeSet<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GrantAnswer {
    /// Granted, on disk.
    Granted,
    /// Another's is granted.
    Held,
    /// The member is part of a cluster, or has been.
    Joined,
    /// The member is not in the set, or the set cannot be.
    Refused,
}

impl GrantAnswer {
    pub(crate) fn why(self) -> &'static str {
        match self {
            GrantAnswer::Granted => "it has granted it",
            GrantAnswer::Held => "it has granted another's",
            GrantAnswer::Joined => "it is part of a cluster, or has been",
            GrantAnswer::Refused => "it refuses the set of servers",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootstrapAction {
    Wait,
    /// Keep this grant (or none) on disk, then go on.
    Keep(Option<Grant>),
    /// Ask these members to grant.
    Message(Grant, Vec<NodeId>),
    /// Ask the proposer if its proposal still stands.
    AskStatus(Grant),
    /// All have granted: begin.
    Initialise(Grant),
}

#[derive(Debug)]
pub(crate) struct Bootstrap {
    me: NodeId,
    /// The cluster of this server; nothing begins any more.
    joined: Option<ClusterId>,
    grant: Option<Grant>,
    granted_by: BTreeSet<NodeId>,
    /// This server has lost its log: only this cluster may take it in, and it begins none.
    awaited: Option<ClusterId>,
}

/// The outcome of a message by which a server could become part of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    Welcome,
    /// The server has nothing to do with that cluster.
    Stranger,
    /// That cluster counts on a log that is not here.
    Lost,
}

impl Bootstrap {
    /// `joined` and `grant` are those found on disk.
    pub(crate) fn new(me: NodeId, joined: Option<ClusterId>, grant: Option<Grant>) -> Bootstrap {
        Bootstrap { me, joined, grant, granted_by: BTreeSet::new(), awaited: None }
    }

    /// The same for a server that has lost the log of `cluster`.
    pub(crate) fn awaiting(self, cluster: Option<ClusterId>) -> Bootstrap {
        Bootstrap { awaited: cluster, ..self }
    }

    pub(crate) fn awaited(&self) -> Option<ClusterId> {
        self.awaited.filter(|_| self.joined.is_none())
    }

    /// The next step, with the servers in sight and the id for a new proposal.
    pub(crate) fn next(&self, candidates: &[Candidate], fresh: ClusterId) -> BootstrapAction {
        if self.joined.is_some() || self.awaited.is_some() {
            return BootstrapAction::Wait;
        }
        let foreign = |cluster: ClusterId| self.grant.as_ref().is_none_or(|grant| grant.cluster != cluster);
        let cluster_seen = candidates.iter().filter_map(|candidate| candidate.cluster).any(foreign);
        match &self.grant {
            Some(grant) if grant.proposer != self.me => BootstrapAction::AskStatus(grant.clone()),
            Some(_) if cluster_seen || !self.is_first(candidates) => BootstrapAction::Keep(None),
            Some(grant) => self.pursue(grant, candidates, fresh),
            None if cluster_seen => BootstrapAction::Wait,
            None => self.propose(candidates, fresh),
        }
    }

    fn propose(&self, candidates: &[Candidate], cluster: ClusterId) -> BootstrapAction {
        let Some(members) = self.expected_set(candidates) else { return BootstrapAction::Wait };
        BootstrapAction::Keep(Some(Grant { cluster, proposer: self.me, members }))
    }

    /// This server's own proposal goes on while all its members are there; else another set is due.
    fn pursue(&self, grant: &Grant, candidates: &[Candidate], fresh: ClusterId) -> BootstrapAction {
        let seen: BTreeSet<NodeId> = candidates.iter().map(|candidate| candidate.id).collect();
        if !grant.members.is_subset(&seen) {
            return self.propose(candidates, fresh);
        }
        let missing: Vec<NodeId> =
            grant.members.iter().copied().filter(|member| *member != self.me && !self.granted_by.contains(member)).collect();
        if missing.is_empty() {
            BootstrapAction::Initialise(grant.clone())
        } else {
            BootstrapAction::Message(grant.clone(), missing)
        }
    }

    /// True for the lowest id among the servers with the flag.
    fn is_first(&self, candidates: &[Candidate]) -> bool {
        candidates.iter().filter(|candidate| candidate.expect > 0).map(|candidate| candidate.id).min() == Some(self.me)
    }

    /// The set this server proposes: those with the flag before those without, by id.
    fn expected_set(&self, candidates: &[Candidate]) -> Option<BTreeSet<NodeId>> {
        let mut sizes = candidates.iter().map(|candidate| candidate.expect).filter(|expect| *expect > 0);
        let expect = sizes.next()?;
        if sizes.any(|other| other != expect) || !self.is_first(candidates) {
            return None;
        }
        let mut order: Vec<(bool, NodeId)> = candidates.iter().map(|candidate| (candidate.expect == 0, candidate.id)).collect();
        order.sort_unstable();
        order.dedup();
        let members: BTreeSet<NodeId> = order.into_iter().map(|(_, id)| id).take(expect as usize).collect();
        (members.len() == expect as usize && members.len() <= RAFT_MEMBERS_MAX).then_some(members)
    }

    /// The least and greatest number expected by servers with the flag, if they differ; nothing begins then.
    pub(crate) fn contradiction(candidates: &[Candidate]) -> Option<(u32, u32)> {
        let expected: BTreeSet<u32> = candidates.iter().map(|candidate| candidate.expect).filter(|expect| *expect > 0).collect();
        Some((*expected.first()?, *expected.last()?)).filter(|(least, most)| least != most)
    }

    /// The answer to a proposal of `from`. The grant is kept before [`GrantAnswer::Granted`] is sent.
    pub(crate) fn answer(&self, from: NodeId, ask: &Grant) -> GrantAnswer {
        if self.joined.is_some() || self.awaited.is_some() {
            return GrantAnswer::Joined;
        }
        if ask.proposer != from || !ask.members.contains(&self.me) || ask.members.len() > RAFT_MEMBERS_MAX {
            return GrantAnswer::Refused;
        }
        match &self.grant {
            // A proposer that proposes anew has taken its former proposal back. A server may take back its own for a lower one.
            Some(held) if held.proposer != from && !(held.proposer == self.me && from < self.me) => GrantAnswer::Held,
            _ => GrantAnswer::Granted,
        }
    }

    /// True while the proposal of `cluster` stands here, or has become a cluster.
    pub(crate) fn stands(&self, cluster: ClusterId) -> bool {
        self.joined == Some(cluster) || self.grant.as_ref().is_some_and(|grant| grant.cluster == cluster)
    }

    /// The outcome of a message of `cluster`. One `counted` as a voter that has neither a grant nor a log has lost its log.
    pub(crate) fn joining(&self, cluster: ClusterId, of_leader: bool, counted: bool) -> Joining {
        let may = match (&self.joined, &self.grant) {
            (Some(joined), _) => *joined == cluster,
            (None, Some(grant)) => grant.cluster == cluster,
            (None, None) if of_leader && counted => return Joining::Lost,
            (None, None) => of_leader && self.awaited.is_none_or(|awaited| awaited == cluster),
        };
        if may { Joining::Welcome } else { Joining::Stranger }
    }

    pub(crate) fn grant(&self) -> Option<&Grant> {
        self.grant.as_ref()
    }

    pub(crate) fn joined(&self) -> Option<ClusterId> {
        self.joined
    }

    /// `grant` is on disk.
    pub(crate) fn kept(&mut self, grant: Option<Grant>) {
        self.granted_by.clear();
        self.grant = grant;
    }

    pub(crate) fn granted(&mut self, member: NodeId, cluster: ClusterId) {
        if self.grant.as_ref().is_some_and(|grant| grant.cluster == cluster) {
            self.granted_by.insert(member);
        }
    }

    pub(crate) fn join(&mut self, cluster: ClusterId) {
        self.joined = Some(cluster);
        self.kept(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(number: u128) -> NodeId {
        NodeId::from_u128(number)
    }

    fn cluster(number: u128) -> ClusterId {
        ClusterId(Uuid::from_u128(number))
    }

    fn seen(servers: &[(u128, u32)]) -> Vec<Candidate> {
        servers.iter().map(|(number, expect)| Candidate { id: id(*number), expect: *expect, cluster: None }).collect()
    }

    fn grant(number: u128, proposer: u128, members: &[u128]) -> Grant {
        Grant { cluster: cluster(number), proposer: id(proposer), members: members.iter().map(|member| id(*member)).collect() }
    }

    fn fresh(me: u128) -> Bootstrap {
        Bootstrap::new(id(me), None, None)
    }

    fn holding(me: u128, grant: Grant) -> Bootstrap {
        Bootstrap::new(id(me), None, Some(grant))
    }

    #[test]
    fn the_lowest_with_the_flag_proposes_and_servers_without_it_are_members() {
        let servers = seen(&[(1, 0), (2, 3), (3, 0)]);
        assert_eq!(fresh(2).next(&servers, cluster(9)), BootstrapAction::Keep(Some(grant(9, 2, &[1, 2, 3]))));
        assert_eq!(fresh(1).next(&servers, cluster(9)), BootstrapAction::Wait);
        assert_eq!(fresh(2).next(&servers[..2], cluster(9)), BootstrapAction::Wait);
    }

    #[test]
    fn different_numbers_expected_begin_nothing() {
        let servers = seen(&[(1, 3), (2, 5), (3, 3), (4, 0), (5, 0)]);
        assert_eq!(fresh(1).next(&servers, cluster(9)), BootstrapAction::Wait);
        assert_eq!(Bootstrap::contradiction(&servers), Some((3, 5)));
        assert_eq!(Bootstrap::contradiction(&servers[2..]), None);
    }

    #[test]
    fn nothing_is_initialised_before_the_last_grant() {
        let servers = seen(&[(1, 3), (2, 3), (3, 3)]);
        let mine = grant(9, 1, &[1, 2, 3]);
        let mut first = holding(1, mine.clone());
        assert_eq!(first.next(&servers, cluster(8)), BootstrapAction::Message(mine.clone(), vec![id(2), id(3)]));
        first.granted(id(2), cluster(9));
        first.granted(id(3), cluster(7));
        assert_eq!(first.next(&servers, cluster(8)), BootstrapAction::Message(mine.clone(), vec![id(3)]));
        first.granted(id(3), cluster(9));
        assert_eq!(first.next(&servers, cluster(8)), BootstrapAction::Initialise(mine));
    }

    #[test]
    fn a_member_grants_one_set_and_the_same_again() {
        let mut member = fresh(3);
        let ask = grant(9, 1, &[1, 2, 3]);
        assert_eq!(member.answer(id(1), &ask), GrantAnswer::Granted);
        member.kept(Some(ask.clone()));
        assert_eq!(member.answer(id(1), &ask), GrantAnswer::Granted);
        assert_eq!(member.answer(id(2), &grant(8, 2, &[2, 3, 4])), GrantAnswer::Held);
        assert_eq!(member.answer(id(1), &grant(7, 2, &[2, 3])), GrantAnswer::Refused);
        assert_eq!(member.answer(id(1), &grant(7, 1, &[1, 2])), GrantAnswer::Refused);
    }

    #[test]
    fn a_server_with_raft_state_grants_nothing_and_proposes_nothing() {
        let server = Bootstrap::new(id(1), Some(cluster(5)), None);
        assert_eq!(server.answer(id(2), &grant(9, 2, &[1, 2])), GrantAnswer::Joined);
        assert_eq!(server.next(&seen(&[(1, 1)]), cluster(9)), BootstrapAction::Wait);
    }

    #[test]
    fn a_cluster_that_is_heard_of_ends_every_beginning() {
        let mut servers = seen(&[(1, 3), (2, 3), (3, 3)]);
        servers.push(Candidate { id: id(4), expect: 0, cluster: Some(cluster(5)) });
        assert_eq!(fresh(1).next(&servers, cluster(9)), BootstrapAction::Wait);
        assert_eq!(holding(1, grant(8, 1, &[1, 2, 3])).next(&servers, cluster(9)), BootstrapAction::Keep(None));
    }

    #[test]
    fn conflicting_proposals_end_with_the_lower_one() {
        let servers = seen(&[(1, 3), (2, 3), (3, 3)]);
        // The second did not see the first in time; it steps back as soon as it does, or is asked.
        let mut second = holding(2, grant(8, 2, &[2, 3, 4]));
        assert_eq!(second.next(&servers, cluster(7)), BootstrapAction::Keep(None));
        assert_eq!(second.answer(id(1), &grant(9, 1, &[1, 2, 3])), GrantAnswer::Granted);
        second.kept(Some(grant(9, 1, &[1, 2, 3])));
        assert!(!second.stands(cluster(8)));
        // The third had granted it, asks, and is free again.
        let third = holding(3, grant(8, 2, &[2, 3, 4]));
        assert_eq!(third.answer(id(1), &grant(9, 1, &[1, 2, 3])), GrantAnswer::Held);
        assert_eq!(third.next(&servers, cluster(7)), BootstrapAction::AskStatus(grant(8, 2, &[2, 3, 4])));
        // The first never steps back for a higher one.
        let first = holding(1, grant(9, 1, &[1, 2, 3]));
        assert_eq!(first.answer(id(2), &grant(8, 2, &[1, 2, 3])), GrantAnswer::Held);
    }

    #[test]
    fn a_member_that_is_gone_is_replaced_in_a_new_proposal() {
        let first = holding(1, grant(9, 1, &[1, 2, 3]));
        assert_eq!(first.next(&seen(&[(1, 3), (2, 3)]), cluster(8)), BootstrapAction::Wait);
        let servers = seen(&[(1, 3), (2, 3), (4, 3)]);
        assert_eq!(first.next(&servers, cluster(8)), BootstrapAction::Keep(Some(grant(8, 1, &[1, 2, 4]))));
    }

    #[test]
    fn a_server_joins_what_it_granted_or_who_leads_it() {
        use Joining::{Lost, Stranger, Welcome};
        assert_eq!(fresh(4).joining(cluster(5), true, false), Welcome);
        assert_eq!(fresh(4).joining(cluster(5), false, false), Stranger);
        assert_eq!(fresh(4).joining(cluster(5), true, true), Lost);
        let member = holding(3, grant(9, 1, &[1, 2, 3]));
        assert_eq!(member.joining(cluster(9), false, true), Welcome);
        assert_eq!(member.joining(cluster(5), true, true), Stranger);
    }

    #[test]
    fn a_server_that_lost_its_log_begins_nothing_and_joins_only_its_old_cluster() {
        let server = fresh(1).awaiting(Some(cluster(5)));
        assert_eq!(server.next(&seen(&[(1, 1)]), cluster(9)), BootstrapAction::Wait);
        assert_eq!(server.answer(id(2), &grant(9, 2, &[1, 2])), GrantAnswer::Joined);
        assert_eq!(server.joining(cluster(6), true, false), Joining::Stranger);
        assert_eq!(server.joining(cluster(5), true, false), Joining::Welcome);
    }
}
