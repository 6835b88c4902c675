//! The answering side: accepts connections from servers of other datacenters and hands their requests on.
//! It believes no claim about a datacenter but the certificate's.

use super::endpoint::Endpoint;
use super::feed::pusher;
use super::feed::pushing::Pushing;
use super::frame::{self, Frame, FrameError, Kind, Outgoing, kib, read_header, read_payload, within};
use super::inbound::Inbound;
use super::link::{Cause, Greeting, Us, cause_of};
use crate::defaults;
use crate::entrance::Entrance;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::packed::{Excess, Unreadable};
use crate::model::request::{Handler, Phase, Progress, Reply, Request, Source};
use crate::shutdown::Shutdown;
use crate::telemetry::{FailureThrottle, FailureThrottles};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use rustls_pki_types::CertificateDer;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};
use tracing::{debug, info, warn};

/// Accepts and answers.
pub(super) struct Server {
    endpoint: Endpoint,
    us: Us,
    handler: Arc<dyn Handler>,
    /// The answers of feeds.
    source: Arc<dyn Source>,
    inbound: Arc<Inbound>,
    entrance: Arc<Entrance>,
    /// The peers turned away, by address and reason.
    refusals: FailureThrottles<(IpAddr, String)>,
}

/// A connection of a server of another datacenter.
struct Guest {
    connection: Connection,
    /// As its certificate proves.
    dc: String,
    /// As it greeted.
    cluster: Mutex<Option<ClusterId>>,
    /// KiB of requests that may be in memory.
    arriving: Semaphore,
    /// KiB of answers that may wait for being taken.
    leaving: Semaphore,
}

impl Guest {
    fn new(connection: Connection, dc: String) -> Guest {
        let room = |bytes: u32| Semaphore::new((bytes >> 10) as usize);
        let (arriving, leaving) = (room(defaults::BRIDGE_ARRIVING_BYTES), room(defaults::BRIDGE_LEAVING_BYTES));
        Guest { connection, dc, cluster: Mutex::default(), arriving, leaving }
    }

    fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    pub(super) fn new(
        endpoint: Endpoint,
        us: Us,
        handler: Arc<dyn Handler>,
        source: Arc<dyn Source>,
        inbound: Arc<Inbound>,
    ) -> Server {
        let entrance = Entrance::new(defaults::BRIDGE_MAX_CONNECTIONS, defaults::BRIDGE_MAX_CONNECTIONS_PER_ADDRESS);
        let refusals =
            FailureThrottles::new(FailureThrottle::default(), defaults::BRIDGE_REFUSAL_PAUSE, defaults::BRIDGE_MAX_REFUSALS);
        Server { endpoint, us, handler, source, inbound, entrance, refusals }
    }

    /// Accepts until `shutdown`; each connection may then end its work.
    pub(super) async fn run(self: Arc<Server>, shutdown: Shutdown) {
        let stop = shutdown.token();
        loop {
            let incoming = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                incoming = self.endpoint.quic.accept() => match incoming {
                    Some(incoming) => incoming,
                    None => return,
                },
            };
            let open = self.endpoint.quic.open_connections();
            let Ok(seat) = self.entrance.enter(Some(incoming.remote_address().ip())) else {
                metrics::counter!("kontor.bridge.connections_refused", "kind" => "too many").increment(1);
                incoming.refuse();
                continue;
            };
            if open > defaults::BRIDGE_RETRY_CONNECTIONS && !incoming.remote_address_validated() && incoming.may_retry() {
                // It comes again with the token if its address is its own.
                let _ = incoming.retry();
                continue;
            }
            let (server, shutdown_of_it) = (Arc::clone(&self), shutdown.clone());
            shutdown.spawn("bridge connection", async move {
                let _seat = seat;
                server.welcome(incoming, shutdown_of_it).await;
            });
        }
    }

    async fn welcome(self: Arc<Server>, incoming: Incoming, shutdown: Shutdown) {
        let peer = incoming.remote_address();
        let handshake = async { incoming.accept()?.await };
        let connection = match timeout(defaults::BRIDGE_DIAL_TIMEOUT, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return self.refused(peer, cause_of(&error)),
            Err(_elapsed) => return self.refused(peer, Cause::Unreachable("its handshake took too long".to_owned())),
        };
        match self.datacenter_of(&connection) {
            Ok(dc) => self.converse(Arc::new(Guest::new(connection, dc)), shutdown).await,
            Err(why) => {
                connection.close(frame::REFUSED, why.as_bytes());
                self.refused(peer, Cause::TlsRefused(why));
            }
        }
    }

    fn datacenter_of(&self, connection: &Connection) -> Result<String, String> {
        let identity = connection.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let leaf = identity.as_ref().and_then(|chain| chain.first()).ok_or("it showed no certificate")?;
        self.endpoint.trust().datacenter_of(leaf).map_err(|refusal| refusal.to_string())
    }

    async fn converse(self: Arc<Server>, guest: Arc<Guest>, shutdown: Shutdown) {
        let _visit = self.inbound.enter(&guest.dc);
        let stop = shutdown.token();
        let mut requests = JoinSet::new();
        let (connection, dc) = (&guest.connection, &guest.dc);
        let pushing = Pushing::new(Arc::clone(&self.source), connection.clone(), dc.as_str().into(), stop.clone());
        let (mut admission, mut admitted) = (self.us.admission.clone(), true);
        // Its cluster is known only when it greets; until then each of its streams is judged.
        if admission.borrow_and_update().is_disabled(dc) {
            return self.turn_out(&guest, "disabled");
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                more = admission.changed(), if admitted => {
                    admitted = more.is_ok();
                    if let Some(reason) = self.us.refusal(dc, guest.cluster()) {
                        return self.turn_out(&guest, reason);
                    }
                }
                Some(_ended) = requests.join_next(), if !requests.is_empty() => {}
                opened = connection.accept_bi() => match opened {
                    Ok((send, recv)) => {
                        requests.spawn(Arc::clone(&self).stream(send, recv, Arc::clone(&guest), Arc::clone(&pushing)));
                    }
                    Err(error) => {
                        // Dropping the set drops every handler's future.
                        return debug!(dc = %dc, peer = %connection.remote_address(), %error, "bridge connection ended");
                    }
                }
            }
        }
        let ended = async { while requests.join_next().await.is_some() {} };
        if timeout(defaults::BRIDGE_DRAIN, ended).await.is_err() {
            debug!(dc = %dc, left = requests.len(), "requests were still at work at shutdown");
        }
        connection.close(frame::CANCELLED, b"shutting down");
    }

    /// Ends the connection of a guest whose datacenter is closed now.
    fn turn_out(&self, guest: &Guest, reason: &'static str) {
        guest.connection.close(frame::REFUSED, reason.as_bytes());
        self.refused(guest.connection.remote_address(), Cause::Refused(format!("{reason}: datacenter {:?}", guest.dc)));
    }

    async fn stream(self: Arc<Server>, send: SendStream, mut recv: RecvStream, guest: Arc<Guest>, pushing: Arc<Pushing>) {
        let dc = guest.dc.as_str();
        let mut outgoing = Outgoing::new(send);
        let first = async {
            let header = read_header(&mut recv).await?;
            if !header.kind.opens_a_stream() {
                return Err(FrameError::Stream(format!("expected a request, got a {:?}", header.kind)));
            }
            // Room comes before bytes: as many streams as may be open, each of the largest size, would fill any memory.
            let room = guest.arriving.acquire_many(kib(header.length() as usize)).await;
            let room = room.map_err(|error| FrameError::Stream(error.to_string()))?;
            let payload = read_payload(&mut recv, header, defaults::BRIDGE_REQUEST_TIMEOUT).await?;
            Ok::<_, FrameError>((header.kind, payload, room))
        };
        let outcome = match within(defaults::BRIDGE_REQUEST_TIMEOUT, first).await {
            Ok((Kind::Greeting, payload, _room)) => self.greet(&mut outgoing, &payload, &guest).await,
            Ok(_) if self.us.refusal(dc, guest.cluster()).is_some() => {
                // It has not greeted, or is on its way out.
                outgoing.refuse();
                Ok(())
            }
            // For as long as it is at work.
            Ok((Kind::Request, payload, _room)) => match frame::decode(&payload) {
                Ok(request) => self.answer(&mut outgoing, request, &guest).await,
                Err(FrameError::Decode(Unreadable::Excess(excess))) => too_much(&mut outgoing, excess).await,
                Err(error) => Err(error),
            },
            // Boxed, so that a request does not take the room of a feed, which counts its bytes itself.
            Ok((Kind::Open, payload, room)) => {
                drop(room);
                Box::pin(pusher::feed(&pushing, outgoing, recv, payload)).await
            }
            Ok((Kind::Heartbeat, _, room)) => {
                drop(room);
                Box::pin(pusher::heartbeat(&pushing, outgoing, recv)).await
            }
            Ok((other, ..)) => Err(FrameError::Stream(format!("expected a request, got a {other:?}"))),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            metrics::counter!("kontor.bridge.streams_refused").increment(1);
            debug!(dc = %dc, %error, "bridge stream ended early");
        }
    }

    async fn greet(&self, outgoing: &mut Outgoing, payload: &[u8], guest: &Guest) -> Result<(), FrameError> {
        let them: Greeting = frame::decode(payload)?;
        let dc = guest.dc.as_str();
        if them.datacenter != dc {
            warn!(proven = %dc, told = %them.datacenter, node = %them.node, "a server greets from another datacenter than it proved");
            outgoing.refuse();
            return Ok(());
        }
        *guest.cluster.lock().unwrap_or_else(PoisonError::into_inner) = them.cluster;
        if let Some(reason) = self.us.refusal(dc, them.cluster) {
            self.turn_out(guest, reason);
            return Ok(());
        }
        debug!(dc = %dc, node = %them.node, "greeted");
        outgoing.send(&Frame::of(Kind::Greeting, &self.us.greeting())?).await?;
        outgoing.finish()
    }

    /// Runs the handler and sends signs of its progress, then its answer. Ends at once when the asker is gone.
    async fn answer(&self, outgoing: &mut Outgoing, mut request: Request, guest: &Guest) -> Result<(), FrameError> {
        // This request is across, and must not cross again, whatever its hops claim.
        request.hops.crossed = true;
        let progress = Progress::default();
        let mut work = self.handler.handle(request, Some(&guest.dc), progress.clone());
        let mut given_up = std::pin::pin!(outgoing.given_up());
        let mut look = interval_at(Instant::now() + defaults::BRIDGE_PROGRESS_INTERVAL, defaults::BRIDGE_PROGRESS_INTERVAL);
        let mut reported = Phase::Working;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                () = &mut given_up => {
                    metrics::counter!("kontor.bridge.requests_given_up").increment(1);
                    return Ok(());
                }
                _ = look.tick() => {}
            }
            let phase = progress.get();
            if phase != reported || phase == Phase::Holding {
                reported = phase;
                outgoing.send(&Frame::bare(kind_of(phase))).await?;
            }
        };
        let (outcome, _room) = with_room(&guest.leaving, outcome);
        let reply = reply_frame(outcome)?;
        within(defaults::BRIDGE_REPLY_TIMEOUT, outgoing.send(&reply)).await?;
        outgoing.finish()
    }

    /// Logs why a peer was refused: once for each address and reason, and again when it lasts. A refusal other than of a bad
    /// certificate is normal for a moment.
    fn refused(&self, peer: SocketAddr, cause: Cause) {
        let is_news = cause.is_for_operators();
        // The operators' wish, for as long as it lasts.
        let is_wanted = matches!(cause, Cause::Refused(_));
        let (kind, why) = match cause {
            Cause::NotYetKnown => ("not-yet-known", "not-yet-known".to_owned()),
            Cause::TlsRefused(why) => ("tls", format!("tls-refused: {why}")),
            Cause::Refused(why) => ("closed", why),
            Cause::Unreachable(why) => ("handshake", why),
        };
        metrics::counter!("kontor.bridge.connections_refused", "kind" => kind).increment(1);
        let failure = self.refusals.failed((peer.ip(), why.clone()), Instant::now().into_std());
        if is_wanted && failure.is_first {
            info!(%peer, reason = %why, "bridge connection refused");
        } else if !is_wanted && (failure.is_due || (failure.is_first && is_news)) {
            warn!(%peer, reason = %why, "bridge connection refused");
        } else if failure.is_first {
            debug!(%peer, reason = %why, "bridge connection refused");
        }
    }
}

fn kind_of(phase: Phase) -> Kind {
    match phase {
        Phase::Working => Kind::Working,
        Phase::Parked => Kind::Parked,
        Phase::Holding => Kind::Holding,
    }
}

/// `outcome` with its room among the answers that wait for being taken, or the fault that there is none.
fn with_room(leaving: &Semaphore, outcome: Result<Reply, Fault>) -> (Result<Reply, Fault>, Option<SemaphorePermit<'_>>) {
    let Ok(Reply::Answer(answer)) = &outcome else { return (outcome, None) };
    match leaving.try_acquire_many(kib(answer.body.len().min(defaults::BRIDGE_MAX_REPLY_BYTES as usize))) {
        Ok(room) => (outcome, Some(room)),
        Err(_full) => {
            metrics::counter!("kontor.bridge.answers_not_sent").increment(1);
            let why = format!("answers of {} bytes wait on this link for being taken already", defaults::BRIDGE_LEAVING_BYTES);
            (Err(Fault::new(FaultKind::Busy, why)), None)
        }
    }
}

/// Answers a request that is more than one may be with a fault.
async fn too_much(outgoing: &mut Outgoing, excess: Excess) -> Result<(), FrameError> {
    metrics::counter!("kontor.bridge.requests_too_much").increment(1);
    outgoing.send(&Frame::fault(&Fault::bad_request(format!("The request is more than servers take: {excess}")))?).await?;
    outgoing.finish()
}

/// The last frame. An answer that may not be sent is replaced by a fault that says so.
fn reply_frame(outcome: Result<Reply, Fault>) -> Result<Frame, FrameError> {
    let limit = defaults::BRIDGE_MAX_REPLY_BYTES;
    let too_large = |came: usize| Fault::failed(format!("the answer has {came} bytes, and at most {limit} cross; use a filter"));
    let fault = match outcome {
        // Not even encoded: on a slow machine that alone outlasts the asker's patience.
        Ok(Reply::Answer(answer)) if answer.body.len() >= limit as usize => too_large(answer.body.len()),
        Ok(reply) => match Frame::of(Kind::Reply, &reply) {
            Err(FrameError::TooLarge { came, .. }) => too_large(came),
            frame => return frame,
        },
        Err(fault) => fault,
    };
    Frame::fault(&fault)
}
