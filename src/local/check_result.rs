//! Results of checks: taken down, logged, and mirrored by aliases. Time and chance are passed in.

use super::anti_entropy;
use super::checks::{Alias, Finding, judge};
use super::kept::KeptTtl;
use super::plan::unknown_check;
use super::registry::{Moment, Registry};
use crate::defaults::{ALIAS_ROUNDS, CHECK_LOGGED_BYTES};
use crate::model::check::CheckStatus;
use crate::model::fault::Fault;
use crate::model::uri;
use std::time::Instant;
use tracing::{debug, info, warn};

impl Registry {
    /// Takes the finding of a run, unless its check has been stopped or replaced since.
    pub(super) fn found(&mut self, id: &str, start: u64, finding: Finding, now: Instant, random: f64) {
        if self.running.counts(id, start) {
            self.set_status(id, finding.status, &finding.output, now, random);
        }
    }

    /// Takes a service's update of its TTL check; `random` spreads a deferred output.
    pub(super) fn update_ttl(
        &mut self,
        id: &str,
        status: CheckStatus,
        output: &str,
        now: Moment,
        random: f64,
    ) -> Result<(), Fault> {
        if self.state.check(id).is_none() {
            return Err(unknown_check(id));
        }
        let Some((ttl, output)) = self.deadlines.heard(id, output, now.at) else {
            return Err(Fault::failed(format!("CheckID {id:?} does not have associated TTL")));
        };
        if self.disk.is_some() {
            let expires = now.unix.saturating_add(ttl);
            let kept = KeptTtl { check_id: id.to_owned(), status, output: output.clone(), expires };
            self.unsaved.insert(id.to_owned(), kept);
        }
        self.set_status(id, status, &output, now.at, random);
        Ok(())
    }

    /// Turns the TTL checks critical whose deadline is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for (id, output) in self.deadlines.expired(now) {
            self.set_status(&id, CheckStatus::Critical, &output, now, 0.0);
        }
    }

    /// Sets a check's status and output; a change of output alone is pushed later.
    pub(super) fn set_status(&mut self, id: &str, status: CheckStatus, output: &str, now: Instant, random: f64) {
        let output = if self.settings.discard_check_output { "" } else { output };
        let interval = self.settings.check_update_interval;
        let defer = if interval.is_zero() { None } else { now.checked_add(anti_entropy::defer(interval, random)) };
        let was = self.state.check(id).map(|entry| (entry.row.status, entry.row.service_id.clone()));
        self.state.set_status(id, status, output, defer, now);
        if let Some((was, service)) = was
            && was != status
        {
            self.log(id, &service, was, status, output);
            self.touch(&service);
        }
    }

    fn log(&self, check: &str, service: &str, was: CheckStatus, is: CheckStatus, output: &str) {
        let (node, output) = (&self.settings.node_name, first_line(output));
        match (was, is) {
            (_, CheckStatus::Critical) => warn!(%check, %service, %node, %was, %output, "check is now critical"),
            (CheckStatus::Critical, CheckStatus::Passing) => info!(%check, %service, %node, "check is passing again"),
            _ => debug!(%check, %service, %node, %was, %is, "check has changed"),
        }
    }

    /// Notes that the checks of a service have changed; empty for the node.
    pub(super) fn touch(&mut self, service: &str) {
        self.touched.insert(service.to_owned());
    }

    /// Judges the aliases of touched services anew. An alias may have an alias.
    pub(super) fn settle_aliases(&mut self, now: Instant) {
        for _ in 0..ALIAS_ROUNDS {
            let touched = std::mem::take(&mut self.touched);
            if touched.is_empty() {
                return;
            }
            let follows = |alias: &Alias| touched.contains("") || touched.contains(&alias.service);
            self.judge_aliases(follows, now);
        }
        // Aliases in a circle; the rest of it follows with the next change.
        metrics::counter!("kontor.checks.alias_rounds").increment(1);
    }

    /// Judges every alias of this agent anew: the outputs that it mirrors may have changed.
    pub(super) fn refresh_aliases(&mut self, now: Instant) {
        self.judge_aliases(|_alias| true, now);
    }

    fn judge_aliases(&mut self, which: impl Fn(&Alias) -> bool, now: Instant) {
        let aliases: Vec<(String, Alias)> =
            self.running.aliases().filter(|(_, alias)| which(alias)).map(|(id, alias)| (id.clone(), alias.clone())).collect();
        for (id, alias) in aliases {
            let others = self.state.live_checks().filter(|(other, _)| **other != id);
            let exists = || self.state.service(&alias.service).is_some();
            let mut finding = judge(&alias, others.map(|(_, entry)| &*entry.row), exists);
            // Aliases in a circle would quote each other without end.
            finding.output.truncate(finding.output.floor_char_boundary(self.settings.check_output_max_size));
            self.set_status(&id, finding.status, &finding.output, now, 0.0);
        }
    }
}

/// The beginning of an output for one line of the log: without passwords of URLs and control characters.
fn first_line(output: &str) -> String {
    let line = output.lines().next().unwrap_or_default();
    let line = &line[..line.floor_char_boundary(CHECK_LOGGED_BYTES)];
    line.split(' ').map(|word| uri::shown(word)).collect::<Vec<_>>().join(" ").replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::super::registry::tests::{after, ids, settings, start, status, ttl, web};
    use super::super::{LocalSettings, ScriptChecks, Source};
    use super::*;
    use crate::model::check::CheckType;
    use crate::model::definition::ServiceDefinition;
    use CheckStatus::{Critical, Passing, Warning};
    use std::time::Duration;

    #[test]
    fn the_log_shows_one_bounded_line_of_an_output_and_no_password() {
        let line = first_line("Get \"http://user:s3cret@h/x\": EOF\u{7}\nmore");
        assert_eq!(line, "Get \"http://user:xxxxx@h/x\": EOF ");
        assert_eq!(first_line(&"é".repeat(1_000)).len(), CHECK_LOGGED_BYTES);
        assert_eq!(first_line(""), "");
    }

    fn open() -> Registry {
        let settings = LocalSettings { check_output_max_size: 4096, ..settings(None) };
        Registry::open(settings, start()).expect("opens")
    }

    fn tcp() -> CheckType {
        CheckType { check_id: "tcp".into(), tcp: "h:1".into(), interval: Duration::from_secs(10), ..CheckType::default() }
    }

    fn script() -> CheckType {
        let script_args = vec!["true".into()];
        CheckType { name: "s".into(), script_args, interval: Duration::from_secs(10), ..CheckType::default() }
    }

    /// An update of a TTL check, with the aliases that follow.
    fn say(registry: &mut Registry, id: &str, status: CheckStatus, now: Moment) {
        registry.update_ttl(id, status, "said", now, 0.0).expect("known");
        registry.settle_aliases(now.at);
    }

    #[test]
    fn what_a_run_finds_counts_until_its_check_is_replaced_or_removed() {
        let (mut registry, now) = (open(), start());
        registry.add_service(web(vec![tcp()]), Source::Api, false, now).expect("good");
        registry.found("tcp", 1, Finding::new(Passing, "well"), now.at, 0.0);
        assert_eq!(status(&registry, "tcp"), (Passing, "well".to_owned()));
        registry.add_service(web(vec![tcp()]), Source::Api, false, now).expect("good");
        registry.found("tcp", 1, Finding::new(Warning, "the same goes on"), now.at, 0.0);
        assert_eq!(status(&registry, "tcp").0, Warning);
        let other = CheckType { tcp: "h:2".into(), ..tcp() };
        registry.add_service(web(vec![other]), Source::Api, false, now).expect("good");
        registry.found("tcp", 1, Finding::new(Critical, "of another target"), now.at, 0.0);
        assert_eq!(status(&registry, "tcp").0, Warning);
        registry.found("tcp", 2, Finding::new(Passing, "well"), now.at, 0.0);
        assert_eq!(status(&registry, "tcp").0, Passing);
        registry.remove_check("tcp").expect("known");
        registry.found("tcp", 2, Finding::new(Critical, "too late"), now.at, 0.0);
        assert!(ids(&registry).is_empty());
    }

    #[test]
    fn a_change_of_status_is_pushed_at_once_and_one_of_output_later() {
        let (mut registry, now) = (open(), start());
        registry.add_service(web(vec![tcp()]), Source::Api, false, now).expect("good");
        registry.found("tcp", 1, Finding::new(Passing, "well"), now.at, 0.5);
        assert_eq!(registry.state.next_deferred(), None);
        registry.state.updates().iter().for_each(|update| registry.state.settle(update));
        registry.found("tcp", 1, Finding::new(Passing, "very well"), now.at, 0.5);
        assert!(registry.state.updates().is_empty());
        assert_eq!(registry.state.next_deferred(), Some(now.at + Duration::from_secs(300)));
        registry.found("tcp", 1, Finding::new(Critical, "dead"), now.at, 0.5);
        assert_eq!((registry.state.updates().len(), registry.state.next_deferred()), (1, None));
    }

    #[test]
    fn scripts_are_refused_unless_they_are_allowed_to_who_registers_them() {
        let now = start();
        let from_api =
            "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";
        let from_file = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true";
        let tried = |api: bool, files: bool| {
            let allowed = LocalSettings { script_checks: ScriptChecks { api, files }, ..settings(None) };
            let mut registry = Registry::open(allowed, now).expect("opens");
            let service = || ServiceDefinition { name: "scripted".into(), check: Some(script()), ..ServiceDefinition::default() };
            let api = registry.add_service(service(), Source::Api, false, now).map_err(|fault| fault.message);
            let alone = registry.add_check(script(), Source::Api, now).map_err(|fault| fault.message);
            let file = registry.reload(vec![service()], Vec::new(), now).map_err(|fault| fault.message);
            assert_eq!(api, alone);
            (api, file)
        };
        assert_eq!(tried(false, false), (Err(from_api.into()), Err(from_file.into())));
        assert_eq!(tried(false, true), (Err(from_api.into()), Ok(())));
        assert_eq!(tried(true, true), (Ok(()), Ok(())));
    }

    #[test]
    fn a_kept_script_is_not_run_once_scripts_are_forbidden_and_its_service_does_not_look_well() {
        let home = tempfile::tempdir().expect("a directory");
        let now = start();
        let allowed = |api| LocalSettings { script_checks: ScriptChecks { api, files: api }, ..settings(Some(home.path())) };
        let script = CheckType { status: "passing".into(), ..script() };
        let mut registry = Registry::open(allowed(true), now).expect("opens");
        registry.add_check(script, Source::Api, now).expect("allowed");
        assert_eq!(status(&registry, "s").0, Passing);
        let mut again = Registry::open(allowed(false), now).expect("opens");
        assert!(status(&again, "s").1.starts_with("Scripts are disabled"));
        again.found("s", 1, Finding::new(Passing, "of nobody"), now.at, 0.0);
        assert_eq!(status(&again, "s").0, Critical);
    }

    #[test]
    fn an_alias_follows_its_service_and_node_at_once_and_so_does_an_alias_of_it() {
        let (mut registry, now) = (open(), start());
        // Aliases belong to services: a check of the node would count for all services.
        let mirror = |name: &str, id: &str, other: &str| {
            let check = CheckType { check_id: id.into(), alias_service: other.into(), ..CheckType::default() };
            ServiceDefinition { name: name.into(), check: Some(check), ..ServiceDefinition::default() }
        };
        registry.add_service(mirror("first", "early", "web1"), Source::Api, false, now).expect("good");
        registry.settle_aliases(now.at);
        assert_eq!(status(&registry, "early"), (Critical, "Service web1 could not be found on node ".to_owned()));
        registry.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        registry.add_service(mirror("top", "second", "web1"), Source::Api, false, now).expect("good");
        registry.add_service(mirror("end", "third", "top"), Source::Api, false, now).expect("good");
        say(&mut registry, "service:web1", Passing, now);
        for id in ["early", "second", "third"] {
            assert_eq!(status(&registry, id).0, Passing, "{id}");
        }
        say(&mut registry, "service:web1", Warning, now);
        let expected = "Aliased check \"Service 'web' check\" failing: said";
        assert_eq!(status(&registry, "second"), (Warning, expected.to_owned()));
        assert_eq!(status(&registry, "third").0, Warning);
        registry.remove_service("web1").expect("known");
        registry.settle_aliases(now.at);
        assert_eq!(status(&registry, "third").0, Critical);
        let node = CheckType { name: "disk".into(), status: "critical".into(), ..ttl() };
        registry.add_service(web(Vec::new()), Source::Api, false, now).expect("good");
        registry.add_check(node, Source::Api, now).expect("good");
        registry.settle_aliases(now.at);
        assert_eq!(status(&registry, "early").1, "Aliased check \"disk\" failing: ");
        say(&mut registry, "disk", Passing, now);
        assert_eq!(status(&registry, "early"), (Passing, "All checks passing.".to_owned()));
    }

    #[test]
    fn aliases_in_a_circle_end() {
        let (mut registry, now) = (open(), start());
        for (name, other) in [("a", "b"), ("b", "a")] {
            let checks =
                vec![CheckType { check_id: format!("of-{name}"), alias_service: other.into(), ..CheckType::default() }, ttl()];
            let service = ServiceDefinition { name: name.into(), checks, ..ServiceDefinition::default() };
            registry.add_service(service, Source::Api, false, now).expect("good");
            registry.settle_aliases(now.at);
        }
        for _ in 0..100 {
            registry.refresh_aliases(now.at);
        }
        assert!(status(&registry, "of-a").1.len() <= 4096);
    }

    #[test]
    fn a_service_goes_once_it_has_been_critical_for_too_long_without_a_break() {
        let (mut registry, now) = (open(), start());
        // A minute is the least.
        let check = CheckType { deregister_critical_service_after: Duration::from_secs(1), ..tcp() };
        registry.add_service(web(vec![check]), Source::Api, false, now).expect("good");
        let at = |seconds| after(now, Duration::from_secs(seconds)).at;
        registry.reap(at(1_000));
        assert_eq!(ids(&registry), ["tcp"], "it has not said anything yet");
        registry.found("tcp", 1, Finding::new(Critical, "dead"), at(1_000), 0.0);
        registry.found("tcp", 1, Finding::new(Passing, "well"), at(1_050), 0.0);
        registry.found("tcp", 1, Finding::new(Critical, "dead"), at(1_055), 0.0);
        registry.found("tcp", 1, Finding::new(Critical, "dead"), at(1_110), 0.0);
        registry.reap(at(1_115));
        assert_eq!(ids(&registry), ["tcp"]);
        registry.reap(at(1_116));
        assert!(registry.state.registered().services.is_empty() && ids(&registry).is_empty());
    }
}
