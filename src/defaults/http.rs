//! Numbers of `http`.

use std::time::Duration;

/// Connections of the HTTP API over all listeners: the watches of a large datacenter, below the unit's `LimitNOFILE`.
pub const HTTP_MAX_CONNECTIONS: usize = 65_536;
/// Connections refused with an answer at a time; further ones are closed without one.
pub const HTTP_MAX_REFUSALS: usize = 64;
/// How long a refused connection may take to read why.
pub const HTTP_REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Bytes of a refused connection that are read and thrown away, so that it sees the refusal.
pub const HTTP_REFUSAL_READ: u64 = 64 * 1024;
/// How long a new connection may take to send its first request whole, head only.
pub const HTTP_FIRST_REQUEST: Duration = Duration::from_secs(30);
/// Silence of a connection, up to twice this long, before it is closed: longer than the 90 s of Go's client.
pub const HTTP_IDLE: Duration = Duration::from_secs(120);
/// Pause between TCP keep-alive probes to a silent client, and before the first. Go's number.
pub const HTTP_KEEPALIVE: Duration = Duration::from_secs(15);
/// Requests at a time on one HTTP/2 connection. A client that has more waits; watches count.
pub const HTTP2_MAX_STREAMS: u32 = 256;
/// How long a TLS handshake may take. Consul's `limits.https_handshake_timeout`.
pub const HTTPS_HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a request's body may take to arrive.
pub const HTTP_BODY_TIME: Duration = Duration::from_secs(30);
/// Bytes of a request's body. Twice Consul's advice for one Raft entry.
pub const HTTP_MAX_BODY: usize = 1024 * 1024;
/// Bytes of the largest value of a key (`limits.kv_max_value_size`). Consul's number.
pub const KV_MAX_VALUE: usize = 512 << 10;
/// Bytes of the largest transaction (`limits.txn_max_req_len`). Consul's number.
pub const TXN_MAX_REQUEST: usize = 512 << 10;
/// Bounds of both settings: a command of the log holds one such value and its envelope.
pub const KV_MAX_VALUE_BOUNDS: (i64, i64) = (1, 3 << 20);
/// Operations of a transaction. Consul's number.
pub const TXN_OPERATIONS: usize = 128;
/// Bytes of a request's head: room for a long filter expression.
pub const HTTP_MAX_HEAD: usize = 64 * 1024;
/// How long answers on their way may take once the agent shuts down.
pub const HTTP_SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// The pause after a failed `accept`, so that a full file table does not spin.
pub const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Answers from this many bytes on are compressed when asked for. Consul's number.
pub const HTTP_GZIP_MIN: usize = 1400;
/// Answers from this many bytes on are compressed on a thread of their own: about 2 ms of work.
pub const HTTP_GZIP_BLOCKING: usize = 128 * 1024;
/// Bytes of compressed answers (with the plain ones they belong to) that are kept.
pub const HTTP_GZIP_CACHE: u64 = 16 * 1024 * 1024;
/// How long a compressed answer is kept after its last use.
pub const HTTP_GZIP_IDLE: Duration = Duration::from_secs(60);
/// Characters of one error in `X-Kontor-Datacenters`, so that a hundred of them fit into headers.
pub const HTTP_DATACENTER_ERROR_MAX: usize = 120;
/// Characters of `X-Kontor-Reason`, which another datacenter may have written: clients take a few KB of headers.
pub const HTTP_REASON_MAX: usize = 1_024;
/// Characters of a request's URL in the log: room for a filter.
pub const HTTP_LOGGED_URL_MAX: usize = 512;
/// Time between log errors of one kind of failed request: without a leader every read fails.
pub const HTTP_FAILURE_REPEAT: Duration = Duration::from_secs(60);
