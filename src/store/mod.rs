//! The replicated state in memory: nodes, services, checks, coordinates, keys, sessions, removed datacenters, autopilot.
//!
//! Raft's state machine owns the one [`Store`] and applies commands to it in log order; everybody
//! else holds a [`Reader`], takes an `Arc<View>` without a lock, and runs queries on it. This room
//! never reads a clock, draws no random number that shows, does no I/O, and reads no configuration.
//!
//! In reading order: each replicated kind is a module of its own (`catalog`, `coordinate`, `removals`,
//! `autopilot`, `kv`, `session`, `format`), with the parts that `table` names, and a `view` is all of them. `apply` carries out a
//! command as a `change` of the view, which other tables follow; `query` finds rows in a view, chosen by
//! `select`, and shows them as `json`; `watch` calls those who wait for what has changed by its `key`, or by
//! the beginning of it (`prefixes`); `snapshot` writes a view out and reads it back.

mod apply;
mod authorizer;
mod autopilot;
mod call;
mod catalog;
mod change;
mod coordinate;
mod format;
mod json;
mod key;
mod kv;
mod prefixes;
mod query;
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
pub use coordinate::{CoordinateRow, CoordinateRows};
pub use kv::{KvRows, LockDelay};
pub use query::{Found, Rows};
pub use session::SessionRows;
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

/// What a query came to on one view.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The result's own index, at least 1.
    pub index: u64,
    /// The JSON.
    pub body: Bytes,
    /// Whether the thing asked for is there.
    pub found: IsFound,
    /// The service of which all instances are listed, because too few of them pass.
    pub panic: Option<Box<Panic>>,
}

/// What a store and its readers share.
#[derive(Debug)]
struct Published {
    view: ArcSwap<View>,
    watches: Arc<Registry>,
}

/// The single writer.
#[derive(Debug)]
pub struct Store {
    /// As of the last apply.
    view: Arc<View>,
    /// What became different since the last publish.
    touched: BTreeSet<Key>,
    published: Arc<Published>,
}

impl Store {
    /// An empty catalog of `datacenter`.
    pub fn new(datacenter: &str) -> Store {
        let view = Arc::new(View::empty(datacenter));
        let published = Published { view: ArcSwap::new(view.clone()), watches: Arc::new(Registry::new()) };
        Store { view, touched: BTreeSet::new(), published: Arc::new(published) }
    }

    /// Whose catalog it is.
    pub fn datacenter(&self) -> &str {
        &self.view.datacenter
    }

    /// A reader of what this store publishes; cheap to clone.
    pub fn reader(&self) -> Reader {
        Reader { published: self.published.clone(), panic_threshold: 0 }
    }

    /// Applies one command of the log entry at `log_index`. Readers see it after [`Store::publish`].
    pub fn apply(&mut self, log_index: u64, command: &Command) -> Result<Written, Fault> {
        apply::apply(Arc::make_mut(&mut self.view), &mut self.touched, log_index, command)
    }

    /// The format level in force.
    pub fn level(&self) -> u32 {
        self.view.format.level()
    }

    /// Swaps in what was applied since the last call, and wakes who waits for it. Called once per
    /// applied batch.
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

/// Reads what a [`Store`] has published.
#[derive(Clone, Debug)]
pub struct Reader {
    published: Arc<Published>,
    /// Below which percentage of passing instances a service's `passing` answers hold all of them.
    panic_threshold: u8,
}

impl Reader {
    /// The same, whose `passing` answers hold all instances of a service when fewer than so many of a
    /// hundred pass; 0 for never. What is stored is the same for every reader.
    pub fn with_panic_threshold(self, percent: u8) -> Reader {
        Reader { panic_threshold: percent, ..self }
    }

    /// How many keys are waited for.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        self.published.watches.keys()
    }

    /// The newest published view.
    pub fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }

    /// Runs a query on the newest view.
    pub fn read(&self, query: ViewQuery<'_>) -> Result<Rendered, Fault> {
        Ok(self.published.view.load().find(query, self.panic_threshold)?.render())
    }

    /// Refuses a read of which its principal may see nothing, by the newest view. `name` is what is read.
    pub fn permit_read(&self, principal: &Principal, access: Access, name: &[u8]) -> Result<(), Fault> {
        self.published.view.load().authorizer(principal).permit_read(access, name)
    }

    /// Refuses what its principal may not do, by the newest view. `name` is what it is done to.
    pub fn permit(&self, principal: &Principal, access: Access, name: &[u8]) -> Result<(), Fault> {
        self.published.view.load().authorizer(principal).permit(access, name)
    }

    /// Which clusters of other datacenters are removed.
    pub fn removals(&self) -> Arc<Removals> {
        Arc::clone(&self.published.view.load().removals)
    }

    /// Registers interest in [`Reader::removals`]; to be made before they are read.
    pub fn watch_removals(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Removals)])
    }

    /// How servers are treated; nothing before a leader has written it down.
    pub fn autopilot(&self) -> Option<Arc<AutopilotConfig>> {
        self.published.view.load().autopilot.clone()
    }

    /// Registers interest in [`Reader::autopilot`]; to be made before it is read.
    pub fn watch_autopilot(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Autopilot)])
    }

    /// The voted checks, with who observes them.
    pub fn observed(&self) -> Vec<Observed> {
        catalog::observed::all(&self.published.view.load())
    }

    /// Those of the votes that are of an assignment that stands, by somebody who may vote under it.
    pub fn countable(&self, ballot: &Ballot) -> Ballot {
        catalog::votes::countable(&self.published.view.load(), ballot)
    }

    /// Registers interest in [`Reader::observed`]; to be made before they are read.
    pub fn watch_observed(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Voted)])
    }

    /// Registers interest in what ends with time: sessions, keys with a TTL, lock delays, deletions; to be made before
    /// they are read.
    pub fn watch_expiry(&self) -> Watch {
        self.published.watches.watch(vec![Scope::Exact(Key::Sessions), Scope::Exact(Key::Expiry)])
    }

    /// Registers interest in what `query` depends on. Make the watch first, then read: a change
    /// between the two wakes it.
    pub fn watch(&self, query: ViewQuery<'_>) -> Watch {
        let scopes = self.published.view.load().scopes_of(query);
        self.published.watches.watch(scopes)
    }
}
