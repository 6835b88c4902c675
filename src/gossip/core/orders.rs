//! Orders that a member leaves: kept until carried out, and part of each state exchange, so that all come to one end.

use super::*;
use crate::gossip::info::OrderNews;

impl Core {
    /// Makes a member leave, everywhere; with `prune` it is forgotten. Fails in Consul's words.
    pub(in crate::gossip) fn force_leave(&mut self, name: &str, prune: bool, now: Instant) -> Result<(), String> {
        let record = self.table.get(name).ok_or_else(|| format!("No node found with name '{name}'"))?;
        let stamp = record.info.stamp;
        self.handle_forced(name, stamp, prune, Duration::ZERO, now);
        self.spread(&Rumour::Forced { name: name.to_owned(), stamp, prune });
        self.settle(now);
        Ok(())
    }

    /// Takes an order that was given `age` ago; one about this agent is answered by a newer state.
    pub(super) fn handle_forced(&mut self, name: &str, stamp: Stamp, prune: bool, age: Duration, now: Instant) {
        if name == self.me.name {
            self.outdo(stamp);
        } else if self.table.order(name, stamp, prune, age, now) {
            self.carry_out(now);
        }
    }

    /// Takes another's report that this state of a member was made to leave, at an unknown time.
    pub(super) fn hear_of_forced(&mut self, name: &str, stamp: Stamp) {
        if name == self.me.name {
            self.outdo(stamp);
        } else {
            self.table.force(name, stamp, false);
        }
    }

    /// Forgets the members that are down and have an order to be forgotten.
    pub(super) fn carry_out(&mut self, now: Instant) {
        for name in self.table.carry_out(now) {
            self.forget(&name);
        }
    }

    pub(super) fn take_orders(&mut self, orders: Vec<OrderNews>, now: Instant) {
        for OrderNews { name, stamp, prune, age_ms } in orders {
            if name.len() <= defaults::GOSSIP_NAME_BYTES && self.policy.horizon.admits(stamp.generation) {
                self.handle_forced(&name, stamp, prune, Duration::from_millis(age_ms), now);
            }
        }
        self.settle(now);
    }
}
