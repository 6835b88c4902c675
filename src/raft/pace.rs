//! Raft's time: heartbeats of a leader, and when a follower counts towards an election.
//! openraft looks at its timers fifty times a second. Here they run only while an election can come of them: a follower that
//! has heard of its leader counts nothing until three quarters of the least election timeout are over.

use super::start::Server;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// A leader of others sends heartbeats.
    Heartbeats,
    /// A leader of no other has nothing to do until its role changes.
    Still,
    /// A follower that has just heard of its leader looks again after this time.
    Quiet(Duration),
    /// An election may be due: openraft counts.
    Counting,
}

/// The time after an append for which a follower counts nothing. The rest is for a look that comes late.
fn quiet_after_append(least_election: Duration) -> Duration {
    least_election * 3 / 4
}

/// `heard` is the age of the last append, `quiet` the time after one for which nothing can be due.
fn pace(state: ServerState, alone: bool, heard: Option<Duration>, quiet: Duration) -> Pace {
    match state {
        ServerState::Leader if alone => Pace::Still,
        ServerState::Leader => Pace::Heartbeats,
        ServerState::Follower | ServerState::Learner => match heard.and_then(|heard| quiet.checked_sub(heard)) {
            Some(rest) => Pace::Quiet(rest),
            None => Pace::Counting,
        },
        ServerState::Candidate | ServerState::Shutdown => Pace::Counting,
    }
}

impl Server {
    /// Runs for as long as the server does.
    pub(super) async fn keep_pace(self: Arc<Server>) {
        let mut roles = self.core.server_metrics();
        let mut counting = true;
        loop {
            let pace = {
                let role = roles.borrow_watched();
                let alone = role.membership_config.nodes().all(|(id, _)| *id == role.id);
                pace(role.state, alone, self.appended.age(), quiet_after_append(self.settings.election.0))
            };
            if counting != (pace == Pace::Counting) {
                counting = !counting;
                self.core.runtime_config().tick(counting);
            }
            let pause = match pace {
                Pace::Heartbeats => {
                    if self.core.trigger().heartbeat().await.is_err() {
                        return;
                    }
                    self.settings.heartbeat
                }
                Pace::Still => self.settings.election.1,
                Pace::Quiet(rest) => rest,
                Pace::Counting => self.settings.heartbeat,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = roles.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::{RAFT_ELECTION_MIN, RAFT_HEARTBEAT};

    #[test]
    fn an_election_is_counted_towards_before_it_can_be_due_and_not_while_the_leader_is_heard_of() {
        let quiet = Duration::from_millis(200);
        let follower = |heard: Option<u64>| pace(ServerState::Follower, false, heard.map(Duration::from_millis), quiet);
        assert_eq!(follower(None), Pace::Counting, "it has heard of nobody since its start");
        assert_eq!(follower(Some(0)), Pace::Quiet(quiet));
        assert_eq!(follower(Some(150)), Pace::Quiet(Duration::from_millis(50)));
        assert_eq!(follower(Some(201)), Pace::Counting);
        let least = RAFT_ELECTION_MIN;
        assert!(
            quiet_after_append(least) >= RAFT_HEARTBEAT * 2 && quiet_after_append(least) < least,
            "one lost heartbeat counts for nothing"
        );
        assert_eq!(pace(ServerState::Candidate, true, Some(Duration::ZERO), quiet), Pace::Counting);
    }

    #[test]
    fn a_leader_is_heard_by_others_and_still_where_there_are_none() {
        let leader = |alone| pace(ServerState::Leader, alone, None, Duration::ZERO);
        assert_eq!((leader(false), leader(true)), (Pace::Heartbeats, Pace::Still));
    }
}
