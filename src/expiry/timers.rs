//! Deadlines in their order. No I/O, no clock.

use crate::model::ids::SessionId;
use crate::model::kv::KvKey;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// A row that ends with time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// A session that was not renewed.
    Session(SessionId),
    /// A key that was changed last at that index.
    Key(KvKey, u64),
    /// The delay of a lock, which began at that index.
    LockDelay(KvKey, u64),
}

/// The deadlines of one leader.
#[derive(Debug, Default)]
pub struct Timers {
    order: BTreeSet<(Instant, Due)>,
    deadlines: HashMap<Due, Instant>,
    /// Sessions that were due, and whose row is still there: it is too late to renew them.
    ending: HashSet<SessionId>,
}

impl Timers {
    /// Begins the time of a session anew; false where it ends already.
    pub fn renew(&mut self, session: SessionId, life: Duration, now: Instant) -> bool {
        let lives = !self.ending.contains(&session);
        if lives {
            self.put(Due::Session(session), now + life);
        }
        lives
    }

    /// Counts down for `rows`, which are all there are: for new ones from `now` on.
    pub fn follow(&mut self, rows: impl IntoIterator<Item = (Due, Duration)>, now: Instant) {
        let mut before = std::mem::take(&mut self.deadlines);
        let ending = std::mem::take(&mut self.ending);
        self.order.clear();
        for (due, life) in rows {
            let is_ending = if let Due::Session(id) = due { ending.contains(&id) && self.ending.insert(id) } else { false };
            let deadline = before.remove(&due).unwrap_or(if is_ending { now } else { now + life });
            self.put(due, deadline);
        }
    }

    /// Counts from the beginning once more. A session that is being ended stays so: its end may be in the log.
    pub fn begin_anew(&mut self) {
        (self.order, self.deadlines) = Default::default();
    }

    /// Forgets all of them, with the term of the leader.
    pub fn clear(&mut self) {
        *self = Timers::default();
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(deadline, _)| *deadline)
    }

    /// At most `most` of those that are due, the oldest first. Each stays until its row is gone, and is due again
    /// after `retry`.
    pub fn due(&mut self, now: Instant, most: usize, retry: Duration) -> Vec<Due> {
        let is_due = |(deadline, _): &&(Instant, Due)| *deadline <= now;
        let due: Vec<Due> = self.order.iter().take_while(is_due).take(most).map(|(_, due)| due.clone()).collect();
        for one in &due {
            self.put(one.clone(), now + retry);
            if let Due::Session(id) = one {
                self.ending.insert(*id);
            }
        }
        due
    }

    fn put(&mut self, due: Due, deadline: Instant) {
        if let Some(before) = self.deadlines.insert(due.clone(), deadline) {
            self.order.remove(&(before, due.clone()));
        }
        self.order.insert((deadline, due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(10);
    const RETRY: Duration = Duration::from_secs(1);

    fn session(number: u128) -> SessionId {
        SessionId(uuid::Uuid::from_u128(number))
    }

    fn rows(numbers: &[u128]) -> Vec<(Due, Duration)> {
        numbers.iter().map(|number| (Due::Session(session(*number)), LIFE)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_is_due_after_its_time_and_not_before_and_a_renewal_begins_it_anew() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        timers.follow(rows(&[1, 2]), start);
        timers.follow(rows(&[1, 2, 3]), start + LIFE / 2);
        assert!(timers.due(start + LIFE - Duration::from_millis(1), 9, RETRY).is_empty());
        assert!(timers.renew(session(2), LIFE, start + LIFE / 2));
        assert_eq!(timers.due(start + LIFE, 9, RETRY), [Due::Session(session(1))]);
        let due = timers.due(start + LIFE / 2 * 3, 9, RETRY);
        assert_eq!(due, [1, 2, 3].map(|number| Due::Session(session(number))), "the first once more, for its row stands");
        timers.follow(rows(&[]), start + LIFE * 2);
        assert_eq!(timers.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_being_ended_cannot_be_renewed() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        timers.follow(rows(&[1]), start);
        assert_eq!(timers.due(start + LIFE, 1, RETRY).len(), 1);
        timers.follow(rows(&[1]), start + LIFE);
        assert!(!timers.renew(session(1), LIFE, start + LIFE));
        assert_eq!(timers.next(), Some(start + LIFE + RETRY), "it is tried again");
        timers.begin_anew();
        timers.follow(rows(&[1]), start + LIFE);
        assert!(!timers.renew(session(1), LIFE, start + LIFE), "its end may be in the log");
        timers.clear();
        assert!(timers.renew(session(1), LIFE, start + LIFE), "a new term begins anew");
    }
}
