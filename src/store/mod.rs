//! The replicated state in memory: nodes, services, checks, coordinates, keys, sessions, removed datacenters, autopilot.
//!
//! Raft's state machine owns the one [`Store`] and applies commands to it in log order. All others hold a [`Reader`],
//! take an `Arc<View>` without a lock, and run queries on it. This room reads no clock and no configuration, draws no
//! random number that shows, and does no I/O.
//!
//! In reading order: each replicated kind is a module of its own (`catalog`, `coordinate`, `removals`, `autopilot`,
//! `kv`, `session`, `format`), with the parts that `table` names, and a `view` is all of them. `apply` carries out a command as a
//! `change` of the view, and `follow` has other tables follow; `query` finds rows in a view, chosen by `select` and the rights of
//! an `authorizer`, and shows them as `json`; `watch` calls the waiters for a changed `key`, or for its beginning
//! (`prefixes`); `snapshot` writes a view out as `record`s and reads it back.

mod apply;
mod authorizer;
mod autopilot;
mod call;
mod catalog;
mod change;
mod coordinate;
mod follow;
mod format;
mod json;
mod key;
mod kv;
mod prefixes;
mod query;
mod record;
mod removals;
mod select;
mod session;
pub mod snapshot;
mod table;
pub mod txn;
pub mod validate;
mod view;
mod watch;

#[cfg(test)]
mod tests;

pub use catalog::{CatalogRows, CheckRow, Entry, Group, Instances, Names, NodeRef, NodeRow, NodeServices, Observed, ServiceRow};
pub use coordinate::CoordinateRow;
pub use coordinate::reads::CoordinateRows;
pub use kv::LockDelay;
pub use kv::reads::KvRows;
pub use query::{Found, Rows};
pub use session::reads::SessionRows;
pub use view::View;
pub use watch::Watch;

use crate::model::answer::{Found as IsFound, Panic};
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::operation::Access;
use crate::model::principal::Principal;
use crate::model::query::ViewQuery;
use crate::model::removals::Removals;
use crate::model::vote::Ballot;
use arc_swap::ArcSwap;
use bytes::Bytes;
use key::{Key, Scope};
use std::collections::BTreeSet;
use std::sync::Arc;
use watch::Registry;

/// The answer to a query on one view, as JSON.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub index: u64,
    pub body: Bytes,
    pub found: IsFound,
    /// The service of which all instances are listed, because too few of them pass.
    pub panic: Option<Box<Panic>>,
}

/// The part that a store and its readers share.
#[derive(Debug)]
struct Published {
    view: ArcSwap<View>,
    watches: Arc<Registry>,
}

#[derive(Debug)]
pub struct Store {
    /// As of the last apply.
    view: Arc<View>,
    /// The keys that became different since the last publish.
    touched: BTreeSet<Key>,
    published: Arc<Published>,
}

impl Store {
    pub fn new(datacenter: &str) -> Store {
        let view = Arc::new(View::empty(datacenter));
        let published = Published { view: ArcSwap::new(view.clone()), watches: Arc::new(Registry::new()) };
        Store { view, touched: BTreeSet::new(), published: Arc::new(published) }
    }

    pub fn datacenter(&self) -> &str {
        &self.view.datacenter
    }

    /// A reader of the published views; cheap to clone.
    pub fn reader(&self) -> Reader {
        Reader { published: self.published.clone(), panic_threshold: 0 }
    }

    /// Applies one command of the log entry at `log_index`. Readers see it after [`Store::publish`].
    pub fn apply(&mut self, log_index: u64, command: &Command) -> Result<Written, Fault> {
        apply::apply(Arc::make_mut(&mut self.view), &mut self.touched, log_index, command)
    }

    pub fn level(&self) -> u32 {
        self.view.format.level()
    }

    /// Swaps in the commands applied since the last call, and wakes their watches. Called once per applied batch.
    pub fn publish(&mut self) {
        let (touched, published) = (std::mem::take(&mut self.touched), &self.published);
        published.watches.during(|watches| {
            published.view.store(self.view.clone());
            watches.wake(&touched);
        });
    }

    /// The state as of the last apply, for a snapshot; O(1).
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Replaces everything by a snapshot's view and wakes every watch.
    pub fn restore(&mut self, view: View) {
        let datacenter = self.view.datacenter.clone();
        self.view = Arc::new(view.moved_to(&datacenter));
        self.touched.clear();
        let published = &self.published;
        published.watches.during(|watches| {
            published.view.store(self.view.clone());
            watches.wake_all();
        });
    }
}

/// A reader of the views that a [`Store`] has published.
#[derive(Clone, Debug)]
pub struct Reader {
    published: Arc<Published>,
    /// Percentage of passing instances below which a service's `passing` answers hold all of them; 0 for never.
    panic_threshold: u8,
}

impl Reader {
    pub fn with_panic_threshold(self, percent: u8) -> Reader {
        Reader { panic_threshold: percent, ..self }
    }

    /// The number of keys with waiters.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        self.published.watches.keys()
    }

    pub fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }

    pub fn read(&self, query: ViewQuery<'_>) -> Result<Rendered, Fault> {
        Ok(self.published.view.load().find(query, self.panic_threshold)?.render())
    }

    /// Refuses a read of which its principal may see nothing, by the newest view. `name` is that of the thing read.
    pub fn permit_read(&self, principal: &Principal, access: Access, name: &[u8]) -> Result<(), Fault> {
        self.published.view.load().authorizer(principal).permit_read(access, name)
    }

    /// Refuses an operation that its principal may not do, by the newest view. `name` is that of the thing it is done to.
    pub fn permit(&self, principal: &Principal, access: Access, name: &[u8]) -> Result<(), Fault> {
        self.published.view.load().authorizer(principal).permit(access, name)
    }

    /// The clusters of other datacenters that are removed.
    pub fn removals(&self) -> Arc<Removals> {
        Arc::clone(&self.published.view.load().removals)
    }

    /// Interest in [`Reader::removals`], to be registered before they are read.
    pub fn watch_removals(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Removals)])
    }

    /// Autopilot's configuration; unset before a leader has written it down.
    pub fn autopilot(&self) -> Option<Arc<AutopilotConfig>> {
        self.published.view.load().autopilot.clone()
    }

    /// Interest in [`Reader::autopilot`], to be registered before it is read.
    pub fn watch_autopilot(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Autopilot)])
    }

    /// The voted checks with their observers.
    pub fn observed(&self) -> Vec<Observed> {
        catalog::observed::all(&self.published.view.load().catalog)
    }

    /// The votes that count: under an assignment that stands, and by one of its observers.
    pub fn countable(&self, ballot: &Ballot) -> Ballot {
        catalog::votes::countable(&self.published.view.load(), ballot)
    }

    /// Interest in [`Reader::observed`], to be registered before they are read.
    pub fn watch_observed(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Voted)])
    }

    /// Registers interest in what ends with time: sessions, keys with a TTL, lock delays, deletions; to be made before
    /// they are read.
    pub fn watch_expiry(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Sessions), Scope::Exact(Key::Expiry)])
    }

    /// Interest in the keys that `query` depends on. Make the watch first, then read: a change between the two wakes it.
    pub fn watch(&self, query: ViewQuery<'_>) -> Watch {
        let scopes = self.published.view.load().scopes_of(query);
        self.published.watches.watch(scopes)
    }
}
