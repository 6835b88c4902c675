//! Numbers of `local`: registrations of this agent, their checks, votes, and the way to the catalog.

use std::time::Duration;

/// Services that one agent takes; over it a registration is refused (503). A node with more is a
/// programming error of whoever registers.
pub const LOCAL_MAX_SERVICES: usize = 8_192;
/// Checks that one agent takes; four for each service.
pub const LOCAL_MAX_CHECKS: usize = 32_768;
/// Changes of what is registered that wait for the disk at a time; over it one is refused (503). More come
/// in only where the disk hangs.
pub const LOCAL_MAX_CHANGES: usize = 1_024;
/// How long the answer to a registration waits for the catalog to have it: Consul's agents push at once
/// too, and a caller shall not wait where no push gets through.
pub const REGISTER_WAIT: Duration = Duration::from_millis(500);
/// Bytes of one file of a kept registration; a longer one counts as damaged and is not read.
pub const LOCAL_FILE_MAX: u64 = 4 << 20;

// === Checks ===

/// The least time between two runs of a check; less is raised with a warning. Consul's number.
pub const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Time for a probe over the network where its check names none. Consul's number.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a command (script, Docker, service of the operating system) where its check names none.
/// Consul's number.
pub const CHECK_SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Names of targets that are looked up at a time; further checks wait, within their own time. Each
/// holds one of the runtime's 512 threads for what blocks, which others need too.
pub const CHECK_LOOKUPS: usize = 64;
/// Requests of one HTTP check, redirects followed. Go's number.
pub const CHECK_REDIRECTS: usize = 10;
/// Bytes of status and headers that an HTTP/2 target may send, once unpacked.
pub const CHECK_HEAD_LIST_BYTES: u32 = 64 << 10;
/// Bytes of a body that are read before the connection is closed: a page that says how a service is
/// has a few thousand.
pub const CHECK_BODY_BYTES: u64 = 1 << 20;
/// Bytes of an answer of gRPC's health service, which has 7.
pub const CHECK_GRPC_BYTES: usize = 1 << 10;
/// Bytes kept of an answer of the Docker engine about one command, which has some hundred.
pub const CHECK_DOCKER_ANSWER_BYTES: usize = 64 << 10;
/// Where the Docker engine listens unless `DOCKER_HOST` says otherwise.
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
/// Time between looks at the output of what aliases of this agent mirror; their status follows at once.
/// Consul's number.
pub const ALIAS_REFRESH: Duration = Duration::from_secs(60);
/// Aliases of aliases that follow one change: nobody has a chain so long, and a circle ends.
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
/// The same until the first synchronisation has worked: registrations shall be in the catalog within half a
/// second of there being one.
pub const SYNC_FIRST_SOON: Duration = Duration::from_millis(200);
/// Pause after a failed synchronisation, before the random part. Consul's number.
pub const SYNC_RETRY: Duration = Duration::from_secs(15);
/// The same until the first one has worked: an agent that starts together with its servers shall
/// not wait for its services, and where no server answers none is burdened.
pub const SYNC_FIRST_RETRY: Duration = Duration::from_secs(1);
/// Members up to which the random delays are not stretched. Consul's number.
pub const SYNC_STRETCH_FROM: usize = 128;
/// The age of the catalog that a synchronisation compares with. Consul's number.
pub const SYNC_MAX_STALE: Duration = Duration::from_secs(2);
/// The longest that one read or write of a synchronisation may take: the hold for a leader, and
/// as much again for a slow server.
pub const SYNC_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

// === Voted checks ===

/// Votes in one ballot: a host that dies with hundreds of checks takes few log entries, and at 1 KiB of
/// output each one entry stays below 100 KiB.
pub const VOTES_PER_BALLOT: usize = 64;
/// Bytes of a probe's output that the catalog keeps of one vote: seven make less than two outputs of
/// ordinary checks.
pub const VOTE_OUTPUT_BYTES: usize = 1_024;
/// How long an observer may have failed before another takes its place: longer than a restart of its agent.
pub const OBSERVER_FAILED_AFTER: Duration = Duration::from_secs(30);
/// The wait of the one query by which an agent learns what it observes: after it, another server may be asked.
pub const OBSERVED_WAIT: Duration = Duration::from_secs(120);
/// Pause between two answers to it: many checks that are assigned one after the other come together.
pub const OBSERVED_PACE: Duration = Duration::from_millis(200);
/// Pause after one that failed.
pub const OBSERVED_RETRY: Duration = Duration::from_secs(1);
/// Pause after a ballot that was not taken, the first time and at most. A vote may be cast twice, and the
/// next server may take it at once.
pub const BALLOT_RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// Assignments in one command of the log.
pub const OBSERVERS_BATCH: usize = 256;
