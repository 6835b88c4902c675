//! How late a life of a member can have begun. Generations are milliseconds of clocks: one far ahead of
//! now is forged or comes of a wrong clock, and whoever believed it would take the member for dead.
//!
//! The clock here may be the wrong one. Then the members that answer this agent all tell of lives ahead
//! of it, and while most of the last ones do, the clock here bounds nothing. `core` keeps the clock,
//! `info` asks.

use super::identity::MAX_GENERATION;
use crate::defaults;
use crate::model::ids::NodeId;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The latest generation that is believed.
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

    /// What the host's clock says.
    pub(super) fn clock(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Whether the members say that the clock here is behind.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Notes what most of the members asked last say; whether that is news.
    pub(super) fn set_behind(&self, is_behind: bool) -> bool {
        self.is_behind.swap(is_behind, Ordering::Relaxed) != is_behind
    }

    /// How far ahead of the clock here it is; `None` where that is no further than clocks may differ.
    pub(super) fn ahead_of_clock(&self, generation: u64) -> Option<Duration> {
        let ahead = Duration::from_millis(generation.saturating_sub(self.clock()));
        (ahead >= defaults::GOSSIP_CLOCK_SKEW).then_some(ahead)
    }

    /// Whether a life can have this generation.
    pub(super) fn admits(&self, generation: u64) -> bool {
        generation < MAX_GENERATION && (self.is_behind() || self.ahead_of_clock(generation).is_none())
    }
}

/// What the members that answered last said of the clock here, one word each.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    heard: VecDeque<(NodeId, bool)>,
}

impl Witnesses {
    /// Takes a member's word: whether it told of a life ahead of the clock here. Says whether most do.
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
