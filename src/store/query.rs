//! A query run on one view: the way from `Read` to the JSON and its index.
//!
//! [`super::Reader`] calls it. It only reads the view it is given, and takes no lock.

use super::catalog::{health, listing, observed};
use super::coordinate::reads as coordinate;
use super::select::Select;
use super::view::View;
use super::{Rendered, interest};
use crate::model::answer::Panic;
use crate::model::fault::Fault;
use crate::model::query::{Query, Read};
use bytes::Bytes;

/// Answers `query` from `view`, with all instances where fewer than `panic_threshold` percent pass.
pub(super) fn run(view: &View, query: &Query, panic_threshold: u8) -> Result<Rendered, Fault> {
    let mut select = Select::new(view, &query.options)?;
    let mut panic = None;
    let body = match &query.read {
        Read::CatalogNodes => listing::nodes(view, &select)?,
        Read::CatalogServices => listing::services(view, &select),
        Read::CatalogService { name, lookup } => listing::service(view.catalog.group(name, *lookup), &select)?,
        Read::CatalogNode { node } => listing::node(view.catalog.node_or_id(node), &select)?,
        Read::CatalogNodeServices { node } => listing::node_services(view.catalog.node_or_id(node), &select)?,
        Read::CatalogGatewayServices { .. } => Bytes::from_static(b"null"),
        Read::HealthNode { node } => health::node(view.catalog.node(node), &select)?,
        Read::HealthChecks { service } => health::checks_of(view, service, &select)?,
        Read::HealthState { state } => health::in_state(view, state, &select)?,
        Read::HealthService { name, lookup } => {
            let group = view.catalog.group(name, *lookup);
            if select.is_passing() && group.is_some_and(|group| group.is_panicking(panic_threshold)) {
                select.take_all();
                panic = Some(Box::new(Panic { service: name.clone() }));
            }
            health::service(group, &select)?
        }
        Read::HealthVotes { of } => {
            let body = observed::votes(view, &of.check_id, of.node.as_deref())?;
            let (found, index) = (body.is_some(), interest::index(view, query));
            return Ok(Rendered { index, body: body.unwrap_or_default(), found, panic });
        }
        Read::ObservedBy { node } => observed::observed_by(view, node)?,
        Read::CoordinateNodes => coordinate::nodes(view),
        Read::CoordinateNode { node } => return Ok(coordinate::node(view, node, interest::index(view, query))),
        Read::CoordinateDatacenters
        | Read::Datacenters
        | Read::StatusLeader
        | Read::StatusPeers
        | Read::Federation { .. }
        | Read::FederationDoctor { .. }
        | Read::DialBack { .. }
        | Read::RaftConfiguration
        | Read::AutopilotConfiguration
        | Read::AutopilotHealth
        | Read::AutopilotState => {
            return Err(Fault::failed(format!("{:?} is not answered from the catalog", query.read)));
        }
    };
    Ok(Rendered { index: interest::index(view, query), body, found: true, panic })
}
