//! `agent/self`, `agent/version`, `agent/reload`: this agent's identity and configuration.

use super::members::RosterEntry;
use crate::defaults::{CONSUL_BUILD_DATE, CONSUL_VERSION};
use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, done, ready};
use crate::http::error::ErrorResponse;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET agent/self`
pub(in crate::http) fn identity(api: &Arc<HttpParts>, _call: Call) -> Pending {
    let roster = api.lan.roster();
    let member = roster.members.get(&api.settings.node_name).map(RosterEntry::of);
    ready(super::json(&json!({
        "Config": api.control.config_summary(),
        "DebugConfig": api.control.debug_config(),
        "Coord": api.lan.coordinate(),
        "Member": member,
        "Stats": api.control.stats(),
        "Meta": api.control.node_meta(),
        // No proxy is served; tools expect the list to be there.
        "xDS": {"SupportedProxies": {}},
    })))
}

/// `GET agent/version`
pub(in crate::http) fn version(api: &Arc<HttpParts>, _call: Call) -> Pending {
    let summary = api.control.config_summary();
    let text = |name: &str| summary.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let version = Some(text("Version")).filter(|version| !version.is_empty());
    ready(super::json(&json!({
        "SHA": text("Revision"),
        "BuildDate": CONSUL_BUILD_DATE,
        "HumanVersion": version.as_deref().unwrap_or(CONSUL_VERSION),
        "FIPS": "",
    })))
}

/// `PUT agent/reload`
pub(in crate::http) fn reload(api: &Arc<HttpParts>, _call: Call) -> Pending {
    // A begun reload is finished, even if the client hangs up.
    let reloading = tokio::spawn(api.control.reload());
    done(async move {
        let read = reloading.await.map_err(|error| ErrorResponse::failed(format!("reloading failed: {error}")))?;
        read.map_err(ErrorResponse::failed)
    })
}
