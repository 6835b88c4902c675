//! One connection of a client to one server: made by one dial for all waiting calls, and anew with growing pauses.

use super::Lane;
use super::link::Link;
use crate::defaults;
use crate::telemetry::FailureThrottle;
use crate::tls::{Outgoing, RpcTls};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use rustls_pki_types::ServerName;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tracing::{debug, warn};

type Dial = Shared<BoxFuture<'static, Result<Link, Arc<str>>>>;

#[derive(Debug)]
enum State {
    Idle,
    /// One dial is under way, and all calls wait for it.
    Dialling(Dial),
    Up(Link),
    /// The dial failed; until `retry_at` all calls get its error.
    Failed {
        error: Arc<str>,
        retry_at: Instant,
        pause: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Slot {
    server: SocketAddr,
    lane: Lane,
    tls: Option<RpcTls>,
    source: Option<IpAddr>,
    state: Mutex<State>,
    distrusted: Mutex<FailureThrottle>,
}

impl Slot {
    pub(super) fn new(server: SocketAddr, lane: Lane, tls: Option<RpcTls>, source: Option<IpAddr>) -> Slot {
        Slot {
            server,
            lane,
            tls,
            source,
            state: Mutex::new(State::Idle),
            distrusted: Mutex::new(FailureThrottle::at_once(defaults::RPC_REFUSAL_PAUSE)),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(&*self.lock(), State::Up(link) if !link.is_closed())
    }

    pub(super) fn is_forgettable(&self) -> bool {
        match &*self.lock() {
            State::Up(link) => link.is_closed(),
            State::Dialling(_) => false,
            State::Idle | State::Failed { .. } => true,
        }
    }

    /// The connection, made if there is none.
    pub(super) async fn link(self: &Arc<Slot>) -> Result<Link, Arc<str>> {
        let dial = {
            let mut state = self.lock();
            let dial = match &*state {
                State::Up(link) if !link.is_closed() => return Ok(link.clone()),
                State::Failed { error, retry_at, .. } if Instant::now() < *retry_at => return Err(Arc::clone(error)),
                State::Failed { pause, .. } => self.start((*pause * 2).min(defaults::RPC_BACKOFF_MAX)),
                State::Up(_) | State::Idle => self.start(defaults::RPC_BACKOFF_MIN),
                State::Dialling(dial) => dial.clone(),
            };
            *state = State::Dialling(dial.clone());
            dial
        };
        dial.await
    }

    /// Dials in a task of its own: the first caller may hang up while others wait.
    fn start(self: &Arc<Slot>, pause: Duration) -> Dial {
        let slot = Arc::clone(self);
        let task = tokio::spawn(async move {
            let late = |_elapsed| Err(format!("no connection within {:?}", defaults::RPC_CONNECT_TIMEOUT));
            let dialled = tokio::time::timeout(defaults::RPC_CONNECT_TIMEOUT, slot.dial()).await.unwrap_or_else(late);
            let outcome = dialled.map_err(|error| Arc::<str>::from(format!("{}: {error}", slot.server)));
            *slot.lock() = match &outcome {
                Ok(link) => State::Up(link.clone()),
                Err(error) => {
                    metrics::counter!("kontor.rpc.connect_failed").increment(1);
                    State::Failed { error: Arc::clone(error), retry_at: Instant::now() + pause, pause }
                }
            };
            outcome
        });
        task.map(|joined| joined.unwrap_or_else(|stopped| Err(format!("the dial was stopped: {stopped}").into())))
            .boxed()
            .shared()
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let source = self.source.filter(|source| source.is_ipv4() == self.server.is_ipv4());
        let Some(source) = source else { return TcpStream::connect(self.server).await };
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        match socket.bind(SocketAddr::new(source, 0)) {
            // The agent has moved to another address; the system chooses the source.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => TcpStream::connect(self.server).await,
            bound => {
                bound?;
                socket.connect(self.server).await
            }
        }
    }

    async fn dial(&self) -> Result<Link, String> {
        let stream = self.stream().await?;
        let Some(tls) = &self.tls else { return self.handshake(stream).await };
        let name = tls.server_name.clone().unwrap_or_else(|| ServerName::from(self.server.ip()));
        match tokio_rustls::TlsConnector::from(tls.client.load_full()).connect(name, stream).await {
            Ok(stream) => self.handshake(stream).await,
            // The server said nothing, or something else than TLS.
            Err(error) if tls.outgoing == Outgoing::TlsWhereItIs && speaks_no_tls(&error) => {
                debug!(server = %self.server, "this server speaks no TLS; it is spoken to without");
                self.handshake(self.stream().await?).await
            }
            Err(error) => {
                self.tell(&error);
                Err(format!("TLS: {error}"))
            }
        }
    }

    async fn stream(&self) -> Result<TcpStream, String> {
        let stream = self.connect().await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// Logs a failed TLS handshake, once a minute: an operator has to mend it.
    fn tell(&self, error: &std::io::Error) {
        let mut distrusted = self.distrusted.lock().unwrap_or_else(PoisonError::into_inner);
        if distrusted.failed(Instant::now().into_std()) {
            warn!(server = %self.server, %error, "no TLS connection to this server");
        }
    }

    async fn handshake(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Link, String> {
        Link::open(stream, self.lane, self.server).await.map_err(|error| error.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a handshake failed because the other side has no TLS: it hung up on the first message.
fn speaks_no_tls(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
