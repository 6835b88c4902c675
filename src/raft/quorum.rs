//! Reports a long time without a leader, the voters that are missing, and its end.

use super::start::Server;
use super::{Candidate, membership};
use crate::defaults::{RAFT_LEADER_SILENCE_LEASES, RAFT_LEADERLESS_PATIENCE, RAFT_LEADERLESS_REPEAT};
use crate::model::ids::NodeId;
use openraft::ServerState;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The time without a leader, and its reports. No I/O.
#[derive(Debug)]
struct Absence {
    since: Option<Instant>,
    due: Option<Instant>,
    said: bool,
    /// Before the first leader there is more to wait for.
    patience: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum News {
    /// No server has led for this time.
    Leaderless(Duration),
    /// A server leads, after this time without one.
    Led(Duration),
}

impl Absence {
    fn new() -> Absence {
        Absence { since: None, due: None, said: false, patience: RAFT_LEADERLESS_REPEAT }
    }

    fn look(&mut self, is_led: bool, now: Instant) -> Option<News> {
        if is_led {
            let since = self.since.take();
            let said = std::mem::take(&mut self.said);
            (self.due, self.patience) = (None, RAFT_LEADERLESS_PATIENCE);
            return since.filter(|_| said).map(|since| News::Led(now.saturating_duration_since(since)));
        }
        let since = *self.since.get_or_insert(now);
        let due = *self.due.get_or_insert(since + self.patience);
        (now >= due).then(|| {
            self.due = Some(now + RAFT_LEADERLESS_REPEAT);
            self.said = true;
            News::Leaderless(now.saturating_duration_since(since))
        })
    }
}

impl Server {
    /// Runs for as long as the server does. `candidates` are the servers that are alive by gossip.
    pub(super) async fn tell_of_absence(self: Arc<Server>, candidates: watch::Receiver<Vec<Candidate>>) {
        let mut leadership = self.leadership.subscribe();
        let mut absence = Absence::new();
        loop {
            let is_led = leadership.borrow_and_update().leader.is_some();
            match absence.look(is_led, Instant::now()) {
                Some(News::Leaderless(time)) if !self.stopping.load(Ordering::SeqCst) => self.warn_of_absence(&candidates, time),
                Some(News::Led(after)) => {
                    tracing::info!(after = %seconds(after), "there is a leader again");
                }
                _ => {}
            }
            let rest = absence.due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            // No change in that time: a report is due.
            if let Ok(Err(_closed)) = tokio::time::timeout(rest, leadership.changed()).await {
                return;
            }
        }
    }

    fn warn_of_absence(&self, candidates: &watch::Receiver<Vec<Candidate>>, time: Duration) {
        metrics::counter!("kontor.raft.leaderless").increment(1);
        let (alive, time) = (candidates.borrow().iter().map(|server| server.id).collect(), seconds(time));
        let (voters, missing) = self.missing(&alive);
        match voters {
            0 => tracing::warn!(
                since = %time, servers = alive.len(), expected = self.settings.bootstrap_expect,
                "this server is part of no cluster yet, and nobody leads: it waits for other servers to join it"
            ),
            _ => tracing::warn!(
                since = %time, voters, missing = %missing.join(", "),
                "nobody leads: writes and default reads fail until a majority of the voters is there"
            ),
        }
    }

    /// The number of voters, and the names of the missing: by this server's own progress if it led last, else by gossip.
    fn missing(&self, alive: &BTreeSet<NodeId>) -> (usize, Vec<String>) {
        let metrics = self.metrics();
        let silence = self.settings.election.1 * RAFT_LEADER_SILENCE_LEASES;
        let progress = membership::progress(&metrics);
        let answers = |id: &NodeId| {
            let contact = progress.iter().find(|peer| peer.id == *id).and_then(|peer| peer.last_contact);
            contact.is_some_and(|contact| contact < silence)
        };
        let is_there = |id: &NodeId| {
            id.as_u128() == metrics.id || if metrics.state == ServerState::Leader { answers(id) } else { alive.contains(id) }
        };
        let voters: Vec<NodeId> = membership::peers(&metrics).iter().filter(|peer| peer.voter).map(|peer| peer.id).collect();
        let missing = voters.iter().filter(|id| !is_there(id)).map(|id| self.link.name_of(*id)).collect();
        (voters.len(), missing)
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_soon_and_again_and_its_end_with_how_long_it_took() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let (patience, repeat) = (RAFT_LEADERLESS_PATIENCE.as_secs(), RAFT_LEADERLESS_REPEAT.as_secs());
        let mut absence = Absence::new();
        assert_eq!(absence.look(true, at(0)), None);
        assert_eq!(absence.look(false, at(1)), None);
        assert_eq!(absence.look(true, at(2)), None, "an election is no news");
        assert_eq!(absence.look(false, at(10)), None);
        assert_eq!(absence.look(false, at(9 + patience)), None);
        assert_eq!(absence.look(false, at(10 + patience)), Some(News::Leaderless(RAFT_LEADERLESS_PATIENCE)));
        assert_eq!(absence.look(false, at(9 + patience + repeat)), None);
        let second = RAFT_LEADERLESS_PATIENCE + RAFT_LEADERLESS_REPEAT;
        assert_eq!(absence.look(false, at(10 + patience + repeat)), Some(News::Leaderless(second)));
        assert_eq!(absence.look(true, at(110)), Some(News::Led(Duration::from_secs(100))));
        assert_eq!(absence.look(true, at(111)), None);
    }

    #[test]
    fn a_first_start_has_longer_time() {
        let (start, mut absence) = (Instant::now(), Absence::new());
        assert_eq!(absence.look(false, start), None);
        assert_eq!(absence.look(false, start + RAFT_LEADERLESS_REPEAT - Duration::from_secs(1)), None);
        assert!(absence.look(false, start + RAFT_LEADERLESS_REPEAT).is_some());
    }
}
