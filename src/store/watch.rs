//! The watches of parked queries, by the keys they depend on.
//!
//! A watch is made before its view is read, and [`Registry::wake`] is called after a new view is published: a change
//! falls either into the view that is read or upon the watch. A parked watch is one small allocation and an entry under
//! each of its keys; dropping it removes both.

use super::call::{Call, Waiters};
use super::key::{Key, Scope};
use super::prefixes::Prefixes;
use crate::defaults::WATCH_SHARDS;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Shard = HashMap<Key, Waiters>;

#[derive(Debug)]
pub(super) struct Registry {
    shards: Vec<Mutex<Shard>>,
    prefixes: Mutex<Prefixes>,
    hasher: RandomState,
    next_id: AtomicU64,
    /// Set while a view is published whose watches are not all called yet.
    publishing: AtomicBool,
}

impl Registry {
    pub(super) fn new() -> Registry {
        Registry {
            shards: (0..WATCH_SHARDS).map(|_| Mutex::default()).collect(),
            prefixes: Mutex::default(),
            hasher: RandomState::new(),
            next_id: AtomicU64::new(0),
            publishing: AtomicBool::new(false),
        }
    }

    /// Runs `publish`, which swaps a view in and then calls the watches concerned. In between every watch counts as
    /// called: no reader may take its view for the newest while others see a newer one.
    pub(super) fn during(&self, publish: impl FnOnce(&Registry)) {
        self.publishing.store(true, Ordering::SeqCst);
        publish(self);
        self.publishing.store(false, Ordering::SeqCst);
    }

    pub(super) fn watch(self: &Arc<Registry>, scopes: Vec<Scope>) -> Watch {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let called = Arc::new(Call::default());
        for scope in &scopes {
            match scope {
                Scope::Exact(key) => self.shard(key).entry(key.clone()).or_default().insert(id, called.clone()),
                Scope::Prefix(key) => self.prefixes().entry(key).insert(id, called.clone()),
            };
        }
        Watch { registry: self.clone(), scopes, id, called }
    }

    /// Calls every watch of one of `keys`, or of a beginning of one.
    pub(super) fn wake(&self, keys: &BTreeSet<Key>) {
        for key in keys {
            let waiters: Vec<Arc<Call>> = self.shard(key).get(key).into_iter().flat_map(Waiters::values).cloned().collect();
            waiters.iter().for_each(|called| called.call());
        }
        let prefixes = self.prefixes();
        let waiters = keys.iter().flat_map(|key| prefixes.of(key)).flat_map(Waiters::values);
        waiters.for_each(|called| called.call());
    }

    pub(super) fn wake_all(&self) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().flat_map(Waiters::values).for_each(|called| called.call());
        }
        self.prefixes().all().flat_map(Waiters::values).for_each(|called| called.call());
    }

    fn forget(&self, scope: &Scope, id: u64) {
        match scope {
            Scope::Exact(key) => {
                let mut shard = self.shard(key);
                if let Some(waiters) = shard.get_mut(key) {
                    waiters.remove(&id);
                    if waiters.is_empty() {
                        shard.remove(key);
                    }
                }
            }
            Scope::Prefix(key) => self.prefixes().forget(key, id),
        }
    }

    fn prefixes(&self) -> MutexGuard<'_, Prefixes> {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % self.shards.len();
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of keys and beginnings of keys with waiters.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        let exact: usize = self.shards.iter().map(|shard| shard.lock().expect("not poisoned").len()).sum();
        exact + self.prefixes().len()
    }
}

/// Interest in the keys that one query depends on; dropping it frees its entries.
#[derive(Debug)]
pub struct Watch {
    registry: Arc<Registry>,
    scopes: Vec<Scope>,
    id: u64,
    called: Arc<Call>,
}

impl Watch {
    /// True once a change that the query depends on was published since the watch was made.
    pub fn called(&self) -> bool {
        // The order matters: a publication that has ended has set the second one.
        self.registry.publishing.load(Ordering::SeqCst) || self.called.called.load(Ordering::Acquire)
    }

    /// Resolves once for all changes since it last did, or since the watch was made. Cancelling it loses nothing.
    pub async fn changed(&self) {
        self.called.waiting.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for scope in &self.scopes {
            self.registry.forget(scope, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn service(name: &str) -> Key {
        Key::Service(name.into())
    }

    fn watch<const N: usize>(registry: &Arc<Registry>, keys: [Key; N]) -> Watch {
        registry.watch(keys.map(Scope::Exact).into())
    }

    #[test]
    fn a_call_before_the_wait_is_not_missed_and_is_heard_once() {
        let registry = Arc::new(Registry::new());
        let watch = watch(&registry, [service("web")]);
        registry.wake(&BTreeSet::from([service("web")]));
        registry.wake(&BTreeSet::from([service("web")]));
        assert!(watch.changed().now_or_never().is_some());
        assert!(watch.changed().now_or_never().is_none());
    }

    #[test]
    fn another_s_change_wakes_nobody_and_a_new_world_wakes_all() {
        let registry = Arc::new(Registry::new());
        let web = watch(&registry, [service("web"), Key::ServiceGone]);
        let nodes = watch(&registry, [Key::Nodes]);
        registry.wake(&BTreeSet::from([service("db"), Key::Checks]));
        assert!(web.changed().now_or_never().is_none() && nodes.changed().now_or_never().is_none());
        registry.wake_all();
        assert!(web.changed().now_or_never().is_some() && nodes.changed().now_or_never().is_some());
    }

    #[test]
    fn who_waits_for_a_beginning_hears_of_every_name_that_begins_so() {
        let registry = Arc::new(Registry::new());
        let prefix = |name: &str| registry.watch(vec![Scope::Prefix(service(name))]);
        let watches = ["", "we", "web", "web-1", "x"].map(prefix);
        let woken = || watches.each_ref().map(|watch| watch.changed().now_or_never().is_some());
        registry.wake(&BTreeSet::from([service("web"), Key::Node("x".into())]));
        assert_eq!(woken(), [true, true, true, false, false]);
        registry.wake_all();
        assert_eq!(woken(), [true; 5]);
        drop(watches);
        assert_eq!(registry.keys(), 0);
    }

    #[test]
    fn while_a_view_is_published_no_watch_counts_as_quiet() {
        let registry = Arc::new(Registry::new());
        let web = watch(&registry, [service("web")]);
        registry.during(|registry| {
            // A read now sees the new view, and the watch is not called yet.
            assert!(web.called() && web.changed().now_or_never().is_none());
            registry.wake(&BTreeSet::from([service("db")]));
        });
        assert!(!web.called(), "it was another's change");
        registry.during(|registry| registry.wake(&BTreeSet::from([service("web")])));
        assert!(web.called() && web.changed().now_or_never().is_some());
    }

    #[test]
    fn dropped_watches_leave_nothing_behind() {
        let registry = Arc::new(Registry::new());
        let watches: Vec<Watch> = (0..100).map(|n| watch(&registry, [service(&format!("s{}", n % 7)), Key::Nodes])).collect();
        assert_eq!(registry.keys(), 8);
        drop(watches);
        assert_eq!(registry.keys(), 0);
    }
}
