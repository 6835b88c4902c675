//! Several bridges together, on real sockets.

use super::endpoint::Endpoint;
use super::frame::{CANCELLED, Frame, Kind};
use super::{Admission, Bridge, BridgeSettings, Datacenters, RemoteServer};
use crate::defaults;
use crate::model::answer::Answer;
use crate::model::command::{Deregister, Effect, Written};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::operation::{CatalogWrite, FederationRead, HealthRead, Read, Write};
use crate::model::principal::Principal;
use crate::model::query::testing::QueryOptions;
use crate::model::query::{Identity, Query};
use crate::model::removals::Removals;
use crate::model::request::{
    BoxFuture, Handler, Hops, Interest, Operation, Phase, Progress, Reply, Request, Source, WriteRequest,
};
use crate::shutdown::Shutdown;
use crate::tls::testing::{load, server_cert};
use crate::tls::{BridgeIdentity, TlsMaterial, create_ca};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

mod absence;
mod bounds;
mod calls;
mod first_read;
mod seeing;
mod trust;

pub(super) const LONG: Duration = Duration::from_secs(60);

/// A handler that answers by the name asked for, and tells its calls.
struct Scripted {
    name: String,
    events: mpsc::UnboundedSender<String>,
    bridge: Arc<OnceLock<Bridge>>,
}

struct DropTells(mpsc::UnboundedSender<String>);

impl Drop for DropTells {
    fn drop(&mut self) {
        let _ = self.0.send("dropped".to_owned());
    }
}

impl Handler for Scripted {
    fn handle(&self, request: Request, from_dc: Option<&str>, progress: Progress) -> BoxFuture<Result<Reply, Fault>> {
        let (name, events, from_dc) = (self.name.clone(), self.events.clone(), from_dc.map(str::to_owned));
        let bridge = self.bridge.get().cloned();
        Box::pin(async move {
            assert!(request.hops.crossed);
            let answer = |body: Bytes| Ok(Reply::Answer(Answer { body, ..Answer::default() }));
            let state = match request.operation {
                Operation::Read(query) => match &query.identity.read {
                    Read::Health(HealthRead::State { state }) => state.clone(),
                    Read::Federation(FederationRead::DialBack { dc }) => {
                        progress.set(Phase::Parked);
                        return answer(bridge.unwrap().dial_back(dc).await?);
                    }
                    other => return Err(Fault::failed(format!("{other:?}"))),
                },
                Operation::Write(WriteRequest { dc, .. }) => dc.unwrap_or_default(),
            };
            let _tells = DropTells(events.clone());
            let _ = events.send(format!("{name} {state}"));
            let is_meant = |how: &str| state.strip_prefix(how).is_some_and(|whom| whom == name);
            match state.as_str() {
                "hang" => std::future::pending().await,
                _ if is_meant("hangs-on-") => std::future::pending().await,
                _ if is_meant("held-by-") => {
                    progress.set(Phase::Holding);
                    tokio::time::sleep(defaults::RPC_HOLD).await;
                    return Err(Fault::no_leader());
                }
                "hold" => {
                    progress.set(Phase::Holding);
                    tokio::time::sleep(Duration::from_secs(4)).await;
                }
                "park" => {
                    progress.set(Phase::Parked);
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    progress.set(Phase::Working);
                }
                "fault" => return Err(Fault::no_leader()),
                "huge" => return answer(vec![b'x'; defaults::BRIDGE_MAX_REPLY_BYTES as usize].into()),
                "large" => return answer(vec![b'x'; 20 << 20].into()),
                "write" => return Ok(Reply::Written(Written { index: 7, effect: Effect::Set(true) })),
                _ => {}
            }
            answer(format!("{state} of {} at {name}", from_dc.unwrap_or_default()).into())
        })
    }
}

/// A side that answers nothing and feeds nothing.
pub(super) struct Mute;

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

/// The settings of a server on a free port of this host.
pub(super) fn settings(node: &str, dc: &str, identity: BridgeIdentity) -> BridgeSettings {
    BridgeSettings {
        node_name: node.to_owned(),
        datacenter: dc.to_owned(),
        domain: "consul".to_owned(),
        bind: any_port(),
        identity,
        require_ca: false,
        cache_bytes: defaults::BRIDGE_CACHE_BYTES,
        cluster: watch::channel(None).1,
        admission: watch::channel(Arc::default()).1,
    }
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) fn self_made(dc: &str) -> BridgeIdentity {
    BridgeIdentity::self_made(None, dc, "consul").unwrap()
}

/// A server as others know it by gossip.
pub(super) fn server(name: &str, dc: &str, addr: SocketAddr, pins: impl IntoIterator<Item = String>) -> RemoteServer {
    let (name, dc, pins) = (name.to_owned(), dc.to_owned(), pins.into_iter().collect());
    RemoteServer { name, dc, addr, pins, cluster: None, alive: true, estimate: None }
}

/// Waits until it `holds`.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_so(what, async || holds()).await;
}

/// The same, where it takes time to know.
pub(super) async fn eventually_so(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn read(state: &str) -> Request {
    let query = Query::new(Read::Health(HealthRead::State { state: state.to_owned() }), Principal::anonymous());
    Request { operation: Operation::Read(query), hops: Hops { crossed: true, ..Hops::default() } }
}

fn blocking(state: &str) -> Request {
    let options = QueryOptions { min_index: 5, ..QueryOptions::default() };
    Request {
        operation: Operation::Read(options.ask(Read::Health(HealthRead::State { state: state.to_owned() }))),
        hops: Hops::default(),
    }
}

fn write(what: &str) -> Request {
    let write = Write::Catalog(CatalogWrite::Deregister(Deregister::default()));
    let request = WriteRequest { dc: Some(what.to_owned()), principal: Principal::anonymous(), write };
    Request { operation: Operation::Write(request), hops: Hops { crossed: true, ..Hops::default() } }
}

/// A bridge with the handles that a test needs.
struct House {
    name: String,
    dc: String,
    pin: Option<String>,
    bridge: Bridge,
    servers: watch::Sender<Arc<Vec<RemoteServer>>>,
    cluster: watch::Sender<Option<ClusterId>>,
    admission: watch::Sender<Arc<Admission>>,
    events: mpsc::UnboundedReceiver<String>,
}

impl House {
    async fn open(name: &str, dc: &str, identity: BridgeIdentity) -> House {
        House::open_at(name, dc, identity, any_port()).await
    }

    async fn open_at(name: &str, dc: &str, identity: BridgeIdentity, bind: SocketAddr) -> House {
        let (servers, list) = watch::channel(Arc::default());
        let (sender, events) = mpsc::unbounded_channel();
        let own = Arc::new(OnceLock::new());
        let handler = Arc::new(Scripted { name: name.to_owned(), events: sender, bridge: Arc::clone(&own) });
        let pin = identity.fingerprint();
        let (cluster, admission) = (watch::Sender::new(None), watch::Sender::new(Arc::default()));
        let (known, admitted) = (cluster.subscribe(), admission.subscribe());
        let settings = BridgeSettings { bind, cluster: known, admission: admitted, ..settings(name, dc, identity) };
        let bridge = Bridge::start(settings, list, handler, Arc::new(Mute), &Shutdown::new()).await.unwrap();
        own.set(bridge.clone()).unwrap();
        House { name: name.to_owned(), dc: dc.to_owned(), pin, bridge, servers, cluster, admission, events }
    }

    async fn self_made(name: &str, dc: &str) -> House {
        House::open(name, dc, self_made(dc)).await
    }

    fn remote(&self) -> RemoteServer {
        server(&self.name, &self.dc, self.bridge.local_addr(), self.pin.clone())
    }

    fn knows(&self, servers: impl IntoIterator<Item = RemoteServer>) {
        self.servers.send_replace(Arc::new(servers.into_iter().collect()));
    }

    async fn ask(&self, dc: &str, request: Request) -> Result<String, Fault> {
        match self.bridge.call(dc, &request, LONG).await? {
            Reply::Answer(answer) => Ok(String::from_utf8(answer.body.to_vec()).unwrap()),
            Reply::Written(written) => Ok(format!("written {} {:?}", written.index, written.effect)),
        }
    }

    /// A stale read of dc2 for which no answer is held.
    async fn first(&self, what: &str) -> Result<String, Fault> {
        let Operation::Read(query) = read(what).operation else { unreachable!("a read is asked") };
        let held = self.bridge.follow("dc2", &query.identity).first().await?;
        Ok(String::from_utf8(held.answer.body.to_vec()).unwrap())
    }

    /// Waits until `dc` answers, or until its links say `reason`.
    async fn until(&self, dc: &str, reason: Option<&str>) {
        let deadline = Instant::now() + LONG;
        loop {
            let outcome = self.ask(dc, read("ping")).await;
            let is_it = match (&outcome, reason) {
                (Ok(_), None) => true,
                (Err(fault), Some(reason)) => fault.reason.as_ref().is_some_and(|came| came.contains(reason)),
                _ => false,
            };
            if is_it {
                return;
            }
            assert!(Instant::now() < deadline, "expected {reason:?}, got {outcome:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn event(&mut self) -> String {
        tokio::time::timeout(LONG, self.events.recv()).await.unwrap().unwrap()
    }

    /// The next event that is not of the pings that waited for the link.
    async fn event_past_pings(&mut self) -> String {
        loop {
            let event = self.event().await;
            if event.ends_with(" ping") {
                assert_eq!(self.event().await, "dropped");
            } else {
                return event;
            }
        }
    }
}

/// A server of dc1 and one of dc2 that know each other and no link yet.
async fn acquainted() -> (House, House) {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    one.knows([two.remote()]);
    two.knows([one.remote()]);
    (one, two)
}

async fn pair() -> (House, House) {
    let (one, two) = acquainted().await;
    one.until("dc2", None).await;
    (one, two)
}

/// A server s2 of dc2 that is no [`House`].
fn stranger(addr: SocketAddr, pins: BTreeSet<String>) -> RemoteServer {
    server("s2", "dc2", addr, pins)
}

/// A socket of the server `name` of dc2 that a server of dc1 with `pin` would link to, for a test to answer on.
pub(super) fn raw_far_side(name: &str, pin: &str) -> (Endpoint, RemoteServer) {
    let theirs = self_made("dc2");
    let own_pin = theirs.fingerprint();
    let trust = Arc::new(theirs.trust("dc2", "consul", false));
    trust.set_pins([("dc1".to_owned(), [pin.to_owned()].into())].into());
    let endpoint = Endpoint::bind(any_port(), theirs, trust, "consul").unwrap();
    let remote = server(name, "dc2", endpoint.quic.local_addr().unwrap(), own_pin);
    (endpoint, remote)
}

fn greeting_of(dc: &str) -> Frame {
    let us = super::link::Greeting { node: "s2".to_owned(), datacenter: dc.to_owned(), clock: None, cluster: None };
    Frame::of(Kind::Greeting, &us).unwrap()
}

async fn reply(send: quinn::SendStream, frame: Frame) {
    let mut outgoing = super::frame::Outgoing::new(send);
    outgoing.send(&frame).await.unwrap();
    outgoing.finish().unwrap();
}

fn identity(ca: &(String, String), dc: &str) -> BridgeIdentity {
    BridgeIdentity::unchecked(&material(ca, ca, dc)).unwrap()
}

/// A certificate of `dc` signed by `signer`, with trust in `trusted`.
fn material(signer: &(String, String), trusted: &(String, String), dc: &str) -> TlsMaterial {
    let (cert, key) = server_cert(signer, dc, 1);
    load(&trusted.0, &cert, &key)
}
