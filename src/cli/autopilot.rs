//! `kontor operator autopilot get-config` and `set-config`: how servers are treated.

use super::Done;
use super::client::{Call, Client};
use crate::model::autopilot::AutopilotConfig;
use crate::model::duration;
use clap::Args;
use std::fmt::Write;
use std::time::Duration;

const PATH: &str = "/v1/operator/autopilot/configuration";

/// The changes; other settings stay.
#[derive(Args, Debug)]
pub(super) struct SetConfigArgs {
    /// Remove servers that have failed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cleanup_dead_servers: Option<bool>,
    /// Longest silence of a healthy server
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    last_contact_threshold: Option<Duration>,
    /// Longest lag of a healthy server, in log entries
    #[arg(long, value_name = "COUNT")]
    max_trailing_logs: Option<u64>,
    /// Voters below which no dead one is removed
    #[arg(long, value_name = "COUNT")]
    min_quorum: Option<u32>,
    /// How long a new server must be healthy before it votes
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    server_stabilization_time: Option<Duration>,
    /// Of Consul Enterprise: kept, and without effect
    #[arg(long, value_name = "TAG")]
    redundancy_zone_tag: Option<String>,
    /// Of Consul Enterprise: kept, and without effect
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_upgrade_migration: Option<bool>,
    /// Of Consul Enterprise: kept, and without effect
    #[arg(long, value_name = "TAG")]
    upgrade_version_tag: Option<String>,
}

impl SetConfigArgs {
    /// Reads the configuration, and writes it back changed unless another write was faster.
    pub(super) async fn run(self, client: &Client) -> Result<Done, String> {
        let config = self.over(get(client).await?);
        let body = serde_json::to_vec(&config).map_err(|error| error.to_string())?;
        let call = Call::put(PATH).param("cas", &config.modify_index.to_string()).body(body);
        match client.json(client.routed(call)).await.map_err(|error| format!("Error setting Autopilot configuration: {error}"))? {
            true => Ok(Done::line("Configuration updated!")),
            false => Err("Configuration could not be atomically updated, please try again".to_owned()),
        }
    }

    fn over(self, config: AutopilotConfig) -> AutopilotConfig {
        AutopilotConfig {
            cleanup_dead_servers: self.cleanup_dead_servers.unwrap_or(config.cleanup_dead_servers),
            last_contact_threshold: self.last_contact_threshold.unwrap_or(config.last_contact_threshold),
            max_trailing_logs: self.max_trailing_logs.unwrap_or(config.max_trailing_logs),
            min_quorum: self.min_quorum.unwrap_or(config.min_quorum),
            server_stabilization_time: self.server_stabilization_time.unwrap_or(config.server_stabilization_time),
            redundancy_zone_tag: self.redundancy_zone_tag.unwrap_or(config.redundancy_zone_tag),
            disable_upgrade_migration: self.disable_upgrade_migration.unwrap_or(config.disable_upgrade_migration),
            upgrade_version_tag: self.upgrade_version_tag.unwrap_or(config.upgrade_version_tag),
            ..config
        }
    }
}

pub(super) async fn get(client: &Client) -> Result<AutopilotConfig, String> {
    let got = client.json(client.routed(Call::get(PATH))).await;
    got.map_err(|error| format!("Error querying Autopilot configuration: {error}"))
}

/// The settings as Consul prints them, one a line.
pub(super) fn block(config: &AutopilotConfig) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = writeln!(text, "CleanupDeadServers = {}", config.cleanup_dead_servers);
    _ = writeln!(text, "LastContactThreshold = {}", duration::format(config.last_contact_threshold));
    _ = writeln!(text, "MaxTrailingLogs = {}", config.max_trailing_logs);
    _ = writeln!(text, "MinQuorum = {}", config.min_quorum);
    _ = writeln!(text, "ServerStabilizationTime = {}", duration::format(config.server_stabilization_time));
    _ = writeln!(text, "RedundancyZoneTag = {:?}", config.redundancy_zone_tag);
    _ = writeln!(text, "DisableUpgradeMigration = {}", config.disable_upgrade_migration);
    _ = writeln!(text, "UpgradeVersionTag = {:?}", config.upgrade_version_tag);
    text
}
