//! The answers to connections that the API has no room for.

use crate::entrance::Full;

/// The answer to a client with too many connections. Consul's text.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\n";
/// The answer to every client while the agent has too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This agent has too many connections, please try again later\n";

pub(super) fn refusal(full: Full) -> &'static [u8] {
    match full {
        Full::InAll => FULL,
        Full::OfAddress => TOO_MANY,
    }
}
