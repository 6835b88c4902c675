//! Plans of registrations: the steps that the disk takes first, then the registry. Planning changes nothing.

use super::Source;
use super::definition::{self, NewCheck, NewService};
use super::maintenance;
use super::registry::Registry;
use super::step::{Plan, Step};
use crate::defaults::{DEREGISTER_CRITICAL_MIN, LOCAL_MAX_CHECKS, LOCAL_MAX_SERVICES};
use crate::model::check::CheckType;
use crate::model::definition::ServiceDefinition;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::Token;
use crate::model::rules;
use std::collections::BTreeSet;
use std::time::Instant;
use tracing::info;

impl Registry {
    /// A service with its checks. `replace_checks` drops earlier checks that are not named anew.
    pub(super) fn plan_service(&self, definition: ServiceDefinition, source: Source, replace_checks: bool) -> Plan {
        let NewService { row, checks, token } = definition::service(definition, &self.settings.node_name)?;
        let scripts = self.settings.script_checks;
        checks.iter().try_for_each(|check| scripts.allow(check.check.as_ref(), source))?;
        let mut steps = Vec::new();
        if replace_checks {
            let named: BTreeSet<&str> = checks.iter().map(|check| check.row.check_id.as_str()).collect();
            let maintenance = maintenance::service_check_id(&row.id);
            // Maintenance belongs to the operator, not to any definition.
            let replaced = |id: &String| !named.contains(id.as_str()) && *id != maintenance;
            let known = self.state.checks_of(&row.id).map(String::as_str).chain(self.orphans_of(&row.id)).map(str::to_owned);
            steps.extend(known.filter(replaced).map(Step::DropCheck));
        }
        steps.push(Step::PutService { row: Box::new(row), token, source });
        steps.extend(checks.into_iter().map(|new| Step::PutCheck { new: Box::new(new), source }));
        self.copies_fit(&steps)?;
        self.with_room(steps)
    }

    /// The removal of a service with its checks, or of the kept checks of an absent service.
    pub(super) fn plan_removal(&self, id: &str) -> Plan {
        if self.state.service(id).is_none() {
            let orphans: Vec<Step> = self.orphans_of(id).map(|check| Step::DropCheck(check.to_owned())).collect();
            if !orphans.is_empty() {
                return Ok(orphans);
            }
            let text = format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.");
            return Err(Fault::not_found(text));
        }
        let checks = self.state.checks_of(id).cloned().map(Step::DropCheck);
        Ok(checks.chain([Step::DropService(id.to_owned())]).collect())
    }

    pub(super) fn plan_check(&self, check: CheckType, source: Source) -> Plan {
        let token_of = |service: &str| self.state.service(service).map(|entry| entry.token.clone());
        let new = self.check_alone(check, source, token_of)?;
        let steps = vec![Step::PutCheck { new: Box::new(new), source }];
        self.copies_fit(&steps)?;
        self.with_room(steps)
    }

    /// A check that is registered by itself, with the token of its service where it has none.
    pub(super) fn check_alone(
        &self,
        check: CheckType,
        source: Source,
        token_of: impl Fn(&str) -> Option<Token>,
    ) -> Result<NewCheck, Fault> {
        let mut new = definition::check(check, &self.settings.node_name)?;
        self.settings.script_checks.allow(new.check.as_ref(), source)?;
        let service = &new.row.service_id;
        if !service.is_empty() {
            let Some(token) = token_of(service) else {
                return Err(Fault::failed(format!("ServiceID {service:?} does not exist")));
            };
            if new.token.is_empty() {
                new.token = token;
            }
        }
        Ok(new)
    }

    pub(super) fn plan_check_removal(&self, id: &str) -> Plan {
        if self.state.check(id).is_none() && !self.is_orphan(id) {
            return Err(unknown_check(id));
        }
        Ok(vec![Step::DropCheck(id.to_owned())])
    }

    /// A service into or out of maintenance.
    pub(super) fn plan_service_maintenance(&self, id: &str, enable: bool, reason: &str, token: &Token) -> Plan {
        let Some(service) = self.state.service(id) else {
            return Err(Fault::not_found(format!("No service registered with ID {id:?}")));
        };
        let token = if token.is_empty() { service.token.clone() } else { token.clone() };
        self.maintain(maintenance::check(&self.settings.node_name, Some(id), reason, &token), enable)
    }

    /// The node into or out of maintenance.
    pub(super) fn plan_node_maintenance(&self, enable: bool, reason: &str, token: &Token) -> Plan {
        self.maintain(maintenance::check(&self.settings.node_name, None, reason, token), enable)
    }

    fn maintain(&self, check: NewCheck, enable: bool) -> Plan {
        let id = check.row.check_id.clone();
        match (enable, self.state.check(&id).is_some()) {
            (true, false) => self.with_room(vec![Step::PutCheck { new: Box::new(check), source: Source::Api }]),
            (false, true) => Ok(vec![Step::DropCheck(id)]),
            _ => Ok(Vec::new()),
        }
    }

    /// The removal of the services with a check that has been critical for longer than it may.
    pub(super) fn plan_reaping(&self, now: Instant) -> Plan {
        let overdue = self.state.checks.values().filter(|entry| {
            let after = entry.row.definition.deregister_critical_service_after;
            let since = entry.critical_since.filter(|_| !after.is_zero() && !entry.mark.deleted);
            since.is_some_and(|since| now.saturating_duration_since(since) > after.max(DEREGISTER_CRITICAL_MIN))
        });
        let services: BTreeSet<&str> =
            overdue.map(|entry| entry.row.service_id.as_str()).filter(|service| self.state.service(service).is_some()).collect();
        let mut steps = Vec::new();
        for service in services {
            info!(%service, "a check of this service was critical for too long; deregistering it");
            steps.extend(self.plan_removal(service)?);
        }
        Ok(steps)
    }

    /// Refuses `steps` if the checks of their service cannot carry their copies of its name and tags.
    fn copies_fit(&self, steps: &[Step]) -> Result<(), Fault> {
        let (mut row, mut service, mut put, mut dropped) = (None, None, BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::PutService { row: new, .. } => (row, service) = (Some(&**new), Some(new.id.as_str())),
                Step::PutCheck { new, .. } => {
                    service = Some(new.row.service_id.as_str());
                    put.insert(new.row.check_id.as_str());
                }
                Step::DropCheck(id) => _ = dropped.insert(id.as_str()),
                Step::DropService(_) | Step::Reloaded { .. } => {}
            }
        }
        let Some(id) = service.filter(|id| !id.is_empty()) else { return Ok(()) };
        let Some(row) = row.or_else(|| self.state.service(id).map(|entry| &*entry.row)) else { return Ok(()) };
        put.extend(self.state.checks_of(id).map(String::as_str).filter(|check| !dropped.contains(check)));
        rules::copies(&row.id, &row.service, &row.tags, put.len()).map_err(Fault::bad_request)
    }

    /// `steps`, if this agent has room for their services and checks.
    pub(super) fn with_room(&self, steps: Vec<Step>) -> Plan {
        let (mut services, mut checks) = (BTreeSet::new(), BTreeSet::new());
        for step in &steps {
            match step {
                Step::PutService { row, .. } if self.state.service(&row.id).is_none() => _ = services.insert(&row.id),
                Step::PutCheck { new, .. } if self.state.check(&new.row.check_id).is_none() => {
                    _ = checks.insert(&new.row.check_id);
                }
                _ => {}
            }
        }
        let fits = |new: usize, known: usize, max: usize| new == 0 || known + new <= max;
        if fits(services.len(), self.state.services.len(), LOCAL_MAX_SERVICES)
            && fits(checks.len(), self.state.checks.len(), LOCAL_MAX_CHECKS)
        {
            return Ok(steps);
        }
        metrics::counter!("kontor.local.refused_full").increment(1);
        let text = format!(
            "this agent takes at most {LOCAL_MAX_SERVICES} services and {LOCAL_MAX_CHECKS} checks; deregister some first"
        );
        Err(Fault::new(FaultKind::Busy, text))
    }
}

pub(super) fn unknown_check(id: &str) -> Fault {
    Fault::not_found(format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."))
}

#[cfg(test)]
mod tests {
    use super::super::registry::tests::{ids, kept, open, open_in, start, ttl, web};
    use super::*;
    use crate::defaults::COMMAND_BYTES;

    #[test]
    fn copies_of_tags_are_bounded_over_several_registrations() {
        let (now, mut registry) = (start(), open());
        let tagged = |bytes: usize| ServiceDefinition { tags: vec!["t".repeat(bytes)], ..web(Vec::new()) };
        let check = |number: usize| CheckType { name: number.to_string(), service_id: "web1".into(), ..ttl() };
        registry.add_service(tagged(COMMAND_BYTES / 10), Source::Api, false, now).expect("good");
        for number in 0..9 {
            registry.add_check(check(number), Source::Api, now).expect("good");
        }
        let refused = |fault: Fault| fault.kind == FaultKind::BadRequest && fault.message.contains("fewer checks or tags");
        assert!(refused(registry.add_check(check(9), Source::Api, now).expect_err("refused")));
        assert!(refused(registry.add_service(tagged(COMMAND_BYTES / 9), Source::Api, false, now).expect_err("refused")));
        registry.add_check(check(8), Source::Api, now).expect("it is there already");
        let replaced = ServiceDefinition { checks: vec![ttl()], ..tagged(COMMAND_BYTES / 9) };
        registry.add_service(replaced, Source::Api, true, now).expect("the others go");
        assert_eq!(ids(&registry), ["service:web1"]);
    }

    #[test]
    fn checks_whose_service_never_came_are_deregistered_and_stay_away() {
        let (home, now, mut registry) = kept();
        let open = || open_in(&home, now);
        let check = |id: &str| CheckType { id: id.into(), name: "c".into(), service_id: "web1".into(), ..ttl() };
        registry.add_service(web(Vec::new()), Source::File, false, now).expect("good");
        for id in ["alone", "with the service", "taken", "replaced"] {
            registry.add_check(check(id), Source::Api, now).expect("good");
        }

        let mut registry = open();
        registry.remove_check("alone").expect("it is kept");
        assert_eq!(registry.remove_check("alone"), Err(unknown_check("alone")));
        // Another check takes its id and goes again.
        registry.add_check(CheckType { service_id: String::new(), ..check("taken") }, Source::Api, now).expect("good");
        registry.remove_check("taken").expect("known");
        registry.add_service(web(vec![CheckType { check_id: "new".into(), ..ttl() }]), Source::Api, true, now).expect("good");
        assert_eq!(ids(&registry), ["new"]);
        assert_eq!(ids(&open()), ["new"]);

        let mut registry = open();
        registry.add_check(check("with the service"), Source::Api, now).expect("good");
        registry.add_service(web(Vec::new()), Source::File, false, now).expect("good");
        let mut registry = open();
        assert!(ids(&registry).is_empty(), "files say nothing of the service");
        registry.remove_service("web1").expect("its checks are kept");
        assert!(registry.remove_service("web1").is_err());
        let mut registry = open();
        registry.add_service(web(Vec::new()), Source::Api, false, now).expect("good");
        assert!(ids(&registry).is_empty());
    }
}
