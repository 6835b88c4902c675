//! Refuses packets that were seen before. `envelope` asks once for every authentic packet.
//!
//! Each start of an agent is a session, sessions of one agent grow, and packets of a session are
//! numbered. A bitmap of the last numbers allows for packets that overtake each other.

use crate::model::ids::NodeId;
use std::collections::HashMap;

/// How far a packet may be behind the newest and still be taken.
const WINDOW: u64 = 128;

/// What was heard of each sender.
#[derive(Debug)]
pub(super) struct ReplayGuard {
    senders: HashMap<NodeId, Heard>,
    bound: usize,
    turn: u64,
}

#[derive(Debug)]
struct Heard {
    session: u64,
    newest: u64,
    /// Bit n: number `newest - n` was seen.
    seen: u128,
    turn: u64,
}

impl ReplayGuard {
    /// Remembers `bound` senders; beyond it the half longest silent is forgotten.
    pub(super) fn new(bound: usize) -> ReplayGuard {
        ReplayGuard { senders: HashMap::new(), bound, turn: 0 }
    }

    /// Whether the packet is new; it is seen from now on.
    pub(super) fn is_new(&mut self, sender: NodeId, session: u64, number: u64) -> bool {
        self.turn += 1;
        if let Some(heard) = self.senders.get_mut(&sender) {
            heard.turn = self.turn;
            return heard.accept(session, number);
        }
        self.make_room();
        self.senders.insert(sender, Heard { session, newest: number, seen: 1, turn: self.turn });
        true
    }

    /// Forgets the half longest silent at once, so that a flood of forged senders stays cheap.
    fn make_room(&mut self) {
        if self.senders.len() < self.bound {
            return;
        }
        let mut turns: Vec<u64> = self.senders.values().map(|heard| heard.turn).collect();
        let half = turns.len() / 2;
        let middle = *turns.select_nth_unstable(half).1;
        self.senders.retain(|_, heard| heard.turn > middle);
    }
}

impl Heard {
    fn accept(&mut self, session: u64, number: u64) -> bool {
        if session > self.session {
            (self.session, self.newest, self.seen) = (session, number, 1);
            return true;
        }
        if session < self.session {
            return false;
        }
        if number > self.newest {
            let ahead = number - self.newest;
            self.seen = if ahead >= WINDOW { 1 } else { (self.seen << ahead) | 1 };
            self.newest = number;
            return true;
        }
        let behind = self.newest - number;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_once_and_out_of_order_within_the_window() {
        let mut guard = ReplayGuard::new(8);
        let id = NodeId::from_u128(1);
        for (number, fresh) in [(5, true), (5, false), (3, true), (3, false), (200, true), (5, false), (100, true), (72, false)] {
            assert_eq!(guard.is_new(id, 1, number), fresh, "{number}");
        }
    }

    #[test]
    fn an_older_session_is_refused_and_a_newer_begins_anew() {
        let mut guard = ReplayGuard::new(8);
        let id = NodeId::from_u128(1);
        assert!(guard.is_new(id, 10, 7));
        assert!(!guard.is_new(id, 9, 8));
        assert!(guard.is_new(id, 11, 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut guard = ReplayGuard::new(8);
        for sender in 0..1000 {
            assert!(guard.is_new(NodeId::from_u128(sender), 1, 1));
        }
        assert!(guard.senders.len() <= 8);
    }
}
