//! Rules for registrations below the newest format level: servers of older builds make the same rows of a log entry
//! until the level rises.

use crate::model::check::HealthCheck;
use crate::model::command::Register;
use crate::model::fault::Fault;
use crate::model::level;
use crate::model::rules;
use crate::model::service::{NodeService, Weights};
use crate::store::validate;
use crate::store::view::View;

/// Refuses a registration that the level of `view` has no place for.
pub(super) fn check(view: &View, request: &Register) -> Result<(), Fault> {
    if view.format.is_of(level::COMMAND_INDEXES) {
        return validate::register(request);
    }
    validate::basics(request)?;
    if view.format.is_of(level::AUTOPILOT) {
        return validate::weights(request);
    }
    if request.skip_node_update && request.address.is_empty() && view.catalog.node(&request.node).is_none() {
        return Err(Fault::failed("Missing node registration"));
    }
    let meta = |meta, reserved, of: &str| match meta {
        Some(meta) => rules::meta(meta, reserved).map_err(|why| Fault::failed(format!("Invalid {of} Meta: {why}"))),
        None => Ok(()),
    };
    // Agents put `consul-network-segment` into the metadata of their node, and gateways have marks of their own.
    meta(request.node_meta.as_ref(), true, "Node")?;
    request.service.as_ref().map_or(Ok(()), |of| meta(of.meta.as_ref(), !of.kind.is_empty(), "Service"))
}

/// Gives the default weights to an instance without any: Go's clients send zeroes for that.
pub(super) fn weigh(view: &View, service: &mut NodeService) {
    if view.format.is_of(level::AUTOPILOT) && service.weights == Some(Weights::UNSET) {
        service.weights = None;
    }
    service.weights.get_or_insert_default();
}

/// Gives a check without a type that of its definition. Lower levels lack this, and the fields that came with it.
pub(super) fn complete(view: &View, check: &mut HealthCheck) {
    if view.format.is_of(level::AUTOPILOT) {
        if check.kind.is_empty() {
            check.kind = check.definition.kind().to_owned();
        }
        return;
    }
    check.interval.clear();
    check.timeout.clear();
    check.exposed_port = 0;
    let definition = &mut check.definition;
    (definition.tcp_use_tls, definition.grpc_use_tls, definition.observers) = (false, false, 0);
    definition.os_service.clear();
}
