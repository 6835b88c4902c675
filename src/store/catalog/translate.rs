//! Rows with the addresses by which other datacenters reach them.

use super::group::Entry;
use super::rows::{NodeRow, ServiceRow};
use crate::model::node::Node;
use crate::model::service::NodeService;
use std::sync::Arc;

/// The entry as other datacenters see it.
pub(super) fn entry(entry: &Entry) -> Entry {
    Entry::new(Arc::new(node(&entry.node)), Arc::new(service(&entry.service)), entry.checks.clone())
}

/// The node with the address by which other datacenters reach it.
pub(super) fn node(row: &NodeRow) -> NodeRow {
    let tagged = |place: &str| row.node.tagged_addresses.as_ref()?.get(place).map(String::as_str);
    let address = wide_area_address(&row.node.address, tagged);
    NodeRow::new(Node { address, ..row.node.clone() })
}

/// The instance with the address and port by which other datacenters reach it.
pub(super) fn service(row: &ServiceRow) -> ServiceRow {
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
