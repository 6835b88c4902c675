//! `/v1/operator`: the servers of a datacenter as Raft and autopilot see them. Called from the table.

use super::HttpParts;
use super::ask::{self, Call, Pending, pending, ready};
use super::error::Refusal;
use super::options;
use super::parameters::Parameters;
use super::respond::Reply;
use crate::model::query::Read;
use crate::model::request::{PeerRef, Write};
use std::sync::Arc;

/// `GET operator/raft/configuration`
pub(super) fn raft_configuration(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::RaftConfiguration))
}

/// `GET operator/autopilot/health`
pub(super) fn autopilot_health(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::AutopilotHealth))
}

/// `GET operator/autopilot/state`
pub(super) fn autopilot_state(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::AutopilotState))
}

/// `DELETE operator/raft/peer?id=|address=`
pub(super) fn remove_peer(api: &Arc<HttpParts>, call: Call) -> Pending {
    match peer(&call.parameters) {
        Ok(peer) => change(api, &call, Write::RemovePeer(peer), Reply::empty()),
        Err(refusal) => ready(Err(refusal)),
    }
}

/// `POST operator/raft/transfer-leader`
pub(super) fn transfer_leader(api: &Arc<HttpParts>, call: Call) -> Pending {
    let to = call.parameters.filled("id").map(str::parse).transpose();
    match to {
        Ok(to) => change(api, &call, Write::TransferLeader(to), Reply::json(r#"{"Success":true}"#)),
        Err(error) => ready(Err(Refusal::bad_request(format!("Bad request: Invalid ?id: {error}")))),
    }
}

fn change(api: &Arc<HttpParts>, call: &Call, write: Write, done: Reply) -> Pending {
    let api = Arc::clone(api);
    let (dc, token) = (options::datacenter(&call.parameters), call.token());
    pending(async move {
        ask::write(&api, dc, token, write).await?;
        Ok(done)
    })
}

/// Which server is meant.
fn peer(parameters: &Parameters) -> Result<PeerRef, Refusal> {
    match (parameters.filled("id"), parameters.filled("address")) {
        (Some(id), None) => Ok(PeerRef::Id(id.to_owned())),
        (None, Some(address)) => Ok(PeerRef::Address(address.to_owned())),
        (None, None) => Err(Refusal::bad_request(
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        )),
        (Some(_), Some(_)) => Err(Refusal::bad_request("Bad request: Must specify only one of ?id or ?address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_named_in_exactly_one_way() {
        let named = |query| peer(&Parameters::parse(Some(query)).unwrap());
        assert_eq!(named("id=x"), Ok(PeerRef::Id("x".to_owned())));
        assert_eq!(named("address=10.0.0.1:8300&id="), Ok(PeerRef::Address("10.0.0.1:8300".to_owned())));
        assert!(named("").is_err() && named("id=x&address=y").is_err());
    }
}
