//! The lives of this agent: it goes beyond every earlier one that others remember, and beyond what is
//! said in its name, but never further ahead of now than others believe.

use super::*;
use crate::gossip::identity::MAX_GENERATION;
use crate::gossip::info::Entry;

impl Core {
    /// What the clock of this host says, in milliseconds since 1970.
    pub(in crate::gossip) fn set_clock(&self, clock: u64) {
        self.policy.horizon.set_clock(clock);
    }

    /// This agent's generation; to be kept on disk.
    pub(in crate::gossip) fn generation(&self) -> u64 {
        self.me.stamp.generation
    }

    /// Tells its state as another identity.
    pub(super) fn begin_generation(&mut self, generation: u64) {
        self.me.stamp = Stamp { generation, version: 0 };
        let _ = self.foca.change_identity(self.me.identity(), &mut self.runtime);
        self.renewed();
    }

    /// The identity is another one. After that the protocol rests until it hears something; it need not.
    pub(super) fn renewed(&mut self) {
        self.envelope.begin(self.me.stamp.generation);
        let _ = self.foca.apply_many(std::iter::empty(), false, &mut self.runtime);
        self.publish();
    }

    /// Begins the next life, whatever others say.
    pub(super) fn begin_next(&mut self) {
        self.begin_generation(self.me.stamp.generation.saturating_add(1).min(MAX_GENERATION - 1));
    }

    /// Tells its changed state as the next version, or in another life where versions are used up.
    pub(super) fn advance(&mut self) {
        match self.me.stamp.version.checked_add(1) {
            Some(version) => {
                self.me.stamp.version = version;
                self.publish();
            }
            None => self.begin_next(),
        }
    }

    /// Goes beyond a life of this agent that others remember, if any can be that late.
    pub(super) fn outlive(&mut self, generation: u64) {
        if self.stay != Stay::Member || generation < self.me.stamp.generation {
            return;
        }
        if self.policy.horizon.admits(generation) && generation + 1 < MAX_GENERATION {
            self.begin_generation(generation + 1);
        } else {
            metrics::counter!("kontor.gossip.refused", "reason" => "ahead").increment(1);
        }
    }

    /// Goes beyond what was said of this agent's state, up to `stamp`.
    pub(super) fn outdo(&mut self, stamp: Stamp) {
        if self.stay != Stay::Member || stamp < self.me.stamp {
            return;
        }
        if stamp.generation == self.me.stamp.generation {
            self.me.stamp.version = stamp.version;
            self.advance();
        } else {
            self.outlive(stamp.generation);
        }
    }

    /// The same for what is newer than this agent's state; it may be that state itself.
    pub(super) fn outdo_if_newer(&mut self, stamp: Stamp) {
        if stamp > self.me.stamp {
            self.outdo(stamp);
        }
    }

    /// Somebody remembers a life of ours that is later than this one, after a clock went back or a
    /// data directory was lost: go beyond it, or nobody would take us for alive.
    pub(super) fn refute(&mut self, id: Identity, now: Instant) {
        let mine = self.me.identity();
        if id.addr == mine.addr && id != mine && id.bump >= mine.bump {
            self.outlive(id.bump);
            self.settle(now);
        }
    }

    /// A member answered: whether what it tells says that the clock here is behind.
    pub(super) fn hear_witness(&mut self, witness: NodeId, from: &NodeInfo, entries: &[Entry]) {
        let of_me = entries.iter().filter(|entry| self.is_me(&entry.info)).map(|entry| entry.info.stamp.generation);
        let latest = of_me.chain([from.stamp.generation]).max().unwrap_or_default();
        self.weigh(witness, latest);
    }

    /// Takes a member's word for how late a life has begun.
    pub(super) fn weigh(&mut self, witness: NodeId, generation: u64) {
        let horizon = Arc::clone(&self.policy.horizon);
        let ahead = horizon.ahead_of_clock(generation).filter(|_| generation < MAX_GENERATION);
        let is_behind = self.witnesses.hear(witness, ahead.is_some());
        if !horizon.set_behind(is_behind) {
            return;
        }
        if let Some(ahead) = ahead.filter(|_| is_behind) {
            let behind = crate::model::duration::format(Duration::from_secs(ahead.as_secs()));
            tracing::warn!(pool = %self.pool, %behind, "the clock of this host is behind those of the other members; set it");
        } else if !is_behind {
            tracing::info!(pool = %self.pool, "the clock of this host and those of the other members agree again");
        }
    }

    /// Others know a life of this agent that `generation` names, and do not hear this one.
    pub(super) fn hear_outlived(&mut self, witness: NodeId, generation: u64, now: Instant) -> String {
        self.weigh(witness, generation);
        self.outlive(generation);
        self.settle(now);
        "it knew a later life of this agent, which begins another one now and tries again".to_owned()
    }

    /// A member refused this agent. That may be for a clock that was ahead when this life began: then it
    /// begins another one now, by the clock as it is.
    pub(super) fn hear_refused(&mut self, now: Instant) {
        let horizon = &self.policy.horizon;
        let is_alone = self.foca.num_members() == 0;
        if horizon.ahead_of_clock(self.me.stamp.generation).is_some() && (is_alone || !horizon.is_behind()) {
            self.begin_generation(horizon.clock());
            self.settle(now);
        }
    }
}
