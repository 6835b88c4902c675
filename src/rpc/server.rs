//! The server: accepts connections within bounds, with or without TLS on the same port, and hands each message on.

use super::budget::{Budget, Share};
use super::message::{BodyError, collect};
use super::{RAFT_PATH, REQUEST_PATH, RaftSink};
use crate::defaults;
use crate::entrance::{Entrance, counted_as};
use crate::listener::Listener;
use crate::model::fault::Fault;
use crate::model::packed;
use crate::model::request::{Handler, Operation, Progress, Reply, Request};
use crate::shutdown::Shutdown;
use crate::telemetry::{FailureThrottle, FailureThrottles};
use crate::tls::RpcTls;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

const TLS_HANDSHAKE: u8 = 0x16;
const HTTP2_PREFACE: u8 = b'P';
/// The last of the first bytes of Consul's connections: 0 is for RPC, 1 for Raft, 3 for TLS, and so on.
const LAST_OF_CONSUL: u8 = 9;
const NO_CONSUL: &str = "it speaks Consul's RPC protocol, not Kontor's; agents and servers of both do not work together";
const NO_PLAIN_TEXT: &str = "the peer speaks without TLS, which is configured here: set ca_file there, or here tls { \
    internal_rpc { accept_plaintext = true } } without verify_incoming until all agents have it";
/// The pause after the listener itself fails, for lack of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves on a listener until `shutdown`. `raft` is absent on client agents.
pub async fn serve(
    mut listener: Listener,
    handler: Arc<dyn Handler>,
    raft: Option<Arc<dyn RaftSink>>,
    tls: Option<RpcTls>,
    shutdown: Shutdown,
) {
    let of_address = defaults::RPC_MAX_CONNECTIONS_PER_ADDRESS;
    let everybody = Entrance::new(defaults::RPC_MAX_CONNECTIONS, of_address);
    let servers = Entrance::new(defaults::RPC_MAX_SERVER_CONNECTIONS, of_address);
    let server = Arc::new(Server {
        handler,
        raft,
        tls,
        requests: Budget::new(defaults::RPC_BODY_BUDGET_KIB, defaults::RPC_BODY_BUDGET_OF_ADDRESS_KIB),
        of_raft: Budget::new(defaults::RPC_RAFT_BUDGET_KIB, defaults::RPC_RAFT_BUDGET_OF_ADDRESS_KIB),
        distrusted: FailureThrottles::new(
            FailureThrottle::at_once(defaults::RPC_REFUSAL_PAUSE),
            defaults::RPC_REFUSAL_PAUSE,
            defaults::RPC_MAX_REFUSALS,
        ),
        shutdown: shutdown.clone(),
    });
    let stop = shutdown.token();
    let mut trouble = FailureThrottle::at_once(defaults::ACCEPT_TOLD_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match (if server.is_of_server(peer) { &servers } else { &everybody }).enter(Some(peer.ip())) {
                Ok(seat) => {
                    let server = Arc::clone(&server);
                    shutdown.spawn("rpc connection", async move {
                        let _seat = seat;
                        server.welcome(stream, peer).await;
                    });
                }
                Err(_full) => refused("connections", peer, "too many connections"),
            },
            Err(error) => {
                if trouble.failed(Instant::now().into_std()) {
                    warn!(%error, "rpc cannot accept");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Server {
    handler: Arc<dyn Handler>,
    raft: Option<Arc<dyn RaftSink>>,
    tls: Option<RpcTls>,
    requests: Budget,
    /// For known servers.
    of_raft: Budget,
    /// Addresses that were refused for their certificates.
    distrusted: FailureThrottles<IpAddr>,
    shutdown: Shutdown,
}

#[derive(Clone, Debug)]
struct Peer {
    at: SocketAddr,
    /// The reason that its certificate does not let it speak as a server.
    no_server: Option<Arc<str>>,
}

impl Server {
    fn is_of_server(&self, peer: SocketAddr) -> bool {
        self.raft.as_ref().is_some_and(|raft| raft.is_of_server(peer.ip().to_canonical()))
    }

    /// Recognises the peer's protocol by its first byte, and serves it if that is allowed.
    async fn welcome(self: Arc<Server>, stream: TcpStream, peer: SocketAddr) {
        let mut first = [0];
        match timeout(defaults::RPC_HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await {
            Ok(Ok(1)) => {}
            Ok(Ok(_)) => return,
            Ok(Err(error)) => return refused("junk", peer, &error),
            Err(_elapsed) => return refused("junk", peer, "no byte came"),
        }
        if let Err(error) = stream.set_nodelay(true) {
            return debug!(%peer, %error, "rpc connection is gone");
        }
        match (first[0], self.tls.clone()) {
            (TLS_HANDSHAKE, Some(tls)) => {
                let accept = tokio_rustls::TlsAcceptor::from(tls.server.load_full()).accept(stream);
                match timeout(defaults::RPC_HANDSHAKE_TIMEOUT, accept).await {
                    Ok(Ok(stream)) => self.converse_secured(stream, peer, &tls).await,
                    Ok(Err(error)) => self.distrusted("tls", peer, &error.to_string()),
                    Err(_elapsed) => refused("tls", peer, "the handshake took too long"),
                }
            }
            (TLS_HANDSHAKE, None) => self.distrusted("tls", peer, "TLS came, and none is configured here"),
            (HTTP2_PREFACE, Some(tls)) if !tls.accepts_plain => self.distrusted("plain", peer, NO_PLAIN_TEXT),
            (HTTP2_PREFACE, _) => self.converse(stream, Peer { at: peer, no_server: None }).await,
            (0..=LAST_OF_CONSUL, _) => self.distrusted("consul", peer, NO_CONSUL),
            (other, _) => refused("junk", peer, &format!("its first byte is {other:#04x}, neither TLS nor HTTP/2")),
        }
    }

    /// Refuses a peer for its certificate or the lack of one. An operator has to mend that: it is logged once a minute.
    fn distrusted(&self, kind: &'static str, peer: SocketAddr, why: &str) {
        refused(kind, peer, why);
        if self.distrusted.failed(counted_as(peer.ip()), Instant::now().into_std()).is_due {
            warn!(%peer, reason = %why, "rpc connection refused");
        }
    }

    /// Serves a peer behind TLS, with the rights of its certificate.
    async fn converse_secured(self: Arc<Server>, stream: TlsStream<TcpStream>, at: SocketAddr, tls: &RpcTls) {
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if let Some(dc) = tls.of_elsewhere(leaf) {
            let why = format!("its certificate is of a server of datacenter {dc:?}, whose way here is the bridge");
            return self.distrusted("elsewhere", at, &why);
        }
        let no_server = tls.refuses_as_server(leaf).map(Arc::from);
        self.converse(stream, Peer { at, no_server }).await;
    }

    async fn converse(self: Arc<Server>, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) {
        let (asked, at) = (Arc::new(AtomicBool::new(false)), peer.at);
        let service = {
            let (server, asked) = (Arc::clone(&self), Arc::clone(&asked));
            service_fn(move |request| {
                asked.store(true, Ordering::Relaxed);
                let (server, peer) = (Arc::clone(&server), peer.clone());
                async move { Ok::<_, Infallible>(server.answer(request, &peer).await) }
            })
        };
        let connection = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(defaults::RPC_SERVER_PING_INTERVAL)
            .keep_alive_timeout(defaults::RPC_SERVER_PING_TIMEOUT)
            .initial_stream_window_size(defaults::RPC_STREAM_WINDOW)
            .initial_connection_window_size(defaults::RPC_CONNECTION_WINDOW)
            .max_concurrent_streams(defaults::RPC_MAX_STREAMS)
            .max_pending_accept_reset_streams(defaults::RPC_MAX_RESETS)
            .max_frame_size(defaults::RPC_FRAME_BYTES)
            .max_header_list_size(defaults::RPC_HEADER_BYTES)
            .max_send_buf_size(defaults::RPC_STREAM_WINDOW as usize)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let (stop, silence) = (self.shutdown.token(), tokio::time::sleep(defaults::RPC_HANDSHAKE_TIMEOUT));
        let (mut silence, mut is_new) = (std::pin::pin!(silence), true);
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = &mut silence, if is_new => match asked.load(Ordering::Relaxed) {
                    true => is_new = false,
                    false => return refused("junk", at, "it never asked anything"),
                },
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    match timeout(defaults::RPC_DRAIN, connection.as_mut()).await {
                        Ok(ended) => break ended,
                        Err(_elapsed) => return debug!(peer = %at, "requests were still at work at shutdown"),
                    }
                }
            }
        };
        match ended {
            Err(error) if !asked.load(Ordering::Relaxed) => refused("junk", at, &error),
            Err(error) => debug!(peer = %at, %error, "rpc connection ended"),
            Ok(()) => {}
        }
    }

    /// Answers one message. Dropping this future, as hyper does when the stream is reset, drops the handler's.
    async fn answer(&self, request: hyper::Request<Incoming>, peer: &Peer) -> Response<Full<Bytes>> {
        let outcome = match (request.method(), request.uri().path()) {
            (&Method::POST, REQUEST_PATH) => self.request(request.into_body(), peer).await,
            (&Method::POST, RAFT_PATH) => self.message_of_raft(request.into_body(), peer).await,
            (method, path) => Err(refusal(StatusCode::NOT_FOUND, format!("there is no {method} {path} here"))),
        };
        outcome.map_or_else(|refusal| refusal, |answer| Response::new(Full::new(answer)))
    }

    async fn request(&self, body: Incoming, peer: &Peer) -> Result<Bytes, ErrorResponse> {
        let share = self.requests.share(peer.at.ip());
        let (message, room) = take(body, defaults::RPC_MAX_REQUEST_BYTES, share).await?;
        let mut request: Request = packed::decode(&message)
            .map_err(|error| refusal(StatusCode::BAD_REQUEST, format!("the request cannot be read: {error}")))?;
        let length = message.len();
        drop(message);
        // A read may be parked for minutes: its few bytes are outside the budget.
        let _room = match request.operation {
            Operation::Write(_) => Some(room),
            Operation::Read(_) if length <= defaults::RPC_MAX_READ_BYTES => None,
            Operation::Read(_) => {
                metrics::counter!("kontor.rpc.oversized").increment(1);
                let text = format!("{length} bytes, and a read has at most {}", defaults::RPC_MAX_READ_BYTES);
                return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
        };
        let outcome = match self.handler.admit(&mut request, peer.at.ip().to_canonical()) {
            Ok(()) => self.handler.handle(request, None, Progress::default()).await,
            Err(fault) => Err(fault),
        };
        Ok(encoded(&outcome))
    }

    /// Hands on a message of Raft: votes, appends, snapshots, and how servers begin.
    async fn message_of_raft(&self, body: Incoming, peer: &Peer) -> Result<Bytes, ErrorResponse> {
        let Some(raft) = &self.raft else {
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "this agent is not a server".to_owned()));
        };
        if let Some(why) = &peer.no_server {
            self.distrusted("raft", peer.at, why);
            return Err(refusal(StatusCode::FORBIDDEN, why.as_ref().to_owned()));
        }
        let budget = if self.is_of_server(peer.at) { &self.of_raft } else { &self.requests };
        let (message, _room) = take(body, defaults::RPC_MAX_RAFT_BYTES, budget.share(peer.at.ip())).await?;
        Ok(raft.handle(message).await)
    }
}

type ErrorResponse = Response<Full<Bytes>>;

/// The body, with the room it takes. The length must be announced, so that a bound can hold before the body is read.
async fn take(body: Incoming, limit: usize, mut share: Share) -> Result<(Bytes, Share), ErrorResponse> {
    let Some(length) = body.size_hint().exact() else {
        return Err(refusal(StatusCode::LENGTH_REQUIRED, "a message tells its length".to_owned()));
    };
    if length > limit as u64 {
        metrics::counter!("kontor.rpc.oversized").increment(1);
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("{length} bytes, and a message has at most {limit}")));
    }
    let read = collect(body, limit, &mut share);
    match timeout(defaults::RPC_BODY_TIMEOUT, read).await {
        Ok(Ok(message)) => Ok((message, share)),
        Ok(Err(error @ BodyError::TooLarge { .. })) => Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())),
        Ok(Err(error @ BodyError::NoRoom)) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        Ok(Err(error @ BodyError::Cut(_))) => Err(refusal(StatusCode::BAD_REQUEST, error.to_string())),
        Err(_elapsed) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the message took too long to arrive".to_owned())),
    }
}

/// The bytes of the reply. A fault replaces a reply that clients would refuse.
fn encoded(outcome: &Result<Reply, Fault>) -> Bytes {
    let limit = defaults::RPC_MAX_REPLY_BYTES;
    let fault = match packed::encode(outcome) {
        Ok(bytes) if bytes.len() <= limit => return bytes.into(),
        Ok(bytes) => {
            Fault::failed(format!("the answer has {} bytes, and at most {limit} can be sent; use a filter", bytes.len()))
        }
        Err(error) => Fault::failed(format!("the answer cannot be encoded: {error}")),
    };
    packed::encode(&Err::<Reply, Fault>(fault)).map(Bytes::from).unwrap_or_default()
}

fn refusal(status: StatusCode, text: String) -> ErrorResponse {
    metrics::counter!("kontor.rpc.messages_refused").increment(1);
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}

fn refused(kind: &'static str, peer: SocketAddr, why: &(impl std::fmt::Display + ?Sized)) {
    metrics::counter!("kontor.rpc.connections_refused", "kind" => kind).increment(1);
    debug!(%peer, %why, "rpc connection refused");
}
