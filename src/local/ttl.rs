//! The deadlines of TTL checks. Time is passed in; `registry` owns one [`Deadlines`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The time at which each TTL check turns critical.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    checks: BTreeMap<String, Ttl>,
    queue: BTreeSet<(Instant, String)>,
}

#[derive(Debug)]
struct Ttl {
    ttl: Duration,
    max_output: usize,
    /// `None` once expired, until the next update.
    deadline: Option<Instant>,
    /// The output of the last update; not that of the expiry.
    last_output: String,
}

impl Deadlines {
    /// Watches `check` from now on, with a whole TTL ahead of it.
    pub(super) fn start(&mut self, check: &str, ttl: Duration, max_output: usize, now: Instant) {
        self.stop(check);
        self.checks.insert(check.to_owned(), Ttl { ttl, max_output, deadline: None, last_output: String::new() });
        self.renew(check, None, now);
    }

    pub(super) fn stop(&mut self, check: &str) {
        if let Some(Ttl { deadline: Some(at), .. }) = self.checks.remove(check) {
            self.queue.remove(&(at, check.to_owned()));
        }
    }

    /// Takes an update. Returns the TTL and the output as it is kept; `None` when `check` has no TTL.
    pub(super) fn heard(&mut self, check: &str, output: &str, now: Instant) -> Option<(Duration, String)> {
        let kept = capture(output, self.checks.get(check)?.max_output);
        self.renew(check, Some(&kept), now);
        self.checks.get(check).map(|ttl| (ttl.ttl, kept))
    }

    /// Sets the output of the last update before a restart.
    pub(super) fn recall(&mut self, check: &str, output: &str) {
        if let Some(ttl) = self.checks.get_mut(check) {
            output.clone_into(&mut ttl.last_output);
        }
    }

    /// The checks that have expired since the last call, with the output they get.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(String, String)> {
        let mut expired = Vec::new();
        while let Some((at, check)) = self.queue.pop_first() {
            if at > now {
                self.queue.insert((at, check));
                break;
            }
            if let Some(ttl) = self.checks.get_mut(&check) {
                ttl.deadline = None;
                expired.push((check, expired_output(&ttl.last_output)));
            }
        }
        expired
    }

    /// The time at which the next check expires.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    fn renew(&mut self, check: &str, output: Option<&str>, now: Instant) {
        let Some(ttl) = self.checks.get_mut(check) else { return };
        if let Some(output) = output {
            output.clone_into(&mut ttl.last_output);
        }
        if let Some(at) = ttl.deadline.take() {
            self.queue.remove(&(at, check.to_owned()));
        }
        // A TTL so long that the clock cannot express its end never expires.
        ttl.deadline = now.checked_add(ttl.ttl);
        if let Some(at) = ttl.deadline {
            self.queue.insert((at, check.to_owned()));
        }
    }
}

/// The first `max` bytes of `output`, with a note when it was longer.
pub(super) fn capture(output: &str, max: usize) -> String {
    if output.len() <= max {
        return output.to_owned();
    }
    let kept = output.floor_char_boundary(max);
    format!("{} ... (captured {kept} of {} bytes)", &output[..kept], output.len())
}

/// Consul's words for an expired check.
fn expired_output(last: &str) -> String {
    match last {
        "" => "TTL expired".to_owned(),
        last => format!("TTL expired (last output before timeout follows): {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_check_expires_once_until_the_next_sign_of_life() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.start("a", TTL, 100, start);
        assert_eq!(deadlines.next(), Some(start + TTL));
        assert!(deadlines.expired(start + TTL - Duration::from_nanos(1)).is_empty());
        assert_eq!(deadlines.expired(start + TTL), [("a".to_owned(), "TTL expired".to_owned())]);
        assert!(deadlines.expired(start + 5 * TTL).is_empty());
        assert_eq!(deadlines.heard("a", "all good", start + 5 * TTL), Some((TTL, "all good".to_owned())));
        let late = deadlines.expired(start + 6 * TTL);
        assert_eq!(late[0].1, "TTL expired (last output before timeout follows): all good");
    }

    #[test]
    fn a_sign_of_life_moves_the_deadline_and_a_stopped_check_never_expires() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        deadlines.start("a", TTL, 100, start);
        deadlines.start("b", TTL, 100, start);
        deadlines.heard("a", "", start + TTL / 2);
        deadlines.stop("b");
        assert!(deadlines.expired(start + TTL).is_empty());
        assert_eq!(deadlines.heard("b", "", start), None);
        assert_eq!(deadlines.expired(start + TTL + TTL / 2).len(), 1);
    }

    #[test]
    fn output_keeps_its_first_bytes_and_never_splits_a_character() {
        assert_eq!(capture("abc", 3), "abc");
        assert_eq!(capture("abcdef", 4), "abcd ... (captured 4 of 6 bytes)");
        assert_eq!(capture("aéé", 2), "a ... (captured 1 of 5 bytes)");
    }

    #[test]
    fn a_ttl_beyond_all_time_is_no_panic() {
        let mut deadlines = Deadlines::default();
        deadlines.start("a", Duration::MAX, 100, Instant::now());
        assert_eq!(deadlines.next(), None);
    }
}
