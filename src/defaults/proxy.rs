//! Numbers of `proxy`.

/// Bytes that a proxy may answer when it is asked for a tunnel: a line, and a few headers that say nothing here.
pub const PROXY_HEAD_BYTES: usize = 8 << 10;
