//! A far side that the tests drive by hand: it keeps the rules, or breaks them; and a side that follows.

use super::message::{Echo, Open, Ping, Push, Took};
use crate::bridge::Held;
use crate::bridge::cache::{Answers, Bounds, Followed};
use crate::bridge::endpoint::Endpoint;
use crate::bridge::frame::{self, Frame, Kind, Outgoing, read_header, read_payload};
use crate::bridge::link::Greeting;
use crate::bridge::{Admission, Bridge, BridgeSettings, RemoteServer};
use crate::defaults;
use crate::model::answer::{Answer, AnswerMeta};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::operation::{HealthRead, Read};
use crate::model::query::testing::QueryOptions;
use crate::model::query::{Consistency, Identity};
use crate::model::request::{BoxFuture, Handler, Interest, Progress, Reply, Request, Source};
use crate::shutdown::Shutdown;
use crate::tls::BridgeIdentity;
use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// The side that follows answers nothing.
struct Mute;

impl Handler for Mute {
    fn handle(&self, _: Request, _: Option<&str>, _: Progress) -> BoxFuture<Result<Reply, Fault>> {
        Box::pin(async { Err(Fault::no_leader()) })
    }
}

impl Source for Mute {
    fn age(&self) -> Option<Duration> {
        None
    }

    fn watch(&self, _: &Identity) -> Option<Box<dyn Interest>> {
        None
    }

    fn read(&self, _: &Identity) -> Result<Answer, Fault> {
        Err(Fault::no_leader())
    }
}

/// A far server.
pub(super) struct Far {
    pub(super) remote: RemoteServer,
    pub(super) feeds: mpsc::UnboundedReceiver<Fed>,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// Whether pings are answered, and with which age.
    pub(super) echoes: Mutex<Option<Duration>>,
    /// The last push of each feed, told in each echo.
    pub(super) pushed: Mutex<HashMap<u64, u64>>,
    /// The answer to requests that do not come by feeds, and how many came.
    pub(super) reply: Mutex<Result<Answer, Fault>>,
    pub(super) asked: AtomicUsize,
    /// What is sent instead of the first echo.
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
        let identity = BridgeIdentity::self_made(None, "dc2", "consul").unwrap();
        let pin = identity.fingerprint();
        let trust = Arc::new(identity.trust("dc2", "consul", false));
        trust.set_pins([("dc1".to_owned(), [pin_of_near.to_owned()].into_iter().collect())].into());
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), identity, trust, "consul").unwrap();
        let addr: SocketAddr = endpoint.quic.local_addr().unwrap();
        let shared = Arc::new(Shared {
            echoes: Mutex::new(Some(Duration::ZERO)),
            pushed: Mutex::default(),
            reply: Mutex::new(Err(Fault::no_leader())),
            asked: AtomicUsize::new(0),
            garbage: Mutex::default(),
            connections: Mutex::default(),
            mute: AtomicBool::new(false),
        });
        let (sender, feeds) = mpsc::unbounded_channel();
        tokio::spawn(accept(endpoint, name.to_owned(), Arc::clone(&shared), sender));
        let (name, dc) = (name.to_owned(), "dc2".to_owned());
        let pins = pin.into_iter().collect();
        Far { remote: RemoteServer { name, dc, addr, pins, cluster: None, alive: true, estimate: None }, feeds, shared }
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

async fn accept(endpoint: Endpoint, name: String, shared: Arc<Shared>, feeds: mpsc::UnboundedSender<Fed>) {
    while let Some(incoming) = endpoint.quic.accept().await {
        let Ok(connection) = incoming.await else { continue };
        shared.connections.lock().unwrap().push(connection.clone());
        let (name, shared, feeds) = (name.clone(), Arc::clone(&shared), feeds.clone());
        tokio::spawn(async move {
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(stream(connection.clone(), name.clone(), send, recv, Arc::clone(&shared), feeds.clone()));
            }
        });
    }
}

async fn stream(
    connection: Connection,
    name: String,
    send: SendStream,
    mut recv: RecvStream,
    shared: Arc<Shared>,
    feeds: mpsc::UnboundedSender<Fed>,
) {
    let mut outgoing = Outgoing::new(send);
    let Ok(header) = read_header(&mut recv).await else { return };
    let Ok(payload) = read_payload(&mut recv, header, LONG).await else { return };
    match header.kind {
        Kind::Greeting => {
            let us = Greeting { node: name, datacenter: "dc2".to_owned(), clock: None, cluster: None };
            outgoing.send(&Frame::of(Kind::Greeting, &us).unwrap()).await.unwrap();
            outgoing.finish().unwrap();
        }
        Kind::Heartbeat => exchange_heartbeats(outgoing, recv, shared).await,
        Kind::Request => {
            shared.asked.fetch_add(1, Ordering::SeqCst);
            // Long enough for all who ask at the same time to come together.
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
        // The other side may have gone by now, which is what some tests are about.
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

    /// Waits until the link is closed by the other side, and tells why.
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
        let identity = BridgeIdentity::self_made(None, "dc1", "consul").unwrap();
        let pin = identity.fingerprint().unwrap();
        let settings = BridgeSettings {
            node_name: "s1".to_owned(),
            datacenter: "dc1".to_owned(),
            domain: "consul".to_owned(),
            bind: "127.0.0.1:0".parse().unwrap(),
            identity,
            require_ca: false,
            cache_bytes: bytes,
            cluster: watch::channel(None).1,
            admission: admission.subscribe(),
        };
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
        let deadline = Instant::now() + LONG;
        while near.bridge.links.of("dc2").map_or(0, |datacenter| datacenter.ways().len()) < N.min(2) {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let Ok(fars) = fars.try_into() else { unreachable!() };
        (near, fars)
    }

    pub(super) fn knows<'a>(&self, fars: impl Iterator<Item = &'a Far>) {
        self.servers.send_replace(Arc::new(fars.map(|far| far.remote.clone()).collect()));
    }

    pub(super) fn follow(&self, name: &str) -> Followed {
        Followed::new(&self.answers, "dc2", &query(name))
    }
}

pub(super) fn query(node: &str) -> Arc<Identity> {
    let options = QueryOptions { dc: Some("dc2".to_owned()), ..QueryOptions::default() };
    options.ask(Read::Health(HealthRead::Node { node: node.to_owned() })).identity
}

pub(super) fn body(held: &Held) -> String {
    String::from_utf8(held.answer.body.to_vec()).unwrap()
}
