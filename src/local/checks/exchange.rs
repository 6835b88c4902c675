//! The answer of a target that is asked over HTTP/1.1, as far as it has come. Used by `http` and `docker`.

use super::frames::Frames;
use crate::http1;
use crate::model::tail::Tail;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::http::response::Parts;
use std::error::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// As much of an answer as has come, whether or not the rest comes.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status and headers, once they are there.
    pub(super) head: Option<Parts>,
    /// The last bytes of the body.
    pub(super) body: Tail,
    /// Bytes of the body after which no more is read.
    body_max: u64,
    /// Unpacks the body, where it is one of several streams.
    frames: Option<Frames>,
}

impl Answer {
    /// Nothing has come yet; of the body `keep` bytes are kept and `body_max` read.
    pub(super) fn new(keep: usize, body_max: u64) -> Answer {
        Answer { head: None, body: Tail::new(keep), body_max, frames: None }
    }

    /// The same of a body that is several streams in frames.
    pub(super) fn of_frames(keep: usize, body_max: u64) -> Answer {
        Answer { frames: Some(Frames::default()), ..Answer::new(keep, body_max) }
    }

    fn take(&mut self, data: &[u8]) {
        match &mut self.frames {
            None => self.body.write(data),
            Some(frames) => frames.unpack(data, &mut self.body),
        }
    }

    /// `200 OK`, as the server says it.
    pub(super) fn status_line(&self) -> String {
        self.head.as_ref().map(http1::status_line).unwrap_or_default()
    }
}

/// Sends `request` over `stream` and fills `answer` as it comes; its body only where `wanted` says so by
/// the head. The error says why it is not whole.
pub(super) async fn ask<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    answer: &mut Answer,
    wanted: impl Fn(&Parts) -> bool,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let read = http1::exchange(stream, request, |response| async {
        let (head, mut body) = response.into_parts();
        let skipped = !wanted(&head);
        answer.head = Some(head);
        if skipped {
            return Ok(());
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| described(&error))?;
            answer.take(frame.data_ref().map_or(&[], |data| data));
            if answer.body.total() >= answer.body_max {
                metrics::counter!("kontor.checks.body_cut").increment(1);
                return Err(format!("no more than {} bytes of it are read", answer.body_max));
            }
        }
        Ok(())
    });
    read.await.map_err(|error| described(&error))?
}

/// The innermost cause: what is around it only says that a request failed.
fn described(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.downcast_ref::<std::io::Error>().map_or_else(|| cause.to_string(), super::connect::plain)
}
