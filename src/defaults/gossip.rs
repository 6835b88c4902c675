//! Numbers of `gossip`.

use std::time::Duration;

/// Port of the LAN pool where an address names none. Consul's `serf_lan`.
pub const SERF_LAN_PORT: u16 = 8301;
/// Port of the WAN pool where an address names none. Consul's `serf_wan`.
pub const SERF_WAN_PORT: u16 = 8302;
/// Names that a pool keeps, all states together; more are refused and counted. Four times Consul's largest pool (5,000).
pub const GOSSIP_MAX_MEMBERS: usize = 20_000;
/// Bytes of a datagram with its envelope; fits an Ethernet frame through a tunnel.
pub const GOSSIP_DATAGRAM_BYTES: usize = 1400;
/// Bytes of a datagram that the envelope may take: header, nonce, tag, sender, counter, datacenter.
pub const GOSSIP_ENVELOPE_BYTES: usize = 160;
/// Bytes of a member's state in a broadcast, beside a header of about 120; larger states are announced and fetched.
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
/// The longest `advertise_reconnect_timeout` of a member that is honoured.
pub const GOSSIP_MAX_RECONNECT_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a left member is remembered. Serf's `TombstoneTimeout`.
pub const GOSSIP_LEFT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long a member without known state waits for a rumour before its state is fetched over TCP.
pub const GOSSIP_FETCH_DELAY: Duration = Duration::from_millis(300);
/// Tries to fetch an announced state; afterwards its announcer is not believed.
pub const GOSSIP_FETCH_TRIES: u32 = 5;
/// Time that an order to leave is kept for later states and state exchanges: each member has had several by then.
pub const GOSSIP_ORDER_MEMORY: Duration = Duration::from_secs(600);
/// Orders kept; the oldest is forgotten.
pub const GOSSIP_MAX_ORDERS: usize = 1024;
/// How long an address that has answered is known to be an agent's.
pub const GOSSIP_PROOF_MEMORY: Duration = Duration::from_secs(3600);
/// How long an answer of an address is waited for; then it may be asked anew.
pub const GOSSIP_PROOF_WAIT: Duration = Duration::from_secs(5);
/// Questions to an address in that time, and the pause between them.
pub const GOSSIP_PROOF_TRIES: u32 = 3;
/// See [`GOSSIP_PROOF_TRIES`].
pub const GOSSIP_PROOF_PAUSE: Duration = Duration::from_millis(100);
/// Addresses whose answer is waited for; the one asked first is given up.
pub const GOSSIP_MAX_UNPROVEN: usize = 256;
/// Packets kept for such an address; the oldest is dropped.
pub const GOSSIP_MAX_UNSENT: usize = 4;
/// Time between fetches from the same member.
pub const GOSSIP_FETCH_RETRY: Duration = Duration::from_secs(2);
/// Fetches started at one tick, so that a big pool is not fetched from one member after another at once.
pub const GOSSIP_FETCHES: usize = 4;
/// Time between looks for members that failed or left too long ago. Serf's `ReapInterval`.
pub const GOSSIP_REAP: Duration = Duration::from_secs(15);
/// The same while there is something to fetch, and with fast settings.
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
/// How far a member's clock may be ahead: a day covers a wrong time zone. Lives that begin later are not believed.
pub const GOSSIP_CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);
/// Members whose last report about the clock here counts: more than half of them must call it slow.
pub const GOSSIP_CLOCK_WITNESSES: usize = 7;
/// Datagrams of a member refused in a row, after which it is asked to begin a new life.
pub const GOSSIP_UNHEARD: u32 = 8;
/// State exchanges of others with this agent. Beyond it slow ones give way, or the newcomer is refused.
pub const GOSSIP_MAX_STREAMS: usize = 128;
/// The same of one address: a quarter, enough for all agents that start together on one host.
pub const GOSSIP_MAX_STREAMS_OF_ADDRESS: usize = 32;
/// How long a connection has to say all before it gives way: a round trip to the next continent.
pub const GOSSIP_STREAM_GRACE: Duration = Duration::from_millis(200);
/// Silence after which a connection is closed: a lost packet is sent again well before.
pub const GOSSIP_STREAM_SILENCE: Duration = Duration::from_secs(3);
/// KiB that frames of others may take together while they arrive; further ones wait. Two of the largest.
pub const GOSSIP_STREAM_KIB: usize = 32 << 10;
/// KiB of a frame that are taken at a time. The first chunk needs no room in [`GOSSIP_STREAM_KIB`], so small frames never wait.
pub const GOSSIP_CHUNK_KIB: usize = 64;
/// State exchanges under way at a time during one join.
pub const GOSSIP_JOINS_AT_ONCE: usize = 8;
/// Members by which a LAN pool is joined unless each is asked for: one may be cut off, and each costs a whole state.
pub const GOSSIP_JOIN_ENOUGH: usize = 3;
/// Members asked for their states after this agent's address changed or returned: one that answers spreads the news.
pub const GOSSIP_LOOK_AROUND: usize = 5;
/// The pause after the first failed try to join; it doubles up to `retry_interval`.
pub const GOSSIP_JOIN_FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Rest after a connection could not be taken, mostly for want of file descriptors.
pub const GOSSIP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Rumours that wait to be passed on; above it those of others are believed but not passed on.
pub const GOSSIP_MAX_RUMOURS: usize = 4096;
/// State exchanges at a time that this agent starts on its own; more are skipped and counted.
pub const GOSSIP_MAX_DIALS: usize = 16;
/// Time for one state exchange, connect to last byte. memberlist's WAN has 30 s, which is too slow to heal a pool.
pub const GOSSIP_STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to connect.
pub const GOSSIP_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for an agent that hung up to say, asked in Consul's way, that it is one of Consul.
pub const GOSSIP_CONSUL_TIMEOUT: Duration = Duration::from_secs(1);
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
