//! One command of the log applied to a view: pure, total, deterministic.
//!
//! [`super::Store`] calls it in log order. It reads no clock, draws no random number, and whatever a
//! command says, it ends with an outcome.

use super::catalog::{deregister, register, votes};
use super::change::Change;
use super::key::Key;
use super::view::View;
use super::{autopilot, coordinate, removals, validate};
use crate::model::command::{Command, Outcome};
use std::collections::BTreeSet;

/// Applies `command` to `view`, and notes in `touched` what became different. A refused command
/// changes neither.
pub(super) fn apply(view: &mut View, touched: &mut BTreeSet<Key>, index: u64, command: &Command) -> Outcome {
    let mut change = Change::new(view, index, touched);
    let done = match command {
        Command::Register(request) => register::register(&mut change, request),
        Command::Deregister(request) => deregister::deregister(&mut change, request),
        Command::UpdateCoordinates(coordinates) => {
            coordinates.iter().for_each(|coordinate| coordinate::put(&mut change, coordinate));
            Ok(())
        }
        Command::RemoveDatacenter { datacenter, cluster } => removals::remove(&mut change, datacenter, *cluster),
        Command::ReadmitDatacenter { datacenter } => removals::readmit(&mut change, datacenter),
        Command::AssignObservers(assigns) => {
            votes::assign(&mut change, assigns);
            Ok(())
        }
        Command::Vote { ballot, at } => {
            votes::vote(&mut change, ballot, *at);
            Ok(())
        }
        Command::SetAutopilot { config, only_at } => autopilot::set(&mut change, config, *only_at),
        Command::Batch(commands) => return apply_all(view, touched, index, commands),
    };
    change.follow();
    done.map_or_else(Outcome::Refused, |()| Outcome::Done)
}

fn apply_all(view: &mut View, touched: &mut BTreeSet<Key>, index: u64, commands: &[Command]) -> Outcome {
    let mut first_refusal = None;
    for command in commands {
        let outcome = if let Command::Batch(_) = command {
            Outcome::Refused(validate::nested())
        } else {
            apply(view, touched, index, command)
        };
        if let Outcome::Refused(fault) = outcome {
            first_refusal.get_or_insert(fault);
        }
    }
    first_refusal.map_or(Outcome::Done, Outcome::Refused)
}
