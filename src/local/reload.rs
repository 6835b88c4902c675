//! Configuration files read anew: absent definitions go, changed ones are registered, equal ones are not touched.

use super::Source;
use super::definition::{self, NewCheck, NewService};
use super::registry::Registry;
use super::state::CheckEntry;
use super::step::{FromFiles, Plan, Step};
use crate::model::check::CheckType;
use crate::model::definition::ServiceDefinition;
use crate::model::fault::Fault;
use crate::model::ids::Token;
use crate::model::rules;
use crate::model::service::NodeService;
use std::collections::{BTreeMap, BTreeSet};

impl Registry {
    /// The steps that replace everything from configuration files. One mistake refuses all.
    pub(super) fn plan_reload(
        &self,
        services: Vec<ServiceDefinition>,
        checks: Vec<CheckType>,
        node_meta: BTreeMap<String, String>,
    ) -> Plan {
        // Reserved keys are allowed: the agent itself sets them.
        rules::meta(&node_meta, true).map_err(|why| Fault::bad_request(format!("Invalid node metadata: {why}")))?;
        let node = &self.settings.node_name;
        let services: Vec<NewService> =
            services.into_iter().map(|service| definition::service(service, node)).collect::<Result<_, _>>()?;
        let scripts = self.settings.script_checks;
        let of_services = services.iter().flat_map(|service| &service.checks);
        of_services.map(|check| check.check.as_ref()).try_for_each(|check| scripts.allow(check, Source::File))?;
        let tokens: BTreeMap<String, Token> =
            services.iter().map(|service| (service.row.id.clone(), service.token.clone())).collect();
        let stays = |service: &str| self.state.service(service).filter(|entry| entry.source == Source::Api);
        let token_of = |service: &str| tokens.get(service).cloned().or_else(|| stays(service).map(|entry| entry.token.clone()));
        let checks: Vec<NewCheck> =
            checks.into_iter().map(|check| self.check_alone(check, Source::File, token_of)).collect::<Result<_, _>>()?;

        let mut steps = self.stale(&services, &checks);
        let gone = steps.iter().filter_map(|step| if let Step::DropCheck(id) = step { Some(id.clone()) } else { None }).collect();
        let mut reading = Reading { registry: self, gone, said: FromFiles::default() };
        for NewService { row, checks, token } in services {
            steps.extend(reading.service(row, token));
            steps.extend(checks.into_iter().filter_map(|check| reading.check(check)));
        }
        steps.extend(checks.into_iter().filter_map(|check| reading.check(check)));
        steps.push(Step::Reloaded { node_meta, said: Box::new(reading.said) });
        self.with_room(steps)
    }

    /// The removal of what files registered and no longer define.
    fn stale(&self, services: &[NewService], checks: &[NewCheck]) -> Vec<Step> {
        let named: BTreeSet<&str> = services.iter().map(|service| service.row.id.as_str()).collect();
        let old = self.state.services.iter().filter(|(_, entry)| entry.source == Source::File && !entry.mark.deleted);
        let old: BTreeSet<&str> = old.map(|(id, _)| id.as_str()).filter(|id| !named.contains(id)).collect();
        let named: BTreeSet<&str> =
            services.iter().flat_map(|service| &service.checks).chain(checks).map(|check| check.row.check_id.as_str()).collect();
        let stale = |(id, entry): &(&String, &CheckEntry)| {
            let unnamed = entry.source == Source::File && !named.contains(id.as_str());
            !entry.mark.deleted && (unnamed || old.contains(entry.row.service_id.as_str()))
        };
        let checks = self.state.checks.iter().filter(stale).map(|(id, _)| Step::DropCheck(id.clone()));
        checks.chain(old.iter().map(|id| Step::DropService((*id).to_owned()))).collect()
    }
}

/// A reading of the files. A definition that is registered as it stands makes no step.
struct Reading<'a> {
    registry: &'a Registry,
    /// Checks that are removed before anything is registered.
    gone: BTreeSet<String>,
    said: FromFiles,
}

impl Reading<'_> {
    fn service(&mut self, row: NodeService, token: Token) -> Option<Step> {
        let service = (row.clone(), token.clone());
        let known = self.registry.state.service(&row.id).is_some_and(|entry| entry.source == Source::File);
        let before = &self.registry.from_files.services;
        let same = known && !self.said.services.contains_key(&row.id) && before.get(&row.id) == Some(&service);
        self.said.services.insert(row.id.clone(), service);
        (!same).then(|| Step::PutService { row: Box::new(row), token, source: Source::File })
    }

    /// A check that stays as it is keeps its deadline and its state.
    fn check(&mut self, new: NewCheck) -> Option<Step> {
        let id = &new.row.check_id;
        let known = self.registry.state.check(id).is_some_and(|entry| entry.source == Source::File) && !self.gone.contains(id);
        let same = known && !self.said.checks.contains_key(id) && self.registry.from_files.checks.get(id) == Some(&new);
        self.said.checks.insert(id.clone(), new.clone());
        (!same).then(|| Step::PutCheck { new: Box::new(new), source: Source::File })
    }
}

#[cfg(test)]
mod tests {
    use super::super::LocalSettings;
    use super::super::registry::Moment;
    use super::super::registry::tests::{ids, settings, ttl};
    use super::*;
    use crate::model::check::CheckStatus;
    use std::time::Duration;

    fn registry() -> Registry {
        let settings = LocalSettings { check_update_interval: Duration::ZERO, ..settings(None) };
        Registry::open(settings, Moment::now()).expect("opens")
    }

    #[test]
    fn a_reload_replaces_what_files_said_and_nothing_else_and_a_wrong_one_changes_nothing() {
        let now = Moment::now();
        let mut registry = registry();
        let named = |name: &str| ServiceDefinition { name: name.into(), check: Some(ttl()), ..ServiceDefinition::default() };
        registry.add_service(named("api"), Source::Api, false, now).expect("good");
        let disk = CheckType { name: "disk".into(), ..ttl() };
        registry.reload(vec![named("one"), named("two")], vec![disk.clone()], now).expect("good");
        registry.update_ttl("service:one", CheckStatus::Passing, "", now, 0.0).expect("good");
        assert_eq!(ids(&registry), ["disk", "service:api", "service:one", "service:two"]);

        let wrong = vec![named("three"), ServiceDefinition::default()];
        registry.reload(wrong, Vec::new(), now).expect_err("refused");
        assert_eq!(ids(&registry), ["disk", "service:api", "service:one", "service:two"]);

        registry.reload(vec![named("one")], Vec::new(), now).expect("good");
        assert_eq!(ids(&registry), ["service:api", "service:one"]);
        assert_eq!(registry.state.check("service:one").expect("there").row.status, CheckStatus::Passing);
    }

    #[test]
    fn what_files_say_as_before_is_not_touched() {
        let now = Moment::now();
        let later = Moment { at: now.at + Duration::from_secs(6), ..now };
        let mut registry = registry();
        let web = |port| ServiceDefinition {
            name: "web".into(),
            port,
            tags: vec!["green".into()],
            enable_tag_override: true,
            checks: vec![CheckType { check_id: "a".into(), ..ttl() }, CheckType { check_id: "b".into(), ..ttl() }],
            ..ServiceDefinition::default()
        };
        let reload = |registry: &mut Registry, web, now| registry.reload(vec![web], Vec::new(), now);
        reload(&mut registry, web(80), now).expect("good");
        for id in ["a", "b"] {
            registry.update_ttl(id, CheckStatus::Passing, "well", now, 0.0).expect("good");
        }
        let tags = |registry: &Registry| registry.state.registered().services["web"].tags.clone();
        // The tags are overridden in the catalog.
        let mut row = (*registry.state.registered().services["web"]).clone();
        row.tags = vec!["blue".into()];
        registry.state.put_service(row, Token::default(), Source::File);

        let revision = registry.state.revision;
        reload(&mut registry, web(80), later).expect("good");
        assert_eq!(registry.state.revision, revision, "nothing is pushed");
        assert_eq!(tags(&registry), ["blue"]);
        assert_eq!(registry.deadlines.next(), Some(now.at + ttl().ttl), "its time runs on");

        // One check differs: it alone starts over, with its last status.
        let mut other = web(80);
        other.checks[1].ttl = Duration::from_secs(60);
        reload(&mut registry, other, later).expect("good");
        assert_eq!(registry.deadlines.next(), Some(now.at + ttl().ttl));
        let late = registry.deadlines.expired(now.at + ttl().ttl);
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].0, "a");
        assert_eq!(registry.state.check("b").expect("there").row.status, CheckStatus::Passing);

        // Removals and replacements over HTTP are undone.
        registry.remove_check("a").expect("known");
        registry.add_service(ServiceDefinition { port: 99, ..web(0) }, Source::Api, false, later).expect("good");
        reload(&mut registry, web(81), later).expect("good");
        assert_eq!(ids(&registry), ["a", "b"]);
        assert_eq!(registry.state.registered().services["web"].port, 81);
        assert_eq!(tags(&registry), ["green"]);
    }
}
