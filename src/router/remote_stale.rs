//! Which reads of other datacenters are stale ones when their users say nothing about it.
//!
//! `entry.rs` asks it; `agent` makes it of `bridge { stale_by_default = … }`. Pure.

use crate::model::query::Read;
use std::collections::BTreeSet;

/// The endpoints below one part of `/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `/v1/catalog`
    Catalog,
    /// `/v1/health`
    Health,
    /// `/v1/coordinate`
    Coordinate,
    /// `/v1/status`
    Status,
    /// `/v1/operator`
    Operator,
}

impl Family {
    /// All of them, by their names in configuration and paths.
    pub const ALL: [(&'static str, Family); 5] = [
        ("catalog", Family::Catalog),
        ("health", Family::Health),
        ("coordinate", Family::Coordinate),
        ("status", Family::Status),
        ("operator", Family::Operator),
    ];

    /// The one that `read` belongs to.
    pub(super) fn of(read: &Read) -> Family {
        match read {
            Read::CatalogNodes
            | Read::CatalogServices
            | Read::CatalogService { .. }
            | Read::CatalogNode { .. }
            | Read::CatalogNodeServices { .. }
            | Read::CatalogGatewayServices { .. }
            | Read::Datacenters => Family::Catalog,
            Read::HealthNode { .. }
            | Read::HealthChecks { .. }
            | Read::HealthState { .. }
            | Read::HealthService { .. }
            | Read::HealthVotes { .. }
            | Read::ObservedBy { .. } => Family::Health,
            Read::CoordinateNodes | Read::CoordinateNode { .. } | Read::CoordinateDatacenters => Family::Coordinate,
            Read::StatusLeader | Read::StatusPeers => Family::Status,
            Read::RaftConfiguration | Read::AutopilotConfiguration | Read::AutopilotHealth | Read::AutopilotState => {
                Family::Operator
            }
            // Of this side's own view, wherever they are asked.
            Read::Federation { .. } | Read::FederationDoctor { .. } | Read::DialBack { .. } => Family::Operator,
        }
    }
}

/// Reads of other datacenters that are stale by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RemoteStale {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of these families.
    Only(BTreeSet<Family>),
}

impl RemoteStale {
    /// Whether `read` is one of them.
    pub(super) fn covers(&self, read: &Read) -> bool {
        match self {
            RemoteStale::None => false,
            RemoteStale::All => true,
            RemoteStale::Only(families) => families.contains(&Family::of(read)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_apart() {
        let only = RemoteStale::Only(BTreeSet::from([Family::Health]));
        let state = Read::HealthState { state: "any".into() };
        assert!(only.covers(&state) && !only.covers(&Read::CatalogNodes));
        assert!(RemoteStale::All.covers(&Read::StatusLeader) && !RemoteStale::default().covers(&state));
    }
}
