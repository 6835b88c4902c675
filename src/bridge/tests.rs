//! Two and more bridges together, on real sockets.

use super::frame::{CANCELLED, Frame, Kind};
use super::{Admission, Bridge, BridgeSettings, RemoteServer};
use crate::config::defaults;
use crate::model::answer::Answer;
use crate::model::command::{Command, Deregister};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::query::{Query, QueryOptions, Read};
use crate::model::removals::Removals;
use crate::model::request::{
    Ask, BoxFuture, Handler, Hops, Interest, Phase, Progress, Reply, Request, Source, Write, WriteRequest, Written,
};
use crate::shutdown::Shutdown;
use crate::tls::{BridgeIdentity, CertKind, CertRequest, TlsFiles, TlsMaterial, create_ca, create_cert};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

mod first_read;
mod seeing;

const LONG: Duration = Duration::from_secs(60);

/// Answers by what is asked for, and tells what happens to it.
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
            let state = match request.ask {
                Ask::Read(Query { read: Read::HealthState { state }, .. }) => state,
                Ask::Read(Query { read: Read::DialBack { dc }, .. }) => {
                    progress.set(Phase::Parked);
                    let body = bridge.unwrap().dial_back(&dc).await?;
                    return Ok(Reply::Answer(Answer { body, ..Answer::default() }));
                }
                Ask::Write(WriteRequest { dc, .. }) => dc.unwrap_or_default(),
                other => return Err(Fault::failed(format!("{other:?}"))),
            };
            let _tells = DropTells(events.clone());
            let _ = events.send(format!("{name} {state}"));
            let hangs = state.strip_prefix("hangs-on-").is_some_and(|whom| whom == name);
            match state.as_str() {
                "hang" => std::future::pending().await,
                _ if state.strip_prefix("held-by-").is_some_and(|whom| whom == name) => {
                    progress.set(Phase::Holding);
                    tokio::time::sleep(defaults::RPC_HOLD).await;
                    return Err(Fault::no_leader());
                }
                _ if hangs => std::future::pending().await,
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
                "huge" => {
                    let body = Bytes::from(vec![b'x'; defaults::BRIDGE_MAX_REPLY_BYTES as usize]);
                    return Ok(Reply::Answer(Answer { body, ..Answer::default() }));
                }
                "large" => {
                    let body = Bytes::from(vec![b'x'; 20 << 20]);
                    return Ok(Reply::Answer(Answer { body, ..Answer::default() }));
                }
                "write" => return Ok(Reply::Written(Written { index: 7 })),
                _ => {}
            }
            let body = Bytes::from(format!("{state} of {} at {name}", from_dc.unwrap_or_default()));
            Ok(Reply::Answer(Answer { body, ..Answer::default() }))
        })
    }
}

/// Nothing of it is fed.
impl Source for Scripted {
    fn age(&self) -> Option<Duration> {
        None
    }

    fn watch(&self, _: &Query) -> Option<Box<dyn Interest>> {
        None
    }

    fn read(&self, _: &Query) -> Result<Answer, Fault> {
        Err(Fault::no_leader())
    }
}

fn read(state: &str) -> Request {
    let query = Query { read: Read::HealthState { state: state.to_owned() }, options: QueryOptions::default() };
    Request { ask: Ask::Read(query), hops: Hops { crossed: true, ..Hops::default() } }
}

fn blocking(state: &str) -> Request {
    let options = QueryOptions { min_index: 5, ..QueryOptions::default() };
    Request { ask: Ask::Read(Query { read: Read::HealthState { state: state.to_owned() }, options }), hops: Hops::default() }
}

fn write(what: &str) -> Request {
    let write = Write::Apply(Command::Deregister(Deregister::default()));
    let request = WriteRequest { dc: Some(what.to_owned()), token: Default::default(), write };
    Request { ask: Ask::Write(request), hops: Hops { crossed: true, ..Hops::default() } }
}

/// A bridge with what a test needs of it.
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
        House::open_at(name, dc, identity, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn open_at(name: &str, dc: &str, identity: BridgeIdentity, bind: SocketAddr) -> House {
        let (servers, list) = watch::channel(Arc::default());
        let (sender, events) = mpsc::unbounded_channel();
        let own = Arc::new(OnceLock::new());
        let handler = Arc::new(Scripted { name: name.to_owned(), events: sender, bridge: Arc::clone(&own) });
        let pin = identity.fingerprint();
        let (cluster, admission) = (watch::Sender::new(None), watch::Sender::new(Arc::default()));
        let settings = BridgeSettings {
            node_name: name.to_owned(),
            datacenter: dc.to_owned(),
            domain: "consul".to_owned(),
            bind,
            identity,
            require_ca: false,
            cache_bytes: defaults::BRIDGE_CACHE_BYTES,
            cluster: cluster.subscribe(),
            admission: admission.subscribe(),
        };
        let bridge = Bridge::start(settings, list, handler.clone(), handler, &Shutdown::new()).await.unwrap();
        own.set(bridge.clone()).unwrap();
        House { name: name.to_owned(), dc: dc.to_owned(), pin, bridge, servers, cluster, admission, events }
    }

    async fn self_made(name: &str, dc: &str) -> House {
        House::open(name, dc, BridgeIdentity::self_made(None, dc, "consul").unwrap()).await
    }

    fn remote(&self) -> RemoteServer {
        RemoteServer {
            name: self.name.clone(),
            dc: self.dc.clone(),
            addr: self.bridge.local_addr(),
            pins: self.pin.clone().into_iter().collect(),
            cluster: None,
            alive: true,
            estimate: None,
        }
    }

    fn knows(&self, servers: impl IntoIterator<Item = RemoteServer>) {
        self.servers.send_replace(Arc::new(servers.into_iter().collect()));
    }

    async fn ask(&self, dc: &str, request: Request) -> Result<String, Fault> {
        match self.bridge.call(dc, request, LONG).await? {
            Reply::Answer(answer) => Ok(String::from_utf8(answer.body.to_vec()).unwrap()),
            Reply::Written(written) => Ok(format!("written {}", written.index)),
        }
    }

    /// A stale read of dc2 that nothing is held for.
    async fn first(&self, what: &str) -> Result<String, Fault> {
        let Ask::Read(query) = read(what).ask else { unreachable!("a read is asked") };
        let held = self.bridge.follow("dc2", &query).first().await?;
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

async fn pair() -> (House, House) {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    one.knows([two.remote()]);
    two.knows([one.remote()]);
    one.until("dc2", None).await;
    (one, two)
}

/// A server s2 of dc2 that is no [`House`].
fn stranger(addr: SocketAddr, pins: BTreeSet<String>) -> RemoteServer {
    RemoteServer { name: "s2".to_owned(), dc: "dc2".to_owned(), addr, pins, cluster: None, alive: true, estimate: None }
}

/// A socket of dc2 that `mine` would link to, for a test to answer on.
fn raw_far_side(mine: &House) -> (super::endpoint::Endpoint, RemoteServer) {
    let theirs = BridgeIdentity::self_made(None, "dc2", "consul").unwrap();
    let pin = theirs.fingerprint();
    let trust = Arc::new(theirs.trust("dc2", "consul", false));
    trust.set_pins([("dc1".to_owned(), mine.pin.iter().cloned().collect())].into());
    let endpoint = super::endpoint::Endpoint::bind("127.0.0.1:0".parse().unwrap(), theirs, trust, "consul").unwrap();
    let remote = stranger(endpoint.quic.local_addr().unwrap(), pin.into_iter().collect());
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
    let request = CertRequest {
        kind: CertKind::Server,
        dc: dc.to_owned(),
        domain: "consul".to_owned(),
        days: 1,
        node: None,
        dns_names: vec![],
        ip_addresses: vec![],
    };
    let (cert, key) = create_cert(&signer.0, &signer.1, &request).unwrap();
    load(&trusted.0, &cert, &key)
}

fn load(ca: &str, cert: &str, key: &str) -> TlsMaterial {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let files = TlsFiles { ca_file: path("ca", ca), cert_file: path("cert", cert), key_file: path("key", key), ca_path: None };
    TlsMaterial::load(&files).unwrap()
}

#[tokio::test]
async fn two_datacenters_with_pins_answer_each_other() {
    let (one, two) = pair().await;
    two.until("dc1", None).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    assert_eq!(two.ask("dc1", read("x")).await.unwrap(), "x of dc2 at s1");
    assert_eq!(one.ask("dc2", write("write")).await.unwrap(), "written 7");
    assert_eq!(one.ask("dc2", read("fault")).await.unwrap_err().kind, FaultKind::NoLeader);
    assert_eq!(one.ask("dc2", read("large")).await.unwrap().len(), 20 << 20);
    assert!(one.bridge.rtt("dc2").is_some());
    assert_eq!(one.bridge.rtt("dc9"), None);
}

#[tokio::test]
async fn certificates_of_one_ca_need_no_pins() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let (one, two) = (House::open("s1", "dc1", identity(&ca, "dc1")).await, House::open("s2", "dc2", identity(&ca, "dc2")).await);
    one.knows([two.remote()]);
    // The first call waits for the link that is being dialled; dc2 need not even know of dc1.
    one.until("dc2", None).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
}

#[tokio::test]
async fn an_unknown_datacenter_and_a_removed_one_say_so() {
    let (one, _two) = pair().await;
    let fault = one.ask("dc9", read("x")).await.unwrap_err();
    assert_eq!((fault.kind, fault.reason.as_deref()), (FaultKind::NoPath, Some("never-joined")));
    one.knows([]);
    one.until("dc2", Some("removed")).await;
}

#[tokio::test]
async fn a_peer_that_does_not_know_us_yet_is_not_yet_known_and_then_is() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    one.knows([two.remote()]);
    one.until("dc2", Some("not-yet-known")).await;
    two.knows([one.remote()]);
    one.until("dc2", None).await;
}

#[tokio::test]
async fn a_server_without_a_pin_is_not_yet_known() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    one.knows([RemoteServer { pins: BTreeSet::new(), ..two.remote() }]);
    two.knows([one.remote()]);
    one.until("dc2", Some("not-yet-known")).await;
}

#[tokio::test]
async fn a_wrong_pin_is_refused_on_both_sides() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    let wrong = BTreeSet::from(["ab".repeat(32)]);
    one.knows([RemoteServer { pins: wrong.clone(), ..two.remote() }]);
    one.until("dc2", Some("tls-refused: pin-mismatch")).await;
    one.knows([two.remote()]);
    two.knows([RemoteServer { pins: wrong, ..one.remote() }]);
    one.until("dc2", Some("tls-refused: by the other side: pin-mismatch")).await;
}

#[tokio::test]
async fn a_certificate_of_another_datacenter_is_refused() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    let three = House::open("s3", "dc3", identity(&ca, "dc3")).await;
    one.knows([RemoteServer { dc: "dc2".to_owned(), ..three.remote() }]);
    one.until("dc2", Some("tls-refused: wrong-datacenter: expected a server of \"dc2\"")).await;
    // And one of our own datacenter has no business on our bridge.
    let other = House::open("s4", "dc4", identity(&ca, "dc1")).await;
    other.knows([one.remote()]);
    other.until("dc1", Some("tls-refused: by the other side: wrong-datacenter")).await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let (ca, other) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    let two = House::open("s2", "dc2", identity(&other, "dc2")).await;
    one.knows([two.remote()]);
    one.until("dc2", Some("tls-refused: another-ca")).await;
    // It trusts our CA, and shows a certificate of its own: we refuse it when it dials.
    let mixed = BridgeIdentity::unchecked(&material(&other, &ca, "dc3")).unwrap();
    let three = House::open("s3", "dc3", mixed).await;
    three.knows([one.remote()]);
    three.until("dc1", Some("tls-refused: by the other side: another-ca")).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca.0, rcgen::KeyPair::from_pem(&ca.1).unwrap()).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["server.dc2.consul".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    let material = load(&ca.0, &cert.pem(), &key.serialize_pem());
    assert!(BridgeIdentity::from_ca(&material, "dc2", "consul").unwrap_err().contains("expired"));
    let two = House::open("s2", "dc2", BridgeIdentity::unchecked(&material).unwrap()).await;
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    one.knows([two.remote()]);
    one.until("dc2", Some("tls-refused: expired")).await;
    two.knows([one.remote()]);
    two.until("dc1", Some("tls-refused: by the other side: expired")).await;
}

#[tokio::test]
async fn require_ca_refuses_pins() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let (servers, list) = watch::channel(Arc::default());
    let settings = |identity| BridgeSettings {
        node_name: "s1".to_owned(),
        datacenter: "dc1".to_owned(),
        domain: "consul".to_owned(),
        bind: "127.0.0.1:0".parse().unwrap(),
        identity,
        require_ca: true,
        cache_bytes: defaults::BRIDGE_CACHE_BYTES,
        cluster: watch::channel(None).1,
        admission: watch::channel(Arc::default()).1,
    };
    let handler = || Arc::new(Scripted { name: "s1".to_owned(), events: mpsc::unbounded_channel().0, bridge: Arc::default() });
    let own = BridgeIdentity::self_made(None, "dc1", "consul").unwrap();
    assert!(Bridge::start(settings(own), list.clone(), handler(), handler(), &Shutdown::new()).await.is_err());
    let bridge = Bridge::start(settings(identity(&ca, "dc1")), list, handler(), handler(), &Shutdown::new()).await.unwrap();
    let two = House::self_made("s2", "dc2").await;
    servers.send_replace(Arc::new(vec![two.remote()]));
    let deadline = Instant::now() + LONG;
    loop {
        let fault = bridge.call("dc2", read("x"), LONG).await.unwrap_err();
        if fault.reason.as_ref().is_some_and(|reason| reason.contains("require-ca")) {
            break;
        }
        assert!(Instant::now() < deadline, "{fault}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn holding_keeps_a_call_alive_and_silence_ends_it() {
    let (one, _two) = pair().await;
    let (held, parked, silent) =
        tokio::join!(one.ask("dc2", read("hold")), one.ask("dc2", blocking("park")), one.ask("dc2", read("hang")));
    assert_eq!(held.unwrap(), "hold of dc1 at s2");
    assert_eq!(parked.unwrap(), "park of dc1 at s2");
    let fault = silent.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    assert!(fault.reason.as_ref().unwrap().starts_with("unreachable since 20"), "{fault}");
}

#[tokio::test]
async fn a_write_that_may_have_been_done_is_not_sent_twice() {
    let (one, mut two) = pair().await;
    let mut three = House::self_made("s3", "dc2").await;
    three.knows([one.remote()]);
    one.knows([two.remote(), three.remote()]);
    // Wait until both can be asked.
    let deadline = Instant::now() + LONG;
    while one.bridge.links.of("dc2").unwrap().ways().len() < 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let fault = one.ask("dc2", write("hang")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::OutcomeUnknown);
    assert_eq!(fault.reason.as_deref(), Some("outcome-unknown"));
    let mut seen = 0;
    for house in [&mut two, &mut three] {
        while let Ok(event) = house.events.try_recv() {
            seen += usize::from(event.ends_with(" hang"));
        }
    }
    assert_eq!(seen, 1);
}

#[tokio::test]
async fn the_standby_takes_over_a_read_that_is_late_or_held_for_a_leader() {
    let (one, two) = pair().await;
    let three = House::self_made("s3", "dc2").await;
    three.knows([one.remote()]);
    one.knows([two.remote(), three.remote()]);
    let deadline = Instant::now() + LONG;
    while one.bridge.links.of("dc2").unwrap().ways().len() < 2 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whichever of the two is asked first, one of these hangs there and is answered by the other.
    assert_eq!(one.ask("dc2", read("hangs-on-s2")).await.unwrap(), "hangs-on-s2 of dc1 at s3");
    assert_eq!(one.ask("dc2", read("hangs-on-s3")).await.unwrap(), "hangs-on-s3 of dc1 at s2");
    // One that has no leader is no double, however many there were already.
    while one.bridge.links.of("dc2").unwrap().may_double() {}
    assert_eq!(one.ask("dc2", read("held-by-s2")).await.unwrap(), "held-by-s2 of dc1 at s3");
    assert_eq!(one.ask("dc2", read("held-by-s3")).await.unwrap(), "held-by-s3 of dc1 at s2");
}

#[tokio::test]
async fn a_caller_that_hangs_up_drops_the_handlers_future() {
    let (one, mut two) = pair().await;
    let bridge = one.bridge.clone();
    let call = tokio::spawn(async move { bridge.call("dc2", blocking("hang"), LONG).await });
    assert_eq!(two.event_past_pings().await, "s2 hang");
    call.abort();
    assert_eq!(two.event().await, "dropped");
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
}

#[tokio::test]
async fn watches_never_take_the_last_streams_of_a_link() {
    let (one, _two) = pair().await;
    let way = one.bridge.links.of("dc2").unwrap().ways().remove(0);
    let parked: Vec<_> = std::iter::from_fn(|| way.park()).collect();
    assert_eq!(parked.len(), defaults::BRIDGE_MAX_PARKED);
    let fault = one.bridge.call("dc2", blocking("x"), LONG).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Busy, "{fault}");
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    drop(parked);
    assert_eq!(one.ask("dc2", blocking("x")).await.unwrap(), "x of dc1 at s2", "the places are given back");
}

#[tokio::test]
async fn an_answer_too_large_to_cross_is_a_fault_and_no_hang() {
    let (one, _two) = pair().await;
    let fault = one.ask("dc2", read("huge")).await.unwrap_err();
    assert!(fault.message.contains("use a filter"), "{fault}");
}

/// Announces a request of the largest size on a stream of its own and sends more of it than a stream
/// takes unread: from when on that was taken, until when.
async fn never_ends(connection: quinn::Connection) -> Option<(Instant, Instant)> {
    let (mut send, _recv) = connection.open_bi().await.ok()?;
    send.write_all(&[1, Kind::Request as u8]).await.ok()?;
    send.write_all(&defaults::BRIDGE_MAX_REQUEST_BYTES.to_be_bytes()).await.ok()?;
    send.write_all(&vec![0; defaults::BRIDGE_STREAM_WINDOW as usize + (1 << 20)]).await.ok()?;
    let taken = Instant::now();
    let _ = send.stopped().await;
    Some((taken, Instant::now()))
}

#[tokio::test]
async fn requests_that_never_end_fill_no_memory_and_hold_up_their_own_link_alone() {
    let (one, two) = pair().await;
    let three = House::self_made("s3", "dc3").await;
    two.knows([one.remote(), three.remote()]);
    three.knows([two.remote()]);
    three.until("dc2", None).await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    let all: Vec<_> = (0..9).map(|_| tokio::spawn(never_ends(connection.clone()))).collect();
    // Other links do not notice, and this one is as before once what never ends is given up.
    three.until("dc2", None).await;
    one.until("dc2", None).await;
    let mut spans = Vec::new();
    for one in all {
        spans.extend(tokio::time::timeout(LONG, one).await.unwrap().unwrap());
    }
    // Room is given to the next one a moment before the one that had it hears of its end.
    let most = 2 * (defaults::BRIDGE_ARRIVING_BYTES / defaults::BRIDGE_MAX_REQUEST_BYTES) as usize;
    for (taken, _) in &spans {
        let at_once = spans.iter().filter(|(from, until)| from <= taken && taken < until).count();
        assert!(at_once <= most, "{at_once} at once");
    }
}

#[tokio::test]
async fn an_asker_that_does_not_read_has_only_so_many_answers_kept_for_it() {
    let (one, _two) = pair().await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    let most = defaults::BRIDGE_LEAVING_BYTES as usize / (20 << 20);
    let request = Frame::of(Kind::Request, &read("large")).unwrap();
    let mut streams = Vec::new();
    for _ in 0..most + 2 {
        let (send, mut recv) = connection.open_bi().await.unwrap();
        let mut outgoing = super::frame::Outgoing::new(send);
        outgoing.send(&request).await.unwrap();
        let header = tokio::time::timeout(LONG, super::frame::read_header(&mut recv)).await.unwrap().unwrap();
        streams.push((header.kind, outgoing, recv));
    }
    let refused = streams.iter().filter(|(kind, ..)| *kind == Kind::Fault).count();
    assert_eq!(refused, 2, "of {}", streams.len());
    drop(streams);
    let deadline = Instant::now() + LONG;
    while let Err(fault) = one.ask("dc2", read("large")).await {
        assert!(Instant::now() < deadline, "the room is not given back: {fault}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn frames_cut_short_oversized_or_unknown_end_their_stream_alone() {
    let (one, mut two) = pair().await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    let junk: [&[u8]; 5] = [
        b"\x01\x02\x00\x00\x00\x09cut",
        b"\x01\x02\xff\xff\xff\xffx",
        b"\x09\x02\x00\x00\x00\x01x",
        b"\x01\xee\x00\x00\x00\x01x",
        b"\x01\x02\x00\x00\x00\x03\xc1\xc1\xc1",
    ];
    for bytes in junk {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let _ = send.finish();
        let end = tokio::time::timeout(LONG, recv.read_to_end(100)).await.unwrap();
        assert!(matches!(end, Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) if code == CANCELLED), "{end:?}");
    }
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    assert_eq!(two.event_past_pings().await, "s2 x");
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_an_error() {
    // A far side of our own that sends half a frame and ends its stream in good order.
    let mine = House::self_made("s1", "dc1").await;
    let (endpoint, remote) = raw_far_side(&mine);
    tokio::spawn(async move {
        let connection = endpoint.quic.accept().await.unwrap().await.unwrap();
        let mut streams = Vec::new();
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            match super::frame::read_header(&mut recv).await.unwrap().kind {
                Kind::Greeting => {
                    reply(send, greeting_of("dc2")).await;
                }
                Kind::Request => {
                    send.write_all(b"\x01\x06\x00\x00\x00\x50half an answer").await.unwrap();
                    send.finish().unwrap();
                }
                _ => streams.push((send, recv)),
            }
        }
    });
    mine.knows([remote]);
    mine.until("dc2", Some("the stream ended within a frame")).await;
}

#[tokio::test]
async fn junk_datagrams_hurt_nobody() {
    let (one, two) = pair().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for size in [0, 1, 20, 1_200, 9_000] {
        for fill in [0x00, 0x40, 0xc0, 0xff] {
            socket.send_to(&vec![fill; size], two.bridge.local_addr()).await.unwrap();
        }
    }
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
}

#[tokio::test]
async fn a_restarted_server_is_linked_again() {
    let folder = tempfile::tempdir().unwrap();
    let identity = || BridgeIdentity::self_made(Some(folder.path()), "dc2", "consul").unwrap();
    let (one, two) = (House::self_made("s1", "dc1").await, House::open("s2", "dc2", identity()).await);
    let addr = two.bridge.local_addr();
    one.knows([two.remote()]);
    two.knows([one.remote()]);
    one.until("dc2", None).await;
    two.bridge.shutdown(LONG).await;
    drop(two);
    // The socket closes when its driver has noticed that nobody holds it any more.
    let deadline = Instant::now() + LONG;
    while let Err(error) = std::net::UdpSocket::bind(addr) {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let again = House::open_at("s2", "dc2", identity(), addr).await;
    again.knows([one.remote()]);
    one.until("dc2", None).await;
}

#[tokio::test]
async fn a_server_that_is_gone_fails_calls_soon_and_says_since_when() {
    let (one, two) = pair().await;
    two.bridge.shutdown(LONG).await;
    drop(two);
    one.until("dc2", Some("unreachable since 20")).await;
    let started = Instant::now();
    assert!(one.ask("dc2", write("write")).await.is_err());
    assert!(started.elapsed() < LONG / 4);
}

#[tokio::test]
async fn a_datacenter_that_never_answers_fails_the_first_call_too() {
    let one = House::self_made("s1", "dc1").await;
    let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = mute.local_addr().unwrap();
    one.knows([stranger(addr, BTreeSet::new())]);
    one.until("dc2", Some("did not answer within")).await;
}

#[tokio::test]
async fn other_certificates_come_into_force_without_a_dropped_link() {
    let (old, new) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
    let one = House::open("s1", "dc1", identity(&old, "dc1")).await;
    let two = House::open("s2", "dc2", identity(&old, "dc2")).await;
    one.knows([two.remote()]);
    one.until("dc2", None).await;
    let before = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    one.bridge.reload(identity(&new, "dc1")).unwrap();
    two.bridge.reload(identity(&new, "dc2")).unwrap();
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    assert!(before.close_reason().is_none());
    // Who comes now is judged by the new CA.
    let three = House::open("s3", "dc3", identity(&new, "dc3")).await;
    three.knows([two.remote()]);
    three.until("dc2", None).await;
    let four = House::open("s4", "dc4", identity(&old, "dc4")).await;
    four.knows([two.remote()]);
    four.until("dc2", Some("tls-refused: another-ca")).await;
}

#[tokio::test]
async fn a_datacenter_that_is_switched_off_is_neither_dialled_nor_answered() {
    let (one, two) = pair().await;
    two.until("dc1", None).await;
    one.admission.send_replace(Arc::new(Admission { disabled: ["dc2".to_owned()].into(), ..Admission::default() }));
    one.until("dc2", Some("disabled")).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap_err().kind, FaultKind::NoPath);
    two.until("dc1", Some("refused by the other side: disabled")).await;
    assert!(one.bridge.datacenters().is_empty() && one.bridge.closed("DC2").is_some());
    assert_eq!(one.bridge.until_closed("dc2").await.reason.as_deref(), Some("disabled"));
    let report = one.bridge.report().into_iter().find(|report| report.name == "dc2").unwrap();
    assert_eq!(report.state, crate::model::federation::DatacenterState::Disabled);
    one.admission.send_replace(Arc::default());
    one.until("dc2", None).await;
    two.until("dc1", None).await;
}

#[tokio::test]
async fn a_removed_cluster_is_refused_both_ways_until_it_is_another_or_readmitted() {
    let [old, new] = [1, 2].map(|number| Some(ClusterId(uuid::Uuid::from_u128(number))));
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    two.cluster.send_replace(old);
    one.knows([two.remote()]);
    two.knows([one.remote()]);
    one.until("dc2", None).await;
    two.until("dc1", None).await;
    assert_eq!(one.bridge.cluster_of("dc2"), old);
    let mut removals = Removals::default();
    removals.remove("dc2", old);
    let removed = Arc::new(Admission { removals: Arc::new(removals), ..Admission::default() });
    one.admission.send_replace(Arc::clone(&removed));
    one.until("dc2", Some("removed")).await;
    two.until("dc1", Some("refused by the other side: removed")).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap_err().kind, FaultKind::NoPath);
    let report = one.bridge.report().into_iter().find(|report| report.name == "dc2").unwrap();
    assert_eq!(report.state, crate::model::federation::DatacenterState::Removed);
    // Another cluster by the same name is another datacenter.
    two.cluster.send_replace(new);
    one.until("dc2", None).await;
    two.until("dc1", None).await;
    two.cluster.send_replace(old);
    one.admission.send_replace(Arc::default());
    one.until("dc2", None).await;
}
