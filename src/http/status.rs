//! `/v1/status`: the leader and the servers of a datacenter. Called from the table; only reads.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use crate::model::operation::{Read, StatusRead};
use std::sync::Arc;

/// `GET status/leader`
pub(super) fn leader(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Status(StatusRead::Leader)))
}

/// `GET status/peers`
pub(super) fn peers(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Status(StatusRead::Peers)))
}
