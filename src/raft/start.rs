//! The running server behind [`Raft`](super::Raft): its start, its parts, its end. The other files add their methods to it.

use super::bootstrap_driver::{self, Driver, Questions};
use super::freshness::{Echoes, Freshness};
use super::lease::{Lease, awake_since};
use super::log_store::LogStore;
use super::machine::Machine;
use super::mark::{FOLDER, LOG, MarkFile};
use super::network::{Link, Network};
use super::openraft_types::{LogId, Metrics, TypeConfig, Vote};
use super::proposals::Proposals;
use super::recovery;
use super::room::Room;
use super::snapshot_file::SnapshotShelf;
use super::snapshot_inbox::SnapshotInbox;
use super::state_machine::{Core, Published, StateMachine};
use super::{Candidate, Leadership, Raft, RaftError, RaftSettings, Transport};
use crate::clock::{self, Latest, Waking};
use crate::defaults::{RAFT_APPEND_ENTRIES, RAFT_LEADER_SILENCE_LEASES, RAFT_MESSAGES_MAX, RAFT_SNAPSHOT_PART_TIMEOUT};
use crate::model::ids::NodeId;
use crate::shutdown::Shutdown;
use crate::telemetry::FailureThrottle;
use openraft::Instant as _;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, ServerState, SnapshotPolicy};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

pub(super) struct Server {
    pub(super) settings: RaftSettings,
    pub(super) core: Core,
    /// The core's report of itself; borrowed at places that read it often.
    pub(super) watched: WatchReceiverOf<TypeConfig, Metrics>,
    pub(super) log: LogStore,
    pub(super) mark: Option<MarkFile>,
    pub(super) link: Arc<Link>,
    pub(super) lease: Lease,
    pub(super) inbox: SnapshotInbox,
    pub(super) shelf: SnapshotShelf,
    pub(super) room: Room,
    pub(super) bootstrap: Questions,
    pub(super) proposals: Proposals,
    /// One change of the voters, or rise of the format level, at a time.
    pub(super) changing: Semaphore,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) fatal: watch::Sender<Option<String>>,
    /// The last time at which readers here saw everything.
    pub(super) freshness: Freshness,
    pub(super) echoes: Echoes,
    /// The last time at which the leader led for sure, on a follower.
    pub(super) leader_heard: Freshness,
    pub(super) appended: Latest,
    pub(super) published: Arc<Published>,
    /// Notices that the host was asleep: others may lead since.
    pub(super) waking: Waking,
    /// True while an fsync does not return.
    pub(super) disk_stuck: AtomicBool,
    pub(super) stopping: AtomicBool,
    /// A permit for each message that the core has; closed before it stops.
    pub(super) door: Semaphore,
}

impl Server {
    pub(super) async fn start(
        settings: RaftSettings,
        machine: Box<dyn Machine>,
        transport: Arc<dyn Transport>,
        candidates: watch::Receiver<Vec<Candidate>>,
        shutdown: &Shutdown,
    ) -> Result<Arc<Server>, RaftError> {
        let started = Instant::now();
        let (log, shelf) = open_storage(&settings).await?;
        claim(settings.node_id, &log).await?;
        recovery::recover(&settings, machine.as_ref(), &log, &shelf).await?;
        let mark = settings.data_dir.as_ref().map(|dir| MarkFile::new(dir, settings.node_id));
        let beginning = bootstrap_driver::recover(settings.node_id, &log, mark.as_ref()).await?;
        let restarted = log.has_state();
        let published: Arc<Published> = Arc::default();
        let (verifier, checker) = (machine.verifier(), machine.checker());
        let (left, marks) = (shelf.clone(), Arc::clone(&published));
        let restore = move || StateMachine::start(machine, left, marks);
        let state_machine =
            tokio::task::spawn_blocking(restore).await.map_err(|error| RaftError::Storage(error.to_string()))??;

        let (cluster, cluster_seen) = watch::channel(beginning.joined());
        let link = Arc::new(Link::new(settings.node_id, cluster_seen, transport));
        let config = Arc::new(core_config(&settings).validate().map_err(|error| RaftError::Core(error.to_string()))?);
        let network = Network(Arc::clone(&link));
        let core = Core::new(settings.node_id.as_u128(), config, network, log.clone(), state_machine)
            .await
            .map_err(|error| RaftError::Core(format!("Raft cannot start: {error}")))?;
        // Nothing else sets it.
        let _first = link.metrics.set(core.metrics());

        let (bootstrap, questions) = Driver::queue();
        let driver = Driver {
            state: beginning,
            log: log.clone(),
            mark: mark.clone(),
            core: core.clone(),
            link: Arc::clone(&link),
            candidates: candidates.clone(),
            cluster,
            retry_at: tokio::time::Instant::now(),
            trouble: FailureThrottle::default(),
        };
        shutdown.spawn_until("raft bootstrap", driver.run(questions));

        let (proposals, gatherer) = Proposals::new(core.clone(), checker);
        shutdown.spawn_until("raft proposals", gatherer.run());
        let lease = Lease::new(settings.election.1, restarted.then_some(started), started);
        let server = Arc::new(Server {
            settings,
            watched: core.metrics(),
            core,
            log,
            mark,
            link,
            lease,
            inbox: SnapshotInbox::new(shelf.clone(), verifier),
            shelf,
            room: Room::default(),
            bootstrap,
            proposals,
            changing: Semaphore::new(1),
            leadership: watch::channel(Leadership::default()).0,
            fatal: watch::channel(None).0,
            freshness: Freshness::default(),
            echoes: Echoes::default(),
            leader_heard: Freshness::default(),
            appended: Latest::default(),
            published,
            waking: Waking::new(),
            disk_stuck: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            door: Semaphore::new(RAFT_MESSAGES_MAX as usize),
        });
        let running = Arc::downgrade(&server);
        let _first = server.link.committed.set(Box::new(move || running.upgrade()?.committed_for_sure()));
        server.spawn_tasks(shutdown);
        shutdown.spawn_until("raft quorum", Arc::clone(&server).tell_of_absence(candidates));
        Ok(server)
    }

    fn spawn_tasks(self: &Arc<Server>, shutdown: &Shutdown) {
        shutdown.spawn_until("raft observer", Arc::clone(self).observe());
        shutdown.spawn_until("raft pace", Arc::clone(self).keep_pace());
        shutdown.spawn_until("raft elections", Arc::clone(self).stand_for_election_in_time());
        shutdown.spawn_until("raft echo", Arc::clone(self).keep_fresh());
        shutdown.spawn_until("raft membership", Arc::clone(self).finish_changes());
        shutdown.spawn_until("raft watchdog", Arc::clone(self).watch_disk());
        shutdown.spawn_until("raft room", Arc::clone(self).watch_room());
    }

    /// Publishes the leader. One without a sign for two leases is no longer named, unlike by the core.
    async fn observe(self: Arc<Server>) {
        // Not the metrics of everything, which are sent anew at each heartbeat.
        let (mut roles, mut data) = (self.core.server_metrics(), self.core.data_metrics());
        let silence = self.settings.election.1 * RAFT_LEADER_SILENCE_LEASES;
        let mut named_since = Instant::now();
        let mut named = None;
        loop {
            let mut found = {
                let role = roles.borrow_watched();
                led(role.id, role.state, role.current_leader, &role.vote, data.borrow_watched().last_applied)
            };
            let waits_for_apply = found.leader == Some(self.settings.node_id) && !found.is_self;
            if named != Some((found.leader, found.term)) {
                named = Some((found.leader, found.term));
                named_since = Instant::now();
            }
            if found.leader.is_some() && named_since.elapsed() > silence && !self.hears_of_leader(&self.metrics(), silence) {
                found = Leadership { leader: None, is_self: false, ..found };
            }
            let changed = self.leadership.send_if_modified(|known| std::mem::replace(known, found) != found);
            if changed {
                let leader = found.leader.map_or_else(|| "none".to_owned(), |id| self.link.name_of(id));
                tracing::info!(%leader, is_self = found.is_self, term = found.term, "Raft leadership");
            }
            let news = async {
                tokio::select! {
                    changed = roles.changed() => changed.is_ok(),
                    changed = data.changed(), if waits_for_apply => changed.is_ok(),
                }
            };
            // Nothing new: time itself may be the news.
            let runs = tokio::select! {
                runs = news => runs,
                () = clock::sleep_shared(self.settings.election.1) => true,
            };
            let fatal = self.metrics().running_state.err().map(|fatal| fatal.to_string());
            if (!runs || fatal.is_some()) && !self.stopping.load(Ordering::SeqCst) {
                self.fail(format!("the Raft core has stopped: {}", fatal.as_deref().unwrap_or("it does not say why")));
            }
            if !runs || fatal.is_some() {
                return;
            }
        }
    }

    /// True if a quorum has answered this leader, or this follower's leader has answered it, lately.
    fn hears_of_leader(&self, metrics: &Metrics, silence: Duration) -> bool {
        match metrics.state {
            ServerState::Leader => self.since_quorum(metrics).is_some_and(|since| since < silence),
            _ => self.leader_heard.age().is_some_and(|age| age < silence),
        }
    }

    /// A restarted server stands for election only when its former promises have run out; a lone voter has made none.
    async fn stand_for_election_in_time(self: Arc<Server>) {
        let mut metrics = self.core.metrics();
        let alone = async {
            while !self.is_only_voter(&self.metrics()) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = alone => {}
            () = tokio::time::sleep_until(self.lease.votes_from().into()) => {}
        }
        if self.fatal.borrow().is_none() {
            self.core.runtime_config().elect(true);
        }
    }

    pub(super) fn fail(&self, reason: String) {
        self.fatal.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                tracing::error!(%reason, "Raft has failed");
                *known = Some(reason);
            }
            first
        });
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.watched.borrow_watched().clone()
    }

    pub(super) fn is_only_voter(&self, metrics: &Metrics) -> bool {
        match metrics.membership_config.get_joint_config().as_slice() {
            [voters] => voters.len() == 1 && voters.contains(&metrics.id),
            _ => false,
        }
    }

    /// True if this server leads, and there is another voter that could.
    pub(super) fn leads_others(&self) -> bool {
        let metrics = self.watched.borrow_watched();
        metrics.state == ServerState::Leader && !self.is_only_voter(&metrics)
    }

    /// Time since a quorum has acknowledged this leader; `None` when it does not lead, or has slept since.
    pub(super) fn since_quorum(&self, metrics: &Metrics) -> Option<Duration> {
        if metrics.state != ServerState::Leader {
            return None;
        }
        if self.is_only_voter(metrics) {
            return Some(Duration::ZERO);
        }
        let woke = self.waking.age();
        let since = metrics.last_quorum_acked.as_ref()?.elapsed();
        // Read once more, so that no sleep is between the two.
        let slept_meanwhile = self.waking.age().is_some_and(|again| woke.is_none_or(|woke| again < woke));
        if slept_meanwhile { None } else { awake_since(since, woke) }
    }

    pub(super) fn holds_lease(&self) -> bool {
        let metrics = self.watched.borrow_watched();
        leadership(&metrics).is_self
            && self.since_quorum(&metrics).is_some_and(|since| self.lease.holds(metrics.current_term, since))
    }
}

impl Raft {
    /// Hands leadership over if it has it, flushes and stops; bounded by `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let server = &self.server;
        let stop = async {
            server.stopping.store(true, Ordering::SeqCst);
            // Writes that wait already get their answers while this server still leads.
            server.proposals.drain(grace / 4).await;
            if server.leads_others() {
                match tokio::time::timeout(grace / 2, server.transfer_leadership(None)).await {
                    Ok(Ok(())) => tracing::info!("leadership handed over"),
                    // A cluster that stops as a whole has no successor; servers that stay elect one.
                    Ok(Err(fault)) => tracing::info!(%fault, "leadership is not handed over before the stop"),
                    Err(_elapsed) => tracing::info!("leadership is not handed over in time before the stop"),
                }
            }
            server.proposals.abandoned.cancel();
            server.proposals.drain(grace / 8).await;
            // No message is with the core when it stops, and none follows: openraft calls each an error.
            let _all = tokio::time::timeout(grace / 8, server.door.acquire_many(RAFT_MESSAGES_MAX)).await;
            server.door.close();
            if let Err(error) = server.core.shutdown().await {
                tracing::warn!(%error, "the Raft core did not end well");
            }
            server.log.close().await;
        };
        if tokio::time::timeout(grace, stop).await.is_err() {
            tracing::warn!(?grace, "Raft did not stop in time");
        }
    }
}

async fn open_storage(settings: &RaftSettings) -> Result<(LogStore, SnapshotShelf), RaftError> {
    let Some(data_dir) = &settings.data_dir else {
        return Ok((LogStore::in_memory(), SnapshotShelf::new(None)));
    };
    let dir = data_dir.join(FOLDER);
    let open = move || {
        std::fs::create_dir_all(&dir)
            .map_err(|error| RaftError::Storage(format!("the directory {} cannot be made: {error}", dir.display())))?;
        Ok((LogStore::open(&dir.join(LOG))?, SnapshotShelf::new(Some(&dir))))
    };
    tokio::task::spawn_blocking(open).await.map_err(|error| RaftError::Storage(error.to_string()))?
}

/// A log is one server's for ever: under another id its votes could be given twice.
async fn claim(node_id: NodeId, log: &LogStore) -> Result<(), RaftError> {
    const OWNER: &str = "node";
    let mine = node_id.to_string().into_bytes();
    match log.get(OWNER)? {
        Some(owner) if owner == mine => Ok(()),
        Some(owner) => Err(RaftError::Storage(format!(
            "the Raft log is of server {}, this is server {node_id}; give it its id back, or another data directory",
            String::from_utf8_lossy(&owner)
        ))),
        None => log.put(OWNER, Some(mine)).await.map_err(|error| RaftError::Storage(error.to_string())),
    }
}

/// The leader; `is_self` once this server leads with everything of earlier terms applied.
pub(super) fn leadership(metrics: &Metrics) -> Leadership {
    led(metrics.id, metrics.state, metrics.current_leader, &metrics.vote, metrics.last_applied)
}

fn led(me: u128, state: ServerState, leader: Option<u128>, vote: &Vote, last_applied: Option<LogId>) -> Leadership {
    let applied_own = last_applied.is_some_and(|applied| applied.committed_leader_id() == vote.leader_id());
    Leadership {
        leader: leader.map(NodeId::from_u128),
        is_self: state == ServerState::Leader && leader == Some(me) && applied_own,
        term: vote.leader_id().term,
    }
}

/// Every setting of openraft that this room depends on.
fn core_config(settings: &RaftSettings) -> Config {
    let millis = |duration: Duration| duration.as_millis() as u64;
    Config {
        cluster_name: "kontor".to_owned(),
        heartbeat_interval: millis(settings.heartbeat),
        election_timeout_min: millis(settings.election.0),
        election_timeout_max: millis(settings.election.1),
        install_snapshot_timeout: millis(RAFT_SNAPSHOT_PART_TIMEOUT),
        max_payload_entries: RAFT_APPEND_ENTRIES,
        max_append_entries: Some(RAFT_APPEND_ENTRIES),
        replication_lag_threshold: settings.trailing_entries.max(settings.snapshot_entries),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_entries),
        max_in_snapshot_log_to_keep: settings.trailing_entries,
        purge_batch_size: RAFT_APPEND_ENTRIES,
        enable_pre_vote: Some(true),
        // `stand_for_election_in_time` turns it on.
        enable_elect: false,
        // A leader sends entries before its own disk has them: after a crash it must not go on in the same term with others
        // in their place.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}
