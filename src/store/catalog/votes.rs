//! Voted checks as the state machine keeps them: their observers and their votes.
//!
//! Late commands are passed over without a trace: a vote of an earlier assignment or of an agent that is no observer,
//! an assignment that replaces one that is gone.

use super::node_state::NodeState;
use super::rows::CheckRow;
use crate::model::check::HealthCheck;
use crate::model::vote::{Assign, Assignment, Ballot, Counted, Vote};
use crate::store::change::Change;
use crate::store::view::View;
use std::sync::Arc;

/// Assigns observers. The votes begin anew, and the check keeps its status until there are enough of them.
pub(crate) fn assign(change: &mut Change<'_>, assigns: &[Assign]) {
    for assign in assigns {
        let Some(state) = change.view.catalog.node(&assign.node) else { continue };
        let Some(row) = state.check(&assign.check_id).filter(|row| row.is_voted() && row.epoch() == assign.replaces) else {
            continue;
        };
        let assignment = Assignment { epoch: change.index, observers: assign.observers.clone(), ..Assignment::default() };
        let mut state = NodeState::clone(state);
        state.put_check(counted(row, assignment, change.index));
        change.put_node(state);
    }
}

pub(crate) fn vote(change: &mut Change<'_>, ballot: &Ballot, at: u64) {
    for vote in &ballot.votes {
        let Some(state) = change.view.catalog.node(&vote.node) else { continue };
        let Some(row) = taken(state, &ballot.observer, vote, at, change.index) else { continue };
        let mut state = NodeState::clone(state);
        state.put_check(row);
        change.put_node(state);
    }
}

/// The votes that count under the present assignments.
pub(crate) fn countable(view: &View, ballot: &Ballot) -> Ballot {
    let counts = |vote: &&Vote| {
        let row = view.catalog.node(&vote.node).and_then(|state| state.check(&vote.check_id));
        row.is_some_and(|row| row.epoch() == vote.epoch && row.observer(&ballot.observer).is_some())
    };
    Ballot { observer: ballot.observer.clone(), votes: ballot.votes.iter().filter(counts).cloned().collect() }
}

/// The check with the vote; unset where the vote does not count or is the same as before.
fn taken(state: &NodeState, observer: &str, vote: &Vote, at: u64, index: u64) -> Option<CheckRow> {
    let row = state.check(&vote.check_id)?;
    let assignment = row.assignment.as_deref().filter(|assignment| assignment.epoch == vote.epoch)?;
    let observer = assignment.observer(observer)?;
    let same = |known: &Counted| known.status == vote.status && known.output == vote.output;
    if assignment.votes.get(observer).is_some_and(same) {
        return None;
    }
    let mut assignment = assignment.clone();
    let counts = Counted { status: vote.status, output: vote.output.clone(), at, index };
    assignment.votes.insert(observer.to_owned(), counts);
    Some(counted(row, assignment, index))
}

/// The check as `assignment` has it.
fn counted(row: &CheckRow, assignment: Assignment, index: u64) -> CheckRow {
    let status = assignment.outcome().unwrap_or(row.check.status);
    let check = HealthCheck { status, modify_index: index, ..row.check.clone() };
    CheckRow::voted(check, Arc::new(assignment))
}

/// The row of a check that is registered over `known`. A registration of a voted check brings its definition alone: the
/// status is that of the votes, which go on where the definition is the same. The definition as users are shown it,
/// sent back, leaves the known one in place.
pub(crate) fn registered(known: Option<&CheckRow>, mut check: HealthCheck) -> CheckRow {
    match known.filter(|known| check.definition.observers > 0 && check.definition == known.check.definition.shown()) {
        Some(known) => {
            check.definition = known.check.definition.clone();
            check.kind.clone_from(&known.check.kind);
        }
        None => check.definition.observers = 0,
    }
    let Some(known) = known.filter(|known| known.is_voted() && check.definition.voted.is_some()) else {
        return CheckRow::new(check);
    };
    (check.status, check.output) = (known.check.status, known.check.output.clone());
    let same = known.check.definition == check.definition && known.check.kind == check.kind;
    match &known.assignment {
        Some(assignment) if same => CheckRow::voted(check, Arc::clone(assignment)),
        _ => CheckRow::new(check),
    }
}
