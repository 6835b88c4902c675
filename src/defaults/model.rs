//! Numbers of `model`: bounds of decoded bodies, commands and messages.
//!
//! Each bound leaves room for the next, so that every body of the HTTP API passes each hop, the log and snapshots.

use std::time::Duration;

/// Objects and lists within each other in a JSON body: definitions need about 10, rows add a few, and their readers stop at 128.
pub const JSON_DEPTH: usize = 64;
/// Values in a JSON body: an empty object of two bytes becomes half a KB. The largest body has some 32 bytes a value.
pub const JSON_VALUES: usize = 32_768;
/// Bytes of the name or id of a node or service: two names of Kubernetes (253 bytes each) and an id stay far below.
pub const NAME_BYTES: usize = 2_048;
/// Bytes of the name or id of a check: the agent makes it of its service's with a word beside it.
pub const CHECK_NAME_BYTES: usize = 2 * NAME_BYTES;
/// The longest time for which a lock cannot be taken after the end of its session, whatever that has asked for. Consul's
/// number.
pub const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);
/// Bytes of a key of the KV store: as long as a request line carries it with every byte escaped.
pub const KV_KEY_BYTES: usize = 16 << 10;
/// Results of one transaction: as many as one message between agents carries.
pub const TXN_RESULTS: usize = 8_192;
/// Bytes of keys and values in the results of one transaction: every server that applies it makes them.
pub const TXN_RESULT_BYTES: usize = 8 << 20;
/// Bytes of one encoded command of the log: four of the largest bodies, and far below the bound of a Raft message.
pub const COMMAND_BYTES: usize = 4 << 20;
/// Maps and lists within each other in a command: those of a body and of the command around it.
pub const COMMAND_DEPTH: usize = JSON_DEPTH + 16;
/// Values in a command, keys included: some 4,000 checks of one registration.
pub const COMMAND_VALUES: usize = 131_072;
/// Maps and lists within each other in a message between agents: those of a command and of the message around it.
pub const MESSAGE_DEPTH: usize = COMMAND_DEPTH + 16;
/// Values in a message between agents: twice those of a command, enough for an echo that names each feed of its link.
pub const MESSAGE_VALUES: usize = 2 * COMMAND_VALUES;
