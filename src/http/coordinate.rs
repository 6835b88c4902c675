//! `/v1/coordinate`: the places of nodes in the space of round-trip times.

use super::HttpParts;
use super::ask::{self, Call, Pending, done, ready};
use super::body;
use super::error::ErrorResponse;
use super::options;
use super::respond::Reply;
use crate::model::coordinate::{Coordinate, DIMENSIONS, NodeCoordinate};
use crate::model::operation::{CoordinateRead, CoordinateWrite, Read, Write};
use hyper::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

/// The body of `coordinate/update`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Update {
    datacenter: String,
    node: String,
    segment: String,
    coord: Coordinate,
}

/// `GET coordinate/nodes?segment`
pub(super) fn nodes(api: &Arc<HttpParts>, call: Call) -> Pending {
    if names_a_segment(&call) {
        return ready(Ok(Reply::json("[]")));
    }
    ask::read(api, &call, Ok(Read::Coordinate(CoordinateRead::Nodes)))
}

/// `GET coordinate/node/:node?segment`
pub(super) fn node(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let node = std::mem::take(&mut call.argument);
    if node.is_empty() || names_a_segment(&call) {
        return ready(Ok(Reply::empty().with_status(StatusCode::NOT_FOUND)));
    }
    ask::read(api, &call, Ok(Read::Coordinate(CoordinateRead::Node { node })))
}

/// True for a request of one network segment, which has no nodes.
fn names_a_segment(call: &Call) -> bool {
    call.parameters.filled("segment").is_some()
}

/// `PUT coordinate/update?dc`
pub(super) fn update(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    done(async move {
        let (principal, asked) = (call.principal(), options::datacenter(&call.parameters));
        let update: Update = body::decode(call.body).await?;
        // `?dc` counts for more than the body here, as in Consul.
        let dc = asked.or_else(|| (!update.datacenter.is_empty()).then(|| update.datacenter.clone()));
        let coordinate = checked(update)?;
        ask::write(&api, dc, principal, Write::Coordinate(CoordinateWrite::Update(coordinate))).await.map(drop)
    })
}

/// Refuses a point outside the space: every distance to its node would be nonsense.
fn checked(update: Update) -> Result<NodeCoordinate, ErrorResponse> {
    if !update.segment.is_empty() {
        return Err(ErrorResponse::bad_request(format!("Network segments are not offered, got {:?}", update.segment)));
    }
    if update.coord.vec.len() != DIMENSIONS {
        return Err(ErrorResponse::failed("incompatible coordinate"));
    }
    if !update.coord.is_valid() {
        return Err(ErrorResponse::failed("invalid coordinate"));
    }
    Ok(NodeCoordinate { node: update.node, segment: update.segment, coord: update.coord })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::json;

    #[test]
    fn only_points_of_our_space_are_taken() {
        let point = |text: &str| checked(json::decode(text.as_bytes()).unwrap());
        let eight = r#"{"Node":"n","coord":{"Vec":[0,0,0,0,0,0,0,0.5],"Error":1,"Height":0.1}}"#;
        assert_eq!(point(eight).unwrap().coord.vec[7], 0.5);
        assert_eq!(point(r#"{"Node":"n","Coord":{"Vec":[1]}}"#), Err(ErrorResponse::failed("incompatible coordinate")));
        assert!(point(r#"{"Node":"n","Segment":"alpha"}"#).is_err());
    }
}
