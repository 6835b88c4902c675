//! The replicated state in memory: nodes, services, checks, coordinates.
//!
//! Raft's state machine owns the one [`Store`] and applies commands to it in log order; everybody
//! else holds a [`Reader`], takes an `Arc<View>` without a lock, and runs queries on it. This room
//! never reads a clock, draws no random number, does no I/O, and reads no configuration.

pub mod snapshot;

use crate::model::command::{Command, Outcome};
use crate::model::fault::Fault;
use crate::model::query::Query;
use bytes::Bytes;
use std::sync::Arc;

/// One consistent state of everything, immutable.
#[derive(Debug, Default)]
pub struct View {}

/// What a query came to on one view.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The result's own index, at least 1.
    pub index: u64,
    /// The JSON.
    pub body: Bytes,
    /// False for what answers 404 with index headers.
    pub found: bool,
}

/// The single writer.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// An empty catalog of `datacenter`.
    pub fn new(_datacenter: &str) -> Store {
        todo!()
    }

    /// A reader of what this store publishes; cheap to clone.
    pub fn reader(&self) -> Reader {
        todo!()
    }

    /// Applies one command of the log at its index. Readers see it after [`Store::publish`].
    pub fn apply(&mut self, _index: u64, _command: &Command) -> Outcome {
        todo!()
    }

    /// Swaps in what was applied since the last call, and wakes who waits for it. Called once per
    /// applied batch.
    pub fn publish(&mut self) {
        todo!()
    }

    /// The state as of the last apply, for a snapshot; O(1).
    pub fn view(&self) -> Arc<View> {
        todo!()
    }

    /// Replaces everything by a snapshot's view and wakes every watch.
    pub fn restore(&mut self, _view: View) {
        todo!()
    }
}

/// Reads what a [`Store`] has published.
#[derive(Clone, Debug)]
pub struct Reader {}

impl Reader {
    /// The newest published view.
    pub fn view(&self) -> Arc<View> {
        todo!()
    }

    /// Runs a query of the store on the newest view. `Read`s that are not of the store are a fault.
    pub fn read(&self, _query: &Query) -> Result<Rendered, Fault> {
        todo!()
    }

    /// Registers interest in what `query` depends on. Make the watch first, then read: a change
    /// between the two wakes it.
    pub fn watch(&self, _query: &Query) -> Watch {
        todo!()
    }
}

/// Interest in what one query depends on; dropping it frees what it held.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Resolves when something the query depends on was published since the watch was made or
    /// since this resolved last.
    pub async fn changed(&mut self) {
        todo!()
    }
}
