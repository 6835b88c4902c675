//! Numbers of `proxy`.

/// Bytes of a proxy's answer to a request for a tunnel: a status line and a few headers.
pub const PROXY_HEAD_BYTES: usize = 8 << 10;
