//! A node changed as a whole, with its services, its checks, and the groups that list them: the one place where indexes
//! of the catalog move and its watches are called.

use super::group::Group;
use super::node_state::NodeState;
use super::rows::{CheckRow, NodeRow, ServiceRow};
use crate::model::check::CheckStatus;
use crate::model::operation::Lookup;
use crate::store::change::{Cause, Change};
use crate::store::key::{Key, key_of};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Change<'_> {
    /// Puts a node in the place of the one of the same name.
    pub(crate) fn put_node(&mut self, state: NodeState) {
        let key = key_of(&state.row.node.node);
        let old = self.view.catalog.nodes.get(&key).cloned();
        self.replace(&key, old.as_deref(), Some(state));
    }

    /// Removes a node with all that hangs on it.
    pub(crate) fn remove_node(&mut self, name: &str) {
        let key = key_of(name);
        if let Some(old) = self.view.catalog.nodes.get(&key).cloned() {
            self.replace(&key, Some(&old), None);
        }
    }

    fn replace(&mut self, key: &Arc<str>, old: Option<&NodeState>, new: Option<NodeState>) {
        let row_changed = self.note_node(key, old, new.as_ref());
        let changed_services = self.note_services(old, new.as_ref());
        let moved = self.note_checks(key, old, new.as_ref());
        let services_moved = row_changed || !changed_services.is_empty();
        let checks_moved = moved.any || old.is_some() != new.is_some();
        if !services_moved && !checks_moved {
            return;
        }
        let affected: BTreeSet<String> = if row_changed || moved.node {
            let states = [old, new.as_ref()].into_iter().flatten();
            states.flat_map(|state| &state.services).map(|row| row.service.id.clone()).collect()
        } else {
            changed_services.into_iter().chain(moved.services).collect()
        };
        for id in &affected {
            self.regroup(id, old, new.as_ref());
        }
        self.touched.extend(services_moved.then(|| Key::Node(key.clone())));
        self.touched.extend(checks_moved.then(|| Key::NodeChecks(key.clone())));
        let Some(mut state) = new else {
            self.view.catalog.nodes.remove(key);
            self.view.catalog.indexes.node_gone = self.index;
            self.causes.push_back(Cause::NodeGone(key.clone()));
            return;
        };
        if services_moved {
            state.services_index = self.index;
        }
        if checks_moved {
            state.checks_index = self.index;
        }
        self.view.catalog.nodes.insert(key.clone(), Arc::new(state));
    }

    /// True when the node's own row is another; keeps the map of ids.
    fn note_node(&mut self, key: &Arc<str>, old: Option<&NodeState>, new: Option<&NodeState>) -> bool {
        let (before, after) = (old.map(|state| &state.row), new.map(|state| &state.row));
        if before.map(Arc::as_ptr) == after.map(Arc::as_ptr) {
            return false;
        }
        let id_of = |row: Option<&Arc<NodeRow>>| row.map(|row| &row.node.id).filter(|id| !id.is_empty()).map(|id| key_of(id));
        let (lost, gained) = (id_of(before), id_of(after));
        if lost != gained {
            lost.iter().for_each(|id| _ = self.view.catalog.ids.remove(id));
            gained.iter().for_each(|id| _ = self.view.catalog.ids.insert(id.clone(), key.clone()));
            self.touched.extend([lost, gained].into_iter().flatten().map(Key::NodeId));
        }
        self.view.catalog.indexes.nodes = self.index;
        self.touched.insert(Key::Nodes);
        true
    }

    /// The ids of the instances whose own row is another.
    fn note_services(&mut self, old: Option<&NodeState>, new: Option<&NodeState>) -> Vec<String> {
        let (old, new) = (old.map_or(&[][..], |state| &state.services), new.map_or(&[][..], |state| &state.services));
        let pairs = changed_rows(old, new, |row| &row.service.id);
        let rows = pairs.into_iter().filter_map(|(before, after)| after.or(before));
        let changed: Vec<String> = rows.map(|row| row.service.id.clone()).collect();
        if !changed.is_empty() {
            self.view.catalog.indexes.services = self.index;
            self.touched.insert(Key::Services);
        }
        changed
    }

    /// The node and the instances that the changed checks belong to.
    fn note_checks(&mut self, node: &Arc<str>, old: Option<&NodeState>, new: Option<&NodeState>) -> Moved {
        let (old, new) = (old.map_or(&[][..], |state| &state.checks), new.map_or(&[][..], |state| &state.checks));
        let mut moved = Moved::default();
        for (before, after) in changed_rows(old, new, |row| &row.check.check_id) {
            self.note_voted(node, before, after);
            self.note_down(node, before, after);
            for row in [before, after].into_iter().flatten() {
                moved.note(row);
                *self.view.catalog.indexes.state(row.check.status) = self.index;
                self.touched.insert(Key::State(row.check.status));
            }
        }
        if moved.any {
            self.view.catalog.indexes.checks = self.index;
            self.touched.insert(Key::Checks);
        }
        moved
    }

    /// Has others follow a check that has become critical, or is gone.
    fn note_down(&mut self, node: &Arc<str>, before: Option<&Arc<CheckRow>>, after: Option<&Arc<CheckRow>>) {
        let is_down = after.is_none_or(|row| row.check.status == CheckStatus::Critical);
        if let Some(row) = after.or(before).filter(|_| is_down) {
            self.causes.push_back(Cause::CheckDown { node: node.clone(), check: row.check.check_id.clone() });
        }
    }

    /// Keeps the list of voted checks, and calls the observers of one that is to be probed otherwise.
    fn note_voted(&mut self, node: &Arc<str>, before: Option<&Arc<CheckRow>>, after: Option<&Arc<CheckRow>>) {
        let (before, after) = (before.filter(|row| row.is_voted()), after.filter(|row| row.is_voted()));
        let Some(row) = after.or(before) else { return };
        let key = (node.clone(), row.check.check_id.as_str().into());
        match after {
            Some(row) => _ = self.view.catalog.voted.insert(key, row.clone()),
            None => _ = self.view.catalog.voted.remove(&key),
        }
        if before.zip(after).is_some_and(|(before, after)| before.is_observed_as(after)) {
            return;
        }
        self.view.catalog.indexes.observers = self.index;
        self.touched.insert(Key::Voted);
        for observer in [before, after].into_iter().flatten().flat_map(|row| row.observers()) {
            self.touched.insert(Key::Observed(key_of(observer)));
        }
    }

    /// Lists an instance anew in its groups, and takes it out of those that it has left.
    fn regroup(&mut self, id: &str, old: Option<&NodeState>, new: Option<&NodeState>) {
        let before = old.and_then(|state| state.service(id).map(|row| (state, row)));
        let after = new.and_then(|state| state.service(id).map(|row| (state, row)));
        for lookup in [Lookup::Plain, Lookup::Connect] {
            let name = |row: &ServiceRow| match lookup {
                Lookup::Connect => row.connect.clone(),
                _ => Some(row.key.clone()),
            };
            let (from, to) = (before.and_then(|(_, row)| name(row)), after.and_then(|(_, row)| name(row)));
            if let (Some(group), Some((state, _))) = (&from, before) {
                let stays = from == to && after.is_some_and(|(now, _)| now.row.node.node == state.row.node.node);
                if !stays {
                    self.edit(lookup, group, |entries| entries.remove(&state.row.node.node, id));
                }
            }
            if let (Some(group), Some((state, row))) = (&to, after) {
                self.edit(lookup, group, |entries| entries.put(state.entry(row)));
            }
            for group in [from, to].into_iter().flatten() {
                self.settle(lookup, group);
            }
        }
    }

    fn edit(&mut self, lookup: Lookup, key: &Arc<str>, edit: impl FnOnce(&mut Group)) {
        let group = Arc::make_mut(self.view.catalog.groups(lookup).entry(key.clone()).or_default());
        edit(group);
        group.renew(self.index);
    }

    /// Drops a group that has lost its last instance, and calls its watches.
    fn settle(&mut self, lookup: Lookup, key: Arc<str>) {
        let groups = self.view.catalog.groups(lookup);
        if groups.get(&key).is_some_and(|group| group.entries.is_empty()) {
            groups.remove(&key);
            self.view.catalog.indexes.service_gone = self.index;
            self.touched.insert(Key::ServiceGone);
        }
        self.touched.insert(match lookup {
            Lookup::Connect => Key::Connect(key),
            _ => Key::Service(key),
        });
    }
}

/// The owners of changed checks.
#[derive(Debug, Default)]
struct Moved {
    any: bool,
    /// A check of the whole node is among them.
    node: bool,
    /// Ids of instances.
    services: Vec<String>,
}

impl Moved {
    fn note(&mut self, row: &CheckRow) {
        self.any = true;
        if row.is_of_node() {
            self.node = true;
        } else {
            self.services.push(row.check.service_id.clone());
        }
    }
}

/// A row as it was and as it is.
type Pair<'a, T> = (Option<&'a Arc<T>>, Option<&'a Arc<T>>);

/// The rows of two lists sorted by id that are not the same one.
fn changed_rows<'a, T>(old: &'a [Arc<T>], new: &'a [Arc<T>], id: impl Fn(&T) -> &String) -> Vec<Pair<'a, T>> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut changed = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changed,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => id(before).cmp(id(after)),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        if before.map(Arc::as_ptr) != after.map(Arc::as_ptr) {
            changed.push((before, after));
        }
    }
}
