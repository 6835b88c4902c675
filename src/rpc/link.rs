//! One HTTP/2 connection of a client: its calls, and the pings that tell whether the server lives. It uses `h2` itself:
//! hyper sends the head and the body of a message apart, which costs each heartbeat double.

use super::Lane;
use crate::clock::Latest;
use crate::defaults;
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, RecvStream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::debug;

const MAX_CALLS: usize = defaults::RPC_MAX_STREAMS as usize;

/// A connection that takes calls; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Link {
    sender: SendRequest<Bytes>,
    signs: Arc<Signs>,
}

/// The signs of life of a connection, which its calls give and its pings use.
#[derive(Debug)]
struct Signs {
    /// One permit a call in flight, fewer than the server grants, so that none waits unseen.
    calls: Arc<Semaphore>,
    begun: Notify,
    /// Notified when the last call in flight ends.
    ended: Notify,
    /// The time of the last part of an answer, or of the last answered ping.
    heard: Latest,
    closed: CancellationToken,
}

/// One call in flight; dropping it resets its stream.
pub(super) struct Call {
    link: Link,
    permit: Option<OwnedSemaphorePermit>,
    is_answered: bool,
}

/// The body of an answer, read as it arrives.
pub(super) struct Incoming {
    stream: RecvStream,
    call: Call,
}

impl Link {
    /// Speaks HTTP/2 on `stream` from here on.
    pub(super) async fn open<S>(stream: S, lane: Lane, server: SocketAddr) -> Result<Link, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(defaults::RPC_STREAM_WINDOW)
            .initial_connection_window_size(defaults::RPC_CONNECTION_WINDOW)
            .initial_max_send_streams(MAX_CALLS)
            .max_concurrent_reset_streams(defaults::RPC_MAX_RESETS)
            .max_frame_size(defaults::RPC_FRAME_BYTES)
            .max_header_list_size(defaults::RPC_HEADER_BYTES)
            .max_send_buffer_size(defaults::RPC_STREAM_WINDOW as usize)
            .handshake(stream);
        let (sender, mut connection) = handshake.await?;
        let signs = Arc::new(Signs {
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            begun: Notify::new(),
            ended: Notify::new(),
            heard: Latest::default(),
            closed: CancellationToken::new(),
        });
        let pings = connection.ping_pong();
        let seen = Arc::clone(&signs);
        // The task ends with the connection, and the connection with the last handle on it.
        tokio::spawn(async move {
            let _closed = seen.closed.clone().drop_guard();
            let silent = async {
                match pings {
                    Some(pings) => seen.until_silent(pings, lane).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // First: after a stall of the process an answer may be there, though it is late.
                biased;
                ended = connection => if let Err(error) = ended {
                    debug!(%server, %error, "rpc connection ended");
                },
                () = silent => debug!(%server, "rpc connection ended: its ping was not answered"),
            }
        });
        Ok(Link { sender, signs })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.signs.closed.is_cancelled()
    }

    /// Makes room for one call; `None` when too many are under way.
    pub(super) fn call(&self) -> Option<Call> {
        let permit = Arc::clone(&self.signs.calls).try_acquire_owned().ok()?;
        self.signs.begun.notify_one();
        Some(Call { link: self.clone(), permit: Some(permit), is_answered: false })
    }
}

impl Call {
    /// Hands the message to the connection; after an error it is certainly not sent.
    pub(super) async fn send(&self, head: hyper::http::Request<()>, body: Bytes) -> Result<ResponseFuture, h2::Error> {
        let mut ready = self.link.sender.clone().ready().await?;
        let (response, mut stream) = ready.send_request(head, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body, true)?;
        }
        Ok(response)
    }

    /// The head of the answer, and its body to be read.
    pub(super) async fn answer(
        mut self,
        response: ResponseFuture,
    ) -> Result<(hyper::http::response::Parts, Incoming), h2::Error> {
        let (head, stream) = response.await?.into_parts();
        self.link.signs.heard.happens();
        self.is_answered = true;
        Ok((head, Incoming { stream, call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        drop(self.permit.take());
        // A call without an answer leaves the timer: the next one may need its ping.
        if self.is_answered && self.link.signs.is_idle() {
            self.link.signs.ended.notify_one();
        }
    }
}

impl Incoming {
    /// The next part of the body; `None` at its end.
    pub(super) async fn part(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let part = self.stream.data().await?;
        self.call.link.signs.heard.happens();
        Some(part.and_then(|bytes| {
            self.stream.flow_control().release_capacity(bytes.len())?;
            Ok(bytes)
        }))
    }
}

impl Signs {
    /// Pings while calls are under way and nothing arrives. Resolves once a ping is not answered and nothing else came.
    async fn until_silent(&self, mut pings: PingPong, lane: Lane) {
        let (interval, patience) = match lane {
            Lane::Requests | Lane::Raft => (defaults::RPC_PING_INTERVAL, defaults::RPC_PING_TIMEOUT),
            Lane::Watches => (defaults::RPC_WATCH_PING_INTERVAL, defaults::RPC_PING_TIMEOUT),
            Lane::Snapshots => (defaults::RPC_PING_INTERVAL, defaults::RPC_SNAPSHOT_PING_TIMEOUT),
        };
        loop {
            while self.is_idle() {
                self.begun.notified().await;
            }
            let silence = self.silence();
            tokio::select! {
                () = tokio::time::sleep(interval.saturating_sub(silence).max(interval / 4)) => {}
                // A call that is answered at once leaves no timer behind, as each heartbeat would.
                () = self.ended.notified() => continue,
            }
            if !self.is_idle() && self.silence() >= interval && !self.is_answered(&mut pings, patience).await {
                return;
            }
        }
    }

    /// True if a ping is answered, however late, as long as anything else arrives instead.
    async fn is_answered(&self, pings: &mut PingPong, patience: Duration) -> bool {
        let mut pong = std::pin::pin!(pings.ping(Ping::opaque()));
        loop {
            match tokio::time::timeout(patience, pong.as_mut()).await {
                Ok(Ok(_pong)) => {
                    self.heard.happens();
                    return true;
                }
                // The connection's task logs how it has ended.
                Ok(Err(_ended)) => std::future::pending().await,
                Err(_elapsed) if self.silence() < patience => {}
                Err(_elapsed) => return false,
            }
        }
    }

    /// True if no call is in flight.
    fn is_idle(&self) -> bool {
        self.calls.available_permits() == MAX_CALLS
    }

    fn silence(&self) -> Duration {
        self.heard.age().unwrap_or(Duration::MAX)
    }
}
