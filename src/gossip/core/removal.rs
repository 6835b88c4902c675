//! Members of datacenters that operators here have removed: off the table, and not let in again.
//!
//! Their states, rumours and exchanges are refused, whoever passes them on. Their probes are still
//! answered, and they are probed: a server that fell silent would be taken for failed by them, and
//! through them by everybody.

use super::*;
use crate::model::removals::Removals;

impl Core {
    /// Which clusters of other datacenters are refused from now on.
    pub(in crate::gossip) fn set_removals(&mut self, removals: Arc<Removals>, now: Instant) {
        if **self.policy.removed.load() == *removals {
            return;
        }
        self.policy.removed.store(removals);
        // Who is let in again is fetched as any member whose state is not known.
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

    /// Notes the identity of a removed member; of others nothing.
    pub(super) fn shun(&mut self, info: &NodeInfo) {
        if self.policy.shuns(info) && self.shunned.len() < defaults::GOSSIP_MAX_MEMBERS {
            self.shunned.insert(info.addr, info.identity());
        }
    }

    /// Whether this is a life of a removed member, no later than the one that was refused: a later one
    /// is asked which cluster it is of.
    pub(super) fn is_shunned(&self, id: &Identity) -> bool {
        self.shunned.get(&id.addr).is_some_and(|known| known.short == id.short && known.bump >= id.bump)
    }
}
