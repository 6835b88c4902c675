//! The voted checks that this agent observes, and the votes that are due. No I/O; time and chance are passed in.

use super::anti_entropy;
use super::checks::Finding;
use crate::defaults::{VOTE_OUTPUT_BYTES, VOTES_PER_BALLOT};
use crate::model::check::{CheckDefinition, CheckType, HealthCheck};
use crate::model::vote::{Ballot, Vote, VotedCheck};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A change of the checks that run.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// Run this check; its findings count with the number `start`.
    Start {
        key: String,
        start: u64,
        check: Box<CheckType>,
    },
    Stop(String),
}

/// The checks that this agent votes on.
#[derive(Debug)]
pub(super) struct Votes {
    node_name: String,
    /// The delay of a change of output alone; zero for none.
    defer: Duration,
    duties: BTreeMap<String, Duty>,
    starts: u64,
}

#[derive(Debug)]
struct Duty {
    node: String,
    check_id: String,
    epoch: u64,
    definition: CheckDefinition,
    /// Differs at each start, so that findings of an earlier one do not count.
    start: u64,
    /// The last finding of the probe.
    found: Option<Finding>,
    /// This agent's vote in the catalog under this epoch.
    said: Option<Finding>,
    /// The time at which a vote is due.
    due: Option<Instant>,
}

impl Votes {
    pub(super) fn new(node_name: &str, defer: Duration) -> Votes {
        Votes { node_name: node_name.to_owned(), defer, duties: BTreeMap::new(), starts: 0 }
    }

    /// Takes the checks that the catalog assigns to this agent. The registry runs this agent's own, so they make no order.
    pub(super) fn assigned(&mut self, checks: Vec<VotedCheck>, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut before = std::mem::take(&mut self.duties);
        for VotedCheck { node, check_id, epoch, definition, .. } in checks {
            let key = format!("{node}\n{check_id}");
            let is_own = node.eq_ignore_ascii_case(&self.node_name);
            let duty = match before.remove(&key) {
                Some(known) if known.definition == definition && known.epoch == epoch => known,
                // The observers have changed: each votes anew.
                Some(known) if known.definition == definition => {
                    let due = known.found.is_some().then_some(now);
                    Duty { epoch, said: None, due, ..known }
                }
                _ => {
                    self.starts += 1;
                    let start = self.starts;
                    if let Some(check) = definition.observed().filter(|_| !is_own) {
                        orders.push(Order::Start { key: key.clone(), start, check: Box::new(check) });
                    }
                    Duty { node, check_id, epoch, definition, start, found: None, said: None, due: None }
                }
            };
            self.duties.insert(key, duty);
        }
        orders.extend(before.into_keys().map(Order::Stop));
        orders
    }

    pub(super) fn found(&mut self, key: &str, start: u64, finding: Finding, now: Instant, random: f64) {
        let defer = self.defer;
        if let Some(duty) = self.duties.get_mut(key).filter(|duty| duty.start == start) {
            duty.take(finding, defer, now, random);
        }
    }

    /// Takes the results of this agent's own checks that have run here.
    pub(super) fn own(&mut self, probed: &BTreeMap<String, Arc<HealthCheck>>, now: Instant, random: f64) {
        let defer = self.defer;
        for duty in self.duties.values_mut().filter(|duty| duty.node.eq_ignore_ascii_case(&self.node_name)) {
            let Some(row) = probed.get(&duty.check_id) else { continue };
            if row.definition == duty.definition {
                duty.take(Finding::new(row.status, row.output.clone()), defer, now, random);
            }
        }
    }

    /// The time at which the next vote is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.duties.values().filter_map(|duty| duty.due).min()
    }

    /// The votes that are due, [`VOTES_PER_BALLOT`] at most.
    pub(super) fn due(&self, now: Instant) -> Ballot {
        let due = self.duties.values().filter(|duty| duty.due.is_some_and(|due| due <= now));
        let vote = |duty: &Duty| {
            let Finding { status, output } = duty.found.clone()?;
            Some(Vote { node: duty.node.clone(), check_id: duty.check_id.clone(), epoch: duty.epoch, status, output })
        };
        Ballot { observer: self.node_name.clone(), votes: due.filter_map(vote).take(VOTES_PER_BALLOT).collect() }
    }

    /// Notes that the catalog has counted `ballot`. Later findings stay due.
    pub(super) fn counted(&mut self, ballot: Ballot, now: Instant, random: f64) {
        for Vote { node, check_id, epoch, status, output } in ballot.votes {
            let Some(duty) = self.duties.get_mut(&format!("{node}\n{check_id}")).filter(|duty| duty.epoch == epoch) else {
                continue;
            };
            duty.said = Some(Finding::new(status, output));
            duty.due = None;
            if let Some(found) = duty.found.take() {
                duty.take(found, self.defer, now, random);
            }
        }
    }
}

impl Duty {
    fn take(&mut self, mut finding: Finding, defer: Duration, now: Instant, random: f64) {
        finding.output.truncate(finding.output.floor_char_boundary(VOTE_OUTPUT_BYTES));
        self.due = match &self.said {
            Some(said) if *said == finding => None,
            // The first of several changes of output alone sets the time.
            Some(said) if said.status == finding.status && !defer.is_zero() => {
                self.due.or_else(|| now.checked_add(anti_entropy::defer(defer, random)))
            }
            _ => Some(now),
        };
        self.found = Some(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{CheckStatus, VotedDefinition};
    use CheckStatus::{Critical, Passing};

    const DEFER: Duration = Duration::from_secs(300);

    fn definition(target: &str) -> CheckDefinition {
        let voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
        CheckDefinition { tcp: target.into(), voted, ..CheckDefinition::default() }
    }

    fn voted_check(node: &str, target: &str, epoch: u64) -> VotedCheck {
        VotedCheck { node: node.into(), check_id: "c".into(), epoch, definition: definition(target), ..VotedCheck::default() }
    }

    fn said(votes: &Votes, now: Instant) -> Vec<(u64, CheckStatus)> {
        votes.due(now).votes.iter().map(|vote| (vote.epoch, vote.status)).collect()
    }

    fn sent(votes: &mut Votes, now: Instant) {
        let ballot = votes.due(now);
        votes.counted(ballot, now, 0.5);
    }

    #[test]
    fn what_is_assigned_is_run_once_and_stopped_when_it_is_not() {
        let (mut votes, now) = (Votes::new("n1", DEFER), Instant::now());
        let orders = votes.assigned(vec![voted_check("n2", "h:1", 5), voted_check("N1", "h:1", 5)], now);
        let [Order::Start { key, start: 1, check }] = orders.as_slice() else { panic!("{orders:?}") };
        assert_eq!((key.as_str(), check.tcp.as_str()), ("n2\nc", "h:1"));
        assert_eq!(votes.assigned(vec![voted_check("n2", "h:1", 5)], now), [Order::Stop("N1\nc".into())]);
        assert_eq!(votes.assigned(vec![voted_check("n2", "h:1", 6)], now), []);
        let orders = votes.assigned(vec![voted_check("n2", "h:2", 6)], now);
        assert!(matches!(orders.as_slice(), [Order::Start { start: 3, .. }]), "{orders:?}");
        votes.found("n2\nc", 1, Finding::new(Passing, ""), now, 0.0);
        assert_eq!(votes.next(), None, "of the run before");
        assert_eq!(votes.assigned(Vec::new(), now), [Order::Stop("n2\nc".into())]);
    }

    #[test]
    fn a_result_is_sent_when_it_changes_until_it_is_counted_and_anew_under_a_new_epoch() {
        let (mut votes, now) = (Votes::new("n1", DEFER), Instant::now());
        votes.assigned(vec![voted_check("n2", "h:1", 5)], now);
        assert_eq!((said(&votes, now), votes.next()), (vec![], None), "nothing is found yet");
        let found = |votes: &mut Votes, status| votes.found("n2\nc", 1, Finding::new(status, "x"), now, 0.5);
        found(&mut votes, Passing);
        assert_eq!(said(&votes, now), [(5, Passing)]);
        found(&mut votes, Passing);
        assert_eq!(said(&votes, now), [(5, Passing)], "not counted yet");
        sent(&mut votes, now);
        found(&mut votes, Passing);
        assert_eq!(votes.next(), None);
        let under_way = {
            found(&mut votes, Critical);
            votes.due(now)
        };
        found(&mut votes, Passing);
        votes.counted(under_way, now, 0.5);
        assert_eq!(said(&votes, now), [(5, Passing)], "it has changed while its vote was under way");
        sent(&mut votes, now);
        votes.assigned(vec![voted_check("n2", "h:1", 9)], now);
        assert_eq!(said(&votes, now), [(9, Passing)]);
    }

    #[test]
    fn output_alone_waits() {
        let (mut votes, now) = (Votes::new("n1", DEFER), Instant::now());
        votes.assigned(vec![voted_check("n2", "h:1", 5)], now);
        votes.found("n2\nc", 1, Finding::new(Passing, "a"), now, 0.5);
        sent(&mut votes, now);
        votes.found("n2\nc", 1, Finding::new(Passing, "b"), now, 0.5);
        votes.found("n2\nc", 1, Finding::new(Passing, "c"), now + DEFER / 2, 0.5);
        assert_eq!((votes.next(), said(&votes, now + DEFER / 2)), (Some(now + DEFER), vec![]));
        votes.found("n2\nc", 1, Finding::new(Passing, "a"), now, 0.5);
        assert_eq!(votes.next(), None, "as it was");
    }

    #[test]
    fn the_own_result_is_a_vote_once_the_check_has_run() {
        let (mut votes, now) = (Votes::new("n1", DEFER), Instant::now());
        votes.assigned(vec![voted_check("n1", "h:1", 5)], now);
        let row = HealthCheck { status: Critical, definition: definition("h:1"), ..HealthCheck::default() };
        votes.own(&BTreeMap::new(), now, 0.5);
        assert_eq!(said(&votes, now), []);
        let probed = [("c".to_owned(), Arc::new(row.clone())), ("d".to_owned(), Arc::new(row))].into();
        votes.own(&probed, now, 0.5);
        assert_eq!(said(&votes, now), [(5, Critical)]);
    }

    #[test]
    fn a_ballot_is_bounded() {
        let (mut votes, now) = (Votes::new("n1", DEFER), Instant::now());
        let many = (0..VOTES_PER_BALLOT + 3).map(|number| voted_check(&format!("n2-{number}"), "h:1", 5)).collect();
        for order in votes.assigned(many, now) {
            let Order::Start { key, start, .. } = order else { panic!("{order:?}") };
            votes.found(&key, start, Finding::new(Critical, "x".repeat(9_999)), now, 0.5);
        }
        assert_eq!(votes.due(now).votes.len(), VOTES_PER_BALLOT);
        assert!(votes.due(now).votes.iter().all(|vote| vote.output.len() == VOTE_OUTPUT_BYTES));
        sent(&mut votes, now);
        assert_eq!(votes.due(now).votes.len(), 3);
    }
}
