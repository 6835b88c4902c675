//! Numbers of `watch`.

use std::time::Duration;

/// The wait of a watch's blocking query. Consul's default.
pub const WATCH_WAIT: Duration = Duration::from_secs(300);
/// Time for the answer to such a query: its wait with the agent's jitter, and the hold for a leader or a slow server.
pub const WATCH_ANSWER_TIMEOUT: Duration = Duration::from_secs(360);
/// Pause after an answer without a change, so that an index of a whole table costs at most ten queries a second.
pub const WATCH_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a failed question, times the square of the failures in a row. Consul's number.
pub const WATCH_RETRY: Duration = Duration::from_secs(5);
/// The longest such pause. Consul's number.
pub const WATCH_RETRY_MAX: Duration = Duration::from_secs(180);
/// Watches in one agent's configuration, and with it handlers at a time: each has one at most.
pub const WATCHES_MAX: usize = 512;
/// Bytes of a handler's output that are kept for the log, the last ones. Consul's number.
pub const WATCH_OUTPUT_BYTES: usize = 4096;
/// Bytes of an HTTP handler's answer that are read at all: it is for the log only.
pub const WATCH_ANSWER_READ: u64 = 64 * 1024;
/// Time that output is read after a script has ended; its children may hold the pipe for ever.
pub const WATCH_OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// Run time of a handler before each warning. It is not ended: deployments take their time.
pub const WATCH_HANDLER_SLOW: Duration = Duration::from_secs(600);
/// The time of an HTTP handler that names none. Consul's number.
pub const WATCH_HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `kontor watch` gives its handler to end after a signal was passed on to it.
pub const WATCH_END_GRACE: Duration = Duration::from_secs(5);
