//! The state as bytes, for `raft`'s snapshots.

use super::View;
use std::io::{self, Read, Write};

/// Writes `view` with Raft's opaque `last` beside it.
pub fn encode(_view: &View, _last: &[u8], _out: &mut impl Write) -> io::Result<()> {
    todo!()
}

/// Reads what [`encode`] wrote; refused whole when a byte is wrong.
pub fn decode(_input: &mut impl Read) -> Result<(View, Vec<u8>), String> {
    todo!()
}
