//! Which reads of other datacenters are stale ones when their users say nothing about it.
//!
//! `entry.rs` asks it; `agent` makes it of `bridge { stale_by_default = … }`. Pure.

use crate::model::operation::{Family, Read};
use std::collections::BTreeSet;

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
            RemoteStale::Only(families) => families.contains(&read.spec().family),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::operation::{CatalogRead, HealthRead, StatusRead};

    #[test]
    fn families_are_told_apart() {
        let only = RemoteStale::Only(BTreeSet::from([Family::Health]));
        let state = Read::Health(HealthRead::State { state: "any".into() });
        assert!(only.covers(&state) && !only.covers(&Read::Catalog(CatalogRead::Nodes)));
        assert!(RemoteStale::All.covers(&Read::Status(StatusRead::Leader)) && !RemoteStale::default().covers(&state));
    }
}
