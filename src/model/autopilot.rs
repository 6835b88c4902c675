//! Autopilot's configuration: `autopilot {}` of the files, and later changes by operators.

use super::duration;
use crate::defaults::{AUTOPILOT_LAST_CONTACT, AUTOPILOT_MAX_TRAILING_LOGS, AUTOPILOT_STABILIZATION};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The body of `operator/autopilot/configuration`, and the row of the replicated state. A field that a body leaves out
/// has the value of a new cluster, as in Consul.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotConfig {
    pub cleanup_dead_servers: bool,
    /// The longest silence of a healthy server.
    #[serde(with = "duration::printed")]
    pub last_contact_threshold: Duration,
    /// The longest lag of a healthy server, in log entries.
    pub max_trailing_logs: u64,
    /// Voters below which no dead one is removed.
    pub min_quorum: u32,
    /// The time that a new server must be healthy before it votes.
    #[serde(with = "duration::printed")]
    pub server_stabilization_time: Duration,
    /// Of Consul Enterprise: kept, and without effect.
    pub redundancy_zone_tag: String,
    /// Of Consul Enterprise: kept, and without effect.
    pub disable_upgrade_migration: bool,
    /// Of Consul Enterprise: kept, and without effect.
    pub upgrade_version_tag: String,
    /// Index at which it was first written; 0 before.
    pub create_index: u64,
    /// Index of its last change; 0 before there is one.
    pub modify_index: u64,
}

impl Default for AutopilotConfig {
    fn default() -> AutopilotConfig {
        AutopilotConfig {
            cleanup_dead_servers: true,
            last_contact_threshold: AUTOPILOT_LAST_CONTACT,
            max_trailing_logs: AUTOPILOT_MAX_TRAILING_LOGS,
            min_quorum: 0,
            server_stabilization_time: AUTOPILOT_STABILIZATION,
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
            create_index: 0,
            modify_index: 0,
        }
    }
}
