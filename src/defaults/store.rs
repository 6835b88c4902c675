//! Numbers of `store`, and of filters on its answers.

/// Bytes of one service's rendered list that are kept until a change; larger lists cost more to send than to render.
pub const SERVICE_BODY_CACHE_BYTES: usize = 256 * 1024;
/// Locks that the watches are spread over, so that readers that park do not queue on one.
pub const WATCH_SHARDS: usize = 64;
/// Bytes of one record of a snapshot: far above any row of the catalog, since bodies are bounded lower.
pub const SNAPSHOT_RECORD_BYTES: u32 = 64 * 1024 * 1024;
/// Bytes of a filter expression: more than a URL carries.
pub const FILTER_BYTES: usize = 64 * 1024;
/// Parentheses and `not`s within each other in a filter expression: bounds the stack.
pub const FILTER_DEPTH: usize = 64;
/// Bytes that the compiled form of a regular expression in a filter may take.
pub const FILTER_REGEX_BYTES: usize = 1024 * 1024;
