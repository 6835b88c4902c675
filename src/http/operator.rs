//! `/v1/operator`: the servers of a datacenter as Raft and autopilot see them. Called from the table.

use super::HttpParts;
use super::ask::{self, Call, Pending, pending, ready};
use super::body;
use super::error::ErrorResponse;
use super::options;
use super::parameters::Parameters;
use super::respond::Reply;
use crate::model::command::Effect;
use crate::model::operation::{OperatorRead, OperatorWrite, PeerRef, Read, Write};
use std::sync::Arc;

/// `GET operator/raft/configuration`
pub(super) fn raft_configuration(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Operator(OperatorRead::RaftConfiguration)))
}

/// `GET operator/autopilot/configuration`
pub(super) fn autopilot_configuration(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Operator(OperatorRead::AutopilotConfiguration)))
}

/// `PUT operator/autopilot/configuration?cas=`: whole; what the body leaves out has the value of a new cluster.
pub(super) fn set_autopilot_configuration(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    pending(async move {
        let (dc, principal, only_at) = (options::datacenter(&call.parameters), call.principal(), cas(&call.parameters)?);
        let config = body::decode_as(call.body, "Bad request: Error parsing autopilot config").await?;
        let write = Write::Operator(OperatorWrite::SetAutopilot { config: Box::new(config), only_at });
        let is_set = ask::write(&api, dc, principal, write).await?.effect != Effect::Set(false);
        Ok(Reply::json(if is_set { "true" } else { "false" }))
    })
}

/// The index that `?cas=` names, if it is there.
fn cas(parameters: &Parameters) -> Result<Option<u64>, ErrorResponse> {
    let Some(text) = parameters.first("cas") else { return Ok(None) };
    let unreadable = |_| format!("Bad request: Error parsing cas value: strconv.ParseUint: parsing {text:?}: invalid syntax");
    text.parse().map(Some).map_err(|error| ErrorResponse::bad_request(unreadable(error)))
}

/// `GET operator/autopilot/health`
pub(super) fn autopilot_health(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Operator(OperatorRead::AutopilotHealth)))
}

/// `GET operator/autopilot/state`
pub(super) fn autopilot_state(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Operator(OperatorRead::AutopilotState)))
}

/// `DELETE operator/raft/peer?id=|address=`
pub(super) fn remove_peer(api: &Arc<HttpParts>, call: Call) -> Pending {
    match peer(&call.parameters) {
        Ok(peer) => change(api, &call, Write::Operator(OperatorWrite::RemovePeer(peer)), Reply::empty()),
        Err(refusal) => ready(Err(refusal)),
    }
}

/// `POST operator/raft/transfer-leader`
pub(super) fn transfer_leader(api: &Arc<HttpParts>, call: Call) -> Pending {
    let to = call.parameters.filled("id").map(str::parse).transpose();
    match to {
        Ok(to) => change(api, &call, Write::Operator(OperatorWrite::TransferLeader(to)), Reply::json(r#"{"Success":true}"#)),
        Err(error) => ready(Err(ErrorResponse::bad_request(format!("Bad request: Invalid ?id: {error}")))),
    }
}

fn change(api: &Arc<HttpParts>, call: &Call, write: Write, done: Reply) -> Pending {
    let api = Arc::clone(api);
    let (dc, principal) = (options::datacenter(&call.parameters), call.principal());
    pending(async move {
        ask::write(&api, dc, principal, write).await?;
        Ok(done)
    })
}

/// Which server is meant.
fn peer(parameters: &Parameters) -> Result<PeerRef, ErrorResponse> {
    match (parameters.filled("id"), parameters.filled("address")) {
        (Some(id), None) => Ok(PeerRef::Id(id.to_owned())),
        (None, Some(address)) => Ok(PeerRef::Address(address.to_owned())),
        (None, None) => Err(ErrorResponse::bad_request(
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        )),
        (Some(_), Some(_)) => Err(ErrorResponse::bad_request("Bad request: Must specify only one of ?id or ?address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cas_is_an_index_or_left_out() {
        let named = |query| cas(&Parameters::parse(Some(query)).unwrap());
        assert_eq!((named("cas=7"), named("")), (Ok(Some(7)), Ok(None)));
        let text = r#"Bad request: Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax"#;
        assert_eq!(named("cas=x"), Err(ErrorResponse::bad_request(text)));
    }

    #[test]
    fn a_peer_is_named_in_exactly_one_way() {
        let named = |query| peer(&Parameters::parse(Some(query)).unwrap());
        assert_eq!(named("id=x"), Ok(PeerRef::Id("x".to_owned())));
        assert_eq!(named("address=10.0.0.1:8300&id="), Ok(PeerRef::Address("10.0.0.1:8300".to_owned())));
        assert!(named("").is_err() && named("id=x&address=y").is_err());
    }
}
