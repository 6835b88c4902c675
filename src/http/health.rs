//! `/v1/health/votes`: the votes of a voted check.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::options;
use crate::model::operation::{CheckRef, HealthRead, Read};
use std::sync::Arc;

/// `GET health/votes/:check_id?node`. Without `node` it is the check of this agent if it has one, else of any node.
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
