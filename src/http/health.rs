//! `/v1/health`: checks, and instances with their checks. Called from the table; only reads.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use crate::model::query::{Lookup, Read};
use std::sync::Arc;

/// `GET health/node/:node`
pub(super) fn node(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let node = call.named("Missing node name");
    ask::read(api, &call, node.map(|node| Read::HealthNode { node }))
}

/// `GET health/checks/:service`
pub(super) fn checks(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let service = call.named("Missing service name");
    ask::read(api, &call, service.map(|service| Read::HealthChecks { service }))
}

/// `GET health/state/:state`. Some clients send the state in capitals.
pub(super) fn state(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let state = call.named("Missing check state");
    ask::read(api, &call, state.map(|state| Read::HealthState { state: state.to_ascii_lowercase() }))
}

/// `GET health/service/:service`
pub(super) fn service(api: &Arc<HttpParts>, call: Call) -> Pending {
    instances(api, call, Lookup::Plain)
}

/// `GET health/connect/:service`
pub(super) fn connect(api: &Arc<HttpParts>, call: Call) -> Pending {
    instances(api, call, Lookup::Connect)
}

/// `GET health/ingress/:service`
pub(super) fn ingress(api: &Arc<HttpParts>, call: Call) -> Pending {
    instances(api, call, Lookup::Ingress)
}

fn instances(api: &Arc<HttpParts>, mut call: Call, lookup: Lookup) -> Pending {
    let name = call.named("Missing service name");
    ask::read(api, &call, name.map(|name| Read::HealthService { name, lookup }))
}
