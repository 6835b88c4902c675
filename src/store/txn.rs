//! Transactions: operations that are all done, or none.
//!
//! They run on a copy of the view, which costs little, and take its place when each of them was done.

use super::catalog::{deregister, register};
use super::change::Change;
use super::follow::follow;
use super::key::{Key, Scope};
use super::select::Select;
use super::view::View;
use super::{kv, session, validate};
use crate::defaults::{KV_KEY_BYTES, TXN_RESULT_BYTES, TXN_RESULTS};
use crate::model::check::HealthCheck;
use crate::model::command::{Deregister, Register};
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::kv::{KvChange, KvEntry, KvKey};
use crate::model::node::Node;
use crate::model::service::NodeService;
use crate::model::txn::{CatalogVerb, TxnError, TxnGet, TxnOp, TxnOutcome, TxnResult};
use std::collections::BTreeSet;

/// Does all of `ops`, or none where one fails; every failure is told.
pub(super) fn apply(change: &mut Change<'_>, ops: &[TxnOp]) -> TxnOutcome {
    let (mut draft, mut touched) = (change.view.clone(), BTreeSet::new());
    let mut outcome = TxnOutcome::default();
    for (op_index, op) in ops.iter().enumerate() {
        let mut step = Change::new(&mut draft, change.index, &mut touched);
        match single(&mut step, op, &mut outcome.results) {
            Ok(()) => follow(&mut step),
            Err(what) => outcome.errors.push(TxnError { op_index, what }),
        }
    }
    if outcome.errors.is_empty() {
        *change.view = draft;
        change.touched.append(&mut touched);
    } else {
        outcome.results.clear();
    }
    outcome
}

/// The operations that fail in any state.
pub fn refusals(ops: &[TxnOp]) -> Vec<TxnError> {
    let refused = |(op_index, op)| Some(TxnError { op_index, what: refusal(op)? });
    ops.iter().enumerate().filter_map(refused).collect()
}

/// Why an operation fails in any state.
fn refusal(op: &TxnOp) -> Option<String> {
    let key = match op {
        TxnOp::Kv(change) => Some(change.key()),
        TxnOp::Get(get) => get.key(),
        TxnOp::Node(..) | TxnOp::Service(..) | TxnOp::Check(..) | TxnOp::Refused(_) => None,
    };
    if let Some(length) = key.map(|key| key.as_bytes().len()).filter(|length| *length > KV_KEY_BYTES) {
        return Some(format!("A key of {length} bytes is too long, expected at most {KV_KEY_BYTES}"));
    }
    let text = match op {
        // All keys are a tree as well.
        TxnOp::Kv(KvChange::DeleteTree(_)) => return None,
        TxnOp::Kv(change) if change.key().is_empty() => "Must provide key",
        TxnOp::Get(get) if get.key().is_some_and(KvKey::is_empty) => "Must provide key",
        TxnOp::Kv(KvChange::Lock(_, session) | KvChange::Unlock(_, session)) if session.is_empty() => "missing session",
        TxnOp::Node(_, node) if node.node.is_empty() => "Must provide node",
        TxnOp::Node(_, node) if !node.id.is_empty() => {
            return node.id.parse::<NodeId>().err().map(|error| format!("Bad node ID: {error}"));
        }
        TxnOp::Service(_, _, service) if service.service.is_empty() => "Must provide service name with ID",
        TxnOp::Get(TxnGet::Refused(why)) | TxnOp::Refused(why) => why,
        TxnOp::Get(_) | TxnOp::Kv(_) | TxnOp::Node(..) | TxnOp::Service(..) | TxnOp::Check(..) => return None,
    };
    Some(text.to_owned())
}

fn single(change: &mut Change<'_>, op: &TxnOp, results: &mut Vec<TxnResult>) -> Result<(), String> {
    if let Some(why) = refusal(op) {
        return Err(why);
    }
    match op {
        TxnOp::Get(get) => look(change.view, get, results)?,
        TxnOp::Kv(wanted) => {
            let entry = kv::commands::change(change, wanted).map_err(|refusal| refusal.to_string())?;
            results.extend(entry.map(|entry| written(&entry)));
        }
        TxnOp::Node(verb, node) => change_node(change, *verb, node, results)?,
        TxnOp::Service(verb, node, service) => change_service(change, *verb, node, service, results)?,
        TxnOp::Check(verb, check) => change_check(change, *verb, check, results)?,
        TxnOp::Refused(why) => return Err(why.clone()),
    }
    Ok(())
}

/// Carries out an operation that only looks.
fn look(view: &View, get: &TxnGet, results: &mut Vec<TxnResult>) -> Result<(), String> {
    let absent = |key: &KvKey| format!("key {:?} doesn't exist", key.text());
    match get {
        TxnGet::Key(key) => {
            let entry = view.keys.get(key.as_bytes()).ok_or_else(|| absent(key))?;
            fits(results, bytes_of(results) + entry_bytes(entry))?;
            results.push(TxnResult::Read(KvEntry::clone(entry)));
        }
        TxnGet::KeyOrEmpty(key) => {
            let entry = view.keys.get(key.as_bytes()).map(|entry| KvEntry::clone(entry));
            let entry = entry.unwrap_or_else(|| KvEntry { key: key.clone(), ..KvEntry::default() });
            fits(results, bytes_of(results) + entry_bytes(&entry))?;
            results.push(TxnResult::Read(entry));
        }
        TxnGet::Tree(prefix) => {
            let mut bytes = bytes_of(results);
            for (_, entry) in view.keys.below(prefix.as_bytes()) {
                bytes += entry_bytes(entry);
                fits(results, bytes)?;
                results.push(TxnResult::Read(KvEntry::clone(entry)));
            }
        }
        TxnGet::CheckIndex(key, index) => {
            let entry = view.keys.get(key.as_bytes()).ok_or_else(|| format!("failed to check index, {}", absent(key)))?;
            let is = entry.modify_index;
            if is != *index {
                return Err(format!("failed index check for key {:?}, current modify index {is} != {index}", key.text()));
            }
            results.push(written(entry));
        }
        TxnGet::CheckSession(key, session) => {
            let entry = view.keys.get(key.as_bytes()).ok_or_else(|| format!("failed to check session, {}", absent(key)))?;
            let holder = entry.session.map(|id| id.to_string()).unwrap_or_default();
            if holder != *session {
                let key = key.text();
                return Err(format!("failed session check for key {key:?}, current session {holder:?} != {session:?}"));
            }
            results.push(written(entry));
        }
        TxnGet::CheckNotExists(key) => {
            if view.keys.get(key.as_bytes()).is_some() {
                return Err(format!("key {:?} exists", key.text()));
            }
        }
        TxnGet::Node { id, name } => results.push(TxnResult::Node(node(view, id, name)?)),
        TxnGet::Service { node, id } => {
            let service = service(view, node, id);
            let absent = || format!("service {id:?} on node {node:?} doesn't exist");
            results.push(TxnResult::Service(Box::new(service.ok_or_else(absent)?)));
        }
        TxnGet::Check { node, id } => {
            let check = check(view, node, id);
            let absent = || format!("check {id:?} on node {node:?} doesn't exist");
            results.push(TxnResult::Check(Box::new(check.ok_or_else(absent)?)));
        }
        TxnGet::Nothing => {}
        TxnGet::Refused(why) => return Err(why.clone()),
    }
    Ok(())
}

/// The result of a change or a check of an entry: its value is not shown.
fn written(entry: &KvEntry) -> TxnResult {
    TxnResult::Written(KvEntry { value: bytes::Bytes::new(), ..entry.clone() })
}

/// Bytes of the entries among `results`.
fn bytes_of(results: &[TxnResult]) -> usize {
    let bytes = |result: &TxnResult| match result {
        TxnResult::Read(entry) | TxnResult::Written(entry) => entry_bytes(entry),
        TxnResult::Node(_) | TxnResult::Service(_) | TxnResult::Check(_) => 0,
    };
    results.iter().map(bytes).sum()
}

/// Refuses one result more, with which they would have so many `bytes`.
fn fits(results: &[TxnResult], bytes: usize) -> Result<(), String> {
    let refused = || format!("the results are more than {TXN_RESULTS} or {TXN_RESULT_BYTES} bytes; read in parts");
    (results.len() < TXN_RESULTS && bytes <= TXN_RESULT_BYTES).then_some(()).ok_or_else(refused)
}

fn entry_bytes(entry: &KvEntry) -> usize {
    size_of::<KvEntry>() + entry.key.as_bytes().len() + entry.value.len()
}

fn node(view: &View, id: &str, name: &str) -> Result<Node, String> {
    let by_id = || view.catalog.ids.get(&super::key::key_of(id)).and_then(|key| view.catalog.nodes.get(key));
    let found = if id.is_empty() { view.catalog.node(name) } else { by_id() };
    let shown = if name.is_empty() { id } else { name };
    found.map(|state| state.row.node.clone()).ok_or_else(|| format!("node {shown:?} doesn't exist"))
}

fn service(view: &View, node: &str, id: &str) -> Option<NodeService> {
    Some(view.catalog.node(node)?.service(id)?.service.clone())
}

fn check(view: &View, node: &str, id: &str) -> Option<HealthCheck> {
    Some(view.catalog.node(node)?.check(id)?.check.clone())
}

/// Refuses a change of what was changed at another index than `wanted`, where the verb asks for it.
fn settle(verb: CatalogVerb, known: Option<u64>, wanted: u64, what: &str) -> Result<(), String> {
    match (verb, known) {
        (CatalogVerb::Cas, known) if known.unwrap_or_default() != wanted => Err(format!("failed to set {what}, index is stale")),
        (CatalogVerb::DeleteCas, Some(index)) if index != wanted => Err(format!("failed to delete {what}, index is stale")),
        (CatalogVerb::Set | CatalogVerb::Cas | CatalogVerb::Delete | CatalogVerb::DeleteCas, _) => Ok(()),
    }
}

fn change_node(change: &mut Change<'_>, verb: CatalogVerb, of: &Node, results: &mut Vec<TxnResult>) -> Result<(), String> {
    let known = node(change.view, &of.id, &of.node).ok();
    settle(verb, known.as_ref().map(|node| node.modify_index), of.modify_index, &format!("node {:?}", of.node))?;
    match verb {
        CatalogVerb::Set | CatalogVerb::Cas => {
            let request = Register {
                id: of.id.clone(),
                node: of.node.clone(),
                address: of.address.clone(),
                tagged_addresses: of.tagged_addresses.clone(),
                node_meta: of.meta.clone(),
                ..Register::default()
            };
            validate::node_lengths(&request).and_then(|()| register::put(change, &request)).map_err(|fault| fault.message)?;
            results.push(TxnResult::Node(node(change.view, "", &of.node)?));
        }
        CatalogVerb::Delete | CatalogVerb::DeleteCas => known.iter().for_each(|node| change.remove_node(&node.node)),
    }
    Ok(())
}

fn change_service(
    change: &mut Change<'_>,
    verb: CatalogVerb,
    node: &str,
    of: &NodeService,
    results: &mut Vec<TxnResult>,
) -> Result<(), String> {
    let id = if of.id.is_empty() { &of.service } else { &of.id };
    let known = service(change.view, node, id).map(|service| service.modify_index);
    settle(verb, known, of.modify_index, &format!("service {id:?} on node {node:?}"))?;
    match verb {
        CatalogVerb::Set | CatalogVerb::Cas => {
            register_on(change, node, Register { service: Some(of.clone()), ..Register::default() })?;
            results.extend(service(change.view, node, id).map(|service| TxnResult::Service(Box::new(service))));
        }
        CatalogVerb::Delete | CatalogVerb::DeleteCas => {
            remove(change, Deregister { node: node.to_owned(), service_id: id.clone(), ..Deregister::default() })?;
        }
    }
    Ok(())
}

fn change_check(
    change: &mut Change<'_>,
    verb: CatalogVerb,
    of: &HealthCheck,
    results: &mut Vec<TxnResult>,
) -> Result<(), String> {
    let (node, id) = (&of.node, if of.check_id.is_empty() { &of.name } else { &of.check_id });
    let known = check(change.view, node, id).map(|check| check.modify_index);
    settle(verb, known, of.modify_index, &format!("check {id:?} on node {node:?}"))?;
    match verb {
        CatalogVerb::Set | CatalogVerb::Cas => {
            register_on(change, node, Register { check: Some(of.clone()), ..Register::default() })?;
            results.extend(check(change.view, node, id).map(|check| TxnResult::Check(Box::new(check))));
        }
        CatalogVerb::Delete | CatalogVerb::DeleteCas => {
            remove(change, Deregister { node: node.clone(), check_id: id.clone(), ..Deregister::default() })?;
        }
    }
    Ok(())
}

/// Registers what hangs on a node, which must be there.
fn register_on(change: &mut Change<'_>, node: &str, request: Register) -> Result<(), String> {
    let known = change.view.catalog.node(node).ok_or("Missing node registration")?;
    let request = Register { node: known.row.node.node.clone(), skip_node_update: true, ..request };
    register::register(change, &request).map_err(|fault: Fault| fault.message)
}

/// Removes what hangs on a node, if it is there.
fn remove(change: &mut Change<'_>, request: Deregister) -> Result<(), String> {
    deregister::deregister(change, &request).map_err(|fault| fault.message)
}

/// The results of a transaction that only looks.
pub(super) fn rows(view: &View, gets: &[TxnGet], select: &Select<'_>) -> TxnOutcome {
    let mut outcome = TxnOutcome::default();
    for (op_index, get) in gets.iter().enumerate() {
        let looked = refusal(&TxnOp::Get(get.clone())).map_or(Ok(()), Err);
        if let Err(what) = looked.and_then(|()| look(view, get, &mut outcome.results)) {
            outcome.errors.push(TxnError { op_index, what });
        }
    }
    outcome.results.retain(|result| is_seen(result, select));
    if !outcome.errors.is_empty() {
        outcome.results.clear();
    }
    outcome
}

fn is_seen(result: &TxnResult, select: &Select<'_>) -> bool {
    match result {
        TxnResult::Read(entry) | TxnResult::Written(entry) => select.sees_key(entry.key.as_bytes()),
        TxnResult::Node(node) => select.sees_node(&node.node),
        TxnResult::Service(service) => select.sees_service(&service.service),
        TxnResult::Check(check) => select.sees_check(check),
    }
}

/// The keys that wake such a read.
pub(super) fn scopes(gets: &[TxnGet]) -> Vec<Scope> {
    let scope = |get: &TxnGet| match get {
        TxnGet::Tree(prefix) => vec![Scope::Prefix(Key::Kv(prefix.clone()))],
        TxnGet::Key(key) | TxnGet::KeyOrEmpty(key) | TxnGet::CheckNotExists(key) => vec![Scope::Exact(Key::Kv(key.clone()))],
        TxnGet::CheckIndex(key, _) | TxnGet::CheckSession(key, _) => vec![Scope::Exact(Key::Kv(key.clone()))],
        TxnGet::Node { .. } | TxnGet::Service { .. } | TxnGet::Check { .. } => {
            [Key::Nodes, Key::Services, Key::Checks].map(Scope::Exact).into()
        }
        TxnGet::Nothing | TxnGet::Refused(_) => Vec::new(),
    };
    gets.iter().flat_map(scope).collect()
}

/// The index of its answer: that of all that a transaction can look at.
pub(super) fn index(view: &View) -> u64 {
    let catalog = &view.catalog.indexes;
    [view.keys.last(), session::reads::index(view), catalog.nodes, catalog.services, catalog.checks]
        .into_iter()
        .max()
        .unwrap_or(0)
}
