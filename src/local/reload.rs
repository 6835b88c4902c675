//! Configuration files read anew: what they say no longer goes, what they say otherwise changes, what
//! they say as before is not touched.
//!
//! Part of `registry`. What users registered over HTTP stays, but for checks of a service that goes.

use super::Source;
use super::definition::{self, NewCheck, NewService};
use super::registry::{Moment, Registry, node_info};
use super::state::CheckEntry;
use crate::model::check::CheckType;
use crate::model::definition::ServiceDefinition;
use crate::model::fault::Fault;
use crate::model::ids::Token;
use crate::model::service::NodeService;
use std::collections::{BTreeMap, BTreeSet};

/// What configuration files said last, by id.
#[derive(Debug, Default)]
pub(super) struct FromFiles {
    services: BTreeMap<String, (NodeService, Token)>,
    checks: BTreeMap<String, NewCheck>,
}

impl Registry {
    /// Replaces everything that came from configuration files. Nothing changes when anything of it
    /// is wrong.
    pub(super) fn reload(
        &mut self,
        services: Vec<ServiceDefinition>,
        checks: Vec<CheckType>,
        node_meta: BTreeMap<String, String>,
        now: Moment,
    ) -> Result<(), Fault> {
        // Reserved keys are the agent's own doing.
        definition::meta_is_valid(&node_meta, true).map_err(|why| Fault::bad_request(format!("Invalid node metadata: {why}")))?;
        let node = &self.settings.node_name;
        let services: Vec<NewService> =
            services.into_iter().map(|service| definition::service(service, node)).collect::<Result<_, _>>()?;
        let scripts = self.settings.script_checks;
        let of_services = services.iter().flat_map(|service| &service.checks);
        of_services.map(|check| check.check.as_ref()).try_for_each(|check| scripts.allow(check, Source::File))?;
        let new_services: BTreeSet<&str> = services.iter().map(|service| service.row.id.as_str()).collect();
        for check in &checks {
            let new = definition::check(check.clone(), node)?;
            scripts.allow(new.check.as_ref(), Source::File)?;
            let service = new.row.service_id.as_str();
            let stays = || self.state.service(service).is_some_and(|entry| entry.source == Source::Api);
            if !service.is_empty() && !new_services.contains(service) && !stays() {
                return Err(Fault::failed(format!("ServiceID {service:?} does not exist")));
            }
        }
        self.settings.node_meta = node_meta;
        self.state.set_node(node_info(&self.settings));
        self.drop_stale_files(&services, &checks)?;
        // Empty until the end: after a failure everything is registered anew by the next reload.
        let (before, mut said) = (std::mem::take(&mut self.from_files), FromFiles::default());
        for NewService { row, checks, token } in services {
            let id = row.id.clone();
            let service = (row.clone(), token.clone());
            let known = self.state.service(&id).is_some_and(|entry| entry.source == Source::File);
            let same = known && !said.services.contains_key(&id) && before.services.get(&id) == Some(&service);
            said.services.insert(id, service);
            if !same {
                self.put_service(NewService { row, checks: Vec::new(), token }, Source::File, false, now)?;
            }
            for check in checks {
                self.put_as_said(check, &before, &mut said, now)?;
            }
        }
        for check in checks {
            let check = self.check_alone(check, Source::File)?;
            self.put_as_said(check, &before, &mut said, now)?;
        }
        self.from_files = said;
        Ok(())
    }

    /// Registers a check of a file, unless it is there as the file says: its deadline and what it
    /// says go on as if nobody had read the file.
    fn put_as_said(&mut self, check: NewCheck, before: &FromFiles, said: &mut FromFiles, now: Moment) -> Result<(), Fault> {
        let id = check.row.check_id.clone();
        let known = self.state.check(&id).is_some_and(|entry| entry.source == Source::File);
        let same = known && !said.checks.contains_key(&id) && before.checks.get(&id) == Some(&check);
        said.checks.insert(id, check.clone());
        if same { Ok(()) } else { self.put_check(check, Source::File, now) }
    }

    /// Removes what came from files and is in them no longer.
    fn drop_stale_files(&mut self, services: &[NewService], checks: &[CheckType]) -> Result<(), Fault> {
        let from_file = |(id, _): (&String, _)| id.clone();
        let old = self.state.services.iter().filter(|(_, entry)| entry.source == Source::File && !entry.mark.deleted);
        for id in old.map(from_file).collect::<Vec<_>>() {
            if !services.iter().any(|service| service.row.id == id) {
                self.remove_service(&id)?;
            }
        }
        let named: BTreeSet<&str> = checks
            .iter()
            .map(definition::id_alone)
            .chain(services.iter().flat_map(|service| &service.checks).map(|check| check.row.check_id.as_str()))
            .collect();
        let stale = |(id, entry): &(&String, &CheckEntry)| {
            entry.source == Source::File && !entry.mark.deleted && !named.contains(id.as_str())
        };
        let stale: Vec<String> = self.state.checks.iter().filter(stale).map(|(id, _)| id.clone()).collect();
        stale.iter().try_for_each(|id| self.drop_check(id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LocalSettings, ScriptChecks};
    use super::*;
    use crate::model::check::CheckStatus;
    use crate::model::ids::NodeId;
    use crate::proxy::Proxies;
    use crate::tls::OutgoingTls;
    use std::time::Duration;

    fn registry() -> Registry {
        let settings = LocalSettings {
            node_name: "n1".into(),
            node_id: NodeId::default(),
            datacenter: "dc1".into(),
            advertise: "10.0.0.1".into(),
            tagged_addresses: BTreeMap::new(),
            node_meta: BTreeMap::new(),
            data_dir: None,
            check_update_interval: Duration::ZERO,
            check_output_max_size: 32,
            discard_check_output: false,
            check_tls: OutgoingTls::default(),
            check_proxies: Proxies::default(),
            script_checks: ScriptChecks::default(),
        };
        Registry::open(settings, Moment::now()).expect("opens")
    }

    fn ttl() -> CheckType {
        CheckType { ttl: Duration::from_secs(10), ..CheckType::default() }
    }

    fn ids(registry: &Registry) -> Vec<String> {
        registry.state.registered().checks.into_keys().collect()
    }

    #[test]
    fn a_reload_replaces_what_files_said_and_nothing_else_and_a_wrong_one_changes_nothing() {
        let now = Moment::now();
        let mut registry = registry();
        let named = |name: &str| ServiceDefinition { name: name.into(), check: Some(ttl()), ..ServiceDefinition::default() };
        registry.add_service(named("api"), Source::Api, false, now).expect("good");
        let disk = CheckType { name: "disk".into(), ..ttl() };
        registry.reload(vec![named("one"), named("two")], vec![disk.clone()], BTreeMap::new(), now).expect("good");
        registry.update_ttl("service:one", CheckStatus::Passing, "", now, 0.0).expect("good");
        assert_eq!(ids(&registry), ["disk", "service:api", "service:one", "service:two"]);

        let wrong = vec![named("three"), ServiceDefinition::default()];
        registry.reload(wrong, Vec::new(), BTreeMap::new(), now).expect_err("refused");
        assert_eq!(ids(&registry), ["disk", "service:api", "service:one", "service:two"]);

        registry.reload(vec![named("one")], Vec::new(), BTreeMap::new(), now).expect("good");
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
        let reload = |registry: &mut Registry, web, now| registry.reload(vec![web], Vec::new(), BTreeMap::new(), now);
        reload(&mut registry, web(80), now).expect("good");
        for id in ["a", "b"] {
            registry.update_ttl(id, CheckStatus::Passing, "well", now, 0.0).expect("good");
        }
        let tags = |registry: &Registry| registry.state.registered().services["web"].tags.clone();
        // Somebody has overridden the tags in the catalog.
        let mut row = (*registry.state.registered().services["web"]).clone();
        row.tags = vec!["blue".into()];
        registry.state.put_service(row, Token::default(), Source::File);

        let revision = registry.state.revision();
        reload(&mut registry, web(80), later).expect("good");
        assert_eq!(registry.state.revision(), revision, "nothing is pushed");
        assert_eq!(tags(&registry), ["blue"]);
        assert_eq!(registry.deadlines.next(), Some(now.at + ttl().ttl), "its time runs on");

        // One check differs: it alone starts over, with what it said last.
        let mut other = web(80);
        other.checks[1].ttl = Duration::from_secs(60);
        reload(&mut registry, other, later).expect("good");
        assert_eq!(registry.deadlines.next(), Some(now.at + ttl().ttl));
        let late = registry.deadlines.expired(now.at + ttl().ttl);
        assert_eq!(late.len(), 1);
        assert_eq!(late[0].0, "a");
        assert_eq!(registry.state.check("b").expect("there").row.status, CheckStatus::Passing);

        // What was removed over HTTP comes back, what was replaced there is replaced.
        registry.remove_check("a").expect("known");
        registry.add_service(ServiceDefinition { port: 99, ..web(0) }, Source::Api, false, later).expect("good");
        reload(&mut registry, web(81), later).expect("good");
        assert_eq!(ids(&registry), ["a", "b"]);
        assert_eq!(registry.state.registered().services["web"].port, 81);
        assert_eq!(tags(&registry), ["green"]);
    }
}
