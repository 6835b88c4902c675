//! Numbers of `rpc`.

use std::time::Duration;

/// Time until a connection carries requests, TLS included: a paused server is passed over within a second.
pub const RPC_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first pause after a connection that failed; doubled each time.
pub const RPC_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest such pause: a server that is back is found again within it.
pub const RPC_BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Silence of a call before a client pings. With `RPC_PING_TIMEOUT` a hung server is noticed within a second.
pub const RPC_PING_INTERVAL: Duration = Duration::from_millis(300);
/// The same while only blocking queries are under way: each agent has one that is always parked.
pub const RPC_WATCH_PING_INTERVAL: Duration = Duration::from_secs(1);
/// How long the answer to a client's ping may take.
pub const RPC_PING_TIMEOUT: Duration = Duration::from_millis(700);
/// The same where snapshots go: a ping waits there behind megabytes on their way.
pub const RPC_SNAPSHOT_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence before a server pings: it frees the resources of vanished clients.
pub const RPC_SERVER_PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long the answer to a server's ping may take.
pub const RPC_SERVER_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Time of a new connection to its first byte, through its TLS handshake, and to its first request: each.
pub const RPC_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of a request may take to arrive.
pub const RPC_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections a server keeps; further ones are closed. Some per agent of the datacenter.
pub const RPC_MAX_CONNECTIONS: usize = 16_384;
/// Connections of servers of the pool, counted apart: no other connection stands in Raft's way.
pub const RPC_MAX_SERVER_CONNECTIONS: usize = 1_024;
/// Connections of one address; Consul's `rpc_max_conns_per_client`.
pub const RPC_MAX_CONNECTIONS_PER_ADDRESS: usize = 100;
/// Calls in flight on one connection: parked watches of one client agent, mostly.
pub const RPC_MAX_STREAMS: u32 = 16_384;
/// Streams that a client may cancel before the server has seen them: giving up many calls at once is no attack.
pub const RPC_MAX_RESETS: usize = 4_096;
/// Bytes a sender may be ahead on one stream.
pub const RPC_STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a sender may be ahead on one connection.
pub const RPC_CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of one HTTP/2 frame: large enough that an append is one frame.
pub const RPC_FRAME_BYTES: u32 = 256 << 10;
/// Bytes of headers of one message; there are hardly any.
pub const RPC_HEADER_BYTES: u32 = 8 << 10;
/// Bytes of one request; how many values they may hold is `MESSAGE_VALUES`.
pub const RPC_MAX_REQUEST_BYTES: usize = 16 << 20;
/// Bytes of one request that reads: names, and a filter of 64 KiB.
pub const RPC_MAX_READ_BYTES: usize = 128 << 10;
/// Bytes of one reply: the longest list of a large catalog.
pub const RPC_MAX_REPLY_BYTES: usize = 256 << 20;
/// Bytes of one of Raft's messages; snapshots are sent in parts.
pub const RPC_MAX_RAFT_BYTES: usize = 64 << 20;
/// KiB of requests that are in memory at a time, as far as they have arrived.
pub const RPC_BODY_BUDGET_KIB: usize = 512 << 10;
/// The same of one address: a few of the largest, and an eighth of all.
pub const RPC_BODY_BUDGET_OF_ADDRESS_KIB: usize = 64 << 10;
/// KiB of Raft's messages from servers of the pool, which no request takes from.
pub const RPC_RAFT_BUDGET_KIB: usize = 512 << 10;
/// The same of one server: the largest append, and as much of a snapshot beside it.
pub const RPC_RAFT_BUDGET_OF_ADDRESS_KIB: usize = 130 << 10;
/// How long a message that is arriving waits for room before it gives way.
pub const RPC_ROOM_TIMEOUT: Duration = Duration::from_secs(2);
/// Servers and lanes that a client remembers; beyond, those without a connection are forgotten.
pub const RPC_MAX_SLOTS: usize = 256;
/// Peers whose TLS refusal is remembered, so that the log repeats each at most once a minute.
pub const RPC_MAX_REFUSALS: usize = 256;
/// How long the refusal of the same peer is not logged again.
pub const RPC_REFUSAL_PAUSE: Duration = Duration::from_secs(60);
/// How long requests at work may take to end when the server stops; parked ones never do.
pub const RPC_DRAIN: Duration = Duration::from_millis(500);
