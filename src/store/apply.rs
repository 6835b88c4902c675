//! One command of the log applied to a view: pure, total, deterministic. Every command ends with a result.

use super::catalog::{deregister, register, votes};
use super::change::Change;
use super::coordinate::commands as coordinates;
use super::follow::follow;
use super::key::Key;
use super::view::View;
use super::{autopilot, kv, removals, session, txn, validate};
use crate::model::command::{Command, Effect, Written};
use crate::model::fault::Fault;
use crate::model::kv::{KvChange, KvRefusal};
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
        Command::Kv(wanted) => effect = change_key(&mut change, wanted)?,
        Command::CreateSession(wanted) => effect = Effect::Session(session::commands::create(&mut change, wanted)?),
        Command::EndSessions(ids) => ids.iter().for_each(|id| session::commands::end(&mut change, *id)),
        Command::Txn(ops) => effect = Effect::Txn(Box::new(txn::apply(&mut change, ops))),
        Command::ExpireKeys(keys) => kv::commands::expire(&mut change, keys),
        Command::EndLockDelays(delays) => kv::commands::end_delays(&mut change, delays),
        Command::ReapTombstones(index) => kv::commands::reap(&mut change, *index),
        Command::Batch(_) => return Err(validate::nested()),
    }
    follow(&mut change);
    Ok(Written { index, effect })
}

/// A change outside of a transaction: whether it is made is its result.
fn change_key(change: &mut Change<'_>, wanted: &KvChange) -> Result<Effect, Fault> {
    validate::key(wanted)?;
    match kv::commands::change(change, wanted) {
        Ok(_written) => Ok(Effect::Set(true)),
        Err(KvRefusal::Session(text)) => Err(Fault::failed(text)),
        Err(KvRefusal::Stale { .. } | KvRefusal::Held(_) | KvRefusal::Delayed(_) | KvRefusal::NotHeld(_)) => {
            Ok(Effect::Set(false))
        }
    }
}
