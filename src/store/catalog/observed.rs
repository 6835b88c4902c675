//! What is read of voted checks: their votes, what one agent observes, and what the leader assigns by.

use super::rows::CheckRow;
use crate::model::fault::Fault;
use crate::model::vote::VotedCheck;
use crate::store::view::View;
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

/// A voted check as far as it matters who observes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The node it belongs to.
    pub node: String,
    /// The check.
    pub check_id: String,
    /// How many observers are wanted.
    pub wanted: u32,
    /// The assignment; 0 before there is one.
    pub epoch: u64,
    /// Node names of the observers.
    pub observers: Vec<String>,
}

/// All voted checks, by node and id.
pub(crate) fn all(view: &View) -> Vec<Observed> {
    let observed = |row: &Arc<CheckRow>| Observed {
        node: row.check.node.clone(),
        check_id: row.check.check_id.clone(),
        wanted: row.check.definition.voted.as_ref().map_or(0, |voted| voted.observers),
        epoch: row.epoch(),
        observers: row.observers().to_vec(),
    };
    view.catalog.voted.values().map(observed).collect()
}

/// `health/votes/:check_id`; nothing where no voted check is so called. Of several nodes the first by name.
pub(crate) fn votes(view: &View, check_id: &str, node: Option<&str>) -> Result<Option<Bytes>, Fault> {
    let row = match node {
        Some(node) => view.catalog.node(node).and_then(|state| state.check(check_id)).filter(|row| row.is_voted()),
        None => view.catalog.voted.values().find(|row| row.check.check_id == check_id),
    };
    row.map(|row| json(&shown(row, true))).transpose()
}

/// The voted checks that `node` observes, without their votes: those change more often than who observes.
pub(crate) fn observed_by(view: &View, node: &str) -> Result<Bytes, Fault> {
    let rows = view.catalog.voted.values().filter(|row| row.observer(node).is_some());
    json(&rows.map(|row| shown(row, false)).collect::<Vec<_>>())
}

/// Not `whole`: what an observer needs, which changes with [`CheckRow::is_observed_as`] alone.
fn shown(row: &CheckRow, whole: bool) -> VotedCheck {
    let assignment = row.assignment.as_deref();
    VotedCheck {
        node: row.check.node.clone(),
        check_id: row.check.check_id.clone(),
        service_id: if whole { row.check.service_id.clone() } else { String::new() },
        status: if whole { row.check.status } else { Default::default() },
        definition: if whole { row.check.definition.shown() } else { row.check.definition.clone() },
        epoch: row.epoch(),
        observers: if whole { row.observers().to_vec() } else { Vec::new() },
        votes: assignment.filter(|_| whole).map(|assignment| assignment.shown()).unwrap_or_default(),
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, Fault> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|error| Fault::failed(format!("the answer cannot be written as JSON: {error}")))
}
