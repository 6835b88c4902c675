//! A query run on one view: the way from a read to the JSON and its index.
//!
//! [`super::Reader`] calls it. It only reads the view it is given, and takes no lock.

use super::select::Select;
use super::view::View;
use super::{Rendered, catalog, coordinate, health, interest, observed};
use crate::model::answer::Panic;
use crate::model::fault::Fault;
use crate::model::operation::{CatalogRead, CoordinateRead, HealthRead, ViewRead};
use crate::model::query::ViewQuery;
use bytes::Bytes;

/// Answers `query` from `view`, with all instances where fewer than `panic_threshold` percent pass.
pub(super) fn run(view: &View, query: ViewQuery<'_>, panic_threshold: u8) -> Result<Rendered, Fault> {
    let select = Select::new(view, query.selection)?;
    let index = interest::index(view, query);
    let found = |body| Ok(Rendered { index, body, found: true, panic: None });
    match query.read {
        ViewRead::Catalog(read) => found(of_catalog(view, read, &select)?),
        ViewRead::Health(read) => of_health(view, read, select, index, panic_threshold),
        ViewRead::Coordinate(CoordinateRead::Nodes) => found(coordinate::nodes(view)),
        ViewRead::Coordinate(CoordinateRead::Node { node }) => Ok(coordinate::node(view, node, index)),
    }
}

fn of_catalog(view: &View, read: &CatalogRead, select: &Select<'_>) -> Result<Bytes, Fault> {
    match read {
        CatalogRead::Nodes => catalog::nodes(view, select),
        CatalogRead::Services => Ok(catalog::services(view, select)),
        CatalogRead::Service { name, lookup } => catalog::service(view.group(name, *lookup), select),
        CatalogRead::Node { node } => catalog::node(view.node_or_id(node), select),
        CatalogRead::NodeServices { node } => catalog::node_services(view.node_or_id(node), select),
        CatalogRead::GatewayServices { gateway: _ } => Ok(Bytes::from_static(b"null")),
    }
}

fn of_health(view: &View, read: &HealthRead, mut select: Select<'_>, index: u64, panic_threshold: u8) -> Result<Rendered, Fault> {
    let (mut found, mut panic) = (true, None);
    let body = match read {
        HealthRead::Node { node } => health::node(view.node(node), &select)?,
        HealthRead::Checks { service } => health::checks_of(view, service, &select)?,
        HealthRead::State { state } => health::in_state(view, state, &select)?,
        HealthRead::Service { name, lookup } => {
            let group = view.group(name, *lookup);
            if select.is_passing() && group.is_some_and(|group| group.is_panicking(panic_threshold)) {
                select.take_all();
                panic = Some(Box::new(Panic { service: name.clone() }));
            }
            health::service(group, &select)?
        }
        HealthRead::Votes { of } => {
            let body = observed::votes(view, &of.check_id, of.node.as_deref())?;
            found = body.is_some();
            body.unwrap_or_default()
        }
        HealthRead::ObservedBy { node } => observed::observed_by(view, node)?,
    };
    Ok(Rendered { index, body, found, panic })
}
