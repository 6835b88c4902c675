//! Alias checks: as good as the worst check of another service. `registry` calls [`judge`] for aliases of this agent's
//! services; [`follow`] is the task of an alias of another node.

use super::finding::Finding;
use crate::defaults::{ALIAS_BACKOFF_AFTER, ALIAS_BACKOFF_FIRST, ALIAS_BACKOFF_MAX, ALIAS_WAIT};
use crate::model::check::{CheckStatus, CheckType, HealthCheck};
use crate::model::fault::Fault;
use crate::model::operation::{CatalogRead, HealthRead, Read};
use crate::model::principal::Principal;
use crate::model::query::{Freshness, Identity, Query};
use crate::router::{NodeRows, Router, TypedRows};
use std::time::Duration;
use tokio::time::sleep;

/// The node and service that an alias check mirrors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    /// The node; empty for this one.
    pub(crate) node: String,
    /// The id of the service; empty for the node alone.
    pub(crate) service: String,
}

impl Alias {
    /// The alias that `check` is; a node name counts as this agent's in any case of letters.
    pub(crate) fn of(check: &CheckType, own_node: &str) -> Alias {
        let own = check.alias_node.eq_ignore_ascii_case(own_node);
        let node = if own { String::new() } else { check.alias_node.clone() };
        Alias { node, service: check.alias_service.clone() }
    }
}

/// The finding of an alias whose node has `checks`; `exists` is asked when none of them is of its service.
pub(crate) fn judge<'a>(alias: &Alias, checks: impl Iterator<Item = &'a HealthCheck>, exists: impl FnOnce() -> bool) -> Finding {
    let mut finding = Finding::passing("No checks found.");
    let mut found = alias.service.is_empty();
    for check in checks.filter(|check| check.service_id.is_empty() || check.service_id == alias.service) {
        found |= check.service_id == alias.service;
        if check.status > finding.status {
            finding = Finding::new(check.status, format!("Aliased check {:?} failing: {}", check.name, check.output));
        } else if finding.status == CheckStatus::Passing {
            finding = Finding::passing("All checks passing.");
        }
    }
    if !found && !exists() {
        return Finding::critical(format!("Service {} could not be found on node {}", alias.service, alias.node));
    }
    finding
}

/// The reads of the catalog for an alias of another node.
pub(crate) trait Elsewhere: Send + Sync + 'static {
    /// The checks of a node once they change after `index`, with the index to go on from.
    fn checks(&self, node: &str, index: u64) -> impl Future<Output = Result<(Vec<HealthCheck>, u64), Fault>> + Send;
    fn has(&self, node: &str, service: &str) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// The catalog behind the router, read as the owner of the check.
#[derive(Clone, Debug)]
pub(crate) struct RouterElsewhere {
    pub(crate) router: Router,
    pub(crate) principal: Principal,
}

impl RouterElsewhere {
    async fn rows<T: TypedRows>(&self, read: Read, min_index: u64) -> Result<(T, u64), Fault> {
        let freshness = Freshness { min_index, wait: ALIAS_WAIT, ..Freshness::STALE };
        self.router.rows(Query::of(Identity::new(read, self.principal.clone()), freshness)).await
    }
}

impl Elsewhere for RouterElsewhere {
    async fn checks(&self, node: &str, index: u64) -> Result<(Vec<HealthCheck>, u64), Fault> {
        self.rows(Read::Health(HealthRead::Node { node: node.to_owned() }), index).await
    }

    async fn has(&self, node: &str, service: &str) -> Result<bool, Fault> {
        let read = Read::Catalog(CatalogRead::NodeServices { node: node.to_owned() });
        let (of, _index): (NodeRows, u64) = self.rows(read, 0).await?;
        Ok(of.services.iter().any(|row| row.id == service))
    }
}

/// Follows an alias of another node and reports its findings, for ever.
pub(crate) async fn follow(alias: Alias, catalog: impl Elsewhere, report: impl Fn(Finding) + Send + Sync + 'static) {
    let (mut index, mut failures) = (0, 0_u32);
    loop {
        sleep(backoff(failures)).await;
        match catalog.checks(&alias.node, index).await {
            Ok((checks, reached)) => {
                // A query with index 0 would not wait: the loop would spin.
                (index, failures) = (reached.max(1), 0);
                let known = checks.iter().any(|check| check.service_id == alias.service);
                // A service counts as there when the catalog does not say.
                let exists = known || alias.service.is_empty() || catalog.has(&alias.node, &alias.service).await.unwrap_or(true);
                report(judge(&alias, checks.iter(), || exists));
            }
            Err(fault) => {
                metrics::counter!("kontor.checks.alias_failed").increment(1);
                failures = failures.saturating_add(1);
                // A first failure is mostly a server that goes; another server answers next.
                if failures > 1 {
                    report(Finding::critical(format!("Failure checking aliased node or service: {}", fault.message)));
                }
            }
        }
    }
}

/// The pause after `failures` in a row.
fn backoff(failures: u32) -> Duration {
    match failures.checked_sub(ALIAS_BACKOFF_AFTER) {
        None | Some(0) => Duration::ZERO,
        Some(over) => (ALIAS_BACKOFF_FIRST * 2_u32.saturating_pow(over - 1)).min(ALIAS_BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckStatus::{Critical, Passing, Warning};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use tokio::sync::mpsc;

    fn check(service: &str, name: &str, status: CheckStatus) -> HealthCheck {
        let (service_id, name, output) = (service.to_owned(), name.to_owned(), format!("{name} says"));
        HealthCheck { service_id, name, status, output, ..HealthCheck::default() }
    }

    fn web(node: &str) -> Alias {
        Alias { node: node.to_owned(), service: "web".to_owned() }
    }

    #[test]
    fn it_is_as_good_as_the_worst_check_of_its_service_and_node() {
        let other = check("api", "o", Critical);
        let said = |checks: &[HealthCheck], exists| judge(&web("n2"), checks.iter(), || exists);
        assert_eq!(said(&[], true), Finding::passing("No checks found."));
        let absent = Finding::critical("Service web could not be found on node n2");
        assert_eq!(said(std::slice::from_ref(&other), false), absent);
        assert_eq!(said(&[other.clone(), check("web", "a", Passing)], false), Finding::passing("All checks passing."));
        let warned = [check("web", "a", Warning), other, check("web", "b", Passing)];
        assert_eq!(said(&warned, false), Finding::new(Warning, "Aliased check \"a\" failing: a says"));
        let worst = [check("web", "a", Warning), check("", "disk", Critical), check("web", "b", Critical)];
        assert_eq!(said(&worst, false), Finding::critical("Aliased check \"disk\" failing: disk says"));
    }

    #[test]
    fn the_pause_after_failures_doubles_up_to_a_minute() {
        let pauses: Vec<u64> = [0, 3, 4, 5, 8, 9, 100].map(|failures| backoff(failures).as_secs()).to_vec();
        assert_eq!(pauses, [0, 0, 2, 4, 32, 60, 60]);
        assert_eq!(backoff(u32::MAX), ALIAS_BACKOFF_MAX);
    }

    /// Gives the answers it was made with, then none any more.
    struct Script {
        answers: Mutex<VecDeque<Result<Vec<HealthCheck>, Fault>>>,
        asked: Arc<Mutex<Vec<u64>>>,
    }

    impl Elsewhere for Script {
        async fn checks(&self, _node: &str, index: u64) -> Result<(Vec<HealthCheck>, u64), Fault> {
            self.asked.lock().expect("whole").push(index);
            let next = self.answers.lock().expect("whole").pop_front();
            match next {
                Some(answer) => answer.map(|checks| (checks, index + 7)),
                None => std::future::pending().await,
            }
        }

        async fn has(&self, _node: &str, _service: &str) -> Result<bool, Fault> {
            Ok(false)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_node_is_followed_and_only_lasting_failures_are_told() {
        let failed = || Err(Fault::failed("cut off"));
        let answers = [Ok(vec![check("web", "a", Passing)]), failed(), Ok(Vec::new()), failed(), failed()];
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script = Script { answers: Mutex::new(answers.into()), asked: Arc::clone(&asked) };
        let (tell, mut findings) = mpsc::unbounded_channel();
        let task = tokio::spawn(follow(web("n2"), script, move |finding| _ = tell.send(finding)));
        let mut next = async || findings.recv().await.map(|finding| finding.output).expect("a finding");
        assert_eq!(next().await, "All checks passing.");
        assert_eq!(next().await, "Service web could not be found on node n2");
        assert_eq!(next().await, "Failure checking aliased node or service: cut off");
        tokio::task::yield_now().await;
        task.abort();
        assert_eq!(*asked.lock().expect("whole"), [0, 7, 7, 14, 14, 14]);
    }
}
