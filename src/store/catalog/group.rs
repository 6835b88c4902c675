//! The instances of one service name. The most wanted bodies are rendered at the first read and kept until a change.

use super::rows::{CheckRow, NodeRow, ServiceRow, flat_value};
use crate::defaults::SERVICE_BODY_CACHE_BYTES;
use crate::model::check::CheckStatus;
use bytes::Bytes;
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// One instance with its node and the checks that speak of it.
#[derive(Debug)]
pub struct Entry {
    pub node: Arc<NodeRow>,
    pub service: Arc<ServiceRow>,
    /// The node's checks, then the instance's own.
    pub checks: Vec<Arc<CheckRow>>,
    pub passing: bool,
}

impl Entry {
    pub(crate) fn new(node: Arc<NodeRow>, service: Arc<ServiceRow>, checks: Vec<Arc<CheckRow>>) -> Entry {
        let passing = checks.iter().all(|row| row.check.status == CheckStatus::Passing);
        Entry { node, service, checks, passing }
    }

    /// A row of `health/service` as a value, for filters.
    pub(crate) fn value(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(|row| row.value()).collect();
        json!({"Node": self.node.value(), "Service": self.service.value(), "Checks": checks})
    }

    /// The same without checks, as `catalog/service` lists it.
    pub(crate) fn flat_value(&self) -> Value {
        flat_value(&self.node, &self.service)
    }

    /// The order of a group: by node, then by id of the instance.
    fn order(&self, node: &str, id: &str) -> Ordering {
        (self.node.node.node.as_str(), self.service.service.id.as_str()).cmp(&(node, id))
    }
}

/// The instances of one name, sorted by node and id.
#[derive(Debug, Default)]
pub struct Group {
    /// By node, then by id.
    pub entries: Vec<Arc<Entry>>,
    /// Index of the last change of an instance, of its node or of its checks.
    pub(crate) index: u64,
    /// The answer of `health/service` without options.
    pub(crate) health_body: Body,
    /// The answer of `catalog/service` without options.
    pub(crate) catalog_body: Body,
    /// The group's part of `catalog/services`: `"web":["v1"]`.
    pub(crate) tags: Body,
}

/// A copy to be changed, without the rendered bodies.
impl Clone for Group {
    fn clone(&self) -> Group {
        Group { entries: self.entries.clone(), index: self.index, ..Group::default() }
    }
}

impl Group {
    /// Notes a change at `index`, and drops the bodies rendered before it.
    pub(crate) fn renew(&mut self, index: u64) {
        self.index = index;
        (self.health_body, self.catalog_body, self.tags) = Default::default();
    }

    /// True when fewer than `threshold` percent of the instances pass: leaving out the others would leave too few.
    pub(crate) fn is_panicking(&self, threshold: u8) -> bool {
        let passing = self.entries.iter().filter(|entry| entry.passing).count();
        threshold > 0 && passing * 100 < self.entries.len() * usize::from(threshold)
    }

    pub(crate) fn put(&mut self, entry: Entry) {
        match self.find(&entry.node.node.node, &entry.service.service.id) {
            Ok(at) => self.entries[at] = Arc::new(entry),
            Err(at) => self.entries.insert(at, Arc::new(entry)),
        }
    }

    pub(crate) fn remove(&mut self, node: &str, id: &str) {
        if let Ok(at) = self.find(node, id) {
            self.entries.remove(at);
        }
    }

    /// The sorted union of tags for each spelling of the name, over the entries that `keep` wants.
    pub(crate) fn tags_by_name(&self, keep: impl Fn(&Entry) -> bool) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| keep(entry)) {
            let service = &entry.service.service;
            names.entry(&service.service).or_default().extend(service.tags.iter().map(String::as_str));
        }
        names
    }

    fn find(&self, node: &str, id: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.order(node, id))
    }
}

/// Bytes that are rendered at their first use.
#[derive(Debug, Default)]
pub(crate) struct Body(OnceLock<Bytes>);

impl Body {
    /// The rendered bytes, kept for the next caller up to [`SERVICE_BODY_CACHE_BYTES`].
    pub(crate) fn get_or_render(&self, render: impl FnOnce() -> Bytes) -> Bytes {
        if let Some(body) = self.0.get() {
            return body.clone();
        }
        let body = render();
        if body.len() <= SERVICE_BODY_CACHE_BYTES {
            return self.0.get_or_init(|| body).clone();
        }
        body
    }
}
