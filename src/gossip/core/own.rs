//! The lives of this agent: each outbids the earlier ones that others remember, and claims in its name, but none is further
//! ahead of now than others believe.

use super::*;
use crate::gossip::identity::MAX_GENERATION;
use crate::gossip::info::Entry;

impl Core {
    pub(in crate::gossip) fn set_clock(&self, clock: u64) {
        self.policy.horizon.set_clock(clock);
    }

    pub(in crate::gossip) fn generation(&self) -> u64 {
        self.me.stamp.generation
    }

    pub(super) fn begin_generation(&mut self, generation: u64) {
        self.me.stamp = Stamp { generation, version: 0 };
        let _ = self.foca.change_identity(self.me.identity(), &mut self.runtime);
        self.renewed();
    }

    /// Takes up a new identity. The protocol rests after that until it hears something; it need not.
    pub(super) fn renewed(&mut self) {
        self.envelope.begin(self.me.stamp.generation);
        let _ = self.foca.apply_many(std::iter::empty(), false, &mut self.runtime);
        self.publish();
    }

    pub(super) fn begin_next(&mut self) {
        self.begin_generation(self.me.stamp.generation.saturating_add(1).min(MAX_GENERATION - 1));
    }

    /// Publishes its changed state as the next version, or in another life after the last version.
    pub(super) fn advance(&mut self) {
        match self.me.stamp.version.checked_add(1) {
            Some(version) => {
                self.me.stamp.version = version;
                self.publish();
            }
            None => self.begin_next(),
        }
    }

    /// Outbids a life of this agent that others remember, if one can be that late.
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

    /// Outbids a claim about this agent's states up to `stamp`.
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

    /// Outbids a later life that others remember, after a clock went back or a data directory was lost.
    pub(super) fn refute(&mut self, id: Identity, now: Instant) {
        let mine = self.me.identity();
        if id.addr == mine.addr && id != mine && id.bump >= mine.bump {
            self.outlive(id.bump);
            self.settle(now);
        }
    }

    /// Takes an answer as evidence for or against the clock here.
    pub(super) fn hear_witness(&mut self, witness: NodeId, from: &NodeInfo, entries: &[Entry]) {
        let of_me = entries.iter().filter(|entry| self.is_me(&entry.info)).map(|entry| entry.info.stamp.generation);
        let latest = of_me.chain([from.stamp.generation]).max().unwrap_or_default();
        self.weigh(witness, latest);
    }

    /// Weighs a member's report of the latest beginning of a life.
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

    /// Outbids a later life of this agent, which keeps others from hearing this one.
    pub(super) fn hear_outlived(&mut self, witness: NodeId, generation: u64, now: Instant) -> String {
        self.weigh(witness, generation);
        self.outlive(generation);
        self.settle(now);
        "it knew a later life of this agent, which begins another one now and tries again".to_owned()
    }

    /// Takes a refusal. A life that began by a clock ahead is followed by one that begins by the clock as it is now.
    pub(super) fn hear_refused(&mut self, now: Instant) {
        let horizon = &self.policy.horizon;
        let is_alone = self.foca.num_members() == 0;
        if horizon.ahead_of_clock(self.me.stamp.generation).is_some() && (is_alone || !horizon.is_behind()) {
            self.begin_generation(horizon.clock());
            self.settle(now);
        }
    }
}
