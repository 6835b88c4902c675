//! The TCP side: state exchanges, both ways, and questions of identity. Each is bounded in time, number and bytes.

use super::super::core::{Contact, ExchangeAnswer};
use super::super::envelope::{self, Note, Rejection};
use super::super::memberlist::{self, CONSUL};
use super::super::stream::{self, LENGTH_BYTES};
use super::CoreHandle;
use super::callers::{Caller, Callers};
use crate::defaults;
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

    /// Asks the holder of a name for its identity, and passes the outcome to the core.
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

pub(in crate::gossip) async fn serve(mut listener: Listener, core: CoreHandle, shutdown: Shutdown) {
    let callers = Callers::new();
    let memory = Arc::new(Semaphore::new(defaults::GOSSIP_STREAM_KIB));
    loop {
        match listener.accept().await {
            Ok((connection, peer)) => {
                let Some(caller) = callers.enter(peer.ip()) else {
                    metrics::counter!("kontor.gossip.streams_full").increment(1);
                    debug!(%peer, "a gossip connection is refused: its address has too many, or all are taken");
                    continue;
                };
                let (core, memory) = (core.clone(), Arc::clone(&memory));
                shutdown.spawn_until("gossip-stream", async move {
                    let answered = within(defaults::GOSSIP_STREAM_TIMEOUT, answer(&core, &memory, connection, peer, caller));
                    if let Err(error) = answered.await {
                        metrics::counter!("kontor.gossip.stream_errors").increment(1);
                        debug!(%peer, %error, "gossip stream");
                    }
                });
            }
            Err(error) => {
                // Mostly out of file descriptors: it passes, and must not become a busy loop.
                metrics::counter!("kontor.gossip.accept_errors").increment(1);
                debug!(%error, "gossip accept");
                tokio::time::sleep(defaults::GOSSIP_ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Exchanges states with the agent at `addr`; the error is its refusal, or the broken step.
pub(super) async fn exchange(core: &CoreHandle, addr: SocketAddr) -> Result<Contact, String> {
    let question = core.call(|core, now| core.state_frame(now)).await.map_err(|error| error.to_string())??;
    let answer = match within(defaults::GOSSIP_STREAM_TIMEOUT, round_trip(addr, question)).await? {
        Heard::Frame(answer) => answer,
        Heard::Consul => {
            core.complaints.consul(addr);
            return Err(CONSUL.to_owned());
        }
    };
    core.call(move |core, now| core.handle_answer(addr, &answer, now)).await.map_err(|error| error.to_string())?
}

/// True if `name` with this id still listens at `addr`.
async fn ask(core: &CoreHandle, addr: SocketAddr, name: String, id: NodeId) -> bool {
    let Ok(Ok(question)) = core.call(|core, _now| core.who_frame()).await else { return false };
    let answered = within(defaults::GOSSIP_ASK_TIMEOUT, round_trip(addr, question)).await;
    let Ok(Heard::Frame(answer)) = answered else { return false };
    core.call(move |core, _now| core.is_answer_of(&answer, &name, id)).await.unwrap_or(false)
}

async fn answer(
    core: &CoreHandle,
    memory: &Semaphore,
    mut connection: TcpStream,
    peer: SocketAddr,
    mut caller: Caller,
) -> Result<(), String> {
    let question = match hear(memory, &mut connection, &mut caller).await? {
        Heard::Frame(question) => question,
        Heard::Consul => {
            core.complaints.consul(peer);
            return tell_consul(&mut connection).await;
        }
    };
    caller.is_heard();
    let handle = move |core: &mut super::Core, now| core.handle_frame(peer.ip(), &question, now);
    let mut verdict = core.call(handle).await.map_err(|error| error.to_string())?;
    if let ExchangeAnswer::AskFirst { holder, holder_name, holder_id, newcomer, said } = verdict {
        let answered = ask(core, holder, holder_name, holder_id).await;
        let finish = core.call(move |core, now| core.finish_exchange(&newcomer, said, answered, now));
        verdict = finish.await.map_err(|error| error.to_string())?;
    }
    match verdict {
        ExchangeAnswer::Answer(answer) => send(&mut connection, &answer).await,
        ExchangeAnswer::Deny { answer, newcomer, denied } => {
            core.complaints.denied(peer, &newcomer, &denied);
            send(&mut connection, &answer).await
        }
        ExchangeAnswer::Hangup(refusal) => {
            core.complaints.refused(peer, &refusal);
            match Note::frame(&refusal) {
                Some(note) => send(&mut connection, &note).await,
                None => Ok(()),
            }
        }
        ExchangeAnswer::AskFirst { .. } => Err("a name was contested twice".to_owned()),
    }
}

/// Refuses an agent of Consul in its own format, and reads the rest of its question, which would else undo the refusal.
async fn tell_consul(connection: &mut TcpStream) -> Result<(), String> {
    let sent = async {
        connection.write_all(&memberlist::refusal()).await?;
        connection.shutdown().await?;
        let chunk = u64::try_from(defaults::GOSSIP_CHUNK_KIB << 10).unwrap_or(u64::MAX);
        tokio::io::copy(&mut connection.take(chunk), &mut tokio::io::sink()).await
    };
    let sent = async { sent.await.map_err(|error| format!("cannot send: {error}")) };
    within(defaults::GOSSIP_CONSUL_TIMEOUT, sent).await.map(|_unread| ())
}

enum Heard {
    Frame(Vec<u8>),
    Consul,
}

/// Reads a caller's question, unless it has to give way.
async fn hear(memory: &Semaphore, connection: &mut TcpStream, caller: &mut Caller) -> Result<Heard, String> {
    let begun = tokio::select! {
        begun = begin(connection) => begun?,
        () = caller.gives_way() => return Err("gave way to others".to_owned()),
    };
    let Some(length) = begun else { return Ok(Heard::Consul) };
    caller.begins();
    tokio::select! {
        frame = receive_frame(connection, length, Some(memory)) => frame.map(Heard::Frame),
        () = caller.gives_way() => Err("gave way to others".to_owned()),
    }
}

async fn round_trip(addr: SocketAddr, question: Vec<u8>) -> Result<Heard, String> {
    let mut connection = connect(addr).await?;
    send(&mut connection, &question).await?;
    let mut first = [0];
    // The peer may ask others first.
    let answer = match timeout(defaults::GOSSIP_STREAM_TIMEOUT, connection.peek(&mut first)).await {
        Ok(Ok(1)) if memberlist::begins_answer(first[0]) => return Ok(Heard::Consul),
        Ok(Ok(1)) => receive(&mut connection).await,
        Ok(Ok(_)) => Err("connection closed".to_owned()),
        Ok(Err(error)) => Err(format!("connection broke: {error}")),
        Err(_elapsed) => Err("connection is silent".to_owned()),
    };
    drop(connection);
    match answer {
        Ok(answer) => Ok(answer),
        Err(_hung_up) if is_consul(addr).await => Ok(Heard::Consul),
        Err(error) => Err(format!("no answer ({error}); is it the gossip port of the same pool, with the same encrypt key?")),
    }
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, String> {
    let connect = async { TcpStream::connect(addr).await.map_err(|error| format!("cannot connect: {error}")) };
    within(defaults::GOSSIP_CONNECT_TIMEOUT, connect).await
}

/// Asks an agent that hung up in Consul's format; true if it is one of Consul.
async fn is_consul(addr: SocketAddr) -> bool {
    let asked = async {
        let mut connection = connect(addr).await?;
        connection.write_all(&memberlist::QUESTION).await.map_err(|error| error.to_string())?;
        connection.read_u8().await.map_err(|error| error.to_string())
    };
    within(defaults::GOSSIP_CONSUL_TIMEOUT, asked).await.is_ok_and(memberlist::begins_answer)
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

async fn receive(connection: &mut TcpStream) -> Result<Heard, String> {
    match begin(connection).await? {
        Some(length) => receive_frame(connection, length, None).await.map(Heard::Frame),
        None => Ok(Heard::Consul),
    }
}

/// Reads the length of a frame; `None` for a message of Consul's.
async fn begin(connection: &mut TcpStream) -> Result<Option<usize>, String> {
    let mut prefix = [0; LENGTH_BYTES];
    read(connection, &mut prefix).await?;
    let is_consul = memberlist::begins_stream(prefix);
    let length = match stream::frame_length(prefix) {
        Err(_too_long) if is_consul => return Ok(None),
        Err(error) => return Err(error),
        Ok(length) if length < FIRST => return Err(Rejection::Junk.to_string()),
        Ok(length) => length,
    };
    let mut first = [0; FIRST];
    let begins = async { connection.peek(&mut first).await.map_err(|error| format!("connection broke: {error}")) };
    let peeked = within(defaults::GOSSIP_STREAM_SILENCE, begins).await?;
    match first {
        _ if peeked == FIRST && envelope::is_ours(first) => Ok(Some(length)),
        _ if is_consul => Ok(None),
        // The second byte may be on its way; the envelope looks at it again.
        _ if peeked < FIRST => Ok(Some(length)),
        _ => Err(Rejection::Junk.to_string()),
    }
}

/// The bytes that distinguish a frame.
const FIRST: usize = 2;

async fn read(connection: &mut TcpStream, buffer: &mut [u8]) -> Result<(), String> {
    let read = async { connection.read_exact(buffer).await.map_err(|error| format!("connection closed: {error}")) };
    within(defaults::GOSSIP_STREAM_SILENCE, read).await.map(|_all| ())
}

/// Reads one frame; memory grows with the bytes that arrive. Frames of others take room in `memory` after their first chunk.
async fn receive_frame(connection: &mut TcpStream, length: usize, memory: Option<&Semaphore>) -> Result<Vec<u8>, String> {
    let chunk = defaults::GOSSIP_CHUNK_KIB << 10;
    let (mut frame, mut rooms) = (Vec::new(), Vec::new());
    while frame.len() < length {
        if let Some(memory) = memory.filter(|_| !frame.is_empty()) {
            let room = memory.acquire_many(u32::try_from(defaults::GOSSIP_CHUNK_KIB).unwrap_or(u32::MAX));
            rooms.push(room.await.map_err(|_closed| "shutting down".to_owned())?);
        }
        let start = frame.len();
        frame.resize(length.min(start + chunk), 0);
        read(connection, &mut frame[start..]).await.map_err(|error| format!("after {start} of {length} bytes: {error}"))?;
    }
    Ok(frame)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(limit, work).await.unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")))
}
