//! Configuration files read anew: what they said before goes, what they say now comes.
//!
//! Part of `registry`. What users registered over HTTP stays, but for checks of a service that goes.

use super::Source;
use super::definition::{self, NewService};
use super::registry::{Moment, Registry, node_info};
use super::state::CheckEntry;
use crate::model::check::CheckType;
use crate::model::definition::ServiceDefinition;
use crate::model::fault::Fault;
use std::collections::{BTreeMap, BTreeSet};

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
        for service in services {
            self.put_service(service, Source::File, false, now)?;
        }
        for check in checks {
            self.add_check(check, Source::File, now)?;
        }
        Ok(())
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
    use crate::tls::CheckTls;
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
            check_tls: CheckTls::default(),
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
}
