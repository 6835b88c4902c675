//! Invariants of every catalog, after any log.

use super::node_state::NodeState;
use super::{Catalog, Indexes};
use crate::store::key::key_of;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn verify(catalog: &Catalog, datacenter: &str) {
    let mut rebuilt = Catalog::default();
    for (key, state) in &catalog.nodes {
        verify_node(key, state, &catalog.indexes);
        assert_eq!(state.row.node.datacenter, datacenter);
        rebuilt.place(NodeState::clone(state));
    }
    assert_eq!(catalog.ids, rebuilt.ids);
    let voted = |catalog: &Catalog| catalog.voted.values().map(Arc::as_ptr).collect::<Vec<_>>();
    assert_eq!(voted(catalog), voted(&rebuilt));
    for (groups, made) in [(&catalog.services, &rebuilt.services), (&catalog.connect, &rebuilt.connect)] {
        assert_eq!(groups.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>());
        for (name, group) in groups {
            let of_rows = group.entries.iter().map(|entry| (Arc::as_ptr(&entry.node), Arc::as_ptr(&entry.service)));
            let of_nodes = made[name].entries.iter().map(|entry| (Arc::as_ptr(&entry.node), Arc::as_ptr(&entry.service)));
            assert!(of_rows.eq(of_nodes), "the instances of {name}");
            for (entry, made) in group.entries.iter().zip(&made[name].entries) {
                let same = entry.checks.iter().map(Arc::as_ptr).eq(made.checks.iter().map(Arc::as_ptr));
                assert!(same && entry.passing == made.passing, "the checks of {name}");
            }
        }
    }
}

fn verify_node(key: &str, state: &NodeState, indexes: &Indexes) {
    assert_eq!(key, &*key_of(&state.row.node.node));
    assert!(state.row.node.modify_index <= indexes.nodes.min(state.services_index), "{state:?}");
    let ids: BTreeSet<&str> = state.services.iter().map(|row| row.service.id.as_str()).collect();
    assert!(ids.iter().copied().eq(state.services.iter().map(|row| row.service.id.as_str())), "sorted, and each once");
    assert!(state.checks.is_sorted_by(|one, next| one.check.check_id < next.check.check_id), "sorted, and each once");
    for row in &state.services {
        assert!(row.service.modify_index <= indexes.services.min(state.services_index), "{row:?}");
    }
    for row in &state.checks {
        let check = &row.check;
        assert!(check.modify_index <= indexes.checks.min(state.checks_index), "{row:?}");
        assert!(check.modify_index <= indexes.states[check.status as usize], "{row:?}");
        assert_eq!(check.node, state.row.node.node);
        if let Some(service) = state.service(&check.service_id) {
            let (name, tags) = (&service.service.service, &service.service.tags);
            assert_eq!((&check.service_name, &check.service_tags), (name, tags));
        } else {
            assert!(row.is_of_node(), "of an instance that is not there: {row:?}");
        }
        assert!(row.assignment.is_none() || row.is_voted(), "{row:?}");
    }
}
