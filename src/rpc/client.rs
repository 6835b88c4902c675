//! The client: one connection per server and lane. It never sends a message twice; [`CallError`] shows if that is safe.

use super::message::receive;
use super::slot::Slot;
use super::{CallError, Lane, RAFT_PATH, REQUEST_PATH};
use crate::defaults;
use crate::model::fault::Fault;
use crate::model::packed;
use crate::model::request::{Reply, Request};
use crate::tls::RpcTls;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::CONTENT_LENGTH;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Slots = HashMap<(SocketAddr, Lane), Arc<Slot>>;

/// Keeps one connection per server and lane; clones share them.
#[derive(Clone, Debug)]
pub struct RpcClient {
    tls: Option<RpcTls>,
    /// The source of connections; `None` where the system chooses.
    source: Option<IpAddr>,
    slots: Arc<Mutex<Slots>>,
}

impl RpcClient {
    /// A client that connects when first asked.
    pub fn new(tls: Option<RpcTls>) -> RpcClient {
        RpcClient { tls, source: None, slots: Arc::default() }
    }

    /// The same with connections from the advertised address of the agent, by which the servers know it.
    pub fn leaving_from(self, source: IpAddr) -> RpcClient {
        RpcClient { source: Some(source).filter(|ip| !ip.is_unspecified()), ..self }
    }

    /// Sends `request` to `server`. A server that hangs is noticed within 1 s, by a parked watch within 2 s,
    /// and all calls of that connection fail.
    pub async fn call(&self, server: SocketAddr, request: &Request, timeout: Duration) -> Result<Reply, CallError> {
        let body = encoded(request).map_err(CallError::Refused)?;
        let lane = if request.wait().is_some() { Lane::Watches } else { Lane::Requests };
        let reply = self.send(server, lane, body, timeout).await?;
        let reply: Result<Reply, Fault> =
            packed::decode(&reply).map_err(|error| CallError::Lost(format!("{server}: its reply cannot be read: {error}")))?;
        reply.map_err(CallError::Fault)
    }

    /// True if there is a connection to `server` that has not missed its ping.
    pub fn is_alive(&self, server: SocketAddr) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        [Lane::Requests, Lane::Watches, Lane::Raft, Lane::Snapshots]
            .into_iter()
            .any(|lane| slots.get(&(server, lane)).is_some_and(|slot| slot.is_up()))
    }

    /// Sends the bytes of one message, such as Raft's, and returns those of its answer.
    pub async fn send(&self, server: SocketAddr, lane: Lane, body: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        let handed_over = AtomicBool::new(false);
        match tokio::time::timeout(timeout, self.exchange(server, lane, body, &handed_over)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) if handed_over.into_inner() => Err(CallError::Lost(format!("{server}: no answer within {timeout:?}"))),
            Err(_elapsed) => Err(CallError::NotSent(format!("{server}: no connection within {timeout:?}"))),
        }
    }

    async fn exchange(&self, server: SocketAddr, lane: Lane, body: Bytes, handed_over: &AtomicBool) -> Result<Bytes, CallError> {
        let (path, request_limit, reply_limit) = match lane {
            Lane::Requests | Lane::Watches => (REQUEST_PATH, defaults::RPC_MAX_REQUEST_BYTES, defaults::RPC_MAX_REPLY_BYTES),
            Lane::Raft | Lane::Snapshots => (RAFT_PATH, defaults::RPC_MAX_RAFT_BYTES, defaults::RPC_MAX_RAFT_BYTES),
        };
        if body.len() > request_limit {
            return Err(CallError::NotSent(format!("{} bytes, and a message has at most {request_limit}", body.len())));
        }
        let link = self.slot(server, lane).link().await.map_err(|error| CallError::NotSent(error.to_string()))?;
        let Some(call) = link.call() else {
            metrics::counter!("kontor.rpc.calls_refused").increment(1);
            return Err(CallError::NotSent(format!("{server}: {} calls are under way", defaults::RPC_MAX_STREAMS)));
        };
        let head = hyper::Request::post(format!("http://kontor{path}"))
            .header(CONTENT_LENGTH, body.len())
            .body(())
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let response = call.send(head, body).await.map_err(|error| CallError::NotSent(format!("{server}: {error}")))?;
        handed_over.store(true, Ordering::Relaxed);
        let (head, incoming) = call.answer(response).await.map_err(|error| broken(server, &error))?;
        let status = head.status;
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let body = receive(incoming, reply_limit, announced.unwrap_or(0)).await;
        match (status, body) {
            (StatusCode::OK, Ok(body)) => Ok(body),
            (StatusCode::OK, Err(error)) => Err(CallError::Lost(format!("{server}: {error}"))),
            // Every other status is given before a message is handed on.
            (status, body) => {
                let text = body.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
                let of_the_message = matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE);
                Err(match lane {
                    Lane::Requests | Lane::Watches if of_the_message => {
                        CallError::Refused(Fault::bad_request(format!("{server}: {text}")))
                    }
                    _ => CallError::NotSent(format!("{server}: refused with {status}: {text}")),
                })
            }
        }
    }

    fn slot(&self, server: SocketAddr, lane: Lane) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&(server, lane)) {
            return Arc::clone(slot);
        }
        if slots.len() >= defaults::RPC_MAX_SLOTS {
            slots.retain(|_, slot| !slot.is_forgettable());
        }
        let slot = Arc::new(Slot::new(server, lane, self.tls.clone(), self.source));
        slots.insert((server, lane), Arc::clone(&slot));
        slot
    }
}

/// The bytes of a request, within the bounds that servers accept.
fn encoded(request: &Request) -> Result<Bytes, Fault> {
    let body = packed::encode(request).map_err(|error| Fault::failed(format!("the request cannot be encoded: {error}")))?;
    let limit = defaults::RPC_MAX_REQUEST_BYTES;
    if body.len() > limit {
        let text = format!("The request has {} bytes, and servers take at most {limit}; send it in parts", body.len());
        return Err(Fault::bad_request(text));
    }
    packed::check(&body, packed::MESSAGE)
        .map_err(|excess| Fault::bad_request(format!("The request is more than servers take: {excess}")))?;
    Ok(body.into())
}

/// The error of a broken call, which was not processed if the server refused its stream or left without seeing it.
fn broken(server: SocketAddr, error: &h2::Error) -> CallError {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    let is_unseen = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
    let text = format!("{server}: {error}");
    if error.is_remote() && (is_refused || is_unseen) {
        return CallError::NotSent(text);
    }
    metrics::counter!("kontor.rpc.calls_lost").increment(1);
    CallError::Lost(text)
}
