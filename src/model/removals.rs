//! The clusters of other datacenters that operators here have removed.

use super::ids::ClusterId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The removed clusters, by datacenter. Names are compared without regard to case. Gossip, links and reads all refuse by
/// this, so that they agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Removals {
    /// By name in lower case; no cluster stands for every one of that name.
    by_dc: BTreeMap<String, BTreeSet<Option<ClusterId>>>,
}

impl Removals {
    /// Removes a cluster of `dc`, or with `None` every cluster of that name.
    pub fn remove(&mut self, dc: &str, cluster: Option<ClusterId>) {
        self.by_dc.entry(dc.to_lowercase()).or_default().insert(cluster);
    }

    /// Removes the clusters that `others` remove.
    pub fn add(&mut self, others: &Removals) {
        others.iter().for_each(|(dc, cluster)| self.remove(dc, cluster));
    }

    /// Takes back all removals of `dc`; true if there were any.
    pub fn readmit(&mut self, dc: &str) -> bool {
        self.by_dc.remove(&dc.to_lowercase()).is_some()
    }

    /// True when a server of `dc` and `cluster` is refused. Where a cluster was removed, a server without one could be of
    /// it, and is refused until it names another.
    pub fn refuses(&self, dc: &str, cluster: Option<ClusterId>) -> bool {
        // Hardly ever is anything removed, and this is asked for each packet and each read.
        if self.by_dc.is_empty() {
            return false;
        }
        self.by_dc
            .get(&dc.to_lowercase())
            .is_some_and(|removed| cluster.is_none() || removed.contains(&None) || removed.contains(&cluster))
    }

    pub fn names(&self, dc: &str) -> bool {
        self.by_dc.contains_key(&dc.to_lowercase())
    }

    /// All removed clusters, by datacenter in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<ClusterId>)> {
        self.by_dc.iter().flat_map(|(dc, clusters)| clusters.iter().map(move |cluster| (dc.as_str(), *cluster)))
    }

    pub fn len(&self) -> usize {
        self.by_dc.values().map(BTreeSet::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.by_dc.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_removed_cluster_is_refused_and_another_of_its_name_is_not() {
        let [old, new] = [1, 2].map(|number| Some(ClusterId(Uuid::from_u128(number))));
        let mut removals = Removals::default();
        removals.remove("DC2", old);
        assert!(removals.refuses("dc2", old) && removals.refuses("Dc2", None));
        assert!(!removals.refuses("dc2", new) && !removals.refuses("dc3", old) && !removals.refuses("dc3", None));
        removals.remove("dc2", None);
        assert!(removals.refuses("dc2", new), "every cluster of that name");
        assert_eq!(removals.len(), 2);
        assert!(removals.readmit("dc2") && !removals.readmit("dc2"));
        assert!(!removals.refuses("dc2", old) && removals.is_empty());
    }
}
