//! Refuses packets that were seen before. `envelope` asks for every packet that its key opened.
//! Each life of an agent is a session, and sessions of one agent grow. Packets of a session are numbered, those of each
//! carrier apart. A bitmap of the last numbers allows for packets that overtake each other. A member with the key can still
//! number packets in another's name; [`Stale::Outlived`] has the sender begin a session that is heard again.

use crate::defaults;
use crate::model::ids::NodeId;
use std::collections::HashMap;

/// The distance behind the newest within which a packet is still taken.
const WINDOW: u64 = 128;

/// The carrier of a packet; the two are numbered apart, since TCP may lag far behind UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Datagram,
    Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    Seen,
    /// Its sender is known by this session, and is heard again in a later one only.
    Outlived(u64),
}

/// The newest session and numbers of each sender.
#[derive(Debug)]
pub(super) struct ReplayGuard {
    senders: HashMap<NodeId, Heard>,
    bound: usize,
    turn: u64,
}

#[derive(Debug)]
struct Heard {
    session: u64,
    /// Of datagrams, and of stream frames.
    windows: [Window; 2],
    /// Datagrams refused since the last one that was new.
    unheard: u32,
    turn: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    newest: u64,
    /// Bit n: number `newest - n` was seen.
    seen: u128,
}

impl ReplayGuard {
    /// Remembers `bound` senders; beyond it the half longest silent is forgotten.
    pub(super) fn new(bound: usize) -> ReplayGuard {
        ReplayGuard { senders: HashMap::new(), bound, turn: 0 }
    }

    pub(super) fn take(&mut self, sender: NodeId, carrier: Carrier, session: u64, number: u64) -> Result<(), Stale> {
        self.turn += 1;
        if !self.senders.contains_key(&sender) {
            self.make_room();
        }
        let turn = self.turn;
        let begun = Heard { session, windows: [Window::default(); 2], unheard: 0, turn };
        let heard = self.senders.entry(sender).or_insert(begun);
        heard.turn = turn;
        heard.take(carrier, session, number)
    }

    /// Forgets the half longest silent at once, so that a flood of forged senders stays cheap.
    fn make_room(&mut self) {
        if self.senders.len() < self.bound {
            return;
        }
        forget_half(&mut self.senders, |heard| heard.turn);
    }
}

/// Forgets the half of a map that comes first in the order of `key`.
pub(super) fn forget_half<K, V, T: Ord + Copy>(map: &mut HashMap<K, V>, key: impl Fn(&V) -> T) {
    let mut keys: Vec<T> = map.values().map(&key).collect();
    let half = keys.len() / 2;
    let middle = *keys.select_nth_unstable(half).1;
    map.retain(|_, value| key(value) > middle);
}

impl Heard {
    fn take(&mut self, carrier: Carrier, session: u64, number: u64) -> Result<(), Stale> {
        if session > self.session {
            (self.session, self.windows, self.unheard) = (session, [Window::default(); 2], 0);
        }
        let outlived = Stale::Outlived(self.session);
        let taken =
            if session < self.session { Err(outlived) } else { self.windows[carrier as usize].take(number).ok_or(Stale::Seen) };
        match (carrier, taken) {
            (Carrier::Datagram, Ok(())) => self.unheard = 0,
            (Carrier::Datagram, Err(_)) => self.unheard = self.unheard.saturating_add(1),
            // Its frames are new and its datagrams are not: another has numbered some in its name.
            (Carrier::Stream, Ok(())) if self.unheard >= defaults::GOSSIP_UNHEARD => return Err(outlived),
            (Carrier::Stream, Err(Stale::Seen)) if self.windows[1].is_far_behind(number) => return Err(outlived),
            (Carrier::Stream, _) => {}
        }
        taken
    }
}

impl Window {
    fn take(&mut self, number: u64) -> Option<()> {
        if number > self.newest || self.seen == 0 {
            let ahead = number.saturating_sub(self.newest);
            self.seen = if ahead >= WINDOW { 1 } else { (self.seen << ahead) | 1 };
            self.newest = number;
            return Some(());
        }
        let behind = self.newest - number;
        if behind >= WINDOW || self.seen & (1 << behind) != 0 {
            return None;
        }
        self.seen |= 1 << behind;
        Some(())
    }

    fn is_far_behind(&self, number: u64) -> bool {
        self.newest.saturating_sub(number) >= WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> NodeId {
        NodeId::from_u128(1)
    }

    fn is_new(guard: &mut ReplayGuard, session: u64, number: u64) -> bool {
        guard.take(id(), Carrier::Datagram, session, number).is_ok()
    }

    #[test]
    fn a_number_is_taken_once_and_out_of_order_within_the_window() {
        let mut guard = ReplayGuard::new(8);
        for (number, fresh) in [(5, true), (5, false), (3, true), (3, false), (200, true), (5, false), (100, true), (72, false)] {
            assert_eq!(is_new(&mut guard, 1, number), fresh, "{number}");
        }
    }

    #[test]
    fn an_older_session_is_refused_and_a_newer_begins_anew() {
        let mut guard = ReplayGuard::new(8);
        assert!(is_new(&mut guard, 10, 7));
        assert!(!is_new(&mut guard, 9, 8));
        assert!(is_new(&mut guard, 11, 1));
        assert_eq!(guard.take(id(), Carrier::Stream, 10, 1), Err(Stale::Outlived(11)), "whichever way it comes");
    }

    #[test]
    fn who_is_numbered_beyond_its_own_numbers_is_told_to_begin_anew() {
        let mut guard = ReplayGuard::new(8);
        assert!(is_new(&mut guard, 1, u64::MAX));
        for number in 0..u64::from(defaults::GOSSIP_UNHEARD) {
            assert_eq!(guard.take(id(), Carrier::Stream, 1, number + 1), Ok(()));
            assert!(!is_new(&mut guard, 1, number));
        }
        assert_eq!(guard.take(id(), Carrier::Stream, 1, 1000), Err(Stale::Outlived(1)));
        assert!(is_new(&mut guard, 2, 1));
        assert_eq!(guard.take(id(), Carrier::Stream, 2, u64::MAX), Ok(()));
        assert_eq!(guard.take(id(), Carrier::Stream, 2, 1), Err(Stale::Outlived(2)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut guard = ReplayGuard::new(8);
        for sender in 0..1000 {
            assert!(guard.take(NodeId::from_u128(sender), Carrier::Datagram, 1, 1).is_ok());
        }
        assert!(guard.senders.len() <= 8);
    }
}
