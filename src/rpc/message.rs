//! Bodies of messages, read within bounds.
//!
//! Used by both ends. A size that was announced is checked before any of it is taken in.

use super::budget::{NoRoom, Share};
use super::link;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// Why a body cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("a message of more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("cut off: {0}")]
    Cut(String),
    #[error("messages of others fill all the room there is; try again")]
    NoRoom,
}

impl From<NoRoom> for BodyError {
    fn from(_: NoRoom) -> BodyError {
        BodyError::NoRoom
    }
}

/// A body as far as it has come; one that came in one piece is not copied.
struct Whole {
    limit: usize,
    first: Bytes,
    pieces: BytesMut,
}

impl Whole {
    /// `announced` bytes are to come, or more.
    fn new(limit: usize, announced: u64) -> Result<Whole, BodyError> {
        match announced > limit as u64 {
            true => Err(BodyError::TooLarge { limit }),
            false => Ok(Whole { limit, first: Bytes::new(), pieces: BytesMut::new() }),
        }
    }

    /// Bytes with `data`, if that is not too much.
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

/// Reads a whole request of at most `limit` bytes, each piece of it once there is room for all that has come so far.
pub(super) async fn collect(mut body: Incoming, limit: usize, room: &mut Share) -> Result<Bytes, BodyError> {
    let mut whole = Whole::new(limit, body.size_hint().lower())?;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| BodyError::Cut(error.to_string()))?.into_data() else { continue };
        room.grow_to(whole.with(&data)?).await?;
        whole.add(data);
    }
    Ok(whole.finish())
}

/// Reads a whole answer of at most `limit` bytes, of which `announced` are to come.
pub(super) async fn receive(mut body: link::Incoming, limit: usize, announced: u64) -> Result<Bytes, BodyError> {
    let mut whole = Whole::new(limit, announced)?;
    while let Some(part) = body.part().await {
        let data = part.map_err(|error| BodyError::Cut(error.to_string()))?;
        whole.with(&data)?;
        whole.add(data);
    }
    Ok(whole.finish())
}
