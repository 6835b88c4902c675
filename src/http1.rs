//! One HTTP/1 request and its answer, over a connection of its own. The caller's future drives the connection, so that
//! both end together. Callers bound time and body.

use crate::defaults::HTTP1_HEAD_BYTES;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::Builder;
use hyper::ext::ReasonPhrase;
use hyper::http::response::Parts;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends `request` over `stream` and reads the answer by `read`, which may leave its body unread.
pub async fn exchange<S, T, F>(
    stream: S,
    request: Request<Full<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> hyper::Result<T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = T>,
{
    let (mut sender, connection) = Builder::new().max_buf_size(HTTP1_HEAD_BYTES).handshake(TokioIo::new(stream)).await?;
    let exchange = async { Ok(read(sender.send_request(request).await?).await) };
    // `exchange` sees the end of the connection.
    let driven = async {
        _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        never = driven => never,
    }
}

/// `200 OK` with the server's own reason, of 64 characters at most.
pub fn status_line(head: &Parts) -> String {
    let said = head.extensions.get::<ReasonPhrase>().map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let reason = said.unwrap_or_else(|| head.status.canonical_reason().unwrap_or_default().to_owned());
    let reason: String = reason.chars().take(64).collect();
    format!("{} {reason}", head.status.as_u16()).trim_end().to_owned()
}
