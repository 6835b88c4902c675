//! Members of removed datacenters: off the table, and not admitted again.
//! Their states, rumours and exchanges are refused from any sender. Probes go on both ways: silent servers would be taken
//! for failed by them, and through them by the whole pool.

use super::*;
use crate::model::removals::Removals;

impl Core {
    /// Refuses these clusters of other datacenters from now on.
    pub(in crate::gossip) fn set_removals(&mut self, removals: Arc<Removals>, now: Instant) {
        if **self.policy.removed.load() == *removals {
            return;
        }
        self.policy.removed.store(removals);
        // A readmitted member is fetched like any member without a known state.
        self.shunned.clear();
        let policy = Arc::clone(&self.policy);
        for info in self.table.expel(|info| policy.shuns(info)) {
            self.forget(&info.name);
            self.announced.remove(&info.name);
            self.shun(&info);
        }
        self.contenders.retain(|_, (info, _)| !policy.shuns(info));
        self.stale = true;
        self.settle(now);
    }

    /// Notes the identity of a removed member, and of no other.
    pub(super) fn shun(&mut self, info: &NodeInfo) {
        if self.policy.shuns(info) && self.shunned.len() < defaults::GOSSIP_MAX_MEMBERS {
            self.shunned.insert(info.addr, info.identity());
        }
    }

    /// True for a life of a removed member, no later than the refused one: a later one is asked for its cluster.
    pub(super) fn is_shunned(&self, id: &Identity) -> bool {
        self.shunned.get(&id.addr).is_some_and(|known| known.short == id.short && known.bump >= id.bump)
    }
}
