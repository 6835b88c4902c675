//! The accept loop: TCP, TLS and Unix sockets, with bounds on connections and on silence. A client that hangs up drops
//! the future of its answer.

use super::connection_limits::refusal;
use super::respond::Body;
use super::{HttpListener, Opener};
use crate::defaults;
use crate::entrance::Entrance;
use crate::shutdown::Shutdown;
use crate::telemetry::FailureThrottle;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Serves on all listeners, and on those given to the opener, until `shutdown`. Each address has at most
/// `max_per_client` connections at a time (0 for no bound), a number that may change.
pub(super) fn serve_with<S, F>(
    listeners: Vec<HttpListener>,
    max_per_client: Arc<AtomicUsize>,
    shutdown: &Shutdown,
    service: S,
) -> Opener
where
    S: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let server = Arc::new(Server {
        service,
        entrance: Entrance::with_changing(defaults::HTTP_MAX_CONNECTIONS, max_per_client),
        refusals: Arc::new(Semaphore::new(defaults::HTTP_MAX_REFUSALS)),
        shutdown: shutdown.clone(),
        stop: shutdown.token(),
    });
    let shutdown = shutdown.clone();
    let open = move |listener| shutdown.spawn_until("http listener", Arc::clone(&server).listen(listener));
    listeners.into_iter().for_each(&open);
    Arc::new(open)
}

struct Server<S> {
    service: S,
    entrance: Arc<Entrance>,
    refusals: Arc<Semaphore>,
    shutdown: Shutdown,
    stop: CancellationToken,
}

impl<S, F> Server<S>
where
    S: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    async fn listen(self: Arc<Self>, mut listener: HttpListener) {
        let mut trouble = FailureThrottle::at_once(defaults::ACCEPT_TOLD_EVERY);
        loop {
            let accepted = match &mut listener {
                HttpListener::Tcp(tcp) => tcp.accept().await.map(|(stream, peer)| self.tcp(stream, peer.ip(), None)),
                HttpListener::Tls(tcp, config) => {
                    let accepted = tcp.accept().await;
                    let tls = TlsAcceptor::from(config.load_full());
                    accepted.map(|(stream, peer)| self.tcp(stream, peer.ip(), Some(tls)))
                }
                HttpListener::Unix(unix) => unix.accept().await.map(|(stream, _)| self.unix(stream)),
            };
            if let Err(error) = accepted {
                metrics::counter!("kontor.http.accept_failed").increment(1);
                // Without free file descriptors it fails many times a second.
                if trouble.failed(Instant::now()) {
                    tracing::warn!(%error, "accepting connections fails");
                }
                tokio::time::sleep(defaults::HTTP_ACCEPT_PAUSE).await;
            }
        }
    }

    fn tcp(self: &Arc<Self>, stream: TcpStream, client: IpAddr, tls: Option<TlsAcceptor>) {
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "socket options not set");
        }
        let client = client.to_canonical();
        let seat = match self.entrance.enter(Some(client)).map_err(refusal) {
            Ok(seat) => seat,
            // A client that speaks TLS understands no plain bytes.
            Err(_text) if tls.is_some() => return metrics::counter!("kontor.http.connections_refused").increment(1),
            Err(text) => return self.refuse(stream, text),
        };
        let server = Arc::clone(self);
        self.shutdown.spawn("http connection", async move {
            match tls {
                None => server.converse(stream, Some(client), false).await,
                // Boxed, so that plain connections are not as large as these.
                Some(tls) => Box::pin(server.converse_secured(stream, client, tls)).await,
            }
            drop(seat);
        });
    }

    async fn converse_secured(&self, stream: TcpStream, client: IpAddr, tls: TlsAcceptor) {
        let shaken = tokio::select! {
            shaken = timeout(defaults::HTTPS_HANDSHAKE, tls.accept(stream)) => shaken,
            () = self.stop.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.converse(stream, Some(client), true).await,
            failed => {
                metrics::counter!("kontor.http.handshake_failed").increment(1);
                tracing::debug!(%client, error = ?failed.map(|result| result.err()), "TLS handshake failed");
            }
        }
    }

    fn unix(self: &Arc<Self>, stream: tokio::net::UnixStream) {
        let seat = match self.entrance.enter(None).map_err(refusal) {
            Ok(seat) => seat,
            Err(text) => return self.refuse(stream, text),
        };
        let server = Arc::clone(self);
        self.shutdown.spawn("http connection", async move {
            server.converse(stream, None, false).await;
            drop(seat);
        });
    }

    /// Sends a client the reason that it is not served, when there is time for that, and closes.
    fn refuse(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, text: &'static [u8]) {
        metrics::counter!("kontor.http.connections_refused").increment(1);
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        self.shutdown.spawn_until("http refusal", async move {
            _ = timeout(defaults::HTTP_REFUSAL_TIME, tell(stream, text, permit)).await;
        });
    }

    /// Answers the requests of one connection until one side ends it.
    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, client: Option<IpAddr>, tls: bool) {
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
        http = if tls { http } else { http.http1_only() };
        // `X-Consul-Index`, not `x-consul-index`: scripts look for names in Go's form.
        http.http1().title_case_headers(true).max_buf_size(defaults::HTTP_MAX_HEAD).header_read_timeout(None);
        http.http2().max_concurrent_streams(defaults::HTTP2_MAX_STREAMS);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            biased;
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

    /// Resolves at shutdown, or after too long a silence of the client.
    async fn end(&self, activity: &Activity) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = activity.silence() => metrics::counter!("kontor.http.connections_idle").increment(1),
        }
    }
}

/// Sets `TCP_NODELAY`, since answers are written whole, and `SO_KEEPALIVE`, which notices a host that is gone.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let pause = defaults::HTTP_KEEPALIVE;
    let probes = socket2::TcpKeepalive::new().with_time(pause).with_interval(pause);
    socket2::SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Writes `text`, then reads on for a moment: closing with unread bytes would reset the connection.
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

/// The requests of a connection, to tell a parked watch from a silent client.
#[derive(Default)]
struct Activity {
    requests: AtomicU64,
    at_work: AtomicUsize,
}

impl Activity {
    /// Resolves when the connection has been without a request for too long. One timer serves all its requests.
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::connection_limits::TOO_MANY;
    use super::*;
    use crate::listener::Listener;
    use bytes::Bytes;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_rustls::TlsConnector;

    /// A deadline far beyond the duration of any step here.
    const PATIENCE: Duration = Duration::from_secs(30);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    fn at_most(per_client: usize) -> Arc<AtomicUsize> {
        Arc::new(AtomicUsize::new(per_client))
    }

    /// A listener on a free port of its own.
    pub(in crate::http) async fn bound() -> (HttpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (HttpListener::Tcp(Listener::new(listener).unwrap().0), address)
    }

    /// Serves `service` on a free port, at most `per_client` connections an address.
    async fn serving<S, F>(per_client: usize, service: S) -> (SocketAddr, Shutdown)
    where
        S: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let (shutdown, (listener, address)) = (Shutdown::new(), bound().await);
        serve_with(vec![listener], at_most(per_client), &shutdown, service);
        (address, shutdown)
    }

    /// Sends `request` as it is and reads until the server closes.
    pub(in crate::http) async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
        let (mut stream, mut answer) = (sent(address, request).await, Vec::new());
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        answer
    }

    /// A connection that has sent `request`.
    async fn sent(address: SocketAddr, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream
    }

    async fn hello(_request: Request<Incoming>, _client: Option<IpAddr>) -> Response<Body> {
        Response::new(Body::from(Bytes::from_static(b"hello")))
    }

    async fn read_some(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut buffer = vec![0; 4096];
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_frees_what_its_answer_held() {
        let (started, mut starts) = mpsc::unbounded_channel();
        let (address, shutdown) = serving(0, move |_request, _client| {
            let (held, watch) = mpsc::channel::<()>(1);
            started.send(watch).unwrap();
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Response::default()
            }
        })
        .await;
        let stream = sent(address, b"GET /v1/health/service/web?index=1 HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut watch = timeout(PATIENCE, starts.recv()).await.unwrap().unwrap();
        drop(stream);
        assert_eq!(timeout(PATIENCE, watch.recv()).await, Ok(None));
        assert_eq!(shutdown.drain(PATIENCE).await, Ok(()));
    }

    #[tokio::test]
    async fn a_client_with_too_many_connections_is_told_so_and_let_in_again_later() {
        let (address, _shutdown) = serving(2, hello).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = sent(address, GET).await;
            assert!(read_some(&mut stream).await.starts_with("HTTP/1.1 200"));
            held.push(stream);
        }
        assert_eq!(exchange(address, GET).await, TOO_MANY);
        drop(held);
        let again = async {
            while !exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ends_with(b"hello") {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, again).await.unwrap();
    }

    #[tokio::test]
    async fn requests_sent_at_once_are_answered_in_order_on_one_connection() {
        let path = |request: Request<Incoming>, _client| async move {
            Response::new(Body::from(Bytes::from(format!("<{}>", request.uri().path()))))
        };
        let (address, _shutdown) = serving(0, path).await;
        let requests = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answers = String::from_utf8(exchange(address, requests).await).unwrap();
        assert!(answers.contains("</1>") && answers.ends_with("</2>"), "{answers}");
    }

    #[tokio::test]
    async fn junk_and_heads_without_end_are_refused_and_the_next_client_is_served() {
        let (address, _shutdown) = serving(0, hello).await;
        assert!(exchange(address, b"\x16\x03\x01\x02\x00junk\r\n\r\n").await.starts_with(b"HTTP/1.1 400"));
        let mut endless = b"GET / HTTP/1.1\r\nX: ".to_vec();
        endless.resize(defaults::HTTP_MAX_HEAD + 1, b'x');
        assert!(exchange(address, &endless).await.starts_with(b"HTTP/1.1 431"));
        assert!(exchange(address, b"GET / HTTP/1.0\r\n\r\n").await.ends_with(b"hello"));
    }

    #[tokio::test]
    async fn unix_sockets_are_served_without_an_address() {
        let shutdown = Shutdown::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http.sock");
        let listener = HttpListener::Unix(tokio::net::UnixListener::bind(&path).unwrap());
        serve_with(vec![listener], at_most(1), &shutdown, |_request, client: Option<IpAddr>| async move {
            Response::new(Body::from(Bytes::from(format!("{client:?}"))))
        });
        let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        stream.write_all(GET).await.unwrap();
        assert!(read_some(&mut stream).await.ends_with("None"));
    }

    #[tokio::test]
    async fn tls_is_spoken_where_it_is_configured_and_nothing_else() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let server = builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = builder.with_root_certificates(roots).with_no_client_auth();

        let shutdown = Shutdown::new();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let handshakes = Arc::new(arc_swap::ArcSwap::from_pointee(server));
        serve_with(vec![HttpListener::Tls(Listener::new(tcp).unwrap().0, handshakes)], at_most(0), &shutdown, hello);
        let stream = TcpStream::connect(address).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        stream.write_all(GET).await.unwrap();
        assert!(read_some(&mut stream).await.ends_with("hello"));
        assert!(!exchange(address, GET).await.starts_with(b"HTTP"));
    }

    #[tokio::test]
    async fn shutdown_ends_idle_connections_and_parked_answers_within_the_grace() {
        let (address, shutdown) = serving(0, |request: Request<Incoming>, _client| async move {
            if request.uri().path() == "/parked" {
                std::future::pending::<()>().await;
            }
            Response::new(Body::from(Bytes::from_static(b"hello")))
        })
        .await;
        let mut idle = sent(address, GET).await;
        assert!(read_some(&mut idle).await.ends_with("hello"));
        let _parked = sent(address, b"GET /parked HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(shutdown.drain(PATIENCE).await, Ok(()));
        assert_eq!(read_some(&mut idle).await, "");
    }

    #[test]
    fn a_plain_connection_stays_small() {
        fn size<F: Future>(_connection: impl Fn(Arc<Server<Never>>, TcpStream) -> F) -> usize {
            size_of::<F>()
        }
        type Never = fn(Request<Incoming>, Option<IpAddr>) -> std::future::Ready<Response<Body>>;
        let size = size(async |server, stream| server.converse(stream, None, false).await);
        assert!(size <= 6 * 1024, "{size} bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_and_a_parked_watch_does_not() {
        let fresh = Activity::default();
        let started = tokio::time::Instant::now();
        fresh.silence().await;
        assert_eq!(started.elapsed(), defaults::HTTP_FIRST_REQUEST);

        let activity = Arc::new(Activity::default());
        let watch = AtWork::new(Arc::clone(&activity));
        let parked = Duration::from_secs(700);
        assert!(timeout(parked, activity.silence()).await.is_err());
        drop(watch);
        assert!(timeout(defaults::HTTP_FIRST_REQUEST + defaults::HTTP_IDLE * 2, activity.silence()).await.is_ok());
    }
}
