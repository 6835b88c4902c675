//! What is read of voted checks: what the leader assigns by, and what users and observers are shown.

use super::rows::CheckRow;
use crate::model::vote::VotedCheck;
use crate::store::view::View;
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

impl CheckRow {
    /// As it is shown: to users `whole`, but for how it is probed; to an observer what it needs, which changes with
    /// [`CheckRow::is_observed_as`] alone.
    pub fn shown(&self, whole: bool) -> VotedCheck {
        let assignment = self.assignment.as_deref();
        VotedCheck {
            node: self.check.node.clone(),
            check_id: self.check.check_id.clone(),
            service_id: if whole { self.check.service_id.clone() } else { String::new() },
            status: if whole { self.check.status } else { Default::default() },
            definition: if whole { self.check.definition.shown() } else { self.check.definition.clone() },
            epoch: self.epoch(),
            observers: if whole { self.observers().to_vec() } else { Vec::new() },
            votes: assignment.filter(|_| whole).map(|assignment| assignment.shown()).unwrap_or_default(),
        }
    }
}
