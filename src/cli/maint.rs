//! `kontor maint`: take the node or a service out of use, for maintenance.

use super::Done;
use super::client::{Call, Client};
use crate::model::check::{NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Take the agent's node, or one of its services, out of use and back
///
/// Without -enable and -disable, lists what is out of use. What is out of use has a critical check,
/// so that health queries pass it over.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor maint -enable -reason='disk is replaced'\n  kontor maint -disable")]
pub(super) struct MaintArgs {
    /// Take it out of use
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    enable: Option<bool>,
    /// Put it back into use
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    disable: Option<bool>,
    /// Why, for those who look
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Id of the service; the whole node when not given
    #[arg(long, value_name = "ID")]
    service: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    node: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    notes: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
}

impl MaintArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let (enable, disable) = (self.enable.unwrap_or(false), self.disable.unwrap_or(false));
        match (enable, disable) {
            (true, true) => return Err("Only one of -enable or -disable may be provided".to_owned()),
            (false, _) if self.reason.is_some() => return Err("-reason goes with -enable".to_owned()),
            (false, false) if self.service.is_some() => return Err("-service goes with -enable or -disable".to_owned()),
            (false, false) => {
                let checks: BTreeMap<String, Check> = client.json(Call::get("/v1/agent/checks")).await?;
                return Ok(Done::text(listing(checks.values())));
            }
            (true, false) | (false, true) => {}
        }
        let call = match &self.service {
            Some(id) => Call::put("/v1/agent/service/maintenance").segment(id),
            None => Call::put("/v1/agent/maintenance"),
        };
        let enabled = if enable { "true" } else { "false" };
        client.send(call.param("enable", enabled).maybe("reason", self.reason.as_deref())).await?;
        let now = if enable { "enabled" } else { "disabled" };
        Ok(Done::line(match &self.service {
            Some(id) => format!("Service maintenance is now {now} for {id:?}"),
            None => format!("Node maintenance is now {now}"),
        }))
    }
}

fn listing<'a>(checks: impl Iterator<Item = &'a Check>) -> String {
    let mut text = String::new();
    for check in checks {
        if check.check_id == NODE_MAINTENANCE {
            text.push_str(&format!("Node:\n  Name:   {}\n  Reason: {}\n\n", check.node, check.notes));
        } else if check.check_id.starts_with(SERVICE_MAINTENANCE_PREFIX) {
            text.push_str(&format!("Service:\n  ID:     {}\n  Reason: {}\n\n", check.service_id, check.notes));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Check, listing};

    #[test]
    fn only_maintenance_is_listed() {
        let check = |id: &str, service: &str| Check {
            node: "n1".into(),
            check_id: id.into(),
            notes: "why".into(),
            service_id: service.into(),
        };
        let checks = [check("_node_maintenance", ""), check("_service_maintenance:web", "web"), check("disk", "")];
        assert_eq!(listing(checks.iter()), "Node:\n  Name:   n1\n  Reason: why\n\nService:\n  ID:     web\n  Reason: why\n\n");
    }
}
