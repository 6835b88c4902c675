//! What an agent does when something is registered with it: check, keep on disk, remember.
//!
//! [`super::Local`] holds one behind its lock. Time is passed in. Nothing changes here before it
//! is on the disk.

use super::checks::ProbeSettings;
use super::definition::{self, NewCheck, NewService};
use super::maintenance;
use super::persist::{Disk, KeptCheck, KeptService};
use super::reload::FromFiles;
use super::running::Running;
use super::state::{NodeInfo, State};
use super::ttl::Deadlines;
use super::{LocalSettings, Source};
use crate::config::defaults::{LOCAL_MAX_CHECKS, LOCAL_MAX_SERVICES};
use crate::model::check::{CheckStatus, CheckType};
use crate::model::definition::ServiceDefinition;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant, SystemTime};
use tracing::{info, warn};

/// Metadata that Consul gives each node, whatever the user says.
const SEGMENT_META: &str = "consul-network-segment";

/// This moment, by the clock that deadlines count and by the one that survives a restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For deadlines.
    pub(super) at: Instant,
    /// Since the Unix epoch.
    pub(super) unix: Duration,
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { at: tokio::time::Instant::now().into_std(), unix }
    }
}

/// The registrations of this agent with all that hangs on them.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) state: State,
    pub(super) deadlines: Deadlines,
    pub(super) settings: LocalSettings,
    pub(super) running: Running,
    /// Services whose checks have changed since the aliases were judged; empty for the node.
    pub(super) touched: BTreeSet<String>,
    pub(super) disk: Option<Disk>,
    /// Kept checks whose service is not registered (yet): those of configuration files come later.
    orphans: Vec<KeptCheck>,
    pub(super) from_files: FromFiles,
}

impl Registry {
    /// Reads what is kept on disk.
    pub(super) fn open(settings: LocalSettings, now: Moment) -> Result<Registry, String> {
        let disk = settings.data_dir.as_deref().map(Disk::open).transpose()?;
        let (services, checks) = disk.as_ref().map(Disk::load).transpose()?.unwrap_or_default();
        let state = State::new(node_info(&settings));
        let probes = ProbeSettings {
            tls: settings.check_tls.clone(),
            proxies: settings.check_proxies.clone(),
            output_max: settings.check_output_max_size,
        };
        let mut registry = Registry {
            state,
            deadlines: Deadlines::default(),
            running: Running::new(&settings.node_name, probes),
            touched: BTreeSet::new(),
            settings,
            disk,
            orphans: Vec::new(),
            from_files: FromFiles::default(),
        };
        for KeptService { service, token } in services {
            info!(service = %service.id, "registration found on disk");
            registry.state.put_service(service, token, Source::Api);
        }
        for kept in checks {
            let service = &kept.check.service_id;
            if service.is_empty() || registry.state.service(service).is_some() {
                registry.restore_check(kept, now);
            } else {
                info!(check = %kept.check.check_id, %service, "a kept check waits for its service to be registered");
                registry.orphans.push(kept);
            }
        }
        Ok(registry)
    }

    /// Registers a service with its checks.
    pub(super) fn add_service(
        &mut self,
        definition: ServiceDefinition,
        source: Source,
        replace_checks: bool,
        now: Moment,
    ) -> Result<(), Fault> {
        let new = definition::service(definition, &self.settings.node_name)?;
        let scripts = self.settings.script_checks;
        new.checks.iter().try_for_each(|check| scripts.allow(check.check.as_ref(), source))?;
        self.put_service(new, source, replace_checks, now)
    }

    /// Removes a service with its checks.
    pub(super) fn remove_service(&mut self, id: &str) -> Result<(), Fault> {
        if self.state.service(id).is_none() {
            let text = format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.");
            return Err(Fault::not_found(text));
        }
        self.on_disk(|disk| disk.forget_service(id))?;
        for check in self.state.checks_of(id) {
            self.drop_check(&check)?;
        }
        self.state.remove_service(id);
        self.touch(id);
        info!(service = %id, "service deregistered");
        Ok(())
    }

    /// Registers a check by itself.
    pub(super) fn add_check(&mut self, check: CheckType, source: Source, now: Moment) -> Result<(), Fault> {
        let new = self.check_alone(check, source)?;
        self.put_check(new, source, now)
    }

    /// A check that is registered by itself, with the token of its service where it has none.
    pub(super) fn check_alone(&self, check: CheckType, source: Source) -> Result<NewCheck, Fault> {
        let mut new = definition::check(check, &self.settings.node_name)?;
        self.settings.script_checks.allow(new.check.as_ref(), source)?;
        let service = &new.row.service_id;
        if !service.is_empty() {
            let Some(entry) = self.state.service(service) else {
                return Err(Fault::failed(format!("ServiceID {service:?} does not exist")));
            };
            if new.token.is_empty() {
                new.token = entry.token.clone();
            }
        }
        Ok(new)
    }

    /// Removes a check.
    pub(super) fn remove_check(&mut self, id: &str) -> Result<(), Fault> {
        if self.state.check(id).is_none() {
            return Err(unknown_check(id));
        }
        self.drop_check(id)
    }

    /// Puts a service into or out of maintenance.
    pub(super) fn service_maintenance(
        &mut self,
        id: &str,
        enable: bool,
        reason: &str,
        token: &Token,
        now: Moment,
    ) -> Result<(), Fault> {
        let Some(service) = self.state.service(id) else {
            return Err(Fault::not_found(format!("No service registered with ID {id:?}")));
        };
        let token = if token.is_empty() { service.token.clone() } else { token.clone() };
        let check = maintenance::check(&self.settings.node_name, Some(id), reason, &token);
        self.maintain(check, enable, now)
    }

    /// Puts the node into or out of maintenance.
    pub(super) fn node_maintenance(&mut self, enable: bool, reason: &str, token: &Token, now: Moment) -> Result<(), Fault> {
        let check = maintenance::check(&self.settings.node_name, None, reason, token);
        self.maintain(check, enable, now)
    }

    /// The address told to others has changed.
    pub(super) fn set_addresses(&mut self, advertise: String, tagged: BTreeMap<String, String>) {
        (self.settings.advertise, self.settings.tagged_addresses) = (advertise, tagged);
        self.state.set_node(node_info(&self.settings));
    }

    /// Registers a service that was found good.
    pub(super) fn put_service(
        &mut self,
        new: NewService,
        source: Source,
        replace_checks: bool,
        now: Moment,
    ) -> Result<(), Fault> {
        let NewService { row, checks, token } = new;
        let id = row.id.clone();
        let known = self.state.service(&id).is_some();
        let fresh = checks.iter().filter(|check| self.state.check(&check.row.check_id).is_none()).count();
        if !known && self.state.services.len() >= LOCAL_MAX_SERVICES || self.state.checks.len() + fresh > LOCAL_MAX_CHECKS {
            return Err(full());
        }
        match source {
            Source::Api => {
                let kept = KeptService { service: row.clone(), token: token.clone() };
                self.on_disk(|disk| disk.keep_service(&kept))?;
            }
            Source::File => self.on_disk(|disk| disk.forget_service(&id))?,
        }
        if replace_checks {
            let named: BTreeSet<&str> = checks.iter().map(|check| check.row.check_id.as_str()).collect();
            let maintenance = maintenance::service_check_id(&id);
            for old in self.state.checks_of(&id) {
                // Maintenance is the operator's word, not part of any definition.
                if !named.contains(old.as_str()) && old != maintenance {
                    self.drop_check(&old)?;
                }
            }
        }
        if row.connect.get("SidecarService").is_some_and(|sidecar| !sidecar.is_null()) {
            warn!(service = %id, "sidecar services are not registered yet; register the proxy by itself");
        }
        self.state.put_service(row, token, source);
        self.touch(&id);
        for check in checks {
            self.put_check(check, source, now)?;
        }
        let (adopted, orphans) = self.orphans.drain(..).partition(|kept: &KeptCheck| kept.check.service_id == id);
        self.orphans = orphans;
        for kept in adopted {
            self.restore_check(kept, now);
        }
        if !known {
            info!(service = %id, "service registered");
        }
        Ok(())
    }

    /// Registers a check that was found good.
    pub(super) fn put_check(&mut self, new: NewCheck, source: Source, now: Moment) -> Result<(), Fault> {
        let id = new.row.check_id.clone();
        if self.state.check(&id).is_none() && self.state.checks.len() >= LOCAL_MAX_CHECKS {
            return Err(full());
        }
        match source {
            Source::Api => {
                let kept = KeptCheck { check: new.row.clone(), definition: new.check.clone(), token: new.token.clone() };
                self.on_disk(|disk| disk.keep_check(&kept))?;
            }
            // Only the definition: what a TTL check said last is still wanted.
            Source::File => self.on_disk(|disk| disk.forget_check_definition(&id))?,
        }
        self.start_check(new, source, now);
        Ok(())
    }

    fn restore_check(&mut self, kept: KeptCheck, now: Moment) {
        if self.state.check(&kept.check.check_id).is_some() {
            return;
        }
        let KeptCheck { check: row, definition: check, token } = kept;
        self.start_check(NewCheck { row, check, token }, Source::Api, now);
    }

    /// Remembers a check and has it run; what it said before a restart is taken up.
    fn start_check(&mut self, new: NewCheck, source: Source, now: Moment) {
        let (id, token, check) = (new.row.check_id.clone(), new.token.clone(), new.check.clone());
        let fresh = self.state.check(&id).is_none();
        let ttl = check.as_ref().filter(|_| new.row.kind == "ttl").map(|check| (check.ttl, self.running.output_max(check)));
        let forbidden = self.settings.script_checks.allow(check.as_ref(), source).err();
        self.touch(&new.row.service_id);
        self.state.put_check(new, source);
        match (&check, &forbidden) {
            (Some(check), None) => {
                self.running.start(&id, check, &token);
                if definition::kind(check) == "alias" {
                    self.touch(&check.alias_service);
                }
            }
            _ => self.running.stop(&id),
        }
        if let Some(fault) = forbidden {
            // One that was kept when it was allowed. Left out, its service would look well.
            warn!(check = %id, %fault, "a kept check is not run");
            self.set_status(&id, CheckStatus::Critical, &fault.message, now.at, 0.0);
        }
        let Some((ttl, max_output)) = ttl else {
            self.deadlines.stop(&id);
            return;
        };
        self.deadlines.start(&id, ttl, max_output, now.at);
        let kept = self.disk.as_ref().filter(|_| fresh).and_then(|disk| disk.ttl(&id));
        if let Some(kept) = kept.filter(|kept| kept.expires > now.unix) {
            self.deadlines.recall(&id, &kept.output);
            self.set_status(&id, kept.status, &kept.output, now.at, 0.0);
        }
    }

    fn maintain(&mut self, check: NewCheck, enable: bool, now: Moment) -> Result<(), Fault> {
        let id = check.row.check_id.clone();
        match (enable, self.state.check(&id).is_some()) {
            (true, false) => {
                info!(check = %id, "entering maintenance");
                self.put_check(check, Source::Api, now)
            }
            (false, true) => {
                info!(check = %id, "leaving maintenance");
                self.drop_check(&id)
            }
            _ => Ok(()),
        }
    }

    /// Removes a check that may be there.
    pub(super) fn drop_check(&mut self, id: &str) -> Result<(), Fault> {
        self.on_disk(|disk| disk.forget_check(id))?;
        self.deadlines.stop(id);
        self.running.stop(id);
        if let Some(service) = self.state.check(id).map(|entry| entry.row.service_id.clone()) {
            self.touch(&service);
        }
        self.state.remove_check(id);
        Ok(())
    }

    fn on_disk(&self, act: impl FnOnce(&Disk) -> io::Result<()>) -> Result<(), Fault> {
        let Some(disk) = &self.disk else { return Ok(()) };
        act(disk).map_err(|error| Fault::failed(format!("cannot keep the registration in the data directory: {error}")))
    }
}

/// This agent's own fields in the catalog.
pub(super) fn node_info(settings: &LocalSettings) -> NodeInfo {
    let mut meta = settings.node_meta.clone();
    meta.entry(SEGMENT_META.to_owned()).or_default();
    NodeInfo {
        id: settings.node_id.to_string(),
        name: settings.node_name.clone(),
        datacenter: settings.datacenter.clone(),
        address: settings.advertise.clone(),
        tagged_addresses: settings.tagged_addresses.clone(),
        meta,
    }
}

pub(super) fn unknown_check(id: &str) -> Fault {
    Fault::not_found(format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."))
}

fn full() -> Fault {
    metrics::counter!("kontor.local.refused_full").increment(1);
    let text =
        format!("this agent takes at most {LOCAL_MAX_SERVICES} services and {LOCAL_MAX_CHECKS} checks; deregister some first");
    Fault::new(FaultKind::Busy, text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ScriptChecks;
    use super::*;
    use crate::model::ids::NodeId;
    use crate::proxy::Proxies;
    use crate::tls::OutgoingTls;
    use std::path::Path;

    const TTL: Duration = Duration::from_secs(10);

    pub(in super::super) fn settings(data_dir: Option<&Path>) -> LocalSettings {
        LocalSettings {
            node_name: "n1".into(),
            node_id: NodeId::default(),
            datacenter: "dc1".into(),
            advertise: "10.0.0.1".into(),
            tagged_addresses: BTreeMap::new(),
            node_meta: BTreeMap::new(),
            data_dir: data_dir.map(Path::to_path_buf),
            check_update_interval: Duration::from_secs(300),
            check_output_max_size: 32,
            discard_check_output: false,
            check_tls: OutgoingTls::default(),
            check_proxies: Proxies::default(),
            script_checks: ScriptChecks::default(),
        }
    }

    pub(in super::super) fn start() -> Moment {
        Moment { at: Instant::now(), unix: Duration::from_secs(1_000_000) }
    }

    pub(in super::super) fn after(moment: Moment, later: Duration) -> Moment {
        Moment { at: moment.at + later, unix: moment.unix + later }
    }

    pub(in super::super) fn ttl() -> CheckType {
        CheckType { ttl: TTL, ..CheckType::default() }
    }

    pub(in super::super) fn web(checks: Vec<CheckType>) -> ServiceDefinition {
        ServiceDefinition { id: "web1".into(), name: "web".into(), checks, ..ServiceDefinition::default() }
    }

    pub(in super::super) fn status(registry: &Registry, id: &str) -> (CheckStatus, String) {
        let check = &registry.state.check(id).expect("registered").row;
        (check.status, check.output.clone())
    }

    pub(in super::super) fn ids(registry: &Registry) -> Vec<String> {
        registry.state.registered().checks.into_keys().collect()
    }

    #[test]
    fn registrations_and_what_a_ttl_check_said_survive_a_restart() {
        let home = tempfile::tempdir().expect("a directory");
        let now = start();
        let mut registry = Registry::open(settings(Some(home.path())), now).expect("opens");
        registry.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        registry.add_check(CheckType { name: "disk".into(), ..ttl() }, Source::Api, now).expect("good");
        registry.update_ttl("service:web1", CheckStatus::Passing, "all well", now, 0.0).expect("good");
        registry.node_maintenance(true, "", &Token::default(), now).expect("good");

        let soon = after(now, TTL / 2);
        let mut again = Registry::open(settings(Some(home.path())), soon).expect("opens");
        assert_eq!(ids(&again), ["_node_maintenance", "disk", "service:web1"]);
        assert_eq!(status(&again, "service:web1"), (CheckStatus::Passing, "all well".to_owned()));
        again.expire(after(soon, TTL).at);
        let expired = "TTL expired (last output before timeout follows): all well";
        assert_eq!(status(&again, "service:web1"), (CheckStatus::Critical, expired.to_owned()));

        let late = Registry::open(settings(Some(home.path())), after(now, TTL)).expect("opens");
        assert_eq!(status(&late, "service:web1").0, CheckStatus::Critical, "its word has expired meanwhile");
    }

    #[test]
    fn what_was_removed_stays_removed_after_a_restart() {
        let home = tempfile::tempdir().expect("a directory");
        let now = start();
        let mut registry = Registry::open(settings(Some(home.path())), now).expect("opens");
        registry.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        registry.update_ttl("service:web1", CheckStatus::Passing, "", now, 0.0).expect("good");
        registry.remove_service("web1").expect("known");
        let mut again = Registry::open(settings(Some(home.path())), now).expect("opens");
        assert!(ids(&again).is_empty() && again.state.registered().services.is_empty());
        again.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        assert_eq!(status(&again, "service:web1").0, CheckStatus::Critical, "its old word is forgotten");
    }

    #[test]
    fn registering_again_keeps_what_a_check_says_and_the_checks_not_named_unless_asked() {
        let now = start();
        let mut registry = Registry::open(settings(None), now).expect("opens");
        let named = |id: &str| CheckType { check_id: id.into(), ..ttl() };
        registry.add_service(web(vec![named("a"), named("b")]), Source::Api, false, now).expect("good");
        registry.update_ttl("a", CheckStatus::Passing, "well", now, 0.0).expect("good");
        registry.service_maintenance("web1", true, "", &Token::default(), now).expect("known");
        registry.add_service(web(vec![named("a")]), Source::Api, false, now).expect("good");
        assert_eq!(ids(&registry), ["_service_maintenance:web1", "a", "b"]);
        assert_eq!(status(&registry, "a"), (CheckStatus::Passing, "well".to_owned()));
        registry.add_service(web(vec![named("a")]), Source::Api, true, now).expect("good");
        assert_eq!(ids(&registry), ["_service_maintenance:web1", "a"]);
    }

    #[test]
    fn mistakes_get_consuls_texts() {
        let now = start();
        let mut registry = Registry::open(settings(None), now).expect("opens");
        let probe = CheckType { name: "probe".into(), tcp: "h:1".into(), interval: TTL, ..CheckType::default() };
        registry.add_check(probe, Source::Api, now).expect("good");
        let mut update = |id: &str| registry.update_ttl(id, CheckStatus::Passing, "", now, 0.0).expect_err("refused");
        assert_eq!(update("probe"), Fault::failed("CheckID \"probe\" does not have associated TTL"));
        assert_eq!(update("x").kind, FaultKind::NotFound);
        assert!(update("x").message.starts_with("Unknown check ID \"x\""));
        let orphan = CheckType { name: "c".into(), service_id: "x".into(), ..ttl() };
        let fault = registry.add_check(orphan, Source::Api, now).expect_err("refused");
        assert_eq!(fault, Fault::failed("ServiceID \"x\" does not exist"));
        let fault = registry.service_maintenance("x", true, "", &Token::default(), now).expect_err("refused");
        assert_eq!(fault, Fault::not_found("No service registered with ID \"x\""));
        assert!(registry.remove_service("x").expect_err("refused").message.starts_with("Unknown service ID \"x\""));
    }

    #[test]
    fn checks_kept_for_a_service_of_a_file_wait_for_it() {
        let home = tempfile::tempdir().expect("a directory");
        let now = start();
        let mut registry = Registry::open(settings(Some(home.path())), now).expect("opens");
        registry.add_service(web(Vec::new()), Source::File, false, now).expect("good");
        let check = CheckType { name: "c".into(), service_id: "web1".into(), ..ttl() };
        registry.add_check(check, Source::Api, now).expect("good");
        let mut again = Registry::open(settings(Some(home.path())), now).expect("opens");
        assert!(ids(&again).is_empty());
        again.add_service(web(Vec::new()), Source::File, false, now).expect("good");
        assert_eq!(ids(&again), ["c"]);
    }

    #[test]
    fn output_is_bounded_and_the_smaller_bound_holds() {
        let now = start();
        let mut registry = Registry::open(settings(None), now).expect("opens");
        let bounds = |id: &str, output_max_size| CheckType { check_id: id.into(), output_max_size, ..ttl() };
        registry.add_service(web(vec![bounds("a", 0), bounds("b", 4), bounds("c", 99)]), Source::Api, false, now).expect("good");
        let long = "x".repeat(40);
        for (id, kept) in [("a", 32), ("b", 4), ("c", 32)] {
            registry.update_ttl(id, CheckStatus::Passing, &long, now, 0.0).expect("good");
            let expected = format!("{} ... (captured {kept} of 40 bytes)", "x".repeat(kept));
            assert_eq!(status(&registry, id).1, expected);
        }
    }
}
