//! `/v1/federation`: a datacenter is examined, removed, or let in again.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::respond::Reply;
use crate::model::operation::{FederationRead, FederationWrite, Read, Removal, Write};
use std::sync::Arc;

/// `PUT federation/doctor/:dc`
pub(super) fn doctor(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let dc = call.named("Missing datacenter");
    ask::read(api, &call, dc.map(|dc| Read::Federation(FederationRead::Doctor { dc })))
}

/// `PUT federation/remove/:dc`
pub(super) fn remove(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let dc = call.named("Missing datacenter");
    let write = dc.map(|dc| Write::Federation(FederationWrite::Remove(Removal { dc, ..Removal::default() })));
    ask::change(api, &call, write, Reply::json("true"))
}

/// `PUT federation/readmit/:dc`
pub(super) fn readmit(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let dc = call.named("Missing datacenter");
    ask::change(api, &call, dc.map(readmission), Reply::json("true"))
}

/// The write that lets `dc` in again.
pub(super) fn readmission(dc: String) -> Write {
    Write::Federation(FederationWrite::Readmit { dc })
}
