//! One HTTP/1.1 request and its answer over a connection of its own. Used by `http` and `docker`.
//!
//! The connection is driven by whoever waits for the answer, not by a task, so that it ends with it.

use super::frames::Frames;
use crate::defaults::CHECK_HEAD_BYTES;
use crate::model::tail::Tail;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::http::response::Parts;
use hyper_util::rt::TokioIo;
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
        let Some(head) = &self.head else { return String::new() };
        let said = head.extensions.get::<ReasonPhrase>().map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
        let reason = said.unwrap_or_else(|| head.status.canonical_reason().unwrap_or_default().to_owned());
        // Made by the other side: no more of it than a status line needs.
        let reason: String = reason.chars().take(64).collect();
        format!("{} {reason}", head.status.as_u16()).trim_end().to_owned()
    }
}

/// Sends `request` over `io` and fills `answer` as it comes; its body only where `wanted` says so by
/// the head. The error says why it is not whole.
pub(super) async fn ask<S>(
    io: S,
    request: Request<Full<Bytes>>,
    answer: &mut Answer,
    wanted: impl Fn(&Parts) -> bool,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(CHECK_HEAD_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(|error| told(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| told(&error))?;
        let (head, mut body) = response.into_parts();
        let skipped = !wanted(&head);
        answer.head = Some(head);
        if skipped {
            return Ok(());
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| told(&error))?;
            answer.take(frame.data_ref().map_or(&[], |data| data));
            if answer.body.total() >= answer.body_max {
                metrics::counter!("kontor.checks.body_cut").increment(1);
                return Err(format!("no more than {} bytes of it are read", answer.body_max));
            }
        }
        Ok(())
    };
    tokio::pin!(connection, exchange);
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            done = &mut exchange => return done,
            _end = &mut connection, if !closed => closed = true,
        }
    }
}

/// The innermost cause: what is around it only says that a request failed.
fn told(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.downcast_ref::<std::io::Error>().map_or_else(|| cause.to_string(), super::connect::plain)
}
