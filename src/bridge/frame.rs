//! Frames on a stream: a version, a kind, a length, and that many bytes. A cut stream never looks complete, and a size is
//! checked before memory is taken for it.

use crate::defaults;
use crate::model::fault::Fault;
use crate::model::packed::{self, Excess, MESSAGE, Unreadable};
use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream, VarInt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// The version of this format. Fields may be added to payloads without a new one.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 6;

/// The stream is given up: its caller hung up or its task ended early.
pub(super) const CANCELLED: VarInt = VarInt::from_u32(1);
/// The stream is refused and nothing was done.
pub(super) const REFUSED: VarInt = VarInt::from_u32(2);
/// The link is closed: the other side did what no server does.
pub(super) const MISBEHAVED: VarInt = VarInt::from_u32(3);
/// The link is closed: the other side answers no pings.
pub(super) const SILENT: VarInt = VarInt::from_u32(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The name of the sender; asked and answered once on each link, which is up from then on.
    Greeting = 1,
    /// A request; opens a stream.
    Request = 2,
    /// The request is at work: an answer is expected without delay.
    Working = 3,
    /// The request is parked in a blocking query.
    Parked = 4,
    /// The request holds for a leader.
    Holding = 5,
    /// The answer; the last frame.
    Reply = 6,
    /// The request failed, or the feed ends; the last frame.
    Fault = 7,
    /// A feed; opens a stream.
    Open = 8,
    /// An answer of a feed.
    Push = 9,
    /// An answer of a feed has arrived.
    Took = 10,
    /// The link's heartbeat begins; opens a stream.
    Heartbeat = 11,
    /// A question for the age of all feeds.
    Ping = 12,
    /// The answer to a ping.
    Echo = 13,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        let ends = [Kind::Greeting, Kind::Request, Kind::Working, Kind::Parked, Kind::Holding, Kind::Reply, Kind::Fault];
        let feeds = [Kind::Open, Kind::Push, Kind::Took, Kind::Heartbeat, Kind::Ping, Kind::Echo];
        ends.into_iter().chain(feeds).find(|kind| *kind as u8 == byte)
    }

    /// True if a stream may begin with it.
    pub(super) fn opens_a_stream(self) -> bool {
        matches!(self, Kind::Greeting | Kind::Request | Kind::Open | Kind::Heartbeat)
    }

    fn limit(self) -> u32 {
        match self {
            Kind::Working | Kind::Parked | Kind::Holding | Kind::Heartbeat => 0,
            Kind::Greeting | Kind::Fault | Kind::Took | Kind::Ping => defaults::BRIDGE_MAX_NOTE_BYTES,
            Kind::Request => defaults::BRIDGE_MAX_REQUEST_BYTES,
            Kind::Open => defaults::FEED_MAX_OPEN_BYTES,
            Kind::Push => defaults::FEED_MAX_BYTES,
            Kind::Echo => defaults::FEED_MAX_ECHO_BYTES,
            Kind::Reply => defaults::BRIDGE_MAX_REPLY_BYTES,
        }
    }
}

/// Why a frame cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("version {0} of frames came, this is version {VERSION}")]
    Version(u8),
    #[error("a frame of unknown kind {0} came")]
    Kind(u8),
    #[error("a {kind:?} of {came} bytes, and at most {limit} are taken")]
    TooLarge { kind: Kind, came: usize, limit: u32 },
    #[error("the stream ended within a frame")]
    Cut,
    #[error("the other side refused the stream")]
    Refused,
    #[error("the other side gave the stream up")]
    Reset,
    #[error("nothing came for {0:?}")]
    Silence(Duration),
    #[error("{0}")]
    Stream(String),
    #[error("a payload cannot be read: {0}")]
    Decode(#[from] Unreadable),
    #[error("a message cannot be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("a message is more than the other side takes: {0}")]
    Excess(#[from] Excess),
}

impl FrameError {
    /// True if no honest peer, of whatever version, sends this on a stream that is in use.
    pub(super) fn is_garbage(&self) -> bool {
        matches!(self, FrameError::Version(_) | FrameError::Kind(_) | FrameError::TooLarge { .. } | FrameError::Decode(_))
    }

    /// The same for the following side: an honest peer gives a stream up by a reset.
    pub(super) fn is_misbehaviour(&self) -> bool {
        self.is_garbage() || matches!(self, FrameError::Cut)
    }
}

impl From<quinn::ReadError> for FrameError {
    fn from(error: quinn::ReadError) -> FrameError {
        match error {
            quinn::ReadError::Reset(code) if code == REFUSED => FrameError::Refused,
            quinn::ReadError::Reset(_) => FrameError::Reset,
            other => FrameError::Stream(other.to_string()),
        }
    }
}

impl From<quinn::WriteError> for FrameError {
    fn from(error: quinn::WriteError) -> FrameError {
        match error {
            quinn::WriteError::Stopped(code) if code == REFUSED => FrameError::Refused,
            other => FrameError::Stream(other.to_string()),
        }
    }
}

/// The KiB of room that `bytes` take.
pub(super) fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX).saturating_add(1)
}

/// The start of a frame, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    length: u32,
}

impl Header {
    pub(super) fn length(self) -> u32 {
        self.length
    }

    fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Header, FrameError> {
        let [version, kind, a, b, c, d] = bytes;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let kind = Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?;
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > kind.limit() {
            metrics::counter!("kontor.bridge.oversized").increment(1);
            return Err(FrameError::TooLarge { kind, came: length as usize, limit: kind.limit() });
        }
        Ok(Header { kind, length })
    }

    fn to_bytes(self) -> Bytes {
        let [a, b, c, d] = self.length.to_be_bytes();
        Bytes::copy_from_slice(&[VERSION, self.kind as u8, a, b, c, d])
    }
}

/// A frame ready to be sent, any number of times.
#[derive(Clone, Debug)]
pub(super) struct Frame([Bytes; 2]);

impl Frame {
    pub(super) fn new(kind: Kind, payload: Bytes) -> Result<Frame, FrameError> {
        match u32::try_from(payload.len()) {
            Ok(length) if length <= kind.limit() => Ok(Frame([Header { kind, length }.to_bytes(), payload])),
            _ => Err(FrameError::TooLarge { kind, came: payload.len(), limit: kind.limit() }),
        }
    }

    pub(super) fn of<T: Serialize>(kind: Kind, value: &T) -> Result<Frame, FrameError> {
        let payload = packed::encode(value)?;
        packed::check(&payload, MESSAGE)?;
        Frame::new(kind, payload.into())
    }

    /// The fault that ends a stream. A fault that is too long to cross is replaced by one that says so.
    pub(super) fn fault(fault: &Fault) -> Result<Frame, FrameError> {
        match Frame::of(Kind::Fault, fault) {
            Err(FrameError::TooLarge { .. }) => Frame::of(Kind::Fault, &Fault::new(fault.kind, "the fault is too long to cross")),
            frame => frame,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// A frame that announces more bytes than it has.
    #[cfg(test)]
    pub(super) fn cut(kind: Kind, announced: u32, payload: &'static [u8]) -> Frame {
        Frame([Header { kind, length: announced }.to_bytes(), Bytes::from_static(payload)])
    }

    /// A frame without a payload.
    pub(super) fn bare(kind: Kind) -> Frame {
        Frame([Header { kind, length: 0 }.to_bytes(), Bytes::new()])
    }
}

/// A whole frame as its header and its payload.
#[cfg(test)]
pub(super) fn parted(bytes: &[u8]) -> Result<(Header, &[u8]), FrameError> {
    let (header, payload) = bytes.split_first_chunk().ok_or(FrameError::Cut)?;
    Ok((Header::parse(*header)?, payload))
}

pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, FrameError> {
    Ok(packed::decode(payload)?)
}

/// The outcome of `work`; more than `patience` without one is an error.
pub(super) async fn within<T, E>(patience: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, FrameError>
where
    FrameError: From<E>,
{
    Ok(timeout(patience, work).await.map_err(|_elapsed| FrameError::Silence(patience))??)
}

/// Reads the start of the next frame. Not to be dropped and called again in between.
pub(super) async fn read_header(stream: &mut RecvStream) -> Result<Header, FrameError> {
    let mut bytes = [0; HEADER_BYTES];
    match stream.read_exact(&mut bytes).await {
        Ok(()) => Header::parse(bytes),
        Err(quinn::ReadExactError::FinishedEarly(_)) => Err(FrameError::Cut),
        Err(quinn::ReadExactError::ReadError(error)) => Err(error.into()),
    }
}

/// Reads what `header` announced. Memory is taken as bytes come; a pause of `patience` is an error.
pub(super) async fn read_payload(stream: &mut RecvStream, header: Header, patience: Duration) -> Result<Bytes, FrameError> {
    let length = header.length as usize;
    let mut whole = BytesMut::new();
    while whole.len() < length {
        let chunk = within(patience, stream.read_chunk(length - whole.len(), true)).await?.ok_or(FrameError::Cut)?.bytes;
        if whole.is_empty() && chunk.len() == length {
            return Ok(chunk);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The sending half of a stream, reset when it is dropped unfinished: a cut frame never looks like the end.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream,
    finished: bool,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream) -> Outgoing {
        Outgoing { stream, finished: false }
    }

    /// Puts the bytes sent here before those on other streams.
    pub(super) fn hurry(&self) {
        // Fails only on a stream that is over.
        let _ = self.stream.set_priority(1);
    }

    pub(super) async fn send(&mut self, frame: &Frame) -> Result<(), FrameError> {
        Ok(self.stream.write_all_chunks(&mut frame.0.clone()).await?)
    }

    pub(super) fn finish(&mut self) -> Result<(), FrameError> {
        self.finished = true;
        self.stream.finish().map_err(|error| FrameError::Stream(error.to_string()))
    }

    /// Bytes that need not be a frame.
    #[cfg(test)]
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the stream stands");
    }

    /// Tells the other side that nothing was done with the stream.
    pub(super) fn refuse(&mut self) {
        self.finished = self.stream.reset(REFUSED).is_ok();
    }

    /// Resolves when the other side gives the stream up, or the link is gone.
    pub(super) fn given_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.stream.stopped();
        async move {
            // Either way nobody is there any more to read.
            let _ = stopped.await;
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.finished && self.stream.reset(CANCELLED).is_ok() {
            metrics::counter!("kontor.bridge.streams_reset").increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_comes_back_as_it_was() {
        let header = Header { kind: Kind::Reply, length: 70_000 };
        let bytes: [u8; HEADER_BYTES] = header.to_bytes().as_ref().try_into().unwrap();
        assert_eq!(Header::parse(bytes).unwrap(), header);
    }

    #[test]
    fn sizes_over_the_limit_are_refused_by_their_header_alone() {
        assert!(matches!(Header::parse([1, Kind::Reply as u8, 0xff, 0, 0, 0]), Err(FrameError::TooLarge { .. })));
        assert!(matches!(Header::parse([1, Kind::Holding as u8, 0, 0, 0, 1]), Err(FrameError::TooLarge { .. })));
        let large = Bytes::from(vec![0; defaults::BRIDGE_MAX_REQUEST_BYTES as usize + 1]);
        assert!(matches!(Frame::new(Kind::Request, large), Err(FrameError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_header_panic(bytes: [u8; HEADER_BYTES]) {
            if let Ok(header) = Header::parse(bytes) {
                prop_assert!(header.length <= header.kind.limit());
                prop_assert!(header.to_bytes() == bytes.as_slice());
            }
        }

        #[test]
        fn no_bytes_make_a_request_panic(bytes: Vec<u8>) {
            let _ = decode::<crate::model::request::Request>(&bytes);
        }
    }
}
