//! The checks that this agent runs: as tasks once the agent runs, and the aliases of its own services.

use super::checks::{Alias, Finding, Probe, ProbeSettings, RouterElsewhere, Runners, Thresholds, follow};
use super::definition;
use crate::defaults::{CHECK_INTERVAL_MIN, DEREGISTER_CRITICAL_MIN};
use crate::model::check::CheckType;
use crate::model::ids::Token;
use crate::model::principal::Principal;
use crate::router::Router;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tracing::warn;

/// Gets the id of a check, the number of its start, and the finding.
pub(super) type Report = Arc<dyn Fn(&str, u64, Finding) + Send + Sync>;

#[derive(Debug)]
pub(super) struct Running {
    node_name: String,
    settings: ProbeSettings,
    checks: BTreeMap<String, Run>,
    aliases: BTreeMap<String, Alias>,
    starts: u64,
    engine: Option<Engine>,
}

#[derive(Debug)]
struct Run {
    /// Differs at each start, so that findings of an earlier one do not count.
    start: u64,
    check: CheckType,
    token: Token,
}

struct Engine {
    runners: Runners,
    router: Router,
    report: Report,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("runners", &self.runners).finish_non_exhaustive()
    }
}

impl Running {
    /// Checks can be started, but run only after [`Running::attach`].
    pub(super) fn new(node_name: &str, settings: ProbeSettings) -> Running {
        let (checks, aliases) = (BTreeMap::new(), BTreeMap::new());
        Running { node_name: node_name.to_owned(), settings, checks, aliases, starts: 0, engine: None }
    }

    /// Runs a check from now on. A check that runs already in the same way goes on undisturbed.
    pub(super) fn start(&mut self, id: &str, check: &CheckType, token: &Token) {
        if self.checks.get(id).is_some_and(|run| run.check == *check && run.token == *token) {
            return;
        }
        self.stop(id);
        warn_of_raised(id, check);
        match definition::kind(check) {
            "ttl" | "" => return,
            "alias" => {
                let alias = Alias::of(check, &self.node_name);
                if alias.node.is_empty() {
                    self.aliases.insert(id.to_owned(), alias);
                    return;
                }
            }
            _ => {}
        }
        self.starts += 1;
        let run = Run { start: self.starts, check: check.clone(), token: token.clone() };
        if let Some(engine) = &mut self.engine {
            engine.start(id, &run, &self.settings, &self.node_name);
        }
        self.checks.insert(id.to_owned(), run);
    }

    pub(super) fn stop(&mut self, id: &str) {
        self.aliases.remove(id);
        if self.checks.remove(id).is_some()
            && let Some(engine) = &mut self.engine
        {
            engine.runners.stop(id);
        }
    }

    /// True if a finding of this start still counts.
    pub(super) fn counts(&self, id: &str, start: u64) -> bool {
        self.checks.get(id).is_some_and(|run| run.start == start)
    }

    /// The aliases of services of this agent, by the ids of their checks.
    pub(super) fn aliases(&self) -> impl Iterator<Item = (&String, &Alias)> {
        self.aliases.iter()
    }

    /// Starts the tasks. Must be called within a Tokio runtime.
    pub(super) fn attach(&mut self, router: Router, report: Report) {
        let mut engine = Engine { runners: Runners::default(), router, report };
        for (id, run) in &self.checks {
            engine.start(id, run, &self.settings, &self.node_name);
        }
        self.engine = Some(engine);
    }

    pub(super) fn detach(&mut self) {
        self.engine = None;
    }

    /// The settings that all probes share.
    pub(super) fn settings(&self) -> &ProbeSettings {
        &self.settings
    }
}

impl Engine {
    fn start(&mut self, id: &str, run: &Run, settings: &ProbeSettings, node_name: &str) {
        let (report, start) = (Arc::clone(&self.report), run.start);
        match Probe::of(&run.check, settings) {
            Some(probe) => {
                let report = move |id: &str, finding| report(id, start, finding);
                self.runners.start(id, probe, run.check.interval, Thresholds::of(&run.check), report);
            }
            None => {
                let principal = Principal::of_registration(&run.token, node_name);
                let catalog = RouterElsewhere { router: self.router.clone(), principal };
                let name = id.to_owned();
                let report = move |finding| report(&name, start, finding);
                self.runners.keep(id, follow(Alias::of(&run.check, node_name), catalog, report));
            }
        }
    }
}

/// Warns of times of a check that are too short and are raised.
fn warn_of_raised(id: &str, check: &CheckType) {
    if !check.interval.is_zero() && check.interval < CHECK_INTERVAL_MIN {
        warn!(check = %id, minimum_interval = ?CHECK_INTERVAL_MIN, "check has interval below minimum");
    }
    let after = check.deregister_critical_service_after;
    if !after.is_zero() && after < DEREGISTER_CRITICAL_MIN {
        warn!(check = %id, minimum_interval = ?DEREGISTER_CRITICAL_MIN, "check has deregister interval below minimum");
    }
}
