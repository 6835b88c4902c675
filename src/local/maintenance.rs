//! The checks that put a node or a service into maintenance; they are never run.

use super::definition::NewCheck;
use crate::model::check::{CheckStatus, HealthCheck, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};
use crate::model::ids::Token;

pub(super) const KIND: &str = "maintenance";

const NODE_REASON: &str = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
const SERVICE_REASON: &str =
    "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";

/// The id of the check that puts `service` into maintenance.
pub(super) fn service_check_id(service: &str) -> String {
    format!("{SERVICE_MAINTENANCE_PREFIX}{service}")
}

/// The check that puts the node, or the service named, into maintenance.
pub(super) fn check(node: &str, service: Option<&str>, reason: &str, token: &Token) -> NewCheck {
    let (check_id, name, default) = match service {
        None => (NODE_MAINTENANCE.to_owned(), "Node Maintenance Mode", NODE_REASON),
        Some(service) => (service_check_id(service), "Service Maintenance Mode", SERVICE_REASON),
    };
    let row = HealthCheck {
        node: node.to_owned(),
        check_id,
        name: name.to_owned(),
        status: CheckStatus::Critical,
        notes: if reason.is_empty() { default } else { reason }.to_owned(),
        service_id: service.unwrap_or_default().to_owned(),
        kind: KIND.to_owned(),
        ..HealthCheck::default()
    };
    NewCheck { row, check: None, token: token.clone() }
}
