//! Bodies of messages, read within bounds.
//!
//! Used by both ends. A size that was announced is checked before any of it is taken in.

use super::budget::Share;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// Why a body cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("a message of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("cut off: {0}")]
    Cut(#[from] hyper::Error),
    #[error("messages of others fill all the room there is; try again")]
    NoRoom,
}

/// Reads a whole body of at most `limit` bytes, each piece of it once there is room for all that has come so
/// far, where that is asked for. A body that came in one piece is not copied.
pub(super) async fn collect(mut body: Incoming, limit: usize, mut room: Option<&mut Share>) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge { limit });
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.len() + whole.len() + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if let Some(room) = &mut room {
            room.grow_to(first.len() + whole.len() + data.len()).await?;
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}
