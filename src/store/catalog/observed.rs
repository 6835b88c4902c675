//! Voted checks as the leader assigns them, and as users and observers are shown them.

use super::Catalog;
use super::rows::CheckRow;
use crate::model::vote::VotedCheck;
use std::sync::Arc;

/// A voted check with its observers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub node: String,
    pub check_id: String,
    /// The number of observers that the check asks for.
    pub wanted: u32,
    /// The index of the assignment; 0 before there is one.
    pub epoch: u64,
    /// Node names.
    pub observers: Vec<String>,
}

/// All voted checks, by node and id.
pub(crate) fn all(catalog: &Catalog) -> Vec<Observed> {
    let observed = |row: &Arc<CheckRow>| Observed {
        node: row.check.node.clone(),
        check_id: row.check.check_id.clone(),
        wanted: row.check.definition.voted.as_ref().map_or(0, |voted| voted.observers),
        epoch: row.epoch(),
        observers: row.observers().to_vec(),
    };
    catalog.voted.values().map(observed).collect()
}

impl CheckRow {
    /// The check as it is shown: `whole` to users, but without its definition; to an observer the fields it needs, which
    /// change with [`CheckRow::is_observed_as`] alone.
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
