//! Numbers of `model`: how large what users send and agents pass on may be, once it is decoded.
//!
//! Each bound leaves room for what comes on top further down the way, so that what the HTTP API takes can be
//! sent on every hop, and be read back from the log and from a snapshot.

/// Objects and lists within each other in a JSON body. Definitions need about ten; the rows that the catalog
/// makes of a body add a few, and whoever reads those stops at 128.
pub const JSON_DEPTH: usize = 64;
/// Values in a JSON body: objects, lists, texts, numbers. An empty object of two bytes becomes a struct of half
/// a kilobyte, so bytes alone bound nothing; a body of the largest size has some 32 bytes a value.
pub const JSON_VALUES: usize = 32_768;
/// Bytes of the name or id of a node or a service: every check carries them, and every key of the catalog. Tools
/// that make one of two names of Kubernetes (253 bytes each) and an id stay far below.
pub const NAME_BYTES: usize = 2_048;
/// Bytes of the name or id of a check: the agent makes it of its service's with a word beside it.
pub const CHECK_NAME_BYTES: usize = 2 * NAME_BYTES;
/// Bytes of a key of the KV store: as long as a request line carries it with every byte escaped.
pub const KV_KEY_BYTES: usize = 16 << 10;
/// Bytes of one command of the log, encoded: four of the largest bodies, and far below what a Raft message
/// may hold.
pub const COMMAND_BYTES: usize = 4 << 20;
/// Maps and lists within each other in a command: those of a body, and what a command has around it.
pub const COMMAND_DEPTH: usize = JSON_DEPTH + 16;
/// Values in a command, keys included: some 4,000 checks of one registration.
pub const COMMAND_VALUES: usize = 131_072;
/// Maps and lists within each other in a message between agents: those of a command, and what is around it.
pub const MESSAGE_DEPTH: usize = COMMAND_DEPTH + 16;
/// Values in a message between agents: twice those of a command, which is also what an echo needs that names
/// every feed of its link.
pub const MESSAGE_VALUES: usize = 2 * COMMAND_VALUES;
