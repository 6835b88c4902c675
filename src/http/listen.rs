//! The accept loop: TCP, TLS and Unix sockets, with bounds on connections and on silence.
//!
//! `http::serve` starts it. It knows connections, not requests: the service answers those. A client
//! that hangs up drops the future of its answer, and with it everything the answer held.

use super::HttpListener;
use super::respond::Body;
use crate::config::defaults;
use crate::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What a client with too many connections is told. Consul's text.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\n";
/// What everybody is told when the agent has too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This agent has too many connections, please try again later\n";

/// Serves on all listeners until `shutdown`, at most `max_per_client` connections of an address at
/// a time (0 for no such bound).
pub(super) fn serve_with<S, F>(listeners: Vec<HttpListener>, max_per_client: usize, shutdown: &Shutdown, service: S)
where
    S: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let server = Arc::new(Server {
        service,
        doors: Doors::new(max_per_client, defaults::HTTP_MAX_CONNECTIONS),
        refusals: Arc::new(Semaphore::new(defaults::HTTP_MAX_REFUSALS)),
        shutdown: shutdown.clone(),
        stop: shutdown.token(),
    });
    for listener in listeners {
        shutdown.spawn_until("http listener", Arc::clone(&server).listen(listener));
    }
}

/// What all listeners share.
struct Server<S> {
    service: S,
    doors: Arc<Doors>,
    refusals: Arc<Semaphore>,
    shutdown: Shutdown,
    stop: CancellationToken,
}

impl<S, F> Server<S>
where
    S: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    async fn listen(self: Arc<Self>, listener: HttpListener) {
        loop {
            let accepted = match &listener {
                HttpListener::Tcp(tcp) => tcp.accept().await.map(|(stream, peer)| self.tcp(stream, peer.ip(), None)),
                HttpListener::Tls(tcp, config) => {
                    let tls = TlsAcceptor::from(Arc::clone(config));
                    tcp.accept().await.map(|(stream, peer)| self.tcp(stream, peer.ip(), Some(tls)))
                }
                HttpListener::Unix(unix) => unix.accept().await.map(|(stream, _)| self.unix(stream)),
            };
            if let Err(error) = accepted {
                metrics::counter!("kontor.http.accept_failed").increment(1);
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(defaults::HTTP_ACCEPT_PAUSE).await;
            }
        }
    }

    fn tcp(self: &Arc<Self>, stream: TcpStream, client: IpAddr, tls: Option<TlsAcceptor>) {
        // Answers are small and written whole, so waiting for more only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        let client = client.to_canonical();
        let entry = match self.doors.enter(Some(client)) {
            Ok(entry) => entry,
            // Plain bytes would mean nothing to a client that speaks TLS.
            Err(_full) if tls.is_some() => return,
            Err(text) => return self.refuse(stream, text),
        };
        let server = Arc::clone(self);
        self.shutdown.spawn("http connection", async move {
            match tls {
                None => server.converse(stream, Some(client), false).await,
                Some(tls) => match timeout(defaults::HTTPS_HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => server.converse(stream, Some(client), true).await,
                    failed => {
                        metrics::counter!("kontor.http.handshake_failed").increment(1);
                        tracing::debug!(%client, error = ?failed.map(|result| result.err()), "TLS handshake failed");
                    }
                },
            }
            drop(entry);
        });
    }

    fn unix(self: &Arc<Self>, stream: tokio::net::UnixStream) {
        let entry = match self.doors.enter(None) {
            Ok(entry) => entry,
            Err(text) => return self.refuse(stream, text),
        };
        let server = Arc::clone(self);
        self.shutdown.spawn("http connection", async move {
            server.converse(stream, None, false).await;
            drop(entry);
        });
    }

    /// Tells a client why it is not served, when there is time for that, and closes.
    fn refuse(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, text: &'static [u8]) {
        metrics::counter!("kontor.http.connections_refused").increment(1);
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        self.shutdown.spawn_until("http refusal", async move {
            let _told_or_not = timeout(defaults::HTTP_REFUSAL_TIME, tell(stream, text, permit)).await;
        });
    }

    /// Answers the requests of one connection until one side ends it.
    async fn converse<I>(&self, stream: I, client: Option<IpAddr>, secure: bool)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let activity = Arc::new(Activity::default());
        let service = {
            let (answer, activity) = (self.service.clone(), Arc::clone(&activity));
            service_fn(move |request| {
                let at_work = AtWork::new(Arc::clone(&activity));
                let answer = answer(request, client);
                async move {
                    let response = answer.await;
                    drop(at_work);
                    Ok::<_, Infallible>(response)
                }
            })
        };
        // HTTP/2 needs ALPN, so it exists on TLS only.
        let mut http = auto::Builder::new(TokioExecutor::new());
        http = if secure { http } else { http.http1_only() };
        http.http1().max_buf_size(defaults::HTTP_MAX_HEAD).header_read_timeout(None);
        http.http2().max_concurrent_streams(defaults::HTTP2_MAX_STREAMS);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.end(&activity) => {
                connection.as_mut().graceful_shutdown();
                timeout(defaults::HTTP_SHUTDOWN_GRACE, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            // Junk, a head too large, or a client that went away in the middle.
            metrics::counter!("kontor.http.connections_broken").increment(1);
            tracing::debug!(%error, "connection broke off");
        }
    }

    /// Resolves when this side should end the connection: at shutdown, or after too long a silence.
    async fn end(&self, activity: &Activity) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = activity.silence() => metrics::counter!("kontor.http.connections_idle").increment(1),
        }
    }
}

/// Writes `text`, then reads on for a moment: closing with unread bytes would reset the connection,
/// and the client would see an error in place of the text.
async fn tell<I: AsyncRead + AsyncWrite + Unpin>(
    mut stream: I,
    text: &[u8],
    _permit: OwnedSemaphorePermit,
) -> std::io::Result<()> {
    stream.write_all(text).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(defaults::HTTP_REFUSAL_READ), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Counts connections: all of them, and those of each address.
struct Doors {
    max_per_client: usize,
    all: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl Doors {
    fn new(max_per_client: usize, max: usize) -> Arc<Doors> {
        Arc::new(Doors { max_per_client, all: Arc::new(Semaphore::new(max)), clients: Mutex::default() })
    }

    /// Lets one more connection in until its entry is dropped, or gives what to tell it instead.
    fn enter(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Entry, &'static [u8]> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| FULL)?;
        if let Some(client) = client {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            let count = clients.entry(client).or_default();
            if self.max_per_client > 0 && *count >= self.max_per_client {
                return Err(TOO_MANY);
            }
            *count += 1;
        }
        Ok(Entry { doors: Arc::clone(self), client, _permit: permit })
    }
}

/// One connection that was let in.
struct Entry {
    doors: Arc<Doors>,
    client: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut clients = self.doors.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// What a connection does, for telling a parked watch from a client that says nothing.
#[derive(Default)]
struct Activity {
    requests: AtomicU64,
    at_work: AtomicUsize,
}

impl Activity {
    /// Resolves when the connection has been without a request for too long. One timer a
    /// connection: a timer a request would cost more than many requests do.
    async fn silence(&self) {
        tokio::time::sleep(defaults::HTTP_FIRST_REQUEST).await;
        let mut before = 0;
        loop {
            let requests = self.requests.load(Ordering::Relaxed);
            if requests == before && self.at_work.load(Ordering::Relaxed) == 0 {
                return;
            }
            before = requests;
            tokio::time::sleep(defaults::HTTP_IDLE).await;
        }
    }
}

/// A request that is being answered.
struct AtWork(Arc<Activity>);

impl AtWork {
    fn new(activity: Arc<Activity>) -> AtWork {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(activity)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}
