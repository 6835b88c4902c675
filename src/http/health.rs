//! `/v1/health`: checks, and instances with their checks. Called from the table; only reads.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::options;
use crate::model::operation::{CheckRef, HealthRead, Lookup, Read};
use std::sync::Arc;

/// `GET health/node/:node`
pub(super) fn node(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let node = call.named("Missing node name");
    ask::read(api, &call, node.map(|node| Read::Health(HealthRead::Node { node })))
}

/// `GET health/checks/:service`
pub(super) fn checks(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let service = call.named("Missing service name");
    ask::read(api, &call, service.map(|service| Read::Health(HealthRead::Checks { service })))
}

/// `GET health/state/:state`. Some clients send the state in capitals.
pub(super) fn state(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let state = call.named("Missing check state");
    ask::read(api, &call, state.map(|state| Read::Health(HealthRead::State { state: state.to_ascii_lowercase() })))
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

/// `GET health/votes/:check_id`, of the node that `node` names; else of this agent where it has such a
/// check, else of any.
pub(super) fn votes(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let asked = call.parameters.filled("node").map(str::to_owned);
    let votes = call.named("Missing check ID").map(|check_id| {
        let here = || {
            let own_dc = options::datacenter(&call.parameters).is_none_or(|dc| dc.eq_ignore_ascii_case(&api.settings.datacenter));
            let is_ours = own_dc && api.local.registered().checks.contains_key(&check_id);
            is_ours.then(|| api.settings.node_name.clone())
        };
        let node = asked.or_else(here);
        Read::Health(HealthRead::Votes { of: Box::new(CheckRef { check_id, node }) })
    });
    ask::read(api, &call, votes)
}

fn instances(api: &Arc<HttpParts>, mut call: Call, lookup: Lookup) -> Pending {
    let name = call.named("Missing service name");
    ask::read(api, &call, name.map(|name| Read::Health(HealthRead::Service { name, lookup })))
}
