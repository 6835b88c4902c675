//! `/v1/federation/remove` and `/v1/federation/readmit`: a whole datacenter is let go, or let in
//! again. Called from the table.

use super::HttpParts;
use super::ask::{self, Call, Pending, pending};
use super::options;
use super::respond::Reply;
use crate::model::operation::{FederationWrite, Removal, Write};
use std::sync::Arc;

/// `PUT federation/remove/:dc`
pub(super) fn remove(api: &Arc<HttpParts>, call: Call) -> Pending {
    change(api, call, |dc| Write::Federation(FederationWrite::Remove(Removal { dc, ..Removal::default() })))
}

/// `PUT federation/readmit/:dc`
pub(super) fn readmit(api: &Arc<HttpParts>, call: Call) -> Pending {
    change(api, call, readmission)
}

/// The write that lets `dc` in again.
pub(super) fn readmission(dc: String) -> Write {
    Write::Federation(FederationWrite::Readmit { dc })
}

fn change(api: &Arc<HttpParts>, mut call: Call, write: fn(String) -> Write) -> Pending {
    let (api, principal, dc) = (Arc::clone(api), call.principal(), options::datacenter(&call.parameters));
    let named = call.named("Missing datacenter");
    pending(async move {
        ask::write(&api, dc, principal, write(named?)).await?;
        Ok(Reply::json("true"))
    })
}
