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

// === Agent ===

/// Time between looks for servers of this datacenter that are missing in the WAN pool. Consul's number.
pub const FLOOD_JOIN_INTERVAL: Duration = Duration::from_secs(60);
/// The same while some are missing.
pub const FLOOD_JOIN_RETRY: Duration = Duration::from_secs(1);
/// How often the estimated ways to the servers of other datacenters are looked at again: two rounds
/// of the WAN pool's measurements.
pub const WAN_ESTIMATE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a graceful leave may take before the process goes anyway. Consul's number.
pub const LEAVE_LIMIT: Duration = Duration::from_secs(15);
/// How long a leaving server waits to be taken out of the Raft configuration. Consul's number.
pub const RAFT_REMOVAL_WAIT: Duration = Duration::from_secs(5);
/// How long each phase of a shutdown may take.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

// === Logging ===

/// How long something may fail before a warning: agents that start together find each other and a
/// leader within it.
pub const TROUBLE_PATIENCE: Duration = Duration::from_secs(10);
/// Time between warnings of one thing that goes on failing: often enough to be seen in a log of today.
pub const TROUBLE_REPEAT: Duration = Duration::from_secs(300);

// === Gossip ===

/// Port of the LAN pool where an address names none. Consul's `serf_lan`.
pub const SERF_LAN_PORT: u16 = 8301;
/// Port of the WAN pool where an address names none. Consul's `serf_wan`.
pub const SERF_WAN_PORT: u16 = 8302;
/// Names that a pool keeps, all states together; more are refused and counted. Twice the largest
/// pool that Consul's guide recommends (5,000), doubled again for members that come and go.
pub const GOSSIP_MAX_MEMBERS: usize = 20_000;
/// Bytes of a datagram with its envelope; fits an Ethernet frame through a tunnel.
pub const GOSSIP_DATAGRAM_BYTES: usize = 1400;
/// Bytes of a datagram that the envelope may take: header, nonce, tag, sender, counter, datacenter.
pub const GOSSIP_ENVELOPE_BYTES: usize = 160;
/// Bytes of a member's state that still travel as a broadcast; larger ones are announced and fetched.
/// The membership header beside it takes at most about 120.
pub const GOSSIP_BROADCAST_BYTES: usize = 1000;
/// Bytes of a state exchange over TCP; 20,000 members of 800 bytes each.
pub const GOSSIP_FRAME_BYTES: usize = 16 << 20;
/// Bytes of one member's state, tags included.
pub const GOSSIP_INFO_BYTES: usize = 16 << 10;
/// Bytes of a member's name: a DNS label and a datacenter's, generously.
pub const GOSSIP_NAME_BYTES: usize = 256;
/// Bytes of a datacenter's name in an envelope; a DNS label has at most 63.
pub const GOSSIP_DC_BYTES: usize = 64;
/// The times a rumour is passed on even in the smallest pool; fewer were seen to miss members.
pub const GOSSIP_MIN_TRANSMISSIONS: u8 = 5;
/// The pool size that timings are computed for at least; the formula is too thin below.
pub const GOSSIP_MIN_POOL: u32 = 10;
/// Time between state exchanges with a random member. memberlist's `PushPullInterval`.
pub const GOSSIP_PUSH_PULL: Duration = Duration::from_secs(30);
/// The same with fast settings.
pub const GOSSIP_FAST_PUSH_PULL: Duration = Duration::from_secs(2);
/// Time between tries to reach a failed member. Serf's `ReconnectInterval`.
pub const GOSSIP_RECONNECT: Duration = Duration::from_secs(30);
/// The same with fast settings.
pub const GOSSIP_FAST_RECONNECT: Duration = Duration::from_secs(1);
/// How long a left member is remembered. Serf's `TombstoneTimeout`.
pub const GOSSIP_LEFT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a member without known state waits for a rumour before its state is fetched over TCP.
pub const GOSSIP_FETCH_DELAY: Duration = Duration::from_millis(300);
/// Time between fetches from the same member.
pub const GOSSIP_FETCH_RETRY: Duration = Duration::from_secs(2);
/// Fetches started at one tick, so that a big pool is not fetched from one member after another at once.
pub const GOSSIP_FETCHES: usize = 4;
/// The core's own clock: fetches and reaping are looked at this often.
pub const GOSSIP_TICK: Duration = Duration::from_millis(250);
/// Round-trip measurements without an answer that are remembered; the oldest is forgotten.
pub const GOSSIP_MAX_PINGS: usize = 64;
/// Longest round-trip time believed. Serf's limit.
pub const GOSSIP_MAX_RTT: Duration = Duration::from_secs(10);
/// Newcomers that wait until the holder of their name or id has been asked.
pub const GOSSIP_MAX_CONTENDERS: usize = 64;
/// Time before the holder of a name is asked again about the same newcomer.
pub const GOSSIP_CONTENDER_MEMORY: Duration = Duration::from_secs(30);
/// Senders whose datagram counters are remembered; the one longest silent is forgotten.
pub const GOSSIP_MAX_REPLAY_SENDERS: usize = 20_000;
/// State exchanges at a time that others may have with this agent; more wait in the listen queue.
pub const GOSSIP_MAX_STREAMS: usize = 64;
/// KiB that frames of others may take together while they arrive; further ones wait. Two of the largest.
pub const GOSSIP_STREAM_KIB: usize = 32 << 10;
/// State exchanges under way at a time during one join.
pub const GOSSIP_JOINS_AT_ONCE: usize = 8;
/// Members that a LAN pool is joined by when nobody asked for each: one may be cut off itself, and
/// every further one costs a whole state.
pub const GOSSIP_JOIN_ENOUGH: usize = 3;
/// Members that are asked for their states when this agent's address has changed or come back: a few
/// may have gone meanwhile, and one that answers spreads the news.
pub const GOSSIP_LOOK_AROUND: usize = 5;
/// The pause after the first try to join that reached nobody; it doubles up to `retry_interval`.
pub const GOSSIP_JOIN_FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Rest after a connection could not be taken, mostly for want of file descriptors.
pub const GOSSIP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Rumours that wait to be passed on; above it those of others are believed but not passed on.
pub const GOSSIP_MAX_RUMOURS: usize = 4096;
/// State exchanges at a time that this agent starts on its own; more are skipped and counted.
pub const GOSSIP_MAX_DIALS: usize = 16;
/// Time for one state exchange, connect to last byte. memberlist's WAN `TCPTimeout` is 30 s; a
/// pool that must heal quickly cannot wait that long for one peer.
pub const GOSSIP_STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to connect.
pub const GOSSIP_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for the holder of a name to say that it is still there.
pub const GOSSIP_ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that wait for the pool's task; senders wait when it is full.
pub const GOSSIP_COMMANDS: usize = 256;
/// Datagrams read in one turn before timers are looked at.
pub const GOSSIP_TURN_DATAGRAMS: usize = 256;
/// Addresses that one name may resolve to.
pub const GOSSIP_MAX_RESOLVED: usize = 32;
/// Last known members kept on disk.
pub const GOSSIP_MAX_SNAPSHOT: usize = 256;
/// Longest time between a change of the members and its copy on disk.
pub const GOSSIP_SNAPSHOT_EVERY: Duration = Duration::from_secs(1);
/// How long a leaving agent stays so that the others hear of it.
pub const GOSSIP_LEAVE_LINGER: Duration = Duration::from_millis(900);
/// Time between the datagrams of a leaving agent.
pub const GOSSIP_LEAVE_ROUND: Duration = Duration::from_millis(60);
/// Peers whose refusal was logged lately, and for how long it is not logged again.
pub const GOSSIP_MAX_WARNED: usize = 256;
/// See [`GOSSIP_MAX_WARNED`].
pub const GOSSIP_WARN_EVERY: Duration = Duration::from_secs(60);
/// Tries to find a port that is free for both TCP and UDP.
pub const GOSSIP_BIND_TRIES: usize = 16;

// === Raft ===

/// Time between a leader's heartbeats: four fit into the least election timeout.
pub const RAFT_HEARTBEAT: Duration = Duration::from_millis(100);
/// Least election timeout: well above a heartbeat with an fsync on a busy machine of two cores.
pub const RAFT_ELECTION_MIN: Duration = Duration::from_millis(400);
/// Greatest election timeout, and the leader's lease: both together stay below 1.6 s with room for a vote.
pub const RAFT_ELECTION_MAX: Duration = Duration::from_millis(700);
/// A leader that nothing was heard of for so many leases is told to nobody any more.
pub const RAFT_LEADER_SILENCE_LEASES: u32 = 2;
/// The part of the lease, in percent, within which reads are answered: clocks may differ by 10 % in speed.
pub const RAFT_LEASE_MARGIN_PERCENT: u32 = 80;
/// `raft_snapshot_threshold`: log entries since the last snapshot before the next; a snapshot is also no use before the log outgrows it.
pub const RAFT_SNAPSHOT_ENTRIES: u64 = 20_000;
/// `raft_trailing_logs`, in log entries, and its least value: so many stay behind a snapshot that a
/// purge never overtakes an apply (openraft #2116).
pub const RAFT_TRAILING_ENTRIES: u64 = 20_000;
/// Proposals that may wait for their commit; over it, `Busy`. Half a second's worth at 8,000/s.
pub const RAFT_PROPOSALS: usize = 4_096;
/// Commands in one log entry: larger groups win nothing more, and make the entries behind a snapshot heavy.
pub const RAFT_GROUP_COMMANDS: usize = 16;
/// Bytes of commands after which a log entry takes no more; one command may be larger.
pub const RAFT_GROUP_BYTES: usize = 32 << 10;
/// Log entries on their way to the disks at a time: some are written while the next is gathered and sent.
pub const RAFT_GROUPS_IN_FLIGHT: usize = 4;
/// How long a proposal waits for its commit: two failovers.
pub const RAFT_PROPOSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a change of the membership, or a learner's catching up, may take: a whole snapshot may go first.
pub const RAFT_MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a leader looks for a change of the membership that nobody finishes.
pub const RAFT_UNFINISHED_TICK: Duration = Duration::from_secs(1);
/// How long a hand-over of leadership may take: two elections.
pub const RAFT_TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// Log writes that wait for the disk; the core waits over it. Twice the proposals' bound, so that a
/// stuck disk does not hold up heartbeats.
pub const RAFT_LOG_QUEUE: usize = 8_192;
/// Bytes that go to the disk with one fsync at most: the writer turns to the queue again within some 10 ms.
pub const RAFT_LOG_BATCH_BYTES: usize = 4 << 20;
/// Bytes of the log's newest entries kept in memory for replication and apply; older ones are read from disk.
pub const RAFT_LOG_CACHE_BYTES: usize = 8 << 20;
/// Bytes of the log's store for blocks that were read: old entries are read once.
pub const RAFT_LOG_BLOCK_CACHE_BYTES: u64 = 1 << 20;
/// Bytes of the log store's write buffer before it goes to a table, so that an idle server stays small.
pub const RAFT_LOG_MEMTABLE_BYTES: u64 = 8 << 20;
/// Bytes of all the log store's journals: the least that the store takes.
pub const RAFT_LOG_JOURNAL_BYTES: u64 = 64 << 20;
/// Entries in one append message.
pub const RAFT_APPEND_ENTRIES: u64 = 1_024;
/// Bytes of entries in one append message (one entry may be more): far below the frame bound of `rpc`.
pub const RAFT_APPEND_BYTES: usize = 1 << 20;
/// Entries applied between two publications at most, so that readers see progress within a large batch.
pub const RAFT_APPLY_BATCH: usize = 1_024;
/// How long a written append may take to be answered: an fsync on a slow disk.
pub const RAFT_APPEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes in one part of a snapshot on its way.
pub const RAFT_SNAPSHOT_PART_BYTES: usize = 1 << 20;
/// Bytes of a snapshot that is received; a greater one is refused.
pub const RAFT_SNAPSHOT_MAX_BYTES: u64 = 4 << 30;
/// How long one part of a snapshot, or its install at the end, may take.
pub const RAFT_SNAPSHOT_PART_TIMEOUT: Duration = Duration::from_secs(30);
/// A disk that has not come back from an fsync for this long is stuck: no proposals, leadership handed over.
pub const RAFT_FSYNC_STUCK: Duration = Duration::from_secs(2);
/// How often the disk is looked after.
pub const RAFT_WATCHDOG_TICK: Duration = Duration::from_millis(200);
/// How often a follower asks its leader for an echo, by which its age is known.
pub const RAFT_ECHO_INTERVAL: Duration = Duration::from_millis(200);
/// How long an echo may take.
pub const RAFT_ECHO_TIMEOUT: Duration = Duration::from_secs(1);
/// Echoes a follower keeps until it has applied what they name; over it the newest goes. A lag of
/// some 10 s is told as it is, a longer one as at least that.
pub const RAFT_ECHOES_UNSEEN: usize = 50;
/// How often the bootstrap is thought over, and what was not answered asked again.
pub const RAFT_BOOTSTRAP_TICK: Duration = Duration::from_millis(200);
/// How long a member may take to grant: a write and an fsync.
pub const RAFT_GRANT_TIMEOUT: Duration = Duration::from_secs(2);
/// Questions that wait for the bootstrap's task; over it the asker is refused and asks again.
pub const RAFT_BOOTSTRAP_QUEUE: usize = 64;
/// Servers in a set that is proposed; a greater set is refused.
pub const RAFT_MEMBERS_MAX: usize = 64;

// === Store ===

/// Bytes of a rendered list of one service that are kept until the service changes; larger lists
/// are rendered for each read, where sending them costs more than rendering.
pub const SERVICE_BODY_CACHE_BYTES: usize = 256 * 1024;
/// Locks that the watches are spread over, so that readers that park do not queue on one.
pub const WATCH_SHARDS: usize = 64;
/// Bytes of one record of a snapshot: far above what one row of the catalog can take, since the
/// bodies of requests are bounded lower.
pub const SNAPSHOT_RECORD_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes of a filter expression: more than a URL carries.
pub const FILTER_BYTES: usize = 64 * 1024;
/// Parentheses and `not`s within each other in a filter expression: bounds the stack.
pub const FILTER_DEPTH: usize = 64;
/// Bytes that the compiled form of a regular expression in a filter may take.
pub const FILTER_REGEX_BYTES: usize = 1024 * 1024;

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
/// Bytes that a sender may have on a new link's way before it has heard how much the way takes: an
/// answer of usual size arrives within one round trip. A window is sent over four fifths of a round
/// trip, so a long answer takes as much longer as it fills of the window: 36 KB, a seventh. RFC 9002
/// recommends a twentieth of it, for ways as narrow as a home's; between datacenters 50 ms apart it is
/// 50 Mbit/s, for no longer than there is something to send and no loss has shown that it is too much.
pub const BRIDGE_INITIAL_WINDOW: u64 = 256 << 10;
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
/// Peers whose refusal for TLS is remembered, so that the log tells each once a minute.
pub const RPC_MAX_REFUSALS: usize = 256;
/// How long the refusal of the same peer is not logged again.
pub const RPC_REFUSAL_PAUSE: Duration = Duration::from_secs(60);
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
/// Requests a peer may have under way on one connection: parked watches, mostly. Feeds and the pulse
/// come on top (`FEED_STREAMS_STEP`).
pub const BRIDGE_MAX_STREAMS: u32 = 4_096;
/// Blocking queries that this agent parks on one link; further ones go to the standby or are refused,
/// so that an eighth of the streams is left for what does not wait.
pub const BRIDGE_MAX_PARKED: usize = 3_584;
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
/// Peers and reasons of refusals that are remembered, so that the log does not tell each one.
pub const BRIDGE_MAX_REFUSALS: usize = 256;
/// How long a peer must stay away for its next refusal to be news again.
pub const BRIDGE_REFUSAL_PAUSE: Duration = Duration::from_secs(60);
/// How long requests at work may take to end when the bridge stops; parked ones never do.
pub const BRIDGE_DRAIN: Duration = Duration::from_millis(500);
/// Names of datacenters that were known once and are not any more.
pub const BRIDGE_MAX_REMOVED: usize = 1_024;
/// Servers of one datacenter that a look for faults dials; a datacenter has seldom more than seven.
pub const DOCTOR_MAX_SERVERS: usize = 32;
/// Looks for faults under way at a time, those that other datacenters ask for included.
pub const DOCTOR_MAX_AT_ONCE: usize = 4;
/// How long the other side may take to dial back, which it does while this one dials.
pub const DOCTOR_PATIENCE: Duration = Duration::from_secs(4);
/// How far clocks may be apart before it is told: certificates are judged by them.
pub const DOCTOR_CLOCK_TOLERANCE: Duration = Duration::from_secs(30);
/// Days to a certificate's end under which it is told, by `federation doctor` and in the log.
pub const CERTIFICATE_SOON_DAYS: i64 = 30;
/// How often certificates that are over soon are told in the log.
pub const CERTIFICATE_TOLD_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the files of certificates are looked at. What differs is read when it is the same at
/// two looks: a certificate and its key are two files, and are not written at one time.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

// === Feeds of other datacenters ===

/// `bridge { cache_bytes }`: bytes of answers of other datacenters that are held.
pub const BRIDGE_CACHE_BYTES: u64 = 256 << 20;
/// A server of another datacenter whose view is older than this is cut off there: others are asked first,
/// and feeds move. More than a change of leader takes.
pub const BRIDGE_BEHIND: Duration = Duration::from_secs(2);
/// How often each link is pinged: what is read from memory is no older than this and a round trip.
pub const BRIDGE_PING_INTERVAL: Duration = Duration::from_millis(500);
/// Pings of one link whose echo is out; the oldest is forgotten. A link is dead long before.
pub const BRIDGE_PINGS_UNHEARD: usize = 16;
/// Feeds that stand on one link; the least recently used makes room.
pub const FEED_MAX_PER_LINK: usize = 20_000;
/// Feeds that are being opened on one link at a time: with fewer than half of `FEED_STREAMS_STEP` under
/// way the streams of requests are never taken, even when all feeds of a link move to another.
pub const FEED_MAX_OPENING: usize = 1_024;
/// How long nobody may have used a feed before it ends.
pub const FEED_IDLE: Duration = Duration::from_secs(600);
/// Feeds end in batches of this part of those that stand, so that a scan does not look for the least
/// recently used at each step.
pub const FEED_BATCH: usize = 8;
/// How long a feed that made room although it is watched leaves its place to others, jitter taken off.
pub const FEED_REPARK: Duration = Duration::from_secs(10);
/// How long a query whose answer cannot be fed, or has no room, is forwarded each time, before a feed is tried again.
pub const FEED_REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// First and longest pause before a feed that found nobody is tried anew; it doubles between them. A
/// link that comes up ends it.
pub const FEED_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a reader waits for the first answer of a feed, whatever progress it makes.
pub const FEED_FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a push may take to arrive, from its first byte to its last.
pub const FEED_ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of pushes that are on their way into memory at a time, for each link: room for the largest, and
/// half of `BRIDGE_CONNECTION_WINDOW`, so that what waits for room is in nobody's way.
pub const FEED_ARRIVING_BYTES: u32 = 32 << 20;
/// Pushes of one feed within a second above which the other side does not keep to `FEED_PACE` at all.
pub const FEED_FLOOD: u32 = 50;
/// Bytes counted for an answer beyond its body and its query: its feed's stream and task.
pub const FEED_OVERHEAD: u32 = 6_144;
/// How long a server that broke the rules of feeds is not dialled.
pub const BRIDGE_MISBEHAVED_PAUSE: Duration = Duration::from_secs(10);
/// The least time between two pushes of a feed: ten a second, of which the newest counts.
pub const FEED_PACE: Duration = Duration::from_millis(100);
/// Bytes of the frame that opens a feed: its query comes from an HTTP head of at most 64 KiB.
pub const FEED_MAX_OPEN_BYTES: u32 = 256 << 10;
/// Bytes of the queries of all feeds that are open on one link: some 3 KB each, where 200 are usual.
pub const FEED_QUERY_BYTES: usize = 64 << 20;
/// Bytes of one push, its body included; what is larger is asked for each time.
pub const FEED_MAX_BYTES: u32 = 8 << 20;
/// Bytes of an echo: it may have to name each feed of its link twice.
pub const FEED_MAX_ECHO_BYTES: u32 = 1 << 20;
/// How long a follower may take to take a push, and to let go of a feed that has ended.
pub const FEED_TOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// Pushes of one link that are being read and written at a time, so that one that does not read costs
/// a few answers and not one for each of its feeds.
pub const FEED_MAX_SENDING: usize = 16;
/// Feeds of one link that must be read at each ping, because nothing calls when they change: there
/// are three such queries, and tokens and filters make more of them.
pub const FEED_MAX_POLLED: usize = 256;
/// The streams for feeds that a peer may open beyond those it has: quinn sets memory aside for each
/// that it allows, so the allowance grows with use. More than an eighth of all, or quinn tells of it late.
pub const FEED_STREAMS_STEP: usize = 4_096;
/// The least time between two pings of a link, on the average. A tenth of the honest pace.
pub const BRIDGE_PING_PACE: Duration = Duration::from_millis(50);
/// Pings that may come at once, because the link stood still before.
pub const BRIDGE_PINGS_AT_ONCE: u32 = 16;

// === Federation ===

/// The least `bridge { cache_bytes }`: below it hardly an answer fits.
pub const BRIDGE_CACHE_LEAST: i64 = 1 << 20;
/// The greatest `bridge { cache_bytes }`: more than any server has.
pub const BRIDGE_CACHE_MOST: i64 = 1 << 40;
/// Datacenters in `federation {}`: far above the largest federations.
pub const FEDERATION_MAX_DATACENTERS: usize = 256;
/// Entries of one datacenter in `federation {}`.
pub const FEDERATION_MAX_SERVERS: usize = 64;
/// Addresses that one name of a static entry may give; further ones are passed over and counted.
pub const FEDERATION_MAX_RESOLVED: usize = 32;
/// How long the resolver may take for one name: longer than its own first timeout.
pub const FEDERATION_RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Names that are looked up at a time: each keeps one thread busy.
pub const FEDERATION_LOOKUPS: usize = 8;
/// How often the names of static entries are resolved anew while a link of their datacenter is down:
/// a server that moved is found as soon as its name says so.
pub const FEDERATION_RESOLVE_RETRY: Duration = Duration::from_secs(5);
/// The same while all links stand.
pub const FEDERATION_RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// Clusters of other datacenters that the catalog remembers as removed; over it a removal is refused.
pub const FEDERATION_MAX_REMOVED: usize = 1_024;
/// How often a server that has just started looks whether its catalog is no older than a leader's, so
/// that the catalog alone says what is removed; and the pause before removals that could not be written
/// down are written again.
pub const FEDERATION_REMOVALS_LOOK: Duration = Duration::from_millis(250);
/// How long a join waits until a readmission has come to this server.
pub const FEDERATION_READMIT_WAIT: Duration = Duration::from_secs(5);
/// How often it tries meanwhile.
pub const FEDERATION_READMIT_RETRY: Duration = Duration::from_millis(100);

// === Router ===

/// Requests held for a leader at one time; more are answered with 503. A held request costs a few
/// KB, and a leader that appears must not be met by more than it takes in a second.
pub const HELD_REQUESTS_MAX: usize = 8_192;
/// Longest pause before a request is sent again to a leader that was not one or did not answer;
/// the pause is drawn from its upper half. A tenth of the time an election takes.
pub const HOLD_RETRY: Duration = Duration::from_millis(200);
/// Held requests are spread over this time when a leader appears, so that they do not come at once.
pub const HOLD_SPREAD: Duration = Duration::from_millis(20);
/// What a call may take beyond the waits it is allowed, for each agent it may pass.
pub const CALL_MARGIN: Duration = Duration::from_secs(3);
/// Bounds of the time after which an agent shuffles its list of servers, so that the load stays
/// even after restarts. Consul's numbers.
pub const SERVER_REBALANCE: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(180));
/// How often the leader looks at the health of the servers, for `StableSince`. Autopilot's number.
pub const SERVER_HEALTH_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes of answers kept for `?cached`; over it the least useful feeds end.
pub const CACHED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes counted for a feed beyond its answer, so that the number of feeds is bounded too.
pub const CACHED_FEED_OVERHEAD: u32 = 4_096;
/// How long a feed of `?cached` is kept after its last use. Consul's number.
pub const CACHED_IDLE: Duration = Duration::from_secs(72 * 3600);
/// Least time between two answers of a feed, so that a service that changes all the time costs
/// ten reads a second and no more.
pub const CACHED_PACE: Duration = Duration::from_millis(100);
/// First and longest pause of a feed after a failed fetch; it doubles between them.
pub const CACHED_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How often a feed asks for what has no index to wait on (`catalog/datacenters`).
pub const CACHED_POLL: Duration = Duration::from_secs(15);

/// How many other servers of its datacenter a server asks for what they hold of another one.
pub const NEIGHBOURS_MAX: usize = 8;
/// How long it waits for them: a round trip within the datacenter, and for those that must ask the
/// other datacenter first, one there.
pub const NEIGHBOURS_PATIENCE: Duration = Duration::from_secs(1);
/// Questions to the neighbours that are under way at one time; over it none is asked.
pub const NEIGHBOURS_ASKS_MAX: usize = 1_024;
/// How long what a neighbour has told is given to others who ask the same; its age is counted on.
pub const NEIGHBOURS_KEPT: Duration = Duration::from_secs(1);
/// Bytes of what neighbours have told that are kept so.
pub const NEIGHBOURS_KEPT_BYTES: u64 = 16 << 20;
/// How often a blocking read of another datacenter starts anew when what it waited on is gone.
pub const FAR_WAIT_TURNS: u32 = 3;
/// The pause before it does.
pub const FAR_WAIT_PAUSE: Duration = Duration::from_millis(250);
/// Datacenters that one `?dc=*` asks at the same time; the others follow.
pub const EVERYWHERE_PARALLEL: usize = 64;
/// How long `?dc=*` waits for one datacenter. As long as the bridge waits for a sign of life.
pub const EVERYWHERE_PATIENCE: Duration = Duration::from_secs(2);
/// How often a parked `?dc=*` asks a datacenter again that failed.
pub const EVERYWHERE_RETRY: Duration = Duration::from_secs(1);
/// How often a parked `?dc=*` looks whether datacenters have come or gone.
pub const EVERYWHERE_LOOK: Duration = Duration::from_secs(5);
/// Least time between two answers that a parked `?dc=*` makes.
pub const EVERYWHERE_PACE: Duration = Duration::from_millis(100);
/// Bytes of a merged answer; the datacenter that would exceed it is told as failed.
pub const EVERYWHERE_MAX_BYTES: usize = 64 << 20;
/// Distinct `?dc=*` queries whose last change is known; the least used is forgotten, and whoever
/// waits on it is answered once too often.
pub const EVERYWHERE_MARKS_MAX: u64 = 10_000;

// === Local ===

/// Services that one agent takes; over it a registration is refused (503). A node with more is a
/// programming error of whoever registers.
pub const LOCAL_MAX_SERVICES: usize = 8_192;
/// Checks that one agent takes; four for each service.
pub const LOCAL_MAX_CHECKS: usize = 32_768;
/// Bytes of one file of a kept registration; a longer one counts as damaged and is not read.
pub const LOCAL_FILE_MAX: u64 = 4 << 20;
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
/// Bytes of status line and headers that a target may send; more fails the check.
pub const CHECK_HEAD_BYTES: usize = 64 << 10;
/// The same of an HTTP/2 target, once unpacked.
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
/// Bytes read of a command's output at a time.
pub const CHECK_PIPE_BYTES: usize = 8 << 10;
/// Bytes of output after which a command is read slowly.
pub const CHECK_FLOOD_BYTES: u64 = 1 << 20;
/// The pause after each read of such a command: 8 MB a second, which takes no core.
pub const CHECK_FLOOD_PAUSE: Duration = Duration::from_millis(1);
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
/// The least `DeregisterCriticalServiceAfter`; less is raised with a warning. Consul's number.
pub const DEREGISTER_CRITICAL_MIN: Duration = Duration::from_secs(60);
/// Time between looks for services that have been critical for too long. Consul's number.
pub const DEREGISTER_CRITICAL_TICK: Duration = Duration::from_secs(30);
/// Time between full synchronisations with the catalog, before the random part. Consul's number.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(60);
/// The random delay of a synchronisation asked for is up to this. Consul's number.
pub const SYNC_SOON: Duration = Duration::from_secs(3);
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

// === Leader ===

/// Time between full comparisons of members and catalog. Consul's `reconcile_interval`.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after a failed one.
pub const RECONCILE_RETRY: Duration = Duration::from_secs(1);
/// How long changes of the roster are gathered before they are compared; a datacenter that starts
/// brings them in crowds.
pub const RECONCILE_GATHER: Duration = Duration::from_millis(50);
/// Commands that one log entry carries at most.
pub const RECONCILE_BATCH: usize = 64;
/// How long a leader waits before it removes nodes that gossip has never shown it: two rounds of
/// push/pull, for a leader that has only just joined knows too few.
pub const REAP_UNKNOWN_AFTER: Duration = Duration::from_secs(60);
/// Time between looks at the Raft configuration.
pub const MEMBERSHIP_INTERVAL: Duration = Duration::from_millis(250);
/// The longest that one change of the Raft configuration may take.
pub const MEMBERSHIP_CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before a failed change of the same server is tried again.
pub const MEMBERSHIP_RETRY: Duration = Duration::from_secs(2);
/// A server that Raft has heard of within this is not called silent, however short
/// `last_contact_threshold` is: some heartbeats of the slowest `raft_multiplier`.
pub const SERVER_SILENT_AFTER: Duration = Duration::from_secs(2);
/// How long a server must be dead before it is taken out: longer than a restart.
pub const SERVER_DEAD_AFTER: Duration = Duration::from_secs(10);
/// Time between the leader's own ticks.
pub const LEADER_TICK: Duration = Duration::from_millis(250);
/// A gap between ticks from which on the leader was asleep, and timers are not to be trusted.
pub const LEADER_GAP: Duration = Duration::from_secs(1);
/// Time between writes of coordinates. Consul's number.
pub const COORDINATE_INTERVAL: Duration = Duration::from_secs(5);
/// Coordinates in one command. Consul's number.
pub const COORDINATE_BATCH: usize = 128;
/// How far, in seconds, a coordinate must have moved to be written again: a fifth of a
/// millisecond, below which sorting by it means nothing.
pub const COORDINATE_MOVED: f64 = 0.0002;

// === HTTP ===

/// Connections of the HTTP API at a time, over all listeners: enough for the watches of a large
/// datacenter, and well within the files a service may open (`LimitNOFILE` of the unit).
pub const HTTP_MAX_CONNECTIONS: usize = 65_536;
/// Connections that are told at a time that they are too many; further ones are closed without a word.
pub const HTTP_MAX_REFUSALS: usize = 64;
/// How long a refused connection may take to read why.
pub const HTTP_REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Bytes of a refused connection that are read and thrown away, so that it sees the refusal.
pub const HTTP_REFUSAL_READ: u64 = 64 * 1024;
/// How long a new connection may take to send its first request whole, head only.
pub const HTTP_FIRST_REQUEST: Duration = Duration::from_secs(30);
/// A connection without a request for this long, and at most twice this long, is closed. Longer than
/// the 90 s after which Go's client lets go of an idle connection by itself.
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
/// Characters of a datacenter's error in `X-Kontor-Datacenters`, so that a hundred of them stay
/// within what clients take as headers.
pub const HTTP_DATACENTER_ERROR_MAX: usize = 120;

// === Configuration ===

/// `datacenter`. Consul's word.
pub const DATACENTER: &str = "dc1";
/// `domain`. Consul's word, without the closing point.
pub const DOMAIN: &str = "consul";
/// `ports.dns`. Consul's number.
pub const PORT_DNS: i64 = 8600;
/// `ports.http`. Consul's number.
pub const PORT_HTTP: i64 = 8500;
/// `ports.https`: off until asked for, as Consul's.
pub const PORT_HTTPS: i64 = -1;
/// `ports.server`: RPC over TCP, the bridge over UDP. Consul's number.
pub const PORT_SERVER: i64 = 8300;
/// Characters of `X-Kontor-Reason`: another datacenter may have written it, and clients take a few KB
/// of headers.
pub const HTTP_REASON_MAX: usize = 1_024;
/// The port of a static entry that names none: `ports.server`.
pub const PORT_BRIDGE: u16 = 8300;
/// `ports.serf_lan`. Consul's number.
pub const PORT_SERF_LAN: i64 = 8301;
/// `ports.serf_wan`. Consul's number.
pub const PORT_SERF_WAN: i64 = 8302;
/// `retry_interval` and `retry_interval_wan`. Consul's number.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// `reconnect_timeout` and `reconnect_timeout_wan`: when a failed member is forgotten. Consul's number.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(72 * 3600);
/// `performance.leave_drain_time`. Consul's number.
pub const LEAVE_DRAIN_TIME: Duration = Duration::from_secs(5);
/// `performance.raft_multiplier`: 1, the fast failover that Consul recommends for production and
/// does not default to.
pub const RAFT_MULTIPLIER: u32 = 1;
/// The slowest `performance.raft_multiplier`. Consul's number.
pub const RAFT_MULTIPLIER_MAX: u32 = 10;
/// `autopilot.last_contact_threshold`. Consul's number.
pub const AUTOPILOT_LAST_CONTACT: Duration = Duration::from_millis(200);
/// `autopilot.max_trailing_logs`, in log entries. Consul's number.
pub const AUTOPILOT_MAX_TRAILING_LOGS: u64 = 250;
/// `autopilot.server_stabilization_time`. Consul's number.
pub const AUTOPILOT_STABILIZATION: Duration = Duration::from_secs(10);
/// `check_update_interval`: how long a change of output alone may wait. Consul's number.
pub const CHECK_UPDATE_INTERVAL: Duration = Duration::from_secs(300);
/// `check_output_max_size`, in bytes. Consul's number.
pub const CHECK_OUTPUT_MAX_SIZE: usize = 4096;
/// `limits.http_max_conns_per_client`. Consul's number.
pub const HTTP_MAX_CONNS_PER_CLIENT: usize = 200;
/// Pairs in `node_meta`. Consul's number.
pub const NODE_META_PAIRS: usize = 64;
/// Bytes of a key in `node_meta`. Consul's number.
pub const NODE_META_KEY_BYTES: usize = 128;
/// Bytes of a value in `node_meta`. Consul's number.
pub const NODE_META_VALUE_BYTES: usize = 512;
/// Time between looks at the host's addresses, for templates: a container that was connected to
/// another network is back in its pools a few seconds later, and a look costs less than a millisecond.
pub const ADDRESS_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Looks after a move at which the catalog is compared with this agent: the leader writes the new address
/// too, and may put back what it read before this agent had written its own.
pub const ADDRESS_SYNC_LOOKS: u32 = 3;
/// Bytes of one configuration file: a larger one is a mistake, not a configuration.
pub const CONFIG_FILE_BYTES: u64 = 16 * 1024 * 1024;

// === Watches ===

/// The wait of a watch's blocking question. Consul's default for those that name none.
pub const WATCH_WAIT: Duration = Duration::from_secs(300);
/// How long the answer to such a question may take: its wait with the agent's random part, and the
/// hold for a leader or a slow server at its end.
pub const WATCH_ANSWER_TIMEOUT: Duration = Duration::from_secs(360);
/// Pause after an answer that changed nothing, so that a view which moves without changing (its index is that of a
/// table) costs at most ten questions a second.
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
/// How long output is waited for once a script has ended; what it left running may hold its pipe for ever.
pub const WATCH_OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// A handler that runs so long is worth a warning, each time anew. It is not ended: deployments take their time.
pub const WATCH_HANDLER_SLOW: Duration = Duration::from_secs(600);
/// The time of an HTTP handler that names none. Consul's number.
pub const WATCH_HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `kontor watch` gives its handler to end after a signal was passed on to it.
pub const WATCH_END_GRACE: Duration = Duration::from_secs(5);

// === CLI ===

/// How long a command waits for the agent to accept its connection.
pub const CLI_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a command waits for an answer: longer than the hold for a leader and a leave together.
pub const CLI_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that a command reads: far above any list of a catalog this program is for.
pub const CLI_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// `tls ca create -days`: five years. Consul's number.
pub const CA_DAYS: u32 = 1825;
/// `tls cert create -days`. Consul's number.
pub const CERT_DAYS: u32 = 365;
/// `tls init -servers`: the least that outlives one of them.
pub const INIT_SERVERS: u32 = 3;
/// Numbers tried for `dc1-server-consul-<n>.pem`: more certificates of one kind in one folder are
/// a mistake.
pub const CERT_FILE_NUMBERS: u32 = 10_000;
/// HTTP port of the first datacenter of `demo`, Consul's own, and of the second.
pub const DEMO_HTTP_PORTS: [u16; 2] = [8500, 9500];
