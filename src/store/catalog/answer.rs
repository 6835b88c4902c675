//! What is read of the catalog: rows, and their JSON put together from the fragments they keep.

use super::group::{Entry, Group};
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::store::json::{List, fragment};
use crate::store::select::{translated_node, translated_service};
use bytes::Bytes;
use imbl::OrdMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The rows of one read, by what is shown of them.
#[derive(Debug)]
pub enum CatalogRows<'v> {
    /// `catalog/nodes`
    Nodes(Vec<&'v Arc<NodeRow>>),
    /// `catalog/services`
    Names(Names<'v>),
    /// `catalog/service/:name`: each with its node.
    Service(Instances<'v>),
    /// `catalog/node/:node`
    Node(Option<NodeServices<'v>>),
    /// `catalog/node-services/:node`
    NodeServices(Option<NodeServices<'v>>),
    /// `catalog/gateway-services/:gateway`: there are no gateways.
    NoGateway,
    /// `health/service/:name`: each with its node and their checks.
    Health(Instances<'v>),
    /// `health/node/:node`, `health/checks/:service`, `health/state/:state`
    Checks(Vec<&'v Arc<CheckRow>>),
    /// `health/votes/:check_id`; nothing where no voted check is so called.
    Votes(Option<&'v Arc<CheckRow>>),
    /// The voted checks that an agent observes.
    Observed(Vec<&'v Arc<CheckRow>>),
}

/// Services with the tags of their instances.
#[derive(Debug)]
pub enum Names<'v> {
    /// Of all instances, by the key of the name.
    All(&'v OrdMap<Arc<str>, Arc<Group>>),
    /// Of some: of each group the tags by the name as it is written.
    Some(Vec<BTreeMap<&'v str, BTreeSet<&'v str>>>),
}

/// Instances of one service.
#[derive(Debug)]
pub enum Instances<'v> {
    /// All there are.
    All(&'v Arc<Group>),
    /// Those that are wanted, as they are wanted.
    Some(Vec<&'v Arc<Entry>>),
}

/// A node with those of its services that are wanted.
#[derive(Debug)]
pub struct NodeServices<'v> {
    /// The node.
    pub node: &'v Arc<NodeRow>,
    /// By id.
    pub services: Vec<&'v Arc<ServiceRow>>,
}

impl CatalogRows<'_> {
    /// False for what answers 404.
    pub(crate) fn found(&self) -> bool {
        !matches!(self, CatalogRows::Votes(None))
    }

    /// The JSON; with `translate`, addresses are those by which other datacenters reach the rows.
    pub(crate) fn render(&self, translate: bool) -> Bytes {
        match self {
            CatalogRows::Nodes(rows) if translate => list(rows, |list, row| list.push(&[translated_node(row).json()])),
            CatalogRows::Nodes(rows) => list(rows, |list, row| list.push(&[row.json()])),
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
            // Without their votes: those change more often than who observes.
            CatalogRows::Observed(rows) => fragment(&rows.iter().map(|row| row.shown(false)).collect::<Vec<_>>()),
        }
    }
}

fn list<T>(rows: &[T], mut push: impl FnMut(&mut List, &T)) -> Bytes {
    let mut list = List::new();
    rows.iter().for_each(|row| push(&mut list, row));
    list.finish()
}

fn service_json(row: &ServiceRow, translate: bool) -> Bytes {
    if translate { translated_service(row).json().clone() } else { row.json().clone() }
}

impl Names<'_> {
    /// `"web":["v1"]`, for each spelling of a name; nothing when no instance is wanted.
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
        let node = if translate { translated_node(self.node).json().clone() } else { self.node.json().clone() };
        let parts: [&[u8]; 5] = [br#"{"Node":"#, &node, br#","Services":"#, services, b"}"];
        parts.concat().into()
    }
}

/// Rows of `catalog/service`.
fn flat_rows<'a>(entries: impl Iterator<Item = &'a Arc<Entry>> + Clone, translate: bool) -> Bytes {
    let mut list = List::new();
    if translate {
        entries.for_each(|entry| {
            list.push(&[translated_node(&entry.node).flat(), translated_service(&entry.service).flat()]);
        });
        return list.finish();
    }
    list.reserve(entries.clone().map(|entry| entry.node.flat().len() + entry.service.flat().len() + 1).sum());
    entries.for_each(|entry| list.push(&[entry.node.flat(), entry.service.flat()]));
    list.finish()
}

/// Rows of `health/service`.
fn entries_json<'a>(entries: impl Iterator<Item = &'a Arc<Entry>> + Clone, translate: bool) -> Bytes {
    let mut list = List::new();
    if translate {
        entries.for_each(|entry| write_entry(&mut list, &translated_entry(entry)));
        return list.finish();
    }
    list.reserve(entries.clone().map(|entry| entry_size(entry)).sum());
    entries.for_each(|entry| write_entry(&mut list, entry));
    list.finish()
}

fn translated_entry(entry: &Entry) -> Entry {
    let (node, service) = (translated_node(&entry.node), translated_service(&entry.service));
    Entry::new(Arc::new(node), Arc::new(service), entry.checks.clone())
}

fn write_entry(list: &mut List, entry: &Entry) {
    list.begin();
    list.extend(br#"{"Node":"#);
    list.extend(entry.node.json());
    list.extend(br#","Service":"#);
    list.extend(entry.service.json());
    list.extend(br#","Checks":["#);
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
