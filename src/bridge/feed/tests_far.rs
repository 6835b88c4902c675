//! A far side that the tests drive by hand, within the rules or against them; and a side that follows.

use super::message::{Echo, Open, Ping, Push, Took};
use crate::bridge::answers::{Answers, Bounds, Followed};
use crate::bridge::endpoint::Endpoint;
use crate::bridge::frame::{self, Frame, Kind, Outgoing, read_header, read_payload};
use crate::bridge::link::Greeting;
pub(super) use crate::bridge::tests::{LONG, eventually, eventually_so};
use crate::bridge::tests::{Mute, raw_far_side, self_made, settings};
use crate::bridge::{Admission, Bridge, BridgeSettings, RemoteServer};
use crate::cache::{Follow, Held};
use crate::defaults;
use crate::model::answer::{Answer, AnswerMeta};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::operation::{HealthRead, Read};
use crate::model::query::testing::QueryOptions;
use crate::model::query::{Consistency, Identity};
use crate::model::request::Reply;
use crate::shutdown::Shutdown;
use bytes::Bytes;
use quinn::{Connection, RecvStream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// A far server.
pub(super) struct Far {
    pub(super) remote: RemoteServer,
    pub(super) feeds: mpsc::UnboundedReceiver<Fed>,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    name: String,
    /// The age in echoes; none for no view.
    pub(super) echoes: Mutex<Option<Duration>>,
    /// The last push of each feed, named in each echo.
    pub(super) pushed: Mutex<HashMap<u64, u64>>,
    /// The answer to requests that do not come by feeds, and how many came.
    pub(super) reply: Mutex<Result<Answer, Fault>>,
    pub(super) asked: AtomicUsize,
    /// Bytes in place of the first echo.
    pub(super) garbage: Mutex<Option<Vec<u8>>>,
    pub(super) connections: Mutex<Vec<Connection>>,
    pub(super) mute: AtomicBool,
}

/// A feed that was opened at the far server.
pub(super) struct Fed {
    pub(super) open: Open,
    pub(super) connection: Connection,
    pub(super) outgoing: Outgoing,
    pub(super) recv: RecvStream,
    pub(super) number: u64,
    pub(super) shared: Arc<Shared>,
}

impl Far {
    pub(super) async fn start(name: &str, pin_of_near: &str) -> Far {
        let (endpoint, remote) = raw_far_side(name, pin_of_near);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            echoes: Mutex::new(Some(Duration::ZERO)),
            pushed: Mutex::default(),
            reply: Mutex::new(Err(Fault::no_leader())),
            asked: AtomicUsize::new(0),
            garbage: Mutex::default(),
            connections: Mutex::default(),
            mute: AtomicBool::new(false),
        });
        let (sender, feeds) = mpsc::unbounded_channel();
        tokio::spawn(accept(endpoint, Arc::clone(&shared), sender));
        Far { remote, feeds, shared }
    }

    pub(super) async fn fed(&mut self) -> Fed {
        tokio::time::timeout(LONG, self.feeds.recv()).await.unwrap().unwrap()
    }

    /// Breaks all connections.
    pub(super) fn hang_up(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            connection.close(frame::CANCELLED, b"test");
        }
    }
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>, feeds: mpsc::UnboundedSender<Fed>) {
    while let Some(incoming) = endpoint.quic.accept().await {
        let Ok(connection) = incoming.await else { continue };
        shared.connections.lock().unwrap().push(connection.clone());
        let (shared, feeds) = (Arc::clone(&shared), feeds.clone());
        tokio::spawn(async move {
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(stream(connection.clone(), Outgoing::new(send), recv, Arc::clone(&shared), feeds.clone()));
            }
        });
    }
}

async fn stream(
    connection: Connection,
    mut outgoing: Outgoing,
    mut recv: RecvStream,
    shared: Arc<Shared>,
    feeds: mpsc::UnboundedSender<Fed>,
) {
    let Ok(header) = read_header(&mut recv).await else { return };
    let Ok(payload) = read_payload(&mut recv, header, LONG).await else { return };
    match header.kind {
        Kind::Greeting => {
            let us = Greeting { node: shared.name.clone(), datacenter: "dc2".to_owned(), clock: None, cluster: None };
            outgoing.send(&Frame::of(Kind::Greeting, &us).unwrap()).await.unwrap();
            outgoing.finish().unwrap();
        }
        Kind::Heartbeat => exchange_heartbeats(outgoing, recv, shared).await,
        Kind::Request => {
            shared.asked.fetch_add(1, Ordering::SeqCst);
            // Long enough for all that ask at the same time to come together.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let reply = shared.reply.lock().unwrap().clone();
            let frame = match reply {
                Ok(answer) => Frame::of(Kind::Reply, &Reply::Answer(answer)),
                Err(fault) => Frame::of(Kind::Fault, &fault),
            };
            let _ = outgoing.send(&frame.unwrap()).await;
            let _ = outgoing.finish();
        }
        Kind::Open => {
            let open = frame::decode(&payload).unwrap();
            let _ = feeds.send(Fed { open, connection, outgoing, recv, number: 0, shared });
        }
        other => panic!("a {other:?} opened a stream"),
    }
}

async fn exchange_heartbeats(mut outgoing: Outgoing, mut recv: RecvStream, shared: Arc<Shared>) {
    while let Ok(header) = read_header(&mut recv).await {
        let Ok(payload) = read_payload(&mut recv, header, LONG).await else { return };
        let ping: Ping = frame::decode(&payload).unwrap();
        if shared.mute.load(Ordering::SeqCst) {
            continue;
        }
        let garbage = shared.garbage.lock().unwrap().take();
        if let Some(garbage) = garbage {
            outgoing.send(&Frame::new(Kind::Echo, garbage.into()).unwrap()).await.unwrap();
            continue;
        }
        let age = *shared.echoes.lock().unwrap();
        let pushed = shared.pushed.lock().unwrap().iter().map(|(feed, number)| (*feed, *number)).collect();
        let echo = Echo { number: ping.number, age, pushed, behind: Vec::new() };
        if outgoing.send(&Frame::of(Kind::Echo, &echo).unwrap()).await.is_err() {
            return;
        }
    }
}

pub(super) fn meta(cluster: ClusterId, index: u64) -> AnswerMeta {
    AnswerMeta { index, indexed: true, cluster, consistency: Consistency::Stale, ..AnswerMeta::default() }
}

pub(super) fn answer(index: u64, body: &str) -> Answer {
    Answer { meta: meta(CLUSTER, index), body: Bytes::copy_from_slice(body.as_bytes()) }
}

impl Fed {
    /// Sends a push, and waits until it is taken.
    pub(super) async fn push(&mut self, index: u64, body: Option<&str>) {
        self.push_of(CLUSTER, index, body).await;
        assert_eq!(self.took().await, Some(self.number));
    }

    pub(super) async fn push_of(&mut self, cluster: ClusterId, index: u64, body: Option<&str>) {
        self.number += 1;
        self.shared.pushed.lock().unwrap().insert(self.open.feed, self.number);
        let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
        let push = Push { number: self.number, meta: meta(cluster, index), body };
        self.send(&Frame::of(Kind::Push, &push).unwrap()).await;
    }

    pub(super) async fn send(&mut self, frame: &Frame) {
        // The other side may have gone by now.
        let _ = self.outgoing.send(frame).await;
    }

    /// The number of the push that was taken; none when the stream is over.
    pub(super) async fn took(&mut self) -> Option<u64> {
        let read = async {
            let header = read_header(&mut self.recv).await.ok()?;
            assert_eq!(header.kind, Kind::Took);
            let payload = read_payload(&mut self.recv, header, LONG).await.ok()?;
            Some(frame::decode::<Took>(&payload).unwrap().number)
        };
        tokio::time::timeout(LONG, read).await.unwrap()
    }

    pub(super) async fn is_over(&mut self) {
        assert_eq!(self.took().await, None);
    }

    /// Waits until the link is closed by the other side, and gives the reason.
    pub(super) async fn link_is_closed(&self) -> String {
        match tokio::time::timeout(LONG, self.connection.closed()).await.unwrap() {
            quinn::ConnectionError::ApplicationClosed(close) => {
                assert_eq!(close.error_code, frame::MISBEHAVED);
                String::from_utf8(close.reason.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The side that follows.
pub(super) struct Near {
    pub(super) bridge: Bridge,
    pub(super) pin: String,
    pub(super) servers: watch::Sender<Arc<Vec<RemoteServer>>>,
    pub(super) admission: watch::Sender<Arc<Admission>>,
    pub(super) answers: Arc<Answers>,
    _shutdown: Shutdown,
}

impl Near {
    pub(super) async fn start(bytes: u64, bounds: Bounds) -> Near {
        let (servers, list) = watch::channel(Arc::default());
        let admission = watch::Sender::new(Arc::default());
        let identity = self_made("dc1");
        let pin = identity.fingerprint().unwrap();
        let settings = BridgeSettings { cache_bytes: bytes, admission: admission.subscribe(), ..settings("s1", "dc1", identity) };
        let shutdown = Shutdown::new();
        let bridge = Bridge::start(settings, list, Arc::new(Mute), Arc::new(Mute), &shutdown).await.unwrap();
        let answers = Arc::new(Answers::new(Arc::clone(&bridge.links), bytes, bounds, shutdown.child()));
        shutdown.spawn_until("answers", Arc::clone(&answers).forget_closed());
        Near { bridge, pin, servers, admission, answers, _shutdown: shutdown }
    }

    pub(super) async fn with<const N: usize>(names: [&str; N], bounds: Bounds) -> (Near, [Far; N]) {
        let near = Near::start(defaults::BRIDGE_CACHE_BYTES, bounds).await;
        let mut fars = Vec::new();
        for name in names {
            fars.push(Far::start(name, &near.pin).await);
        }
        near.knows(fars.iter());
        let links = || near.bridge.links.of("dc2").map_or(0, |datacenter| datacenter.ways().len());
        eventually("links", || links() >= N.min(2)).await;
        let Ok(fars) = fars.try_into() else { unreachable!() };
        (near, fars)
    }

    pub(super) fn knows<'a>(&self, fars: impl Iterator<Item = &'a Far>) {
        self.servers.send_replace(Arc::new(fars.map(|far| far.remote.clone()).collect()));
    }

    /// A read of `name` in the background, and the feed that it opens.
    pub(super) async fn asked(&self, far: &mut Far, name: &str) -> (Followed, JoinHandle<Result<Held, Fault>>, Fed) {
        let followed = self.follow(name);
        let waiting = first(&followed);
        (followed, waiting, far.fed().await)
    }

    pub(super) fn follow(&self, name: &str) -> Followed {
        self.answers.follow("dc2", &query(name))
    }
}

pub(super) fn query(node: &str) -> Arc<Identity> {
    let options = QueryOptions { dc: Some("dc2".to_owned()), ..QueryOptions::default() };
    options.ask(Read::Health(HealthRead::Node { node: node.to_owned() })).identity
}

pub(super) fn body(held: &Held) -> String {
    String::from_utf8(held.answer.body.to_vec()).unwrap()
}

/// Asks for the first answer in the background.
pub(super) fn first(followed: &Followed) -> JoinHandle<Result<Held, Fault>> {
    let followed = followed.clone();
    tokio::spawn(async move { followed.first().await })
}

/// Waits until the answer held is as `wanted`.
pub(super) async fn until(followed: &Followed, wanted: impl Fn(&Held) -> bool) -> Held {
    let mut found = None;
    eventually("another answer is held", || {
        found = followed.held().filter(|held| wanted(held));
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// The feed at the server that is asked first, and both servers, that one before the other.
pub(super) async fn fed_first<'a>(one: &'a mut Far, two: &'a mut Far) -> (Fed, &'a mut Far, &'a mut Far) {
    tokio::select! {
        fed = one.fed() => (fed, one, two),
        fed = two.fed() => (fed, two, one),
    }
}

/// A feed with its first answer, "a" at index 10, from the only server.
pub(super) async fn standing() -> (Near, Far, Followed, Fed) {
    standing_under(Bounds::default()).await
}

pub(super) async fn standing_under(bounds: Bounds) -> (Near, Far, Followed, Fed) {
    let (near, [mut far]) = Near::with(["s2"], bounds).await;
    assert!(near.follow("n").held().is_none());
    let (followed, waiting, mut fed) = near.asked(&mut far, "n").await;
    assert_eq!((fed.open.known, &fed.open.query), (None, &query("n")));
    fed.push(10, Some("a")).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), "a");
    (near, far, followed, fed)
}
