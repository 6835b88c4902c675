//! How long deletions are remembered. No I/O, no clock.

use crate::defaults::TOMBSTONE_TTL;
use std::collections::VecDeque;
use tokio::time::Instant;

/// The indexes of keys at some times past.
#[derive(Debug, Default)]
pub struct Graveyard(VecDeque<(Instant, u64)>);

impl Graveyard {
    /// Notes that the last change of a key has that `index`, and returns the one up to which deletions are forgotten.
    pub fn pass(&mut self, index: u64, now: Instant) -> Option<u64> {
        if self.0.back().is_none_or(|(_, noted)| *noted < index) {
            self.0.push_back((now, index));
        }
        let is_old = |(at, _): &(Instant, u64)| now.saturating_duration_since(*at) >= TOMBSTONE_TTL;
        let mut forgotten = None;
        while self.0.front().is_some_and(is_old) {
            forgotten = self.0.pop_front().map(|(_, index)| index);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_remembered_for_its_time() {
        let (mut graveyard, start, step) = (Graveyard::default(), Instant::now(), Duration::from_secs(30));
        assert_eq!(graveyard.pass(5, start), None);
        assert_eq!(graveyard.pass(9, start + step), None);
        assert_eq!(graveyard.pass(9, start + TOMBSTONE_TTL - step), None);
        assert_eq!(graveyard.pass(9, start + TOMBSTONE_TTL), Some(5));
        assert_eq!(graveyard.pass(9, start + TOMBSTONE_TTL + step), Some(9));
        assert_eq!(graveyard.pass(9, start + TOMBSTONE_TTL * 2), None);
    }
}
