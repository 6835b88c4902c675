//! The choice of the servers to link, of the one to ask, and of the reads that may be sent twice. No I/O and no clock.

use crate::defaults;
use std::time::Duration;

/// A link is left for another only when that one is nearer by half and by this much.
const WORTH_A_CHANGE: Duration = Duration::from_millis(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) standing: Standing,
    /// True if its view of its own datacenter is old: it is cut off there, and can answer little.
    pub(super) behind: bool,
    /// True if gossip takes it for alive; a hint only.
    pub(super) alive: bool,
    /// Round-trip time by coordinates.
    pub(super) estimate: Option<Duration>,
    /// True if it was tried for its nearness not long ago.
    pub(super) tried: bool,
    /// Differs from server to server, so that not all servers here choose the same of several equal ones.
    pub(super) tie: u64,
}

/// The state of the link to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No link.
    None,
    /// Its first dial is under way.
    Trying,
    /// It is up, with this round-trip time.
    Up(Duration),
    /// It failed, and is dialled again and again.
    Failing,
}

impl Candidate {
    fn round_trip(&self) -> Option<Duration> {
        match self.standing {
            Standing::Up(round_trip) => Some(round_trip),
            _ => None,
        }
    }

    fn distance(&self) -> Duration {
        self.round_trip().or(self.estimate).unwrap_or(Duration::MAX)
    }
}

/// The servers to be linked, the one to ask first, its standby second. `current` is the last choice.
///
/// While fewer than two links are up, all are dialled, up to a bound; once two are, the rest go, but
/// for those whose first dial has not ended, and one that promises to be much nearer. A server that is
/// behind is asked after those that are not, and others are dialled as if its link were not up.
pub(super) fn choose(current: &[String], candidates: &[Candidate]) -> Vec<String> {
    let mut up: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.round_trip().is_some()).collect();
    up.sort_by_key(|candidate| (candidate.distance(), candidate.tie));
    keep_what_serves(current, &mut up);
    up.sort_by_key(|candidate| candidate.behind);
    let mut chosen: Vec<&Candidate> = up.iter().take(2).copied().collect();
    let mut rest: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.round_trip().is_none()).collect();
    rest.sort_by_key(|candidate| (!candidate.alive, candidate.distance(), candidate.tie));
    match chosen.last().and_then(|worst| worst.round_trip()) {
        Some(worst) if chosen.len() == 2 && !chosen.iter().any(|candidate| candidate.behind) => {
            let challenger = rest.iter().find(|candidate| is_worth_a_trial(candidate, worst)).map(|candidate| &candidate.name);
            rest.retain(|candidate| candidate.standing == Standing::Trying || Some(&candidate.name) == challenger);
        }
        _ => {}
    }
    chosen.extend(rest);
    chosen.into_iter().take(defaults::BRIDGE_MAX_CANDIDATES).map(|candidate| candidate.name.clone()).collect()
}

/// Sets servers already chosen before those that are hardly nearer.
fn keep_what_serves(current: &[String], up: &mut Vec<&Candidate>) {
    for (place, name) in current.iter().take(2).enumerate() {
        let Some(at) = up.iter().position(|candidate| candidate.name == *name) else { continue };
        let place = place.min(at);
        let much_nearer = up[place..at].iter().filter(|other| is_much_nearer(other.distance(), up[at].distance())).count();
        let serving = up.remove(at);
        up.insert(place + much_nearer, serving);
    }
}

fn is_much_nearer(other: Duration, than: Duration) -> bool {
    other.saturating_mul(2) < than && than.saturating_sub(other) > WORTH_A_CHANGE
}

fn is_worth_a_trial(candidate: &Candidate, worst: Duration) -> bool {
    let promised = candidate.estimate.is_some_and(|estimate| is_much_nearer(estimate, worst));
    candidate.alive && !candidate.tried && candidate.standing == Standing::None && promised
}

/// The reads that may be sent a second time: one in [`defaults::BRIDGE_READS_PER_DOUBLE`], with a few saved up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubles {
    saved: u32,
}

impl Default for Doubles {
    fn default() -> Doubles {
        Doubles { saved: defaults::BRIDGE_MAX_SAVED_DOUBLES * defaults::BRIDGE_READS_PER_DOUBLE }
    }
}

impl Doubles {
    /// A read is sent.
    pub(super) fn earn(&mut self) {
        self.saved = (self.saved + 1).min(defaults::BRIDGE_MAX_SAVED_DOUBLES * defaults::BRIDGE_READS_PER_DOUBLE);
    }

    /// True if a read may be sent a second time; it then counts as sent.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.saved.checked_sub(defaults::BRIDGE_READS_PER_DOUBLE);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(name: &str, standing: Standing) -> Candidate {
        Candidate { name: name.to_owned(), standing, behind: false, alive: true, estimate: None, tried: false, tie: 0 }
    }

    fn up(name: &str, millis: u64) -> Candidate {
        candidate(name, Standing::Up(Duration::from_millis(millis)))
    }

    #[test]
    fn all_are_dialled_until_two_are_up() {
        let three = [candidate("a", Standing::None), candidate("b", Standing::None), candidate("c", Standing::None)];
        assert_eq!(choose(&[], &three).len(), 3);
        let one = [up("a", 5), candidate("b", Standing::Failing), candidate("c", Standing::None)];
        assert_eq!(choose(&[], &one)[0], "a");
        assert_eq!(choose(&[], &one).len(), 3);
        let two = [up("a", 5), candidate("b", Standing::Failing), up("c", 3), candidate("d", Standing::None)];
        assert_eq!(choose(&[], &two), ["c", "a"]);
    }

    #[test]
    fn a_first_dial_is_not_broken_off() {
        let servers = [up("a", 5), up("b", 5), candidate("c", Standing::Trying)];
        assert!(choose(&[], &servers).contains(&"c".to_owned()));
    }

    #[test]
    fn a_serving_link_is_kept_against_one_that_is_hardly_nearer() {
        let current = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&current, &[up("a", 20), up("b", 12)]), ["a", "b"]);
        assert_eq!(choose(&current, &[up("a", 20), up("b", 8)]), ["b", "a"]);
    }

    #[test]
    fn a_server_that_is_cut_off_from_its_own_is_asked_last_and_others_are_dialled() {
        let behind = |name, millis| Candidate { behind: true, ..up(name, millis) };
        let current = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&current, &[behind("a", 5), up("b", 50)]), ["b", "a"]);
        assert_eq!(choose(&current, &[behind("a", 5), up("b", 50), candidate("c", Standing::None)]), ["b", "a", "c"]);
        assert_eq!(choose(&current, &[behind("a", 5), up("b", 50), up("c", 60)]), ["b", "c"]);
        // Nothing is gained by a change when all are behind, as without a leader.
        assert_eq!(choose(&current, &[behind("a", 50), behind("b", 50)]), ["a", "b"]);
    }

    #[test]
    fn a_server_that_promises_to_be_much_nearer_is_tried_once() {
        let mut near = candidate("c", Standing::None);
        near.estimate = Some(Duration::from_millis(1));
        let servers = [up("a", 40), up("b", 50), near.clone()];
        assert_eq!(choose(&[], &servers), ["a", "b", "c"]);
        near.tried = true;
        assert_eq!(choose(&[], &[up("a", 40), up("b", 50), near]), ["a", "b"]);
    }

    #[test]
    fn gossip_is_a_hint_and_no_verdict() {
        let mut dead = candidate("a", Standing::None);
        dead.alive = false;
        assert_eq!(choose(&[], &[dead, candidate("b", Standing::None)]), ["b", "a"]);
    }

    #[test]
    fn doubles_stay_at_one_read_in_twenty() {
        let mut doubles = Doubles::default();
        while doubles.spend() {}
        let mut sent = 0;
        for _ in 0..1_000 {
            doubles.earn();
            sent += u32::from(doubles.spend());
        }
        assert_eq!(sent, 50);
    }

    proptest! {
        #[test]
        fn the_choice_is_bounded_and_puts_links_that_are_up_first(states in proptest::collection::vec((0u8..4, 1u64..100), 0..20)) {
            let candidates: Vec<Candidate> = states.iter().enumerate().map(|(i, (state, millis))| {
                let standing = match state {
                    0 => Standing::None,
                    1 => Standing::Trying,
                    2 => Standing::Failing,
                    _ => Standing::Up(Duration::from_millis(*millis)),
                };
                candidate(&format!("s{i}"), standing)
            }).collect();
            let chosen = choose(&["s3".to_owned(), "s1".to_owned()], &candidates);
            let is_up = |name: &String| candidates.iter().any(|c| c.name == *name && c.round_trip().is_some());
            let wanted = candidates.iter().filter(|c| c.round_trip().is_some()).count().min(2);
            prop_assert!(chosen.len() <= defaults::BRIDGE_MAX_CANDIDATES);
            prop_assert_eq!(chosen.iter().take_while(|name| is_up(name)).count(), wanted);
        }
    }
}
