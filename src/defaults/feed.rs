//! Numbers of the feeds of other datacenters, and of the pings that say how old they are.

use std::time::Duration;

/// `bridge { cache_bytes }`: bytes of answers of other datacenters that are held.
pub const BRIDGE_CACHE_BYTES: u64 = 256 << 20;
/// The least `bridge { cache_bytes }`: below it hardly an answer fits.
pub const BRIDGE_CACHE_LEAST: i64 = 1 << 20;
/// The greatest `bridge { cache_bytes }`: more than any server has.
pub const BRIDGE_CACHE_MOST: i64 = 1 << 40;
/// Age of a remote server's view above which others are asked first and feeds move: longer than an election there.
pub const BRIDGE_BEHIND: Duration = Duration::from_secs(2);
/// Time between pings of a link in use: an answer from memory is at most this and a round trip old.
pub const BRIDGE_PING_INTERVAL: Duration = Duration::from_millis(500);
/// The same while no feed stands on the link and no call is under way.
pub const BRIDGE_REST_INTERVAL: Duration = Duration::from_millis(900);
/// Pings of one link whose echo is out; the oldest is forgotten. A link is dead long before.
pub const BRIDGE_PINGS_UNHEARD: usize = 16;
/// Feeds that stand on one link; the least recently used makes room.
pub const FEED_MAX_PER_LINK: usize = 20_000;
/// Feeds being opened on one link at a time: below half of `FEED_STREAMS_STEP`, so that requests always find a stream.
pub const FEED_MAX_OPENING: usize = 1_024;
/// The least time between two uses of a feed that are both noted.
pub const FEED_USE_GRAIN: Duration = Duration::from_millis(100);
/// Time without a reader after which a feed ends.
pub const FEED_IDLE: Duration = Duration::from_secs(600);
/// The part of the standing feeds that ends in one batch, so that a scan does not search the least used at each step.
pub const FEED_BATCH: usize = 8;
/// Time that a watched feed which made room leaves its place to others, less jitter.
pub const FEED_REPARK: Duration = Duration::from_secs(10);
/// Time that a query without a feed is forwarded each time, before a feed is tried again.
pub const FEED_REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// First and longest pause before a feed that found no server is tried anew; it doubles. A link that comes up ends it.
pub const FEED_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Time that a reader waits for the first answer of a feed, progress or not.
pub const FEED_FIRST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a push may take to arrive, from its first byte to its last.
pub const FEED_ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of arriving pushes in memory for each link: room for the largest, and half of `BRIDGE_CONNECTION_WINDOW`.
pub const FEED_ARRIVING_BYTES: u32 = 32 << 20;
/// Pushes of one feed within a second above which the other side does not keep to `FEED_PACE` at all.
pub const FEED_FLOOD: u32 = 50;
/// Bytes counted for an answer beyond its body and its query: its feed's stream and task.
pub const FEED_OVERHEAD: u32 = 6_144;
/// How long a server that broke the rules of feeds is not dialled.
pub const BRIDGE_MISBEHAVED_PAUSE: Duration = Duration::from_secs(10);
/// The least time between two pushes of a feed: ten a second, of which the newest counts.
pub const FEED_PACE: Duration = Duration::from_millis(100);
/// Bytes of the frame that opens a feed: its query is from an HTTP head of at most 64 KiB.
pub const FEED_MAX_OPEN_BYTES: u32 = 256 << 10;
/// Bytes of the queries of all feeds that are open on one link: some 3 KB each, where 200 are usual.
pub const FEED_QUERY_BYTES: usize = 64 << 20;
/// Bytes of one push, its body included; larger answers are asked for each time.
pub const FEED_MAX_BYTES: u32 = 8 << 20;
/// Bytes of an echo: it may have to name each feed of its link twice.
pub const FEED_MAX_ECHO_BYTES: u32 = 1 << 20;
/// Time for a follower to take a push, and to let go of an ended feed.
pub const FEED_TOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// Pushes of one link that are read and written at a time: a stalled reader costs a few answers, not one for each feed.
pub const FEED_MAX_SENDING: usize = 16;
/// Feeds of one link that each ping must read, because their change has no signal: three such queries, times tokens and filters.
pub const FEED_MAX_POLLED: usize = 256;
/// Streams for feeds that a peer may open beyond those in use: quinn reserves memory for each. Above an eighth of all.
pub const FEED_STREAMS_STEP: usize = 4_096;
/// The least time between two pings of a link, on the average. A tenth of the honest pace.
pub const BRIDGE_PING_PACE: Duration = Duration::from_millis(50);
/// Pings that may arrive at once after a link stood still.
pub const BRIDGE_PINGS_AT_ONCE: u32 = 16;
