//! The members of the pools.

use crate::gossip::{Gossip, Roster};
use crate::model::coordinate::Coordinate;
use std::fmt::Debug;
use std::sync::Arc;

/// The members of the pools that this agent is in.
pub(in crate::router) trait Members: Debug + Send + Sync + 'static {
    /// The agents of this datacenter. It is the same `Arc` until a member changes.
    fn lan(&self) -> Arc<Roster>;

    /// On servers: the servers of all datacenters.
    fn wan(&self) -> Option<Arc<Roster>>;

    /// The coordinate of this server among those of all datacenters.
    fn coordinate(&self) -> Coordinate;

    /// The coordinate of a member of the WAN pool, if it is known.
    fn coordinate_of(&self, name: &str) -> Option<Coordinate>;
}

/// The pools of gossip.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    pub lan: Gossip,
    pub wan: Option<Gossip>,
}

impl Members for Pools {
    fn lan(&self) -> Arc<Roster> {
        self.lan.roster()
    }

    fn wan(&self) -> Option<Arc<Roster>> {
        self.wan.as_ref().map(Gossip::roster)
    }

    fn coordinate(&self) -> Coordinate {
        self.wan.as_ref().map(Gossip::coordinate).unwrap_or_default()
    }

    fn coordinate_of(&self, name: &str) -> Option<Coordinate> {
        self.wan.as_ref()?.coordinate_of(name)
    }
}
