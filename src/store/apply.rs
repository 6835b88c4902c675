//! One command of the log applied to a view: pure, total, deterministic. Every command ends with a result.

use super::catalog::{deregister, register, votes};
use super::change::{Cause, Change};
use super::coordinate::commands as coordinates;
use super::key::Key;
use super::view::View;
use super::{autopilot, removals, validate};
use crate::model::command::{Command, Effect, Written};
use crate::model::fault::Fault;
use std::collections::BTreeSet;

/// Applies `command` of the log entry at `log_index` to `view`, and notes in `touched` the keys that became different.
/// A refused command takes its index, and changes nothing else.
pub(super) fn apply(view: &mut View, touched: &mut BTreeSet<Key>, log_index: u64, command: &Command) -> Result<Written, Fault> {
    let Command::Batch(commands) = command else { return single(view, touched, log_index, command) };
    let mut first_refusal = None;
    for command in commands {
        if let Err(fault) = single(view, touched, log_index, command) {
            first_refusal.get_or_insert(fault);
        }
    }
    first_refusal.map_or(Ok(Written { index: view.format.last(log_index), effect: Effect::Done }), Err)
}

fn single(view: &mut View, touched: &mut BTreeSet<Key>, log_index: u64, command: &Command) -> Result<Written, Fault> {
    let index = view.format.count(log_index);
    let mut change = Change::new(view, index, touched);
    let mut effect = Effect::Done;
    match command {
        Command::Register(request) => register::register(&mut change, request)?,
        Command::Deregister(request) => deregister::deregister(&mut change, request)?,
        Command::UpdateCoordinates(rows) => rows.iter().for_each(|coordinate| coordinates::put(&mut change, coordinate)),
        Command::RemoveDatacenter { datacenter, cluster } => removals::remove(&mut change, datacenter, *cluster)?,
        Command::ReadmitDatacenter { datacenter } => removals::readmit(&mut change, datacenter)?,
        Command::AssignObservers(assigns) => votes::assign(&mut change, assigns),
        Command::Vote { ballot, at } => votes::vote(&mut change, ballot, *at),
        Command::SetAutopilot { config, only_at } => effect = autopilot::set(&mut change, config, *only_at),
        Command::RaiseLevel(to) => change.view.format.raise(to.clone()),
        Command::Batch(_) => return Err(validate::nested()),
    }
    follow(&mut change);
    Ok(Written { index, effect })
}

/// Has the tables follow each other until no cause is left: the one place that says which table follows which. Each
/// step only removes rows or makes them worse, so there is an end.
fn follow(change: &mut Change<'_>) {
    while let Some(cause) = change.causes.pop_front() {
        match cause {
            Cause::NodeGone(node) => coordinates::forget(change, &node),
        }
    }
}
