//! The observer of voted checks: one loop learns the assignments of this agent, the other probes and casts ballots.

use super::Local;
use super::checks::{Finding, Probe, ProbeSettings, Runners, Thresholds};
use super::votes::{Order, Votes};
use crate::clock;
use crate::defaults::{BALLOT_RETRY, OBSERVED_PACE, OBSERVED_RETRY, OBSERVED_WAIT, SYNC_MAX_STALE, SYNC_REQUEST_TIMEOUT};
use crate::gossip::{Gossip, Roster};
use crate::model::fault::Fault;
use crate::model::level;
use crate::model::operation::{HealthRead, HealthWrite, Read, Write};
use crate::model::principal::Principal;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::WriteRequest;
use crate::model::vote::{Ballot, VotedCheck};
use crate::router::Router;
use crate::telemetry::FailureThrottle;
use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

/// The findings that wait for the observing task: the last of each check.
#[derive(Debug, Default)]
struct Mailbox {
    found: Mutex<HashMap<String, (u64, Finding)>>,
    some: Notify,
}

impl Mailbox {
    fn put(&self, key: &str, start: u64, finding: Finding) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), (start, finding));
        self.some.notify_one();
    }

    fn take(&self) -> HashMap<String, (u64, Finding)> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A ballot on its way, with the result of its write.
type Sending = Pin<Box<dyn Future<Output = (Ballot, Result<(), Fault>)> + Send>>;

pub(super) async fn run(local: Local, router: Router, lan: Gossip) {
    let (assigned, assignments) = watch::channel(Vec::new());
    tokio::join!(learn(local.inner.node_name.clone(), router.clone(), lan, assigned), observe(local, router, assignments));
}

/// Keeps `assigned` as the catalog has it.
async fn learn(node: String, router: Router, lan: Gossip, assigned: watch::Sender<Vec<VotedCheck>>) {
    let mut index = 0;
    let mut trouble = FailureThrottle::default();
    loop {
        servers_know_of_votes(&lan).await;
        let pause = match ask(&node, &router, index).await {
            Ok((checks, now)) => {
                if trouble.worked() {
                    info!("assignments of voted checks are read again");
                }
                index = now;
                assigned.send_if_modified(|before| {
                    let differs = *before != checks;
                    *before = checks;
                    differs
                });
                OBSERVED_PACE
            }
            Err(fault) => {
                metrics::counter!("kontor.local.observed_failed").increment(1);
                if trouble.failed(Instant::now().into_std()) {
                    warn!(%fault, "assignments of voted checks cannot be read; going on with the last ones");
                }
                index = 0;
                OBSERVED_RETRY
            }
        };
        sleep(pause).await;
    }
}

async fn ask(node: &str, router: &Router, min_index: u64) -> Result<(Vec<VotedCheck>, u64), Fault> {
    let freshness = Freshness { max_stale: Some(SYNC_MAX_STALE), min_index, wait: OBSERVED_WAIT, ..Freshness::STALE };
    let read = Read::Health(HealthRead::ObservedBy { node: node.to_owned() });
    router.rows(Query::of(Identity::new(read, Principal::agent(node)), freshness)).await
}

/// Resolves once there is a server and every server knows of votes.
async fn servers_know_of_votes(lan: &Gossip) {
    let know = |roster: &Arc<Roster>| {
        let mut servers = roster.alive().filter(|member| member.is_server()).peekable();
        servers.peek().is_some() && servers.all(|server| server.level() >= level::VOTES)
    };
    if lan.changes().wait_for(know).await.is_err() {
        // The pool has stopped, and the agent stops too.
        pending::<()>().await;
    }
}

/// Runs the assigned checks and sends the votes that are due.
async fn observe(local: Local, router: Router, mut assigned: watch::Receiver<Vec<VotedCheck>>) {
    let (settings, defer) = {
        let registry = local.lock();
        (registry.running.settings().clone(), registry.settings.check_update_interval)
    };
    let mut votes = Votes::new(&local.inner.node_name, defer);
    let (mut runners, mailbox) = (Runners::default(), Arc::new(Mailbox::default()));
    let mut sending: Option<Sending> = None;
    let (mut not_before, mut pause) = (Instant::now(), BALLOT_RETRY.0);
    let mut trouble = FailureThrottle::default();
    loop {
        let now = Instant::now();
        if sending.is_none() && now >= not_before {
            let ballot = votes.due(now.into_std());
            sending = (!ballot.votes.is_empty()).then(|| send(router.clone(), ballot));
        }
        let due = votes.next().filter(|_| sending.is_none()).map(|due| Instant::from_std(due).max(not_before));
        tokio::select! {
            changed = assigned.changed() => {
                if changed.is_err() {
                    return;
                }
                let checks = assigned.borrow_and_update().clone();
                local.change(|registry, _now| registry.state.heed_observed(&checks));
                for order in votes.assigned(checks, Instant::now().into_std()) {
                    carry_out(order, &mut runners, &settings, &mailbox);
                }
                take_own(&mut votes, &local);
            }
            () = mailbox.some.notified() => {
                let discard = local.lock().settings.discard_check_output;
                for (key, (start, mut finding)) in mailbox.take() {
                    if discard {
                        finding.output.clear();
                    }
                    votes.found(&key, start, finding, Instant::now().into_std(), rand::random());
                }
            }
            () = local.inner.own_vote.notified() => take_own(&mut votes, &local),
            (ballot, result) = done(&mut sending) => {
                sending = None;
                match result {
                    Ok(()) => {
                        trouble.worked();
                        pause = BALLOT_RETRY.0;
                        votes.counted(ballot, Instant::now().into_std(), rand::random());
                    }
                    Err(fault) => {
                        metrics::counter!("kontor.local.votes_failed").increment(1);
                        not_before = Instant::now() + pause;
                        pause = (pause * 2).min(BALLOT_RETRY.1);
                        if trouble.failed(Instant::now().into_std()) {
                            warn!(%fault, votes = ballot.votes.len(), "votes could not be cast; trying again");
                        } else {
                            debug!(%fault, votes = ballot.votes.len(), "votes could not be cast yet; trying again");
                        }
                    }
                }
            }
            () = clock::until(due) => {}
        }
    }
}

/// Takes the results of this agent's own checks.
fn take_own(votes: &mut Votes, local: &Local) {
    let probed = local.lock().state.probed();
    votes.own(&probed, Instant::now().into_std(), rand::random());
}

fn carry_out(order: Order, runners: &mut Runners, settings: &ProbeSettings, mailbox: &Arc<Mailbox>) {
    match order {
        Order::Start { key, start, check } => match Probe::of(&check, settings) {
            Some(probe) => {
                let mailbox = Arc::clone(mailbox);
                let report = move |key: &str, finding| mailbox.put(key, start, finding);
                runners.start(&key, probe, check.interval, Thresholds::of(&check), report);
            }
            None => {
                metrics::counter!("kontor.local.unknown_voted_checks").increment(1);
                let (node, check) = key.split_once('\n').unwrap_or_default();
                warn!(%node, %check, "this agent cannot run a check that it is to observe, and does not vote on it");
            }
        },
        Order::Stop(key) => runners.stop(&key),
    }
}

fn send(router: Router, ballot: Ballot) -> Sending {
    Box::pin(async move {
        let principal = Principal::agent(&ballot.observer);
        let request = WriteRequest { dc: None, principal, write: Write::Health(HealthWrite::Vote(ballot.clone())) };
        let late = |_elapsed| Err(Fault::outcome_unknown("no answer within the time for one ballot"));
        let result = timeout(SYNC_REQUEST_TIMEOUT, router.write(request)).await.unwrap_or_else(late);
        (ballot, result.map(|_written| ()))
    })
}

async fn done(sending: &mut Option<Sending>) -> (Ballot, Result<(), Fault>) {
    match sending {
        Some(sending) => sending.await,
        None => pending().await,
    }
}
