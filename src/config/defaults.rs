//! Every number of the program, with its unit and the reason for it. One section a room.

use std::time::Duration;

/// The release of Consul whose API is offered; tools choose their behaviour by it.
pub const CONSUL_VERSION: &str = "1.9.0";

// === Requests ===

/// How long a request is held while there is no leader. Consul's `rpc_hold_timeout`.
pub const RPC_HOLD: Duration = Duration::from_secs(7);
/// The wait of a blocking query that names none. Consul's `default_query_time`.
pub const DEFAULT_QUERY_TIME: Duration = Duration::from_secs(300);
/// The longest wait of a blocking query. Consul's `max_query_time`.
pub const MAX_QUERY_TIME: Duration = Duration::from_secs(600);
/// Random extra wait of a blocking query: up to its wait divided by this. Consul's number.
pub const WAIT_JITTER_DIVISOR: u32 = 16;

// === Gossip ===

// === Raft ===

// === Store ===

// === RPC ===

/// How long a connection may take until it can carry requests, TLS included. A paused server is
/// passed over within a second.
pub const RPC_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first pause after a connection that failed; doubled each time.
pub const RPC_BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest such pause: a server that is back is found again within it.
pub const RPC_BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Silence after which a client pings. With the next, a hung server is noticed within a second.
pub const RPC_PING_INTERVAL: Duration = Duration::from_millis(300);
/// How long the answer to a client's ping may take.
pub const RPC_PING_TIMEOUT: Duration = Duration::from_millis(700);
/// The same where snapshots go: a ping waits there behind megabytes on their way.
pub const RPC_SNAPSHOT_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a server pings; it only frees what vanished clients held.
pub const RPC_SERVER_PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long the answer to a server's ping may take.
pub const RPC_SERVER_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new connection may take to its first byte, through its TLS handshake, and to its
/// first request: each.
pub const RPC_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of a request may take to arrive.
pub const RPC_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections a server keeps; further ones are closed. Some per agent of the datacenter.
pub const RPC_MAX_CONNECTIONS: usize = 16_384;
/// Connections of one address; Consul's `rpc_max_conns_per_client`.
pub const RPC_MAX_CONNECTIONS_PER_ADDRESS: usize = 100;
/// Calls in flight on one connection: parked watches of one client agent, mostly.
pub const RPC_MAX_STREAMS: u32 = 16_384;
/// Streams that a client may cancel before the server has looked at them; a caller that gives up
/// on many calls at once must not cost the connection.
pub const RPC_MAX_RESETS: usize = 4_096;
/// Bytes a sender may be ahead on one stream.
pub const RPC_STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a sender may be ahead on one connection.
pub const RPC_CONNECTION_WINDOW: u32 = 16 << 20;
/// Bytes of one HTTP/2 frame: large enough that an append is one frame.
pub const RPC_FRAME_BYTES: u32 = 256 << 10;
/// Bytes of headers of one message; there are hardly any.
pub const RPC_HEADER_BYTES: u32 = 8 << 10;
/// Bytes of one request.
pub const RPC_MAX_REQUEST_BYTES: usize = 16 << 20;
/// Bytes of one reply: the longest list of a large catalog.
pub const RPC_MAX_REPLY_BYTES: usize = 256 << 20;
/// Bytes of one of Raft's messages; snapshots come in pieces.
pub const RPC_MAX_RAFT_BYTES: usize = 64 << 20;
/// KiB of request bodies that a server reads at a time; further ones wait to be read.
pub const RPC_BODY_BUDGET_KIB: usize = 512 << 10;
/// How deep a message may nest; honest ones need about ten.
pub const RPC_MAX_DEPTH: usize = 64;
/// Servers and lanes that a client remembers; beyond, those without a connection are forgotten.
pub const RPC_MAX_SLOTS: usize = 256;
/// How long requests at work may take to end when the server stops; parked ones never do.
pub const RPC_DRAIN: Duration = Duration::from_millis(500);

// === Bridge ===

/// Silence on a link after which it is probed.
pub const BRIDGE_KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Silence after which a link is dead; three probes have gone unanswered by then.
pub const BRIDGE_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a call waits for a link, and then for the next sign of progress; no call without
/// either lasts longer.
pub const BRIDGE_PROGRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the answering side looks at what a request is doing, and says that it still holds.
pub const BRIDGE_PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How long a dial may take, handshake and greeting together.
pub const BRIDGE_DIAL_TIMEOUT: Duration = Duration::from_millis(1_800);
/// The first pause before a link is dialled anew; doubled each time.
pub const BRIDGE_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest such pause: a peer not yet known is tried again each second.
pub const BRIDGE_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often the choice of links is looked at again when nothing has changed.
pub const BRIDGE_REVIEW_INTERVAL: Duration = Duration::from_secs(5);
/// How long a server that was tried for its nearness is not tried again for it.
pub const BRIDGE_TRIAL_PAUSE: Duration = Duration::from_secs(60);
/// Servers of one datacenter that are dialled while fewer than two links to it are up.
pub const BRIDGE_MAX_CANDIDATES: usize = 8;
/// A read is late after this many round trips, and never sooner than `BRIDGE_LATE_MIN`.
pub const BRIDGE_LATE_ROUND_TRIPS: u32 = 3;
/// See `BRIDGE_LATE_ROUND_TRIPS`.
pub const BRIDGE_LATE_MIN: Duration = Duration::from_millis(250);
/// Reads for each that may be sent a second time: 5 %.
pub const BRIDGE_READS_PER_DOUBLE: u32 = 20;
/// Doubles that may be saved up, for the moment at which a server stalls.
pub const BRIDGE_MAX_SAVED_DOUBLES: u32 = 20;
/// Requests a peer may have under way on one connection: parked watches, mostly.
pub const BRIDGE_MAX_STREAMS: u32 = 4_096;
/// Bytes a sender may be ahead on one stream.
pub const BRIDGE_STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a peer may be ahead on one connection.
pub const BRIDGE_CONNECTION_WINDOW: u32 = 64 << 20;
/// Bytes of a datagram that every path must carry; what QUIC itself asks for.
pub const BRIDGE_MIN_MTU: u16 = 1_200;
/// Bytes of the socket's buffers, where the system grants them.
pub const BRIDGE_SOCKET_BUFFER: usize = 4 << 20;
/// Bytes of one request.
pub const BRIDGE_MAX_REQUEST_BYTES: u32 = 16 << 20;
/// Bytes of one answer.
pub const BRIDGE_MAX_REPLY_BYTES: u32 = 64 << 20;
/// Bytes of one fault or greeting.
pub const BRIDGE_MAX_NOTE_BYTES: u32 = 16 << 10;
/// How deep a message may nest; honest ones need about ten.
pub const BRIDGE_MAX_DEPTH: usize = 64;
/// How long the frame that opens a stream may take to arrive.
pub const BRIDGE_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take to be taken by its asker.
pub const BRIDGE_REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections accepted: some for each server of each other datacenter.
pub const BRIDGE_MAX_CONNECTIONS: usize = 1_024;
/// Connections accepted from one address.
pub const BRIDGE_MAX_CONNECTIONS_PER_ADDRESS: usize = 64;
/// Connections above which strangers must first prove their address.
pub const BRIDGE_RETRY_CONNECTIONS: usize = 128;
/// First packets that wait to be looked at.
pub const BRIDGE_MAX_INCOMING: usize = 256;
/// Bytes buffered for all first packets together.
pub const BRIDGE_INCOMING_BYTES: u64 = 4 << 20;
/// Peers whose last refusal is remembered, so that the log tells each once a minute.
pub const BRIDGE_MAX_REFUSALS: usize = 256;
/// How long the same refusal of the same peer is not logged again.
pub const BRIDGE_REFUSAL_PAUSE: Duration = Duration::from_secs(60);
/// How long requests at work may take to end when the bridge stops; parked ones never do.
pub const BRIDGE_DRAIN: Duration = Duration::from_millis(500);
/// Names of datacenters that were known once and are not any more.
pub const BRIDGE_MAX_REMOVED: usize = 1_024;

// === Router ===

// === Local ===

// === Leader ===

// === HTTP ===

// === CLI ===
