//! The datacenters that this one deals with, as its operators want it; a change is in force at once.

use crate::model::ids::ClusterId;
use crate::model::removals::Removals;
use crate::tls::PinTable;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The datacenters that are let in, those that are not, and the fingerprints that the configuration vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Datacenters that are switched off, in lower case (`bridge { disabled }`).
    pub disabled: BTreeSet<String>,
    /// Clusters that were removed.
    pub removals: Arc<Removals>,
    /// Fingerprints of static entries, by datacenter in lower case; they count beside those of the WAN pool.
    pub pins: PinTable,
}

impl Admission {
    pub(super) fn is_open(&self) -> bool {
        self.disabled.is_empty() && self.removals.is_empty()
    }

    pub(super) fn is_disabled(&self, dc: &str) -> bool {
        !self.disabled.is_empty() && self.disabled.contains(&dc.to_lowercase())
    }

    /// Why nothing is exchanged with a server of `dc` that is of `cluster`, in the words of `X-Kontor-Reason`.
    pub(super) fn refusal(&self, dc: &str, cluster: Option<ClusterId>) -> Option<&'static str> {
        if self.is_disabled(dc) {
            Some("disabled")
        } else if self.removals.refuses(dc, cluster) {
            Some("removed")
        } else {
            None
        }
    }
}
