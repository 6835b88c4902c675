//! Bodies of messages, read within bounds by both ends. An announced size is checked before the first byte is read.

use super::budget::Share;
use super::link;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("a message of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("cut off: {0}")]
    Cut(String),
    #[error("messages of others fill all the room there is; try again")]
    NoRoom,
}

/// The part of a body that has arrived; a body in one piece is not copied.
struct Whole {
    limit: usize,
    first: Bytes,
    pieces: BytesMut,
}

impl Whole {
    /// A body of `announced` bytes or more, before its first byte.
    fn new(limit: usize, announced: u64) -> Result<Whole, BodyError> {
        if announced > limit as u64 {
            return Err(BodyError::TooLarge { limit });
        }
        Ok(Whole { limit, first: Bytes::new(), pieces: BytesMut::new() })
    }

    /// The number of bytes with `data`, within the limit.
    fn with(&self, data: &Bytes) -> Result<usize, BodyError> {
        let bytes = self.first.len() + self.pieces.len() + data.len();
        if bytes > self.limit { Err(BodyError::TooLarge { limit: self.limit }) } else { Ok(bytes) }
    }

    fn add(&mut self, data: Bytes) {
        if self.first.is_empty() && self.pieces.is_empty() {
            self.first = data;
            return;
        }
        if self.pieces.is_empty() {
            self.pieces.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.pieces.extend_from_slice(&data);
    }

    fn finish(self) -> Bytes {
        if self.pieces.is_empty() { self.first } else { self.pieces.freeze() }
    }
}

/// Reads a whole request of at most `limit` bytes, each piece once there is room for all pieces so far.
pub(super) async fn collect(mut body: Incoming, limit: usize, room: &mut Share) -> Result<Bytes, BodyError> {
    let mut whole = Whole::new(limit, body.size_hint().lower())?;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| BodyError::Cut(error.to_string()))?.into_data() else { continue };
        room.grow_to(whole.with(&data)?).await.map_err(|_| BodyError::NoRoom)?;
        whole.add(data);
    }
    Ok(whole.finish())
}

/// Reads a whole answer of at most `limit` bytes, of which `announced` are certain.
pub(super) async fn receive(mut body: link::Incoming, limit: usize, announced: u64) -> Result<Bytes, BodyError> {
    let mut whole = Whole::new(limit, announced)?;
    while let Some(part) = body.part().await {
        let data = part.map_err(|error| BodyError::Cut(error.to_string()))?;
        whole.with(&data)?;
        whole.add(data);
    }
    Ok(whole.finish())
}
