//! The registrations of this agent with their deadlines and runs. Steps are carried out once the disk has them.

use super::checks::ProbeSettings;
use super::definition::{self, NewCheck};
use super::kept::{KeptCheck, KeptService, KeptTtl};
use super::maintenance;
use super::persist::{Disk, Found};
use super::running::Running;
use super::state::{NodeInfo, State};
use super::step::{FromFiles, Step};
use super::ttl::Deadlines;
use super::{LocalSettings, Source};
use crate::defaults::CONSUL_VERSION;
use crate::model::check::CheckStatus;
use crate::model::ids::Token;
use crate::model::service::NodeService;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tracing::{info, warn};

/// Metadata that Consul gives each node: its network segment, empty here, and its version.
const SEGMENT_META: &str = "consul-network-segment";
const VERSION_META: &str = "consul-version";

#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    /// Since the Unix epoch; it survives a restart.
    pub(super) unix: Duration,
}

impl Moment {
    pub(super) fn now() -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { at: tokio::time::Instant::now().into_std(), unix }
    }
}

/// The registrations of this agent with their deadlines and runs.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) state: State,
    pub(super) deadlines: Deadlines,
    pub(super) settings: LocalSettings,
    pub(super) running: Running,
    /// Services whose checks have changed since the aliases were judged; empty for the node.
    pub(super) touched: BTreeSet<String>,
    pub(super) disk: Option<Arc<Disk>>,
    /// States of TTL checks from before a restart, until each check is registered again.
    recalled: BTreeMap<String, KeptTtl>,
    /// States of TTL checks that the disk does not have yet.
    pub(super) unsaved: BTreeMap<String, KeptTtl>,
    /// Kept checks whose service is not registered (yet): services of configuration files come later.
    orphans: Vec<KeptCheck>,
    pub(super) from_files: FromFiles,
}

impl Registry {
    /// Reads what is kept on disk.
    pub(super) fn open(settings: LocalSettings, now: Moment) -> Result<Registry, String> {
        let disk = settings.data_dir.as_deref().map(Disk::open).transpose()?;
        let Found { services, checks, words } = disk.as_ref().map(Disk::load).transpose()?.unwrap_or_default();
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
            disk: disk.map(Arc::new),
            recalled: words.into_iter().map(|word| (word.check_id.clone(), word)).collect(),
            unsaved: BTreeMap::new(),
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

    /// The ids of the kept checks that wait for this service.
    pub(super) fn orphans_of(&self, service: &str) -> impl Iterator<Item = &str> {
        self.orphans.iter().filter(move |kept| kept.check.service_id == service).map(|kept| kept.check.check_id.as_str())
    }

    /// True if a kept check of this id waits for its service.
    pub(super) fn is_orphan(&self, check: &str) -> bool {
        self.orphans.iter().any(|kept| kept.check.check_id == check)
    }

    /// Carries out the steps of a plan, which the disk has already.
    pub(super) fn carry_out(&mut self, steps: Vec<Step>, now: Moment) {
        for step in steps {
            match step {
                Step::PutService { row, token, source } => self.put_service(*row, token, source, now),
                Step::PutCheck { new, source } => {
                    if new.check.is_none() {
                        info!(check = %new.row.check_id, "entering maintenance");
                    }
                    self.start_check(*new, source, now);
                }
                Step::DropService(id) => {
                    self.state.remove_service(&id);
                    self.touch(&id);
                    info!(service = %id, "service deregistered");
                }
                Step::DropCheck(id) => self.drop_check(&id),
                Step::Reloaded { node_meta, said } => {
                    self.settings.node_meta = node_meta;
                    self.state.set_node(node_info(&self.settings));
                    self.from_files = *said;
                }
            }
        }
    }

    pub(super) fn set_addresses(&mut self, advertise: String, tagged: BTreeMap<String, String>) {
        (self.settings.advertise, self.settings.tagged_addresses) = (advertise, tagged);
        self.state.set_node(node_info(&self.settings));
    }

    fn put_service(&mut self, row: NodeService, token: Token, source: Source, now: Moment) {
        let id = row.id.clone();
        let known = self.state.service(&id).is_some();
        self.state.put_service(row, token, source);
        self.touch(&id);
        let (adopted, orphans) = self.orphans.drain(..).partition(|kept: &KeptCheck| kept.check.service_id == id);
        self.orphans = orphans;
        for kept in adopted {
            self.restore_check(kept, now);
        }
        if !known {
            info!(service = %id, "service registered");
        }
    }

    /// Starts a kept check as critical: its initial status says nothing of its service now.
    fn restore_check(&mut self, kept: KeptCheck, now: Moment) {
        if self.state.check(&kept.check.check_id).is_some() {
            return;
        }
        let KeptCheck { check: mut row, definition: check, token } = kept;
        row.node.clone_from(&self.settings.node_name);
        (row.status, row.output) = (CheckStatus::Critical, String::new());
        self.start_check(NewCheck { row, check, token }, Source::Api, now);
    }

    /// Registers a check and has it run. A TTL check takes up its state from before a restart.
    fn start_check(&mut self, new: NewCheck, source: Source, now: Moment) {
        let (id, token, check) = (new.row.check_id.clone(), new.token.clone(), new.check.clone());
        let fresh = self.state.check(&id).is_none();
        let ttl = check.as_ref().filter(|_| new.row.kind == "ttl");
        let ttl = ttl.map(|check| (check.ttl, self.running.settings().output_max(check)));
        let forbidden = self.settings.script_checks.allow(check.as_ref(), source).err();
        self.touch(&new.row.service_id);
        // A kept check of this id is replaced.
        self.orphans.retain(|kept| kept.check.check_id != id);
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
            // It was allowed when it was kept. Without it, its service would look well.
            warn!(check = %id, %fault, "a kept check is not run");
            self.set_status(&id, CheckStatus::Critical, &fault.message, now.at, 0.0);
        }
        let Some((ttl, max_output)) = ttl else {
            self.deadlines.stop(&id);
            return;
        };
        self.deadlines.start(&id, ttl, max_output, now.at);
        let kept = self.recalled.remove(&id).filter(|_| fresh);
        if let Some(kept) = kept.filter(|kept| kept.expires > now.unix) {
            self.deadlines.recall(&id, &kept.output);
            self.set_status(&id, kept.status, &kept.output, now.at, 0.0);
        }
    }

    /// Removes a check that may be there.
    fn drop_check(&mut self, id: &str) {
        self.deadlines.stop(id);
        self.running.stop(id);
        self.recalled.remove(id);
        self.unsaved.remove(id);
        self.orphans.retain(|kept| kept.check.check_id != id);
        if let Some(row) = self.state.check(id).map(|entry| Arc::clone(&entry.row)) {
            self.touch(&row.service_id);
            if row.kind == maintenance::KIND {
                info!(check = %id, "leaving maintenance");
            }
        }
        self.state.remove_check(id);
    }
}

/// This agent's own fields in the catalog.
pub(super) fn node_info(settings: &LocalSettings) -> NodeInfo {
    let mut meta = settings.node_meta.clone();
    meta.entry(SEGMENT_META.to_owned()).or_default();
    meta.insert(VERSION_META.to_owned(), CONSUL_VERSION.to_owned());
    NodeInfo {
        id: settings.node_id.to_string(),
        name: settings.node_name.clone(),
        datacenter: settings.datacenter.clone(),
        address: settings.advertise.clone(),
        tagged_addresses: settings.tagged_addresses.clone(),
        meta,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::step::Plan;
    use super::*;
    use crate::model::check::CheckType;
    use crate::model::definition::ServiceDefinition;
    use crate::model::fault::{Fault, FaultKind};
    use std::path::Path;
    use tempfile::TempDir;

    const TTL: Duration = Duration::from_secs(10);

    type Done = Result<(), Fault>;

    /// Changes as [`super::super::Local`] makes them, at once.
    impl Registry {
        /// Carries out `plan`, on the disk first.
        pub(in super::super) fn make(&mut self, plan: Plan, now: Moment) -> Result<(), Fault> {
            let steps = plan?;
            if let Some(disk) = &self.disk {
                disk.carry_out(&steps).expect("the disk is well");
            }
            self.carry_out(steps, now);
            self.save_words();
            Ok(())
        }

        pub(in super::super) fn save_words(&mut self) {
            let words = std::mem::take(&mut self.unsaved);
            let disk = self.disk.iter();
            disk.flat_map(|disk| words.values().map(|word| disk.keep_word(word))).for_each(|kept| kept.expect("kept"));
        }

        pub(crate) fn add_service(&mut self, service: ServiceDefinition, source: Source, replace: bool, now: Moment) -> Done {
            self.make(self.plan_service(service, source, replace), now)
        }

        pub(in super::super) fn remove_service(&mut self, id: &str) -> Result<(), Fault> {
            self.make(self.plan_removal(id), start())
        }

        pub(in super::super) fn add_check(&mut self, check: CheckType, source: Source, now: Moment) -> Result<(), Fault> {
            self.make(self.plan_check(check, source), now)
        }

        pub(in super::super) fn remove_check(&mut self, id: &str) -> Result<(), Fault> {
            self.make(self.plan_check_removal(id), start())
        }

        pub(crate) fn reload(&mut self, services: Vec<ServiceDefinition>, checks: Vec<CheckType>, now: Moment) -> Done {
            self.make(self.plan_reload(services, checks, BTreeMap::new()), now)
        }

        pub(in super::super) fn reap(&mut self, now: Instant) {
            self.make(self.plan_reaping(now), start()).expect("good");
        }
    }

    pub(in super::super) fn settings(data_dir: Option<&Path>) -> LocalSettings {
        LocalSettings {
            node_name: "n1".into(),
            datacenter: "dc1".into(),
            advertise: "10.0.0.1".into(),
            data_dir: data_dir.map(Path::to_path_buf),
            check_update_interval: Duration::from_secs(300),
            check_output_max_size: 32,
            ..LocalSettings::default()
        }
    }

    /// A registry without a disk.
    pub(in super::super) fn open() -> Registry {
        Registry::open(settings(None), start()).expect("opens")
    }

    /// A registry over the data directory `home`.
    pub(in super::super) fn open_in(home: &TempDir, now: Moment) -> Registry {
        Registry::open(settings(Some(home.path())), now).expect("opens")
    }

    /// An empty data directory, the time, and a registry over that directory.
    pub(in super::super) fn kept() -> (TempDir, Moment, Registry) {
        let (home, now) = (tempfile::tempdir().expect("a directory"), start());
        let registry = open_in(&home, now);
        (home, now, registry)
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
        let (home, now, mut registry) = kept();
        registry.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        registry.add_check(CheckType { name: "disk".into(), ..ttl() }, Source::Api, now).expect("good");
        registry.update_ttl("service:web1", CheckStatus::Passing, "all well", now, 0.0).expect("good");
        registry.save_words();
        registry.make(registry.plan_node_maintenance(true, "", &Token::default()), now).expect("good");

        let soon = after(now, TTL / 2);
        let mut again = open_in(&home, soon);
        assert_eq!(ids(&again), ["_node_maintenance", "disk", "service:web1"]);
        assert_eq!(status(&again, "service:web1"), (CheckStatus::Passing, "all well".to_owned()));
        again.expire(after(soon, TTL).at);
        let expired = "TTL expired (last output before timeout follows): all well";
        assert_eq!(status(&again, "service:web1"), (CheckStatus::Critical, expired.to_owned()));

        let late = open_in(&home, after(now, TTL));
        assert_eq!(status(&late, "service:web1").0, CheckStatus::Critical, "its word has expired meanwhile");
    }

    #[test]
    fn a_kept_check_is_critical_until_it_has_run_and_of_this_node_whatever_it_was_registered_with() {
        let (home, now, mut registry) = kept();
        let well = |id: &str, check: CheckType| CheckType { check_id: id.into(), status: "passing".into(), ..check };
        let probe = CheckType { tcp: "h:1".into(), interval: TTL, ..CheckType::default() };
        registry.add_service(web(vec![well("tcp", probe), well("ttl", ttl())]), Source::Api, false, now).expect("good");
        assert_eq!((status(&registry, "tcp").0, status(&registry, "ttl").0), (CheckStatus::Passing, CheckStatus::Passing));
        let renamed = LocalSettings { node_name: "n2".into(), ..settings(Some(home.path())) };
        let again = Registry::open(renamed, now).expect("opens");
        assert_eq!((status(&again, "tcp").0, status(&again, "ttl").0), (CheckStatus::Critical, CheckStatus::Critical));
        assert_eq!(again.state.check("tcp").expect("kept").row.node, "n2");
    }

    #[test]
    fn what_was_removed_stays_removed_after_a_restart() {
        let (home, now, mut registry) = kept();
        registry.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        registry.update_ttl("service:web1", CheckStatus::Passing, "", now, 0.0).expect("good");
        registry.remove_service("web1").expect("known");
        let mut again = open_in(&home, now);
        assert!(ids(&again).is_empty() && again.state.registered().services.is_empty());
        again.add_service(web(vec![ttl()]), Source::Api, false, now).expect("good");
        assert_eq!(status(&again, "service:web1").0, CheckStatus::Critical, "its old word is forgotten");
    }

    #[test]
    fn registering_again_keeps_what_a_check_says_and_the_checks_not_named_unless_asked() {
        let (now, mut registry) = (start(), open());
        let named = |id: &str| CheckType { check_id: id.into(), ..ttl() };
        registry.add_service(web(vec![named("a"), named("b")]), Source::Api, false, now).expect("good");
        registry.update_ttl("a", CheckStatus::Passing, "well", now, 0.0).expect("good");
        registry.make(registry.plan_service_maintenance("web1", true, "", &Token::default()), now).expect("known");
        registry.add_service(web(vec![named("a")]), Source::Api, false, now).expect("good");
        assert_eq!(ids(&registry), ["_service_maintenance:web1", "a", "b"]);
        assert_eq!(status(&registry, "a"), (CheckStatus::Passing, "well".to_owned()));
        registry.add_service(web(vec![named("a")]), Source::Api, true, now).expect("good");
        assert_eq!(ids(&registry), ["_service_maintenance:web1", "a"]);
    }

    #[test]
    fn mistakes_get_consuls_texts() {
        let (now, mut registry) = (start(), open());
        let probe = CheckType { name: "probe".into(), tcp: "h:1".into(), interval: TTL, ..CheckType::default() };
        registry.add_check(probe, Source::Api, now).expect("good");
        let mut update = |id: &str| registry.update_ttl(id, CheckStatus::Passing, "", now, 0.0).expect_err("refused");
        assert_eq!(update("probe"), Fault::failed("CheckID \"probe\" does not have associated TTL"));
        assert_eq!(update("x").kind, FaultKind::NotFound);
        assert!(update("x").message.starts_with("Unknown check ID \"x\""));
        let orphan = CheckType { name: "c".into(), service_id: "x".into(), ..ttl() };
        let fault = registry.add_check(orphan, Source::Api, now).expect_err("refused");
        assert_eq!(fault, Fault::failed("ServiceID \"x\" does not exist"));
        let fault = registry.plan_service_maintenance("x", true, "", &Token::default()).expect_err("refused");
        assert_eq!(fault, Fault::not_found("No service registered with ID \"x\""));
        assert!(registry.remove_service("x").expect_err("refused").message.starts_with("Unknown service ID \"x\""));
    }

    #[test]
    fn checks_kept_for_a_service_of_a_file_wait_for_it() {
        let (home, now, mut registry) = kept();
        registry.add_service(web(Vec::new()), Source::File, false, now).expect("good");
        let check = CheckType { name: "c".into(), service_id: "web1".into(), ..ttl() };
        registry.add_check(check, Source::Api, now).expect("good");
        let mut again = open_in(&home, now);
        assert!(ids(&again).is_empty());
        again.add_service(web(Vec::new()), Source::File, false, now).expect("good");
        assert_eq!(ids(&again), ["c"]);
    }

    #[test]
    fn output_is_bounded_and_the_smaller_bound_holds() {
        let (now, mut registry) = (start(), open());
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
