//! The writes of `/v1/operator`: the servers of a datacenter as Raft and autopilot see them.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::body;
use super::error::ErrorResponse;
use super::options;
use super::parameters::{Parameters, parse_uint};
use super::respond::Reply;
use crate::model::command::Effect;
use crate::model::operation::{OperatorWrite, PeerRef, Write};
use std::sync::Arc;

/// `PUT operator/autopilot/configuration?cas=`: whole; absent fields have the value of a new cluster.
pub(super) fn set_autopilot_configuration(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let (dc, principal, only_at) = (options::datacenter(&call.parameters), call.principal(), cas(&call.parameters)?);
        let config = body::decode_as(call.body, "Bad request: Error parsing autopilot config").await?;
        let write = Write::Operator(OperatorWrite::SetAutopilot { config: Box::new(config), only_at });
        let is_set = ask::write(&api, dc, principal, write).await?.effect != Effect::Set(false);
        Ok(Reply::json(if is_set { "true" } else { "false" }))
    })
}

/// The index in `?cas=`, if it is there.
fn cas(parameters: &Parameters) -> Result<Option<u64>, ErrorResponse> {
    let Some(text) = parameters.first("cas") else { return Ok(None) };
    let refused = |error| ErrorResponse::bad_request(format!("Bad request: Error parsing cas value: {error}"));
    parse_uint(text).map(Some).map_err(refused)
}

/// `DELETE operator/raft/peer?id=|address=`
pub(super) fn remove_peer(api: &Arc<HttpParts>, call: Call) -> Pending {
    let write = peer(&call.parameters).map(|peer| Write::Operator(OperatorWrite::RemovePeer(peer)));
    ask::change(api, &call, write, Reply::empty())
}

/// `POST operator/raft/transfer-leader`
pub(super) fn transfer_leader(api: &Arc<HttpParts>, call: Call) -> Pending {
    let to = call.parameters.filled("id").map(str::parse).transpose();
    let write = to.map(|to| Write::Operator(OperatorWrite::TransferLeader(to)));
    let write = write.map_err(|error| ErrorResponse::bad_request(format!("Bad request: Invalid ?id: {error}")));
    ask::change(api, &call, write, Reply::json(r#"{"Success":true}"#))
}

/// The server that the parameters name.
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
