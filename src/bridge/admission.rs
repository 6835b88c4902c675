//! With which datacenters this one deals, as its operators say.
//!
//! `agent` sends it anew whenever the configuration or the catalog's removals change; `link_manager` and
//! `serve` act on it at once, links that stand included.

use crate::model::ids::ClusterId;
use crate::model::removals::Removals;
use crate::tls::PinTable;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who is let in, who is not, and who is vouched for by the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Datacenters that are switched off, in lower case (`bridge { disabled }`).
    pub disabled: BTreeSet<String>,
    /// Clusters that were removed.
    pub removals: Arc<Removals>,
    /// Fingerprints of static entries, by datacenter in lower case; they count beside those of the
    /// WAN pool, and before a name of theirs could be resolved.
    pub pins: PinTable,
}

impl Admission {
    /// Whether nothing is switched off or removed.
    pub(super) fn is_open(&self) -> bool {
        self.disabled.is_empty() && self.removals.is_empty()
    }

    /// Whether a datacenter is switched off.
    pub(super) fn is_disabled(&self, dc: &str) -> bool {
        !self.disabled.is_empty() && self.disabled.contains(&dc.to_lowercase())
    }

    /// Why nothing is exchanged with a server of `dc` that is of `cluster`, in the words of
    /// `X-Kontor-Reason`.
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
