//! A request over HTTP/1.1 and as much of its answer as arrives. Used by `http` and `docker`.

use super::frames::Frames;
use crate::http1;
use crate::model::tail::Tail;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::http::response::Parts;
use std::error::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// The part of an answer that has arrived.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status and headers; `None` until they have arrived.
    pub(super) head: Option<Parts>,
    pub(super) body: Tail,
    /// Bytes of the body that are read at most.
    body_max: u64,
    /// Unpacks a body that is several streams in frames.
    frames: Option<Frames>,
}

impl Answer {
    /// An answer before its first byte. Of the body `keep` bytes are kept and `body_max` read.
    pub(super) fn new(keep: usize, body_max: u64) -> Answer {
        Answer { head: None, body: Tail::new(keep), body_max, frames: None }
    }

    /// An answer with a body of several streams in frames.
    pub(super) fn of_frames(keep: usize, body_max: u64) -> Answer {
        Answer { frames: Some(Frames::default()), ..Answer::new(keep, body_max) }
    }

    fn take(&mut self, data: &[u8]) {
        match &mut self.frames {
            None => self.body.write(data),
            Some(frames) => frames.unpack(data, &mut self.body),
        }
    }
}

/// Sends `request` over `stream` and fills `answer` as it arrives; the body is read if `wanted` accepts the head.
pub(super) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    answer: &mut Answer,
    wanted: impl Fn(&Parts) -> bool,
) -> Result<(), String> {
    let read = http1::exchange(stream, request, |response| async {
        let (head, mut body) = response.into_parts();
        let skipped = !wanted(&head);
        answer.head = Some(head);
        if skipped {
            return Ok(());
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| innermost(&error))?;
            answer.take(frame.data_ref().map_or(&[], |data| data));
            if answer.body.total() >= answer.body_max {
                metrics::counter!("kontor.checks.body_cut").increment(1);
                return Err(format!("no more than {} bytes of it are read", answer.body_max));
            }
        }
        Ok(())
    });
    read.await.map_err(|error| innermost(&error))?
}

/// The text of the innermost cause; the outer ones only say that a request failed.
fn innermost(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.downcast_ref::<std::io::Error>().map_or_else(|| cause.to_string(), super::connect::plain)
}
