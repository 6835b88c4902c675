//! Numbers of `bridge`, but its feeds: links to other datacenters, requests over them, looks for faults.

use std::time::Duration;

/// Silence on a link after which QUIC probes it: longer than `BRIDGE_REST_INTERVAL`, so that a link that is pinged
/// is not probed beside it.
pub const BRIDGE_KEEP_ALIVE: Duration = Duration::from_millis(960);
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
/// Requests a peer may have under way on one connection: parked watches, mostly. Feeds and the heartbeat
/// come on top (`FEED_STREAMS_STEP`).
pub const BRIDGE_MAX_STREAMS: u32 = 4_096;
/// Blocking queries that this agent parks on one link; further ones go to the standby or are refused,
/// so that an eighth of the streams is left for what does not wait.
pub const BRIDGE_MAX_PARKED: usize = 3_584;
/// How long after its start a server waits with "no path to datacenter": gossip tells within half a second
/// which datacenters there are, unless the machine is busy.
pub const BRIDGE_START_GRACE: Duration = Duration::from_secs(2);
/// Bytes that a sender may have on a new link's way before it has heard how much the way takes: an
/// answer of usual size arrives within one round trip. A window is sent over four fifths of a round
/// trip, so a long answer takes as much longer as it fills of the window: 36 KB, a seventh. RFC 9002
/// recommends a twentieth of it, for ways as narrow as a home's; between datacenters 50 ms apart it is
/// 50 Mbit/s, for no longer than there is something to send and no loss has shown that it is too much.
pub const BRIDGE_INITIAL_WINDOW: u64 = 256 << 10;
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
/// Bytes of the requests of one connection that are in memory, on their way in or at work; the next
/// one waits. Four of the largest, or all that can be open of usual size.
pub const BRIDGE_ARRIVING_BYTES: u32 = 64 << 20;
/// Bytes of the answers of one connection that wait for being taken; over it an answer is refused as
/// too many. Two of the largest.
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
/// Names of datacenters that were known once and are not any more.
pub const BRIDGE_MAX_REMOVED: usize = 1_024;

// === Looks for faults ===

/// Servers of one datacenter that a look for faults dials; a datacenter has seldom more than seven.
pub const DOCTOR_MAX_SERVERS: usize = 32;
/// Looks for faults under way at a time, those that other datacenters ask for included.
pub const DOCTOR_MAX_AT_ONCE: usize = 4;
/// How long the other side may take to dial back, which it does while this one dials.
pub const DOCTOR_PATIENCE: Duration = Duration::from_secs(4);
/// How far clocks may be apart before it is told: certificates are judged by them.
pub const DOCTOR_CLOCK_TOLERANCE: Duration = Duration::from_secs(30);
