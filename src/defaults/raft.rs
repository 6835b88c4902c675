//! Numbers of `raft`.

use std::time::Duration;

/// Time between a leader's heartbeats: three fit into the least election timeout.
pub const RAFT_HEARTBEAT: Duration = Duration::from_millis(160);
/// Least election timeout: well above a heartbeat with an fsync on a busy machine of two cores.
pub const RAFT_ELECTION_MIN: Duration = Duration::from_millis(500);
/// Greatest election timeout, and the leader's lease: both together stay below 1.6 s with room for a vote.
pub const RAFT_ELECTION_MAX: Duration = Duration::from_millis(700);
/// Leases of silence after which a leader is no longer reported.
pub const RAFT_LEADER_SILENCE_LEASES: u32 = 2;
/// Time without a leader before a warning: three elections.
pub const RAFT_LEADERLESS_PATIENCE: Duration = Duration::from_secs(5);
/// Time between such warnings, and before the first leader.
pub const RAFT_LEADERLESS_REPEAT: Duration = Duration::from_secs(30);
/// The part of the lease, in percent, within which reads are answered: clocks may differ by 10 % in speed.
pub const RAFT_LEASE_MARGIN_PERCENT: u32 = 80;
/// `raft_snapshot_threshold`: log entries between two snapshots.
pub const RAFT_SNAPSHOT_ENTRIES: u64 = 20_000;
/// `raft_trailing_logs`, also its least value: so many entries that a purge never overtakes an apply (openraft #2116).
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
/// Time between looks of a leader for an abandoned change of the membership.
pub const RAFT_UNFINISHED_TICK: Duration = Duration::from_secs(1);
/// How long a hand-over of leadership may take: two elections.
pub const RAFT_TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// Log writes that wait for the disk before the core waits: twice the proposals, so that a stuck disk delays no heartbeat.
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
/// Time of an fsync after which the disk counts as stuck: no proposals, leadership handed over.
pub const RAFT_FSYNC_STUCK: Duration = Duration::from_secs(2);
/// Time between looks at a running fsync.
pub const RAFT_WATCHDOG_TICK: Duration = Duration::from_millis(200);
/// Free bytes, beside another snapshot's, that a leader needs to take writes: room for the log and the store's journals.
pub const RAFT_DISK_RESERVE_BYTES: u64 = 64 << 20;
/// How often the room on the disk is looked at: at 8,000 small writes a second, some 10 MiB go by.
pub const RAFT_DISK_ROOM_TICK: Duration = Duration::from_secs(1);
/// Free bytes below which a write that found no room is not tried again: a batch and some tables.
pub const RAFT_DISK_FULL_BYTES: u64 = 8 << 20;
/// How often a full disk is looked at for room.
pub const RAFT_DISK_FULL_TICK: Duration = Duration::from_millis(500);
/// Ticks after which the log store is opened anew to find out whether it has room: that reads and writes all its memory.
pub const RAFT_DISK_FULL_TICKS: u32 = 20;
/// How long after a snapshot that could not be written the next is tried.
pub const RAFT_SNAPSHOT_RETRY: Duration = Duration::from_secs(30);
/// Age of a follower's last news of its leader before it asks: three heartbeats.
pub const RAFT_ECHO_PATIENCE: Duration = Duration::from_millis(500);
/// Time between a follower's questions for an echo, by which its age is known.
pub const RAFT_ECHO_INTERVAL: Duration = Duration::from_millis(200);
/// How long an echo may take.
pub const RAFT_ECHO_TIMEOUT: Duration = Duration::from_secs(1);
/// Echoes that a follower keeps until it has applied their index; over it the newest goes. Enough for a lag of 10 s.
pub const RAFT_ECHOES_UNSEEN: usize = 100;
/// Time between steps of the bootstrap, each of which repeats unanswered questions.
pub const RAFT_BOOTSTRAP_TICK: Duration = Duration::from_millis(200);
/// How long a member may take to grant: a write and an fsync.
pub const RAFT_GRANT_TIMEOUT: Duration = Duration::from_secs(2);
/// Questions that wait for the bootstrap's task; over it the asker is refused and asks again.
pub const RAFT_BOOTSTRAP_QUEUE: usize = 64;
/// Servers in a set that is proposed; a greater set is refused.
pub const RAFT_MEMBERS_MAX: usize = 64;
/// Messages of other servers that Raft works on at a time; further ones are refused, and repeated by their sender.
pub const RAFT_MESSAGES_MAX: u32 = 4_096;
