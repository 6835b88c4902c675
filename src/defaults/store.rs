//! Numbers of `store`, and of filters on what it answers.

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
