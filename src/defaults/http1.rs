//! Numbers of `http1`.

/// Bytes of status line and headers that a server may send; more fails the request.
pub const HTTP1_HEAD_BYTES: usize = 64 << 10;
