//! The latest beginning of a life that is believed. Generations are milliseconds of clocks: one far ahead of now is forged or
//! of a wrong clock, and believing it would take the member for dead.
//! The clock here may be the wrong one. Then members that answer report lives ahead of it, and while most of the last ones
//! do, the clock here bounds nothing.

use super::identity::MAX_GENERATION;
use crate::defaults;
use crate::model::ids::NodeId;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Horizon {
    /// Milliseconds since 1970, by the clock of this host.
    clock: AtomicU64,
    is_behind: AtomicBool,
}

impl Horizon {
    pub(super) fn new(clock: u64) -> Horizon {
        Horizon { clock: AtomicU64::new(clock), is_behind: AtomicBool::new(false) }
    }

    pub(super) fn set_clock(&self, clock: u64) {
        self.clock.store(clock, Ordering::Relaxed);
    }

    pub(super) fn clock(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Notes the report of most of the members asked last; true for a change.
    pub(super) fn set_behind(&self, is_behind: bool) -> bool {
        self.is_behind.swap(is_behind, Ordering::Relaxed) != is_behind
    }

    /// The distance of `generation` ahead of the clock here; `None` within the usual difference of clocks.
    pub(super) fn ahead_of_clock(&self, generation: u64) -> Option<Duration> {
        let ahead = Duration::from_millis(generation.saturating_sub(self.clock()));
        (ahead >= defaults::GOSSIP_CLOCK_SKEW).then_some(ahead)
    }

    pub(super) fn admits(&self, generation: u64) -> bool {
        generation < MAX_GENERATION && (self.is_behind() || self.ahead_of_clock(generation).is_none())
    }
}

/// The last reports about the clock here, one of each member.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    heard: VecDeque<(NodeId, bool)>,
}

impl Witnesses {
    /// Takes a member's report, `ahead` for a life ahead of the clock here; true if most do.
    pub(super) fn hear(&mut self, witness: NodeId, ahead: bool) -> bool {
        self.heard.retain(|(known, _)| *known != witness);
        if self.heard.len() >= defaults::GOSSIP_CLOCK_WITNESSES {
            self.heard.pop_front();
        }
        self.heard.push_back((witness, ahead));
        2 * self.heard.iter().filter(|(_, ahead)| *ahead).count() > self.heard.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ahead_of_the_clock_is_the_end_unless_the_clock_is_the_wrong_one() {
        let day = u64::try_from(defaults::GOSSIP_CLOCK_SKEW.as_millis()).unwrap();
        let horizon = Horizon::new(1_000);
        assert!(horizon.admits(1_000 + day - 1) && !horizon.admits(1_000 + day));
        horizon.set_clock(2_000);
        assert!(horizon.admits(1_000 + day));
        assert!(horizon.set_behind(true) && !horizon.set_behind(true));
        assert!(horizon.admits(MAX_GENERATION - 1) && !horizon.admits(MAX_GENERATION));
    }

    #[test]
    fn one_of_several_witnesses_moves_nothing_however_often_it_speaks() {
        let mut witnesses = Witnesses::default();
        let [one, two, three] = [1, 2, 3].map(NodeId::from_u128);
        assert!(witnesses.hear(one, true), "the only one there is");
        assert!(!witnesses.hear(two, false));
        assert!(!witnesses.hear(three, false));
        for _ in 0..20 {
            assert!(!witnesses.hear(one, true));
        }
        assert!(witnesses.hear(two, true));
    }
}
