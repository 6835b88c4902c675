//! Numbers of the feeds of other datacenters, and of the pings that say how old they are.

use std::time::Duration;

/// `bridge { cache_bytes }`: bytes of answers of other datacenters that are held.
pub const BRIDGE_CACHE_BYTES: u64 = 256 << 20;
/// The least `bridge { cache_bytes }`: below it hardly an answer fits.
pub const BRIDGE_CACHE_LEAST: i64 = 1 << 20;
/// The greatest `bridge { cache_bytes }`: more than any server has.
pub const BRIDGE_CACHE_MOST: i64 = 1 << 40;
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
/// The least time between two uses of a feed that are both noted.
pub const FEED_USE_GRAIN: Duration = Duration::from_millis(100);
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
