//! The options of a read that choose, sort and alter rows: `tag`, `node-meta`, `near`, `passing`,
//! `filter`, and the translation of addresses.
//!
//! `catalog` and `health` ask it about each row; an option that is not set costs nothing.

use super::authorizer::Authorizer;
use super::catalog::group::Entry;
use super::catalog::rows::{NodeRow, ServiceRow};
use super::view::View;
use crate::model::check::HealthCheck;
use crate::model::coordinate::Coordinate;
use crate::model::fault::Fault;
use crate::model::filter::Filter;
use crate::model::node::Node;
use crate::model::operation::{Resource, Right};
use crate::model::query::{Selection, ViewQuery};
use crate::model::service::NodeService;
use serde_json::Value;
use std::time::Duration;

/// The options of one read, made ready.
#[derive(Debug)]
pub(super) struct Select<'a> {
    view: &'a View,
    selection: &'a Selection,
    authorizer: Authorizer<'a>,
    filter: Option<Filter>,
    /// Where the node lies that `near` names; unset when that is not known.
    near: Option<&'a Coordinate>,
    /// Whether instances are left out that do not pass.
    passing: bool,
}

impl<'a> Select<'a> {
    pub(super) fn new(view: &'a View, query: ViewQuery<'a>) -> Result<Select<'a>, Fault> {
        let ViewQuery { selection, principal, .. } = query;
        let text = selection.filter.as_deref().filter(|text| !text.is_empty());
        let filter = text.map(Filter::parse).transpose().map_err(Fault::bad_request)?;
        let near = selection.near.as_ref().and_then(|name| view.coordinates.of(name));
        let (authorizer, near) = (view.authorizer(principal), near.map(|row| &row.coordinate.coord));
        Ok(Select { view, selection, authorizer, filter, near, passing: selection.passing })
    }

    /// Whether instances are left out that do not pass.
    pub(super) fn is_passing(&self) -> bool {
        self.passing
    }

    /// From here on none is left out for its checks.
    pub(super) fn take_all(&mut self) {
        self.passing = false;
    }

    /// Whether every row is wanted as it is, in any order.
    pub(super) fn is_plain(&self) -> bool {
        let Selection { tags, node_meta, translate, .. } = self.selection;
        let chosen = !tags.is_empty() || !node_meta.is_empty() || self.passing || self.filter.is_some();
        !chosen && !translate && self.near.is_none() && self.authorizer.has_all()
    }

    /// Whether addresses of the wide area take the place of local ones.
    pub(super) fn translates(&self) -> bool {
        self.selection.translate
    }

    /// Whether every instance is wanted, whatever its node.
    pub(super) fn is_of_all_nodes(&self) -> bool {
        self.selection.node_meta.is_empty() && self.authorizer.has_all()
    }

    /// Whether the asker may see the node.
    pub(super) fn sees_node(&self, name: &str) -> bool {
        self.authorizer.may(Right::Read, Resource::Node, name.as_bytes())
    }

    /// Whether the asker may see the service.
    pub(super) fn sees_service(&self, name: &str) -> bool {
        self.authorizer.may(Right::Read, Resource::Service, name.as_bytes())
    }

    /// Whether the asker may see the entry of a key.
    pub(super) fn sees_key(&self, key: &[u8]) -> bool {
        self.authorizer.may(Right::Read, Resource::Key, key)
    }

    /// Whether the asker may see the sessions of the node.
    pub(super) fn sees_session(&self, node: &str) -> bool {
        self.authorizer.may(Right::Read, Resource::Session, node.as_bytes())
    }

    /// Whether the asker may see the check: its node, and its service where it has one.
    pub(super) fn sees_check(&self, check: &HealthCheck) -> bool {
        self.sees_node(&check.node) && (check.service_id.is_empty() || self.sees_service(&check.service_name))
    }

    /// Whether the node is seen and has all the metadata asked for.
    pub(super) fn wants_node(&self, row: &NodeRow) -> bool {
        self.sees_node(&row.node.node) && self.has_meta(row)
    }

    /// Whether the node has all the metadata asked for.
    pub(super) fn has_meta(&self, row: &NodeRow) -> bool {
        let has = |(key, value): &(String, String)| row.node.meta.as_ref().is_some_and(|meta| meta.get(key) == Some(value));
        self.selection.node_meta.iter().all(has)
    }

    /// Whether the instance is seen, has the tags, its node the metadata, and both the health asked for.
    pub(super) fn wants_entry(&self, entry: &Entry) -> bool {
        let (tags, name) = (&entry.service.service.tags, &entry.service.service.service);
        let has = |wanted: &String| tags.iter().any(|tag| same_tag(tag, wanted));
        (!self.passing || entry.passing)
            && self.selection.tags.iter().all(has)
            && self.wants_node(&entry.node)
            && self.sees_service(name)
    }

    /// Sorts by round-trip time from the node that `near` names. What lies at an unknown place goes
    /// last; when the source does, the order stays.
    pub(super) fn sort_near<T>(&self, rows: &mut [T], node: impl Fn(&T) -> &str) {
        let Some(source) = self.near else { return };
        let distance = |name: &str| {
            let row = self.view.coordinates.of(name)?;
            Some(source.distance(&row.coordinate.coord))
        };
        rows.sort_by_cached_key(|row| {
            let distance = distance(node(row));
            (distance.is_none(), distance.unwrap_or(Duration::ZERO))
        });
    }

    /// Refuses a filter that selects what no row of this shape has, however many rows there are.
    pub(super) fn check_filter(&self, shape: impl FnOnce() -> Value) -> Result<(), Fault> {
        self.filter.as_ref().map_or(Ok(()), |filter| filter.validate(&shape()).map_err(Fault::bad_request))
    }

    /// Whether the filter, if there is one, matches the row.
    pub(super) fn matches(&self, row: impl FnOnce() -> Value) -> Result<bool, Fault> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.matches(&row()).map_err(Fault::bad_request))
    }
}

fn same_tag(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

/// The node with the address by which other datacenters reach it.
pub(super) fn translated_node(row: &NodeRow) -> NodeRow {
    let tagged = |place: &str| row.node.tagged_addresses.as_ref()?.get(place).map(String::as_str);
    let address = wide_area_address(&row.node.address, tagged);
    NodeRow::new(Node { address, ..row.node.clone() })
}

/// The instance with the address and port by which other datacenters reach it.
pub(super) fn translated_service(row: &ServiceRow) -> ServiceRow {
    let service = &row.service;
    let tagged = |place: &str| service.tagged_addresses.get(place).map(|entry| entry.address.as_str());
    let address = wide_area_address(&service.address, tagged);
    let port = service.tagged_addresses.get("wan").map(|entry| entry.port).filter(|port| *port != 0);
    ServiceRow::new(NodeService { address, port: port.unwrap_or(service.port), ..service.clone() })
}

/// Consul's choice for HTTP: the one of IPv6, else of IPv4, else `wan`; the first two fall back to
/// the local area's.
fn wide_area_address<'a>(own: &'a str, tagged: impl Fn(&str) -> Option<&'a str>) -> String {
    let either = |wide: &str, local: &str| tagged(wide).or_else(|| tagged(local)).filter(|address| !address.is_empty());
    let default = || tagged("wan").filter(|address| !address.is_empty()).unwrap_or(own);
    either("wan_ipv6", "lan_ipv6").or_else(|| either("wan_ipv4", "lan_ipv4")).unwrap_or_else(default).to_owned()
}
