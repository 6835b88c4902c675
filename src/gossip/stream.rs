//! The messages between two agents over TCP, and their frame. `envelope` wraps every frame.

use super::info::{Entry, NodeInfo};
use crate::defaults;
use crate::model::ids::NodeId;
use serde::{Deserialize, Serialize};

/// Bytes before each frame: its length, big-endian.
pub(super) const LENGTH_BYTES: usize = 4;

/// One message; the connection is for one question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message {
    /// The sender's whole state. Answered by the receiver's, or refused.
    State { from: NodeInfo, entries: Vec<Entry> },
    /// The sender may not be a member here, for this reason.
    Refused { reason: String },
    /// Asks for the identity of the listener.
    Who,
    /// Answers [`Message::Who`].
    Me { name: String, node_id: NodeId },
    /// The sender is known here by a life of this generation, and is heard again in a later one.
    Outlived { generation: u64 },
}

/// The length before a frame; refuses one over the bound.
pub(super) fn length_prefix(frame: &[u8]) -> Result<[u8; LENGTH_BYTES], String> {
    match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= defaults::GOSSIP_FRAME_BYTES => Ok(length.to_be_bytes()),
        _ => Err(format!("a state of {} bytes is over the limit of {}", frame.len(), defaults::GOSSIP_FRAME_BYTES)),
    }
}

/// The length that a prefix announces; checked before any memory is taken for it.
pub(super) fn frame_length(prefix: [u8; LENGTH_BYTES]) -> Result<usize, String> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > defaults::GOSSIP_FRAME_BYTES {
        return Err(format!("a frame of {length} bytes was announced; at most {} are taken", defaults::GOSSIP_FRAME_BYTES));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_over_the_bound_is_refused() {
        assert!(frame_length([0xff; 4]).is_err());
        assert_eq!(frame_length([0, 0, 1, 0]), Ok(256));
        assert_eq!(length_prefix(&[0; 256]), Ok([0, 0, 1, 0]));
    }
}
