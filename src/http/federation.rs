//! `/v1/federation`: the other datacenters as the server asked sees them. Called from the table.
//!
//! A client agent has one of its servers answer. Nothing here is asked of another datacenter.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use crate::model::operation::{FederationRead, Read};
use std::sync::Arc;

/// `GET federation`
pub(super) fn all(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Federation(FederationRead::Report { dc: None })))
}

/// `GET federation/<dc>`
pub(super) fn one(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let dc = call.named("Missing datacenter");
    ask::read(api, &call, dc.map(|dc| Read::Federation(FederationRead::Report { dc: Some(dc) })))
}

/// `PUT federation/doctor/<dc>`
pub(super) fn doctor(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let dc = call.named("Missing datacenter");
    ask::read(api, &call, dc.map(|dc| Read::Federation(FederationRead::Doctor { dc })))
}
