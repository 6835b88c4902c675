//! The rows of a read of the catalog, and their JSON put together from the fragments they keep.

use super::group::{Entry, Group};
use super::rows::{CheckRow, NodeRow, ServiceRow};
use super::translate;
use crate::store::json::{List, fragment};
use bytes::Bytes;
use imbl::OrdMap;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The rows of one read, by the form in which they are shown.
#[derive(Debug)]
pub enum CatalogRows<'v> {
    Nodes(Vec<&'v Arc<NodeRow>>),
    Names(Names<'v>),
    /// `catalog/service/:name`: each with its node.
    Service(Instances<'v>),
    Node(Option<NodeServices<'v>>),
    NodeServices(Option<NodeServices<'v>>),
    /// `catalog/gateway-services/:gateway`: there are no gateways.
    NoGateway,
    /// `health/service/:name`: each with its node and their checks.
    Health(Instances<'v>),
    /// `health/node/:node`, `health/checks/:service`, `health/state/:state`
    Checks(Vec<&'v Arc<CheckRow>>),
    /// `health/votes/:check_id`; unset where no voted check has that id.
    Votes(Option<&'v Arc<CheckRow>>),
    /// The voted checks that an agent observes.
    Observed(Vec<&'v Arc<CheckRow>>),
}

#[derive(Debug)]
pub enum Names<'v> {
    /// All instances, by the key of the name.
    All(&'v OrdMap<Arc<str>, Arc<Group>>),
    /// Some instances: of each group the tags by the name as it is written.
    Some(Vec<BTreeMap<&'v str, BTreeSet<&'v str>>>),
}

#[derive(Debug)]
pub enum Instances<'v> {
    All(&'v Arc<Group>),
    /// The wanted ones, in their order.
    Some(Vec<&'v Arc<Entry>>),
}

/// A node with its wanted services, by id.
#[derive(Debug)]
pub struct NodeServices<'v> {
    pub node: &'v Arc<NodeRow>,
    pub services: Vec<&'v Arc<ServiceRow>>,
}

impl CatalogRows<'_> {
    /// False for an answer of 404.
    pub(crate) fn found(&self) -> bool {
        !matches!(self, CatalogRows::Votes(None))
    }

    /// The JSON; with `translate`, addresses are those by which other datacenters reach the rows.
    pub(crate) fn render(&self, translate: bool) -> Bytes {
        match self {
            CatalogRows::Nodes(rows) => list(rows, |list, row| list.push(&[&node_json(row, translate)])),
            CatalogRows::Names(names) => names.render(),
            CatalogRows::Service(Instances::All(group)) => {
                group.catalog_body.get_or_render(|| flat_rows(group.entries.iter(), translate))
            }
            CatalogRows::Service(Instances::Some(entries)) => flat_rows(entries.iter().copied(), translate),
            CatalogRows::Node(None) | CatalogRows::NoGateway => Bytes::from_static(b"null"),
            CatalogRows::Node(Some(found)) => {
                let mut services = List::object();
                found
                    .services
                    .iter()
                    .for_each(|row| services.push(&[&fragment(&row.service.id), b":", &service_json(row, translate)]));
                found.render(&services.finish(), translate)
            }
            CatalogRows::NodeServices(None) => Bytes::from_static(br#"{"Node":null,"Services":[]}"#),
            CatalogRows::NodeServices(Some(found)) => {
                found.render(&list(&found.services, |list, row| list.push(&[&service_json(row, translate)])), translate)
            }
            CatalogRows::Health(Instances::All(group)) => {
                group.health_body.get_or_render(|| entries_json(group.entries.iter(), translate))
            }
            CatalogRows::Health(Instances::Some(entries)) => entries_json(entries.iter().copied(), translate),
            CatalogRows::Checks(rows) => list(rows, |list, row| list.push(&[row.json()])),
            CatalogRows::Votes(row) => row.map(|row| fragment(&row.shown(true))).unwrap_or_default(),
            // Votes are left out, because they change more often than the observers.
            CatalogRows::Observed(rows) => fragment(&rows.iter().map(|row| row.shown(false)).collect::<Vec<_>>()),
        }
    }
}

fn list<T>(rows: &[T], mut push: impl FnMut(&mut List, &T)) -> Bytes {
    let mut list = List::new();
    rows.iter().for_each(|row| push(&mut list, row));
    list.finish()
}

fn node_json(row: &NodeRow, translate: bool) -> Bytes {
    if translate { translate::node(row).json().clone() } else { row.json().clone() }
}

fn service_json(row: &ServiceRow, translate: bool) -> Bytes {
    if translate { translate::service(row).json().clone() } else { row.json().clone() }
}

impl Names<'_> {
    /// `"web":["v1"]`, for each spelling of a name; a name without a wanted instance is left out.
    fn render(&self) -> Bytes {
        let mut list = List::object();
        let mut push = |part: Bytes| {
            if !part.is_empty() {
                list.push(&[&part]);
            }
        };
        match self {
            Names::All(groups) => {
                groups.values().for_each(|group| push(group.tags.get_or_render(|| inner(&group.tags_by_name(|_| true)))));
            }
            Names::Some(names) => names.iter().for_each(|names| push(inner(names))),
        }
        list.finish()
    }
}

/// An object without its braces.
fn inner(object: &BTreeMap<&str, BTreeSet<&str>>) -> Bytes {
    let json = fragment(object);
    json.slice(1..json.len() - 1)
}

impl NodeServices<'_> {
    fn render(&self, services: &[u8], translate: bool) -> Bytes {
        let node = node_json(self.node, translate);
        let parts: [&[u8]; 5] = [br#"{"Node":"#, &node, br#","Services":"#, services, b"}"];
        parts.concat().into()
    }
}

fn shown(entry: &Arc<Entry>, translate: bool) -> Cow<'_, Arc<Entry>> {
    if translate { Cow::Owned(Arc::new(translate::entry(entry))) } else { Cow::Borrowed(entry) }
}

/// Rows of `catalog/service`.
fn flat_rows<'a>(entries: impl Iterator<Item = &'a Arc<Entry>> + Clone, translate: bool) -> Bytes {
    let mut list = List::new();
    if !translate {
        list.reserve(entries.clone().map(|entry| entry.node.flat().len() + entry.service.flat().len() + 1).sum());
    }
    for entry in entries.map(|entry| shown(entry, translate)) {
        list.push(&[entry.node.flat(), entry.service.flat()]);
    }
    list.finish()
}

/// Rows of `health/service`.
fn entries_json<'a>(entries: impl Iterator<Item = &'a Arc<Entry>> + Clone, translate: bool) -> Bytes {
    let mut list = List::new();
    if !translate {
        list.reserve(entries.clone().map(|entry| entry_size(entry)).sum());
    }
    entries.for_each(|entry| write_entry(&mut list, &shown(entry, translate)));
    list.finish()
}

fn write_entry(list: &mut List, entry: &Entry) {
    list.push(&[br#"{"Node":"#, entry.node.json(), br#","Service":"#, entry.service.json(), br#","Checks":["#]);
    for (at, row) in entry.checks.iter().enumerate() {
        if at > 0 {
            list.extend(b",");
        }
        list.extend(row.json());
    }
    list.extend(b"]}");
}

/// Bytes that an entry takes in a list, its punctuation included.
fn entry_size(entry: &Entry) -> usize {
    const PUNCTUATION: usize = 40;
    let checks: usize = entry.checks.iter().map(|row| row.json().len() + 1).sum();
    entry.node.json().len() + entry.service.json().len() + checks + PUNCTUATION
}
