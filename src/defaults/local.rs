//! Numbers of `local`: registrations of this agent, their checks, votes, and the way to the catalog.

use std::time::Duration;

/// Services that one agent takes: a node with more is a programming error. A further registration gets 503.
pub const LOCAL_MAX_SERVICES: usize = 8_192;
/// Checks that one agent takes; four for each service.
pub const LOCAL_MAX_CHECKS: usize = 32_768;
/// Changes of registrations that wait for the disk, which happens while it hangs. A further one gets 503.
pub const LOCAL_MAX_CHANGES: usize = 1_024;
/// Time that the answer to a registration waits for the catalog: Consul's agents push at once too, and no caller waits in vain.
pub const REGISTER_WAIT: Duration = Duration::from_millis(500);
/// Bytes of one file of a kept registration; a longer one counts as damaged and is not read.
pub const LOCAL_FILE_MAX: u64 = 4 << 20;

// === Checks ===

/// The least time between two runs of a check; less is raised with a warning. Consul's number.
pub const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Time for a probe over the network where its check names none. Consul's number.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a command (script, Docker, service of the system) whose check names none. Consul's number.
pub const CHECK_SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Targets' names looked up at a time, each on one of the runtime's 512 blocking threads. Further checks wait.
pub const CHECK_LOOKUPS: usize = 64;
/// Requests of one HTTP check, redirects followed. Go's number.
pub const CHECK_REDIRECTS: usize = 10;
/// Bytes of status and headers that an HTTP/2 target may send, once unpacked.
pub const CHECK_HEAD_LIST_BYTES: u32 = 64 << 10;
/// Bytes of a body read before the connection is closed: a health page has a few thousand.
pub const CHECK_BODY_BYTES: u64 = 1 << 20;
/// Bytes of an answer of gRPC's health service, which has 7.
pub const CHECK_GRPC_BYTES: usize = 1 << 10;
/// Bytes kept of an answer of the Docker engine about one command, which has some hundred.
pub const CHECK_DOCKER_ANSWER_BYTES: usize = 64 << 10;
/// The socket of the Docker engine, unless `DOCKER_HOST` names another.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Bytes read of a command's output at a time: as many as a pipe of Linux holds.
pub const CHECK_PIPE_BYTES: usize = 64 << 10;
/// Bytes of an output's first line that the log shows.
pub const CHECK_LOGGED_BYTES: usize = 200;

// === Aliases ===

/// The longest wait for news of an alias of another node. Consul's number.
pub const ALIAS_WAIT: Duration = Duration::from_secs(60);
/// Failures in a row after which an alias of another node is asked less often. Consul's number.
pub const ALIAS_BACKOFF_AFTER: u32 = 3;
/// The pause after the next failure; it doubles. Consul's number.
pub const ALIAS_BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// The longest such pause. Consul's number.
pub const ALIAS_BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Time between looks at the output that local aliases mirror; their status follows at once. Consul's number.
pub const ALIAS_REFRESH: Duration = Duration::from_secs(60);
/// Aliases of aliases that follow one change: no real chain is so long, and a circle ends.
pub const ALIAS_ROUNDS: usize = 16;

// === Services critical for too long ===

/// The least `DeregisterCriticalServiceAfter`; less is raised with a warning. Consul's number.
pub const DEREGISTER_CRITICAL_MIN: Duration = Duration::from_secs(60);
/// Time between looks for services that have been critical for too long. Consul's number.
pub const DEREGISTER_CRITICAL_TICK: Duration = Duration::from_secs(30);

// === Synchronisation ===

/// Time between full synchronisations with the catalog, before the random part. Consul's number.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// The random delay of a synchronisation asked for is up to this. Consul's number.
pub const SYNC_SOON: Duration = Duration::from_secs(3);
/// The same until the first synchronisation has worked: registrations are in the catalog within half a second of its existence.
pub const SYNC_FIRST_SOON: Duration = Duration::from_millis(200);
/// Pause after a failed synchronisation, before the random part. Consul's number.
pub const SYNC_RETRY: Duration = Duration::from_secs(15);
/// The same until the first one has worked: an agent that starts beside its servers has its services in the catalog soon.
pub const SYNC_FIRST_RETRY: Duration = Duration::from_secs(1);
/// Members up to which the random delays are not stretched. Consul's number.
pub const SYNC_STRETCH_FROM: usize = 128;
/// The age of the catalog that a synchronisation compares with. Consul's number.
pub const SYNC_MAX_STALE: Duration = Duration::from_secs(2);
/// The longest read or write of a synchronisation: the hold for a leader, and as much again for a slow server.
pub const SYNC_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

// === Voted checks ===

/// Votes in one ballot: a dead host with hundreds of checks costs few log entries, each below 100 KiB.
pub const VOTES_PER_BALLOT: usize = 64;
/// Bytes of a probe's output in one vote: seven are less than two outputs of ordinary checks.
pub const VOTE_OUTPUT_BYTES: usize = 1_024;
/// How long an observer may have failed before another takes its place: longer than a restart of its agent.
pub const OBSERVER_FAILED_AFTER: Duration = Duration::from_secs(30);
/// The wait of the query by which an agent learns its assignments: after it, another server may be asked.
pub const OBSERVED_WAIT: Duration = Duration::from_secs(120);
/// Pause between two answers to that query: many checks assigned in a row arrive together.
pub const OBSERVED_PACE: Duration = Duration::from_millis(200);
/// Pause after that query failed.
pub const OBSERVED_RETRY: Duration = Duration::from_secs(1);
/// First and longest pause after a refused ballot: a vote may be cast twice, and the next server may take it at once.
pub const BALLOT_RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Assignments in one command of the log.
pub const OBSERVERS_BATCH: usize = 256;
