//! What Raft needs of the state it replicates: a few verbs, implemented by the catalog's `Store`.
//!
//! The state machine adapter owns one; tests put a small one of their own in its place.

use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::store::{Store, View, snapshot, validate};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A replicated state.
pub(crate) trait Machine: Send + Sync + 'static {
    /// Applies one command of the log entry at `log_index`.
    fn apply(&mut self, log_index: u64, command: &Command) -> Result<Written, Fault>;
    /// The format level in force.
    fn level(&self) -> u32;
    /// Shows readers what was applied.
    fn publish(&mut self);
    /// The state as it is, to be written from another thread.
    fn freeze(&self) -> Box<dyn Frozen>;
    /// Replaces the state by a snapshot's, and shows it to readers. A broken one changes nothing.
    fn restore(&mut self, input: &mut dyn Read) -> Result<Vec<u8>, String>;
    /// One like it at the beginning, which nobody reads.
    fn blank(&self) -> Box<dyn Machine>;
    /// Where the servers of the cluster take Raft's messages, as far as the state says so.
    fn servers(&self) -> Vec<(SocketAddr, NodeId)>;
    /// Reads a whole snapshot and returns what was kept beside the state, or says what is wrong.
    fn verifier(&self) -> Verifier;
    /// Finds out what a command would be refused for in any state.
    fn checker(&self) -> Checker;
}

/// Checks a command before it is proposed.
pub(crate) type Checker = fn(&Command) -> Result<(), Fault>;

/// Checks a snapshot without installing it.
pub(crate) type Verifier = fn(&mut dyn Read) -> Result<Vec<u8>, String>;

/// A state at one index.
pub(crate) trait Frozen: Send + Sync + 'static {
    /// Writes it, with the opaque `last` beside it.
    fn write(&self, last: &[u8], out: &mut dyn Write) -> io::Result<()>;
}

impl Machine for Store {
    fn apply(&mut self, log_index: u64, command: &Command) -> Result<Written, Fault> {
        Store::apply(self, log_index, command)
    }

    fn level(&self) -> u32 {
        Store::level(self)
    }

    fn publish(&mut self) {
        Store::publish(self);
    }

    fn freeze(&self) -> Box<dyn Frozen> {
        Box::new(self.view())
    }

    fn restore(&mut self, mut input: &mut dyn Read) -> Result<Vec<u8>, String> {
        let (view, last) = snapshot::decode(&mut input)?;
        Store::restore(self, view);
        Ok(last)
    }

    fn blank(&self) -> Box<dyn Machine> {
        Box::new(Store::new(self.datacenter()))
    }

    fn servers(&self) -> Vec<(SocketAddr, NodeId)> {
        let servers = self.view().instances("consul");
        let placed = servers.into_iter().filter_map(|(id, address, port)| {
            let ip: IpAddr = address.parse().ok()?;
            Some((SocketAddr::new(ip, port), id.parse().ok()?))
        });
        placed.collect()
    }

    fn verifier(&self) -> Verifier {
        |mut input| snapshot::decode(&mut input).map(|(_view, last)| last)
    }

    fn checker(&self) -> Checker {
        validate::command
    }
}

impl Frozen for Arc<View> {
    fn write(&self, last: &[u8], mut out: &mut dyn Write) -> io::Result<()> {
        snapshot::encode(self, last, &mut out)
    }
}
