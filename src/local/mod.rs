//! What was registered with this agent: services, checks, TTLs, maintenance; kept on disk, pushed
//! to the catalog by anti-entropy.
//!
//! `http` and `agent` (configuration files) register here; `anti_entropy` makes the catalog agree
//! through the router. What this room says of its own node is the truth; the catalog follows.

use crate::gossip::Gossip;
use crate::model::check::{CheckStatus, CheckType, HealthCheck};
use crate::model::definition::ServiceDefinition;
use crate::model::fault::Fault;
use crate::model::ids::{NodeId, Token};
use crate::model::service::NodeService;
use crate::router::Router;
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// This agent, as it registers itself.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Node name.
    pub node_name: String,
    /// Node id.
    pub node_id: NodeId,
    /// Datacenter.
    pub datacenter: String,
    /// The address told to others.
    pub advertise: String,
    /// `lan`, `wan`, `lan_ipv4`, … to address.
    pub tagged_addresses: BTreeMap<String, String>,
    /// `node_meta`.
    pub node_meta: BTreeMap<String, String>,
    /// Where registrations are kept; `None` in dev mode.
    pub data_dir: Option<PathBuf>,
    /// How long a change of output alone is deferred.
    pub check_update_interval: Duration,
    /// Bytes of output kept.
    pub check_output_max_size: usize,
    /// Whether output is not kept at all.
    pub discard_check_output: bool,
}

/// Where a registration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A user, over HTTP; kept on disk.
    Api,
    /// A configuration file; read anew at each start and reload.
    File,
}

/// What is registered here, at one moment; immutable.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    /// By service id. `create_index` and `modify_index` are 0.
    pub services: BTreeMap<String, Arc<NodeService>>,
    /// By check id.
    pub checks: BTreeMap<String, Arc<HealthCheck>>,
}

/// This agent's registrations; clones are the same one.
#[derive(Clone, Debug)]
pub struct Local {}

impl Local {
    /// Reads what is kept on disk. Damaged files are reported and set aside, not lost.
    pub fn open(_settings: LocalSettings) -> Result<Local, String> {
        todo!()
    }

    /// Starts the TTL deadlines and the anti-entropy.
    pub fn run(&self, _router: Router, _lan: Gossip, _shutdown: &Shutdown) {
        todo!()
    }

    /// What is registered now.
    pub fn registered(&self) -> Arc<Registered> {
        todo!()
    }

    /// Wakes on every change.
    pub fn changes(&self) -> watch::Receiver<Arc<Registered>> {
        todo!()
    }

    /// Registers a service with its checks, checked as Consul does (the faults are its texts).
    /// `replace_checks` drops earlier checks that are not named anew.
    pub fn add_service(&self, _definition: ServiceDefinition, _source: Source, _replace_checks: bool) -> Result<(), Fault> {
        todo!()
    }

    /// Removes a service with its checks; 404 with Consul's text when unknown.
    pub fn remove_service(&self, _id: &str) -> Result<(), Fault> {
        todo!()
    }

    /// Registers a check by itself.
    pub fn add_check(&self, _check: CheckType, _source: Source) -> Result<(), Fault> {
        todo!()
    }

    /// Removes a check.
    pub fn remove_check(&self, _id: &str) -> Result<(), Fault> {
        todo!()
    }

    /// Sets the state of a TTL check.
    pub fn update_ttl(&self, _check_id: &str, _status: CheckStatus, _output: &str) -> Result<(), Fault> {
        todo!()
    }

    /// Puts a service into or out of maintenance; 404 with Consul's text when unknown.
    pub fn service_maintenance(&self, _id: &str, _enable: bool, _reason: &str, _token: &Token) -> Result<(), Fault> {
        todo!()
    }

    /// Puts the node into or out of maintenance.
    pub fn node_maintenance(&self, _enable: bool, _reason: &str, _token: &Token) -> Result<(), Fault> {
        todo!()
    }

    /// Replaces everything that came from configuration files; statuses of checks stay.
    pub fn reload(
        &self,
        _services: Vec<ServiceDefinition>,
        _checks: Vec<CheckType>,
        _node_meta: BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        todo!()
    }

    /// The address told to others has changed.
    pub fn set_addresses(&self, _advertise: String, _tagged: BTreeMap<String, String>) {
        todo!()
    }

    /// Asks for a full synchronisation soon (a server joined, a leader was elected).
    pub fn sync_soon(&self) {
        todo!()
    }
}
