//! Numbers of `bridge`, but its feeds: links to other datacenters, requests over them, looks for faults.

use std::time::Duration;

/// Silence on a link before QUIC probes it: longer than `BRIDGE_REST_INTERVAL`, so that a pinged link needs no probe.
pub const BRIDGE_KEEP_ALIVE: Duration = Duration::from_millis(960);
/// Silence after which a link is dead, with three probes unanswered.
pub const BRIDGE_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that a call waits for a link, and then for each further sign of progress.
pub const BRIDGE_PROGRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between looks of the answering side at a request's progress, each of which it reports.
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
/// Requests of a peer under way on one connection, mostly parked watches. Feeds have `FEED_STREAMS_STEP` on top.
pub const BRIDGE_MAX_STREAMS: u32 = 4_096;
/// Blocking queries that this agent parks on one link: an eighth of the streams stays free. More use the standby or fail.
pub const BRIDGE_MAX_PARKED: usize = 3_584;
/// Time after a start before "no path to datacenter" is answered: gossip needs half a second to learn of datacenters.
pub const BRIDGE_START_GRACE: Duration = Duration::from_secs(2);
/// Bytes in flight on a new link, so that an answer of usual size needs one round trip: 50 Mbit/s over 50 ms, until a loss.
pub const BRIDGE_INITIAL_WINDOW: u64 = 256 << 10;
/// Bytes a sender may be ahead on one stream.
pub const BRIDGE_STREAM_WINDOW: u32 = 4 << 20;
/// Bytes a peer may be ahead on one connection.
pub const BRIDGE_CONNECTION_WINDOW: u32 = 64 << 20;
/// Bytes of a datagram that every path must carry: QUIC's own minimum.
pub const BRIDGE_MIN_MTU: u16 = 1_200;
/// Bytes of the socket's buffers, where the system grants them.
pub const BRIDGE_SOCKET_BUFFER: usize = 4 << 20;
/// Bytes of one request.
pub const BRIDGE_MAX_REQUEST_BYTES: u32 = 16 << 20;
/// Bytes of one answer.
pub const BRIDGE_MAX_REPLY_BYTES: u32 = 64 << 20;
/// Bytes of one connection's requests in memory, arriving or at work: four of the largest. Further requests wait.
pub const BRIDGE_ARRIVING_BYTES: u32 = 64 << 20;
/// Bytes of one connection's answers that wait to be taken: two of the largest. Further answers are refused.
pub const BRIDGE_LEAVING_BYTES: u32 = 128 << 20;
/// Bytes of one fault or greeting.
pub const BRIDGE_MAX_NOTE_BYTES: u32 = 16 << 10;
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
/// Peers and reasons of refusals that are remembered, so that the log does not tell each one.
pub const BRIDGE_MAX_REFUSALS: usize = 256;
/// How long a peer must stay away for its next refusal to be news again.
pub const BRIDGE_REFUSAL_PAUSE: Duration = Duration::from_secs(60);
/// How long requests at work may take to end when the bridge stops; parked ones never do.
pub const BRIDGE_DRAIN: Duration = Duration::from_millis(500);
/// Names of former datacenters that are remembered.
pub const BRIDGE_MAX_REMOVED: usize = 1_024;

// === Looks for faults ===

/// Servers of one datacenter that a look for faults dials; a datacenter has seldom more than seven.
pub const DOCTOR_MAX_SERVERS: usize = 32;
/// Looks for faults under way at a time, those for other datacenters included.
pub const DOCTOR_MAX_AT_ONCE: usize = 4;
/// How long the other side may take to dial back, which it does while this one dials.
pub const DOCTOR_PATIENCE: Duration = Duration::from_secs(4);
/// Difference of two clocks above which `federation doctor` reports it: certificates are judged by them.
pub const DOCTOR_CLOCK_TOLERANCE: Duration = Duration::from_secs(30);
