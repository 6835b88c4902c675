//! What those are told whom the API has no room for.
//!
//! `listen` asks before it serves a connection.

use crate::entrance::Full;

/// What a client with too many connections is told. Consul's text.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\n";
/// What everybody is told when the agent has too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This agent has too many connections, please try again later\n";

/// The answer to a connection that is not let in.
pub(super) fn refusal(full: Full) -> &'static [u8] {
    match full {
        Full::InAll => FULL,
        Full::OfAddress => TOO_MANY,
    }
}
