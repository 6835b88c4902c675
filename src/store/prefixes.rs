//! The waiters for names by their beginning.

use super::call::Waiters;
use super::key::Key;
use std::collections::{BTreeMap, HashMap};
use std::mem::{Discriminant, discriminant};
use std::ops::Bound::{Included, Unbounded};

/// The waiters by kind of key and by the beginning of a name.
#[derive(Debug, Default)]
pub(super) struct Prefixes(HashMap<Discriminant<Key>, BTreeMap<Box<[u8]>, Waiters>>);

impl Prefixes {
    /// The waiters for exactly this beginning.
    pub(super) fn entry(&mut self, prefix: &Key) -> &mut Waiters {
        self.0.entry(discriminant(prefix)).or_default().entry(prefix.name().into()).or_default()
    }

    pub(super) fn forget(&mut self, prefix: &Key, id: u64) {
        let Some(kind) = self.0.get_mut(&discriminant(prefix)) else { return };
        if let Some(waiters) = kind.get_mut(prefix.name()) {
            waiters.remove(&id);
            if waiters.is_empty() {
                kind.remove(prefix.name());
            }
        }
        if kind.is_empty() {
            self.0.remove(&discriminant(prefix));
        }
    }

    /// The waiters for a beginning of the name of `key`. The steps are as many as the beginnings that are found, and at
    /// most one more for each length in between, however many others wait.
    pub(super) fn of(&self, key: &Key) -> Vec<&Waiters> {
        let (mut found, name) = (Vec::new(), key.name());
        let Some(kind) = self.0.get(&discriminant(key)) else { return found };
        let mut length = Some(name.len());
        while let Some(rest) = length {
            // Every beginning of `rest` comes before it, the longest last.
            let before = kind.range::<[u8], _>((Unbounded, Included(&name[..rest]))).next_back();
            let Some((prefix, waiters)) = before else { break };
            let common = prefix.iter().zip(name).take_while(|(one, other)| one == other).count();
            let is_prefix = common == prefix.len();
            if is_prefix {
                found.push(waiters);
            }
            // None lies between it and `rest`; a beginning that comes before it is one of both.
            length = if is_prefix { common.checked_sub(1) } else { Some(common) };
        }
        found
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Waiters> {
        self.0.values().flat_map(BTreeMap::values)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn those_are_found_whose_text_begins_the_name_and_no_others(
            prefixes in prop::collection::btree_set("[ab]{0,5}", 0..24),
            name in "[ab]{0,8}",
        ) {
            let mut all = Prefixes::default();
            for (id, prefix) in prefixes.iter().enumerate() {
                all.entry(&Key::NodeId(prefix.as_str().into())).insert(id as u64, Default::default());
            }
            let found = all.of(&Key::NodeId(name.as_str().into())).into_iter().flat_map(Waiters::keys).copied();
            let mut found: Vec<u64> = found.collect();
            found.sort_unstable();
            let begins = |(id, prefix): (usize, &String)| name.starts_with(prefix.as_str()).then_some(id as u64);
            let expected: Vec<u64> = prefixes.iter().enumerate().filter_map(begins).collect();
            prop_assert_eq!(found, expected);
            prop_assert!(all.of(&Key::Node(name.as_str().into())).is_empty(), "of another kind");
            for (id, prefix) in prefixes.iter().enumerate() {
                all.forget(&Key::NodeId(prefix.as_str().into()), id as u64);
            }
            prop_assert!(all.0.is_empty());
        }
    }
}
