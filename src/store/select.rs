//! The options of a read that choose, sort and alter rows. An option that is not set costs nothing.

use super::authorizer::Authorizer;
use super::catalog::{Entry, NodeRow};
use super::view::View;
use crate::model::check::HealthCheck;
use crate::model::coordinate::Coordinate;
use crate::model::fault::Fault;
use crate::model::filter::Filter;
use crate::model::operation::{Resource, Right};
use crate::model::query::{Selection, ViewQuery};
use serde_json::Value;
use std::time::Duration;

/// The options of one read, made ready.
#[derive(Debug)]
pub(super) struct Select<'a> {
    view: &'a View,
    selection: &'a Selection,
    authorizer: Authorizer<'a>,
    filter: Option<Filter>,
    /// The coordinate of the node that `near` names; unset where that is not known.
    near: Option<&'a Coordinate>,
    /// Leaves out instances with a check that does not pass.
    pub(super) passing: bool,
}

impl<'a> Select<'a> {
    pub(super) fn new(view: &'a View, query: ViewQuery<'a>, authorizer: Authorizer<'a>) -> Result<Select<'a>, Fault> {
        let selection = query.selection;
        let text = selection.filter.as_deref().filter(|text| !text.is_empty());
        let filter = text.map(Filter::parse).transpose().map_err(Fault::bad_request)?;
        let near = selection.near.as_ref().and_then(|name| view.coordinate_of(name));
        Ok(Select { view, selection, authorizer, filter, near, passing: selection.passing })
    }

    /// Every row is wanted as it is, in any order.
    pub(super) fn is_plain(&self) -> bool {
        let Selection { tags, node_meta, translate, .. } = self.selection;
        let chosen = !tags.is_empty() || !node_meta.is_empty() || self.passing || self.filter.is_some();
        !chosen && !translate && self.near.is_none() && self.authorizer.has_all()
    }

    /// Addresses of the wide area take the place of local ones.
    pub(super) fn translates(&self) -> bool {
        self.selection.translate
    }

    pub(super) fn is_of_all_nodes(&self) -> bool {
        self.selection.node_meta.is_empty() && self.authorizer.has_all()
    }

    pub(super) fn sees_node(&self, name: &str) -> bool {
        self.authorizer.may(Right::Read, Resource::Node, name.as_bytes())
    }

    pub(super) fn sees_service(&self, name: &str) -> bool {
        self.authorizer.may(Right::Read, Resource::Service, name.as_bytes())
    }

    /// True if the principal may see the entry of a key.
    pub(super) fn sees_key(&self, key: &[u8]) -> bool {
        self.authorizer.may(Right::Read, Resource::Key, key)
    }

    /// True if the principal may see the sessions of the node.
    pub(super) fn sees_session(&self, node: &str) -> bool {
        self.authorizer.may(Right::Read, Resource::Session, node.as_bytes())
    }

    /// The principal may see the check: its node, and its service where it has one.
    pub(super) fn sees_check(&self, check: &HealthCheck) -> bool {
        self.sees_node(&check.node) && (check.service_id.is_empty() || self.sees_service(&check.service_name))
    }

    /// The node is seen and has all metadata of the query.
    pub(super) fn wants_node(&self, row: &NodeRow) -> bool {
        self.sees_node(&row.node.node) && self.has_meta(row)
    }

    /// The node has all metadata of the query.
    pub(super) fn has_meta(&self, row: &NodeRow) -> bool {
        let has = |(key, value): &(String, String)| row.node.meta.as_ref().is_some_and(|meta| meta.get(key) == Some(value));
        self.selection.node_meta.iter().all(has)
    }

    /// The instance is seen, has the tags and the health of the query, and its node the metadata.
    pub(super) fn wants_entry(&self, entry: &Entry) -> bool {
        let (tags, name) = (&entry.service.service.tags, &entry.service.service.service);
        let has = |wanted: &String| tags.iter().any(|tag| same_tag(tag, wanted));
        (!self.passing || entry.passing)
            && self.selection.tags.iter().all(has)
            && self.wants_node(&entry.node)
            && self.sees_service(name)
    }

    /// Sorts by round-trip time from the node that `near` names. Rows without a coordinate go last.
    pub(super) fn sort_near<T>(&self, rows: &mut [T], node: impl Fn(&T) -> &str) {
        let Some(source) = self.near else { return };
        rows.sort_by_cached_key(|row| {
            let distance = self.view.coordinate_of(node(row)).map(|place| source.distance(place));
            (distance.is_none(), distance.unwrap_or(Duration::ZERO))
        });
    }

    /// Refuses a filter with a selector that no row of this shape has, however many rows there are.
    pub(super) fn check_filter(&self, shape: impl FnOnce() -> Value) -> Result<(), Fault> {
        self.filter.as_ref().map_or(Ok(()), |filter| filter.validate(&shape()).map_err(Fault::bad_request))
    }

    /// The rows that the filter matches by their `value`; all of them where there is none.
    pub(super) fn filtered<'v, T>(
        &self,
        rows: impl Iterator<Item = &'v T>,
        value: impl Fn(&T) -> Value,
    ) -> Result<Vec<&'v T>, Fault> {
        let Some(filter) = &self.filter else { return Ok(rows.collect()) };
        let matched = rows.map(|row| Ok(filter.matches(&value(row))?.then_some(row)));
        matched.filter_map(Result::transpose).collect::<Result<_, String>>().map_err(Fault::bad_request)
    }
}

fn same_tag(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}
