//! The replicated state as Raft needs it, implemented by the catalog's `Store`. Tests have a small one of their own.

use crate::model::command::{Command, Written};
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::store::{Store, View, snapshot, validate};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub(crate) trait Machine: Send + Sync + 'static {
    /// Applies one command of the log entry at `log_index`.
    fn apply(&mut self, log_index: u64, command: &Command) -> Result<Written, Fault>;
    fn level(&self) -> u32;
    /// Shows the applied commands to readers.
    fn publish(&mut self);
    /// The present state, to be written from another thread.
    fn freeze(&self) -> Box<dyn Frozen>;
    /// Replaces the state by a snapshot's, and shows it to readers. A broken one changes nothing.
    fn restore(&mut self, input: &mut dyn Read) -> Result<Vec<u8>, String>;
    /// An empty one of the same kind, without readers.
    fn blank(&self) -> Box<dyn Machine>;
    /// The addresses for Raft's messages of the servers, as far as the state holds them.
    fn servers(&self) -> Vec<(SocketAddr, NodeId)>;
    /// Reads a whole snapshot; returns the bytes kept beside the state, or the fault.
    fn verifier(&self) -> Verifier;
    /// Checks a command for what any state would refuse.
    fn checker(&self) -> Checker;
}

pub(crate) type Checker = fn(&Command) -> Result<(), Fault>;

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
