//! The TCP side: state exchanges, both ways, and asking whether a member is still there.
//! `driver` and `join` start them; every one is bounded in time, number and bytes.

use super::super::core::{Contact, Verdict};
use super::super::stream::{self, LENGTH_BYTES};
use super::CoreHandle;
use crate::config::defaults;
use crate::listener::Listener;
use crate::model::ids::NodeId;
use crate::shutdown::Shutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

/// Starts exchanges.
#[derive(Clone, Debug)]
pub(in crate::gossip) struct Dialer {
    core: CoreHandle,
    shutdown: Shutdown,
    room: Arc<Semaphore>,
}

impl Dialer {
    pub(super) fn new(core: CoreHandle, shutdown: Shutdown) -> Dialer {
        Dialer { core, shutdown, room: Arc::new(Semaphore::new(defaults::GOSSIP_MAX_DIALS)) }
    }

    /// Exchanges states with `addr` in a task of its own, unless too many are under way.
    pub(super) fn exchange_later(&self, addr: SocketAddr) {
        let core = self.core.clone();
        self.later(async move {
            if let Err(error) = exchange(&core, addr).await {
                debug!(peer = %addr, %error, "state exchange failed");
            }
        });
    }

    /// Asks the holder of a name whether it is still there, and tells the core.
    pub(super) fn ask_later(&self, holder: SocketAddr, name: String, id: NodeId, newcomer: String) {
        let core = self.core.clone();
        self.later(async move {
            let answered = ask(&core, holder, name, id).await;
            // A stopped pool has no contest to settle.
            let _ = core.call(move |core, now| core.settle_contest(&newcomer, answered, now)).await;
        });
    }

    fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            metrics::counter!("kontor.gossip.dials_full").increment(1);
            return;
        };
        self.shutdown.spawn_until("gossip-dial", async move {
            work.await;
            drop(permit);
        });
    }
}

/// Takes connections until shutdown; a further one waits while all places are taken.
pub(in crate::gossip) async fn serve(mut listener: Listener, core: CoreHandle, shutdown: Shutdown) {
    let room = Arc::new(Semaphore::new(defaults::GOSSIP_MAX_STREAMS));
    let memory = Arc::new(Semaphore::new(defaults::GOSSIP_STREAM_KIB));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((connection, peer)) => {
                let (core, memory) = (core.clone(), Arc::clone(&memory));
                shutdown.spawn_until("gossip-stream", async move {
                    if let Err(error) = within(defaults::GOSSIP_STREAM_TIMEOUT, answer(&core, &memory, connection)).await {
                        metrics::counter!("kontor.gossip.stream_errors").increment(1);
                        debug!(%peer, %error, "gossip stream");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: it passes, and must not become a busy loop.
                metrics::counter!("kontor.gossip.accept_errors").increment(1);
                debug!(%error, "gossip accept");
                tokio::time::sleep(defaults::GOSSIP_ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Exchanges states with the agent at `addr`; the error is its reason for refusing, or what broke.
pub(super) async fn exchange(core: &CoreHandle, addr: SocketAddr) -> Result<Contact, String> {
    let question = core.call(|core, now| core.state_frame(now)).await.map_err(|error| error.to_string())??;
    let answer = within(defaults::GOSSIP_STREAM_TIMEOUT, round_trip(addr, question)).await?;
    core.call(move |core, now| core.handle_answer(&answer, now)).await.map_err(|error| error.to_string())?
}

/// Whether `name` with this id still listens at `addr`.
async fn ask(core: &CoreHandle, addr: SocketAddr, name: String, id: NodeId) -> bool {
    let Ok(Ok(question)) = core.call(|core, _now| core.who_frame()).await else { return false };
    let Ok(answer) = within(defaults::GOSSIP_ASK_TIMEOUT, round_trip(addr, question)).await else { return false };
    core.call(move |core, _now| core.is_answer_of(&answer, &name, id)).await.unwrap_or(false)
}

/// Answers the one question of a connection.
async fn answer(core: &CoreHandle, memory: &Semaphore, mut connection: TcpStream) -> Result<(), String> {
    let length = receive_length(&mut connection).await?;
    let kib = u32::try_from(length / 1024 + 1).unwrap_or(u32::MAX);
    let room = memory.acquire_many(kib).await.map_err(|_closed| "shutting down".to_owned())?;
    let question = receive_frame(&mut connection, length).await?;
    drop(room);
    let verdict = core.call(move |core, now| core.handle_frame(&question, now)).await.map_err(|error| error.to_string())?;
    let answer = match verdict {
        Verdict::Answer(answer) => answer,
        Verdict::Hangup(refusal) => return Err(format!("refused: {}", refusal.label())),
        Verdict::AskFirst { holder, holder_name, holder_id, newcomer, entries } => {
            let answered = ask(core, holder, holder_name, holder_id).await;
            let finish = core.call(move |core, now| core.finish_exchange(&newcomer, entries, answered, now));
            finish.await.map_err(|error| error.to_string())?
        }
    };
    send(&mut connection, &answer).await
}

async fn round_trip(addr: SocketAddr, question: Vec<u8>) -> Result<Vec<u8>, String> {
    let connect = async { TcpStream::connect(addr).await.map_err(|error| format!("cannot connect: {error}")) };
    let mut connection = within(defaults::GOSSIP_CONNECT_TIMEOUT, connect).await?;
    send(&mut connection, &question).await?;
    receive(&mut connection)
        .await
        .map_err(|error| format!("no answer ({error}); is it the gossip port of the same pool, with the same encrypt key?"))
}

async fn send(connection: &mut TcpStream, frame: &[u8]) -> Result<(), String> {
    let prefix = stream::length_prefix(frame)?;
    let written = async {
        connection.write_all(&prefix).await?;
        connection.write_all(frame).await?;
        connection.flush().await
    };
    written.await.map_err(|error| format!("cannot send: {error}"))
}

async fn receive(connection: &mut TcpStream) -> Result<Vec<u8>, String> {
    let length = receive_length(connection).await?;
    receive_frame(connection, length).await
}

async fn receive_length(connection: &mut TcpStream) -> Result<usize, String> {
    let mut prefix = [0; LENGTH_BYTES];
    connection.read_exact(&mut prefix).await.map_err(|error| format!("connection closed: {error}"))?;
    stream::frame_length(prefix)
}

/// Reads one frame; memory grows with the bytes that came, not with the length announced.
async fn receive_frame(connection: &mut TcpStream, length: usize) -> Result<Vec<u8>, String> {
    let mut frame = Vec::new();
    connection.take(length as u64).read_to_end(&mut frame).await.map_err(|error| format!("connection broke: {error}"))?;
    if frame.len() < length {
        return Err(format!("connection closed after {} of {length} bytes", frame.len()));
    }
    Ok(frame)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(limit, work).await.unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")))
}
