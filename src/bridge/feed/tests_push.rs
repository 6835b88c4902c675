//! The pushing side on a real link, with a follower that is written out by hand.

use super::super::endpoint::Endpoint;
use super::super::frame::{self, Frame, Kind, Outgoing, REFUSED, read_header, read_payload};
use super::super::{Bridge, BridgeSettings, RemoteServer};
use super::message::{Echo, Known, Open, Ping, Push, Took, fingerprint};
use crate::config::defaults;
use crate::model::answer::{Answer, AnswerMeta};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::query::{Query, QueryOptions, Read};
use crate::model::request::{BoxFuture, Handler, Interest, Progress, Reply, Request, Source};
use crate::shutdown::Shutdown;
use crate::tls::BridgeIdentity;
use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream, VarInt};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

const LONG: Duration = Duration::from_secs(60);

/// An answer with its index.
type Text = Result<(u64, Bytes), Fault>;

/// A catalog of texts; who reads is called when one changes.
#[derive(Default)]
struct Shelf {
    age: Mutex<Option<Duration>>,
    texts: Mutex<HashMap<String, Text>>,
    bells: Mutex<Vec<(String, Weak<Bell>)>>,
}

#[derive(Default)]
struct Bell {
    called: AtomicBool,
    waiting: Notify,
}

struct Watching(Arc<Bell>);

impl Interest for Watching {
    fn called(&self) -> bool {
        self.0.called.load(Ordering::Acquire)
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.0.waiting.notified())
    }
}

fn name_of(query: &Query) -> String {
    match &query.read {
        Read::HealthState { state } => state.clone(),
        _ => "polled".to_owned(),
    }
}

impl Shelf {
    fn put(&self, name: &str, text: Result<(u64, &str), Fault>) {
        let text = text.map(|(index, body)| (index, Bytes::copy_from_slice(body.as_bytes())));
        self.texts.lock().unwrap().insert(name.to_owned(), text);
        self.ring(name);
    }

    fn ring(&self, name: &str) {
        for (_, bell) in self.bells.lock().unwrap().iter().filter(|(of, _)| of == name) {
            let Some(bell) = bell.upgrade() else { continue };
            bell.called.store(true, Ordering::Release);
            bell.waiting.notify_one();
        }
    }

    fn interests(&self) -> usize {
        self.bells.lock().unwrap().iter().filter(|(_, bell)| bell.strong_count() > 0).count()
    }
}

impl Source for Shelf {
    fn age(&self) -> Option<Duration> {
        *self.age.lock().unwrap()
    }

    fn watch(&self, query: &Query) -> Option<Box<dyn Interest>> {
        let name = name_of(query);
        if name == "polled" {
            return None;
        }
        let bell = Arc::new(Bell::default());
        self.bells.lock().unwrap().push((name, Arc::downgrade(&bell)));
        Some(Box::new(Watching(bell)))
    }

    fn read(&self, query: &Query) -> Result<Answer, Fault> {
        let text = self.texts.lock().unwrap().get(&name_of(query)).cloned();
        let (index, body) = text.unwrap_or_else(|| Err(Fault::no_leader()))?;
        Ok(Answer { meta: AnswerMeta { index, cluster: cluster(1), ..AnswerMeta::default() }, body })
    }
}

impl Handler for Shelf {
    fn handle(&self, _: Request, _: Option<&str>, _: Progress) -> BoxFuture<Result<Reply, Fault>> {
        Box::pin(async { Ok(Reply::Answer(Answer::default())) })
    }
}

fn cluster(number: u128) -> ClusterId {
    ClusterId(uuid::Uuid::from_u128(number))
}

fn query(name: &str) -> Query {
    let read = if name == "polled" { Read::StatusLeader } else { Read::HealthState { state: name.to_owned() } };
    Query { read, options: QueryOptions::default() }
}

/// A bridge that pushes, and the endpoint of who follows.
struct Room {
    shelf: Arc<Shelf>,
    bridge: Bridge,
    pin: Option<String>,
    near: Endpoint,
    _servers: watch::Sender<Arc<Vec<RemoteServer>>>,
}

impl Room {
    async fn new() -> Room {
        let (ours, theirs) = (identity("dc1"), identity("dc2"));
        let trust = Arc::new(ours.trust("dc1", "consul", false));
        let (near_pin, pin) = (ours.fingerprint(), theirs.fingerprint());
        let near = Endpoint::bind(any(), ours, trust, "consul").unwrap();
        let addr = near.quic.local_addr().unwrap();
        let pins = near_pin.into_iter().collect();
        let (name, dc) = ("s1".to_owned(), "dc1".to_owned());
        let us = RemoteServer { name, dc, addr, pins, cluster: None, alive: true, estimate: None };
        let (servers, list) = watch::channel(Arc::new(vec![us]));
        let settings = BridgeSettings {
            node_name: "s2".to_owned(),
            datacenter: "dc2".to_owned(),
            domain: "consul".to_owned(),
            bind: any(),
            identity: theirs,
            require_ca: false,
            cache_bytes: defaults::BRIDGE_CACHE_BYTES,
            cluster: watch::channel(None).1,
            admission: watch::channel(Arc::default()).1,
        };
        let shelf = Arc::new(Shelf { age: Mutex::new(Some(Duration::ZERO)), ..Shelf::default() });
        let bridge = Bridge::start(settings, list, shelf.clone(), shelf.clone(), &Shutdown::new()).await.unwrap();
        Room { shelf, bridge, pin, near, _servers: servers }
    }

    async fn link(&self) -> Near {
        let dialled = self.near.dial(self.bridge.local_addr(), "dc2", &self.pin.iter().cloned().collect()).unwrap();
        Near(tokio::time::timeout(LONG, dialled).await.unwrap().unwrap())
    }

    /// Waits until so many interests are registered.
    async fn until_interests(&self, count: usize) {
        until(|| self.shelf.interests() == count).await;
    }
}

fn identity(dc: &str) -> BridgeIdentity {
    BridgeIdentity::self_made(None, dc, "consul").unwrap()
}

fn any() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A link as its follower has it.
struct Near(Connection);

impl Near {
    async fn stream(&self, first: Frame) -> Stream {
        let (send, recv) = tokio::time::timeout(LONG, self.0.open_bi()).await.unwrap().unwrap();
        let mut stream = Stream { send: Outgoing::new(send), recv };
        stream.send(first).await;
        stream
    }

    async fn open(&self, feed: u64, name: &str, known: Option<Known>) -> Stream {
        self.stream(Frame::of(Kind::Open, &Open { feed, query: query(name), known }).unwrap()).await
    }

    async fn pulse(&self) -> Stream {
        self.stream(Frame::bare(Kind::Pulse)).await
    }

    async fn is_cut(&self) {
        let end = tokio::time::timeout(LONG, self.0.closed()).await.unwrap();
        assert!(matches!(&end, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == REFUSED), "{end:?}");
    }

    async fn lives(&self, feed: u64, name: &str) {
        assert_eq!(self.open(feed, name, None).await.push().await.number, 1);
    }
}

struct Stream {
    send: Outgoing,
    recv: RecvStream,
}

impl Stream {
    async fn send(&mut self, frame: Frame) {
        self.send.send(&frame).await.unwrap();
    }

    async fn frame(&mut self) -> (Kind, Bytes) {
        let read = async {
            let header = read_header(&mut self.recv).await.unwrap();
            (header.kind, read_payload(&mut self.recv, header, LONG).await.unwrap())
        };
        tokio::time::timeout(LONG, read).await.unwrap()
    }

    async fn push(&mut self) -> Push {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, Kind::Push);
        frame::decode(&payload).unwrap()
    }

    async fn took(&mut self, number: u64) {
        self.send(Frame::of(Kind::Took, &Took { number }).unwrap()).await;
    }

    /// The next push in short, taken.
    async fn next(&mut self) -> (u64, u64, Option<String>) {
        let Push { number, meta, body } = self.push().await;
        self.took(number).await;
        (number, meta.index, body.map(|body| String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn fault(&mut self) -> Fault {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, Kind::Fault);
        frame::decode(&payload).unwrap()
    }

    async fn echo(&mut self, number: u64, heard: u64) -> Echo {
        self.send(Frame::of(Kind::Ping, &Ping { number, heard }).unwrap()).await;
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, Kind::Echo);
        frame::decode(&payload).unwrap()
    }

    /// How the far side ended the stream.
    async fn end(&mut self) -> ReadError {
        loop {
            match tokio::time::timeout(LONG, self.recv.read_chunk(usize::MAX, true)).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended in good order"),
                Err(error) => return error,
            }
        }
    }

    async fn is_refused(&mut self) {
        let end = self.end().await;
        assert!(matches!(end, ReadError::Reset(code) if code == REFUSED), "{end:?}");
    }
}

fn text(body: &str) -> Option<String> {
    Some(body.to_owned())
}

#[tokio::test]
async fn each_change_is_pushed_and_a_body_only_once() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((5, "one")));
    let link = room.link().await;
    let mut feed = link.open(1, "web", None).await;
    assert_eq!(feed.next().await, (1, 5, text("one")));
    room.shelf.put("web", Ok((6, "two")));
    assert_eq!(feed.next().await, (2, 6, text("two")));
    room.shelf.put("web", Ok((7, "two")));
    assert_eq!(feed.next().await, (3, 7, None), "the index moves along");
    // A call without news is no push.
    room.shelf.ring("web");
    room.shelf.put("other", Ok((8, "x")));
    room.shelf.put("web", Ok((9, "three")));
    assert_eq!(feed.next().await, (4, 9, text("three")));
    assert_eq!(room.shelf.interests(), 1, "one interest for each feed, the newest");
}

#[tokio::test]
async fn what_the_follower_holds_is_not_sent_again() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((5, "one")));
    let link = room.link().await;
    let known = Known { cluster: cluster(1), index: 3, hash: fingerprint(true, b"one") };
    let mut feed = link.open(1, "web", Some(known)).await;
    assert_eq!(feed.next().await, (1, 5, None));
    // Only what was told last counts: the follower may hold nothing older any more.
    room.shelf.put("web", Ok((6, "two")));
    assert_eq!(feed.next().await, (2, 6, text("two")));
    room.shelf.put("web", Ok((7, "one")));
    assert_eq!(feed.next().await, (3, 7, text("one")));
    let of_another_cluster = Known { cluster: cluster(2), ..known };
    assert_eq!(link.open(2, "web", Some(of_another_cluster)).await.next().await, (1, 7, text("one")));
}

#[tokio::test]
async fn one_push_is_in_flight_and_the_newest_wins() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "first")));
    let link = room.link().await;
    let mut feed = link.open(1, "web", None).await;
    assert_eq!(feed.push().await.number, 1);
    for index in 2..=9 {
        room.shelf.put("web", Ok((index, "later")));
        tokio::time::sleep(defaults::FEED_PACE / 4).await;
    }
    feed.took(1).await;
    assert_eq!(feed.next().await, (2, 9, text("later")));
}

#[tokio::test]
async fn pushes_keep_the_pace() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let began = Instant::now();
    let mut feed = link.open(1, "web", None).await;
    for number in 1..=6 {
        assert_eq!(feed.next().await.0, number);
        room.shelf.put("web", Ok((number + 1, "x")));
    }
    assert!(began.elapsed() >= defaults::FEED_PACE * 5, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_follower_that_lets_go_in_any_way_frees_its_feed() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    for (feed, way) in (0..3).enumerate() {
        let mut stream = link.open(feed as u64 + 1, "web", None).await;
        assert_eq!(stream.push().await.number, 1);
        assert_eq!(room.shelf.interests(), 1);
        match way {
            0 => drop(stream),
            1 => stream.recv.stop(VarInt::from_u32(0)).unwrap(),
            _ => stream.send.finish().unwrap(),
        }
        room.until_interests(0).await;
    }
    let mut stream = link.open(9, "web", None).await;
    assert_eq!(stream.push().await.number, 1);
    link.0.close(VarInt::from_u32(0), b"");
    room.until_interests(0).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_fed_ends_its_feed_with_the_fault() {
    let room = Room::new().await;
    let link = room.link().await;
    let mut without_view = link.open(1, "web", None).await;
    assert_eq!(without_view.fault().await.kind, FaultKind::NoLeader);
    let huge = "x".repeat(defaults::FEED_MAX_BYTES as usize);
    room.shelf.put("huge", Ok((1, &huge)));
    let mut feed = link.open(2, "huge", None).await;
    assert_eq!(feed.fault().await.kind, FaultKind::Failed);
    // Not by its body alone: the frame is over the bound with what comes with it.
    room.shelf.put("huge", Ok((1, &huge[1..])));
    assert_eq!(link.open(3, "huge", None).await.fault().await.kind, FaultKind::Failed);
    room.shelf.put("web", Ok((1, "x")));
    let mut later = link.open(4, "web", None).await;
    assert_eq!(later.next().await.0, 1);
    room.shelf.put("web", Err(Fault::failed("it broke")));
    assert_eq!(later.fault().await, Fault::failed("it broke"));
    let unknown = Frame::new(Kind::Open, Bytes::from_static(b"\x81\xa4feed\x07")).unwrap();
    assert_eq!(link.stream(unknown).await.fault().await.kind, FaultKind::Failed, "of a version that asks for more");
}

#[tokio::test]
async fn a_feed_that_has_ended_is_not_vouched_for_until_it_is_let_go() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let mut pulse = link.pulse().await;
    let mut feed = link.open(7, "web", None).await;
    assert_eq!(feed.next().await.0, 1);
    assert_eq!(pulse.echo(1, 0).await, Echo { number: 1, age: Some(Duration::ZERO), pushed: vec![(7, 1)], behind: vec![] });
    room.shelf.put("web", Err(Fault::no_leader()));
    feed.fault().await;
    assert_eq!(pulse.echo(2, 1).await.behind, [7]);
    drop(feed);
    room.until_interests(0).await;
    let mut number = 3;
    while !pulse.echo(number, 2).await.behind.is_empty() {
        number += 1;
        tokio::time::sleep(defaults::BRIDGE_PING_PACE * 2).await;
    }
}

#[tokio::test]
async fn echoes_tell_age_pushes_and_who_is_behind() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    room.shelf.put("db", Ok((1, "y")));
    let link = room.link().await;
    let mut pulse = link.pulse().await;
    assert_eq!(pulse.echo(1, 0).await, Echo { number: 1, age: Some(Duration::ZERO), ..Echo::default() });
    let (mut web, mut db) = (link.open(1, "web", None).await, link.open(2, "db", None).await);
    assert_eq!((web.next().await.0, db.push().await.number), (1, 1));
    // Not taken yet, so what comes now waits, and the echo says so.
    room.shelf.put("db", Ok((2, "z")));
    *room.shelf.age.lock().unwrap() = Some(Duration::from_secs(3));
    let mut echo = pulse.echo(2, 1).await;
    echo.pushed.sort_unstable();
    assert_eq!(echo, Echo { number: 2, age: Some(Duration::from_secs(3)), pushed: vec![(1, 1), (2, 1)], behind: vec![2] });
    db.took(1).await;
    assert_eq!(db.next().await, (2, 2, text("z")));
    *room.shelf.age.lock().unwrap() = None;
    assert_eq!(pulse.echo(3, 2).await, Echo { number: 3, age: None, pushed: vec![(2, 2)], behind: vec![] });
    assert_eq!(pulse.echo(4, 3).await, Echo { number: 4, ..Echo::default() });
}

#[tokio::test]
async fn what_nobody_calls_about_is_read_at_each_ping() {
    let room = Room::new().await;
    room.shelf.put("polled", Ok((0, "s1")));
    let link = room.link().await;
    let mut pulse = link.pulse().await;
    let mut feed = link.open(1, "polled", None).await;
    assert_eq!(feed.next().await, (1, 0, text("s1")));
    assert_eq!(pulse.echo(1, 0).await.behind, [0_u64; 0]);
    room.shelf.put("polled", Ok((0, "s2")));
    assert_eq!(pulse.echo(2, 1).await.behind, [1]);
    assert_eq!(feed.next().await, (2, 0, text("s2")));
    assert_eq!(pulse.echo(3, 2).await.behind, [0_u64; 0]);
    // Their number is bounded, and a place that is given back can be taken again.
    let mut others = Vec::new();
    for number in 2..=defaults::FEED_MAX_POLLED as u64 {
        let mut stream = link.open(number, "polled", None).await;
        stream.next().await;
        others.push(stream);
    }
    let next = defaults::FEED_MAX_POLLED as u64 + 1;
    assert_eq!(link.open(next, "polled", None).await.fault().await.kind, FaultKind::Busy);
    drop(others);
    let deadline = Instant::now() + LONG;
    for number in next + 1.. {
        assert!(Instant::now() < deadline);
        if link.open(number, "polled", None).await.frame().await.0 == Kind::Push {
            break;
        }
    }
}

#[tokio::test]
async fn the_queries_of_a_link_are_bounded_in_bytes() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let filter = "x".repeat(200 << 10);
    let options = QueryOptions { filter: Some(filter), ..QueryOptions::default() };
    let mut streams = Vec::new();
    let refused = loop {
        let feed = streams.len() as u64;
        let query = Query { options: options.clone(), ..query("web") };
        let mut stream = link.stream(Frame::of(Kind::Open, &Open { feed, query, known: None }).unwrap()).await;
        let (kind, payload) = stream.frame().await;
        if kind == Kind::Fault {
            break frame::decode::<Fault>(&payload).unwrap();
        }
        streams.push(stream);
    };
    assert_eq!(refused.kind, FaultKind::Busy);
    assert_eq!(streams.len(), defaults::FEED_QUERY_BYTES / (200 << 10));
}

#[tokio::test]
async fn who_breaks_the_rules_of_a_stream_loses_the_stream() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let mut innocent = link.open(1, "web", None).await;
    assert_eq!(innocent.next().await.0, 1);
    let mut never_sent = link.open(2, "web", None).await;
    assert_eq!(never_sent.push().await.number, 1);
    never_sent.took(2).await;
    never_sent.is_refused().await;
    let mut twice = link.open(3, "web", None).await;
    assert_eq!(twice.next().await.0, 1);
    twice.took(1).await;
    twice.is_refused().await;
    let mut reopened = link.open(4, "web", None).await;
    assert_eq!(reopened.push().await.number, 1);
    reopened.send(Frame::of(Kind::Open, &Open { feed: 5, query: query("web"), known: None }).unwrap()).await;
    reopened.is_refused().await;
    link.open(1, "web", None).await.is_refused().await;
    let mut no_ping = link.pulse().await;
    no_ping.took(1).await;
    no_ping.is_refused().await;
    drop((never_sent, twice, reopened));
    room.until_interests(1).await;
    room.shelf.put("web", Ok((2, "y")));
    assert_eq!(innocent.next().await, (2, 2, text("y")));
}

#[tokio::test]
async fn garbage_costs_the_link_and_no_other() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let other = room.link().await;
    let mut innocent = other.open(1, "web", None).await;
    assert_eq!(innocent.next().await.0, 1);
    let junk: [&[u8]; 4] =
        [b"\x09?\x00\x00\x00\x01x", b"\x01\xee\x00\x00\x00\x01x", b"\x01?\xff\xff\xff\xffx", b"\x01?\x00\x00\x00\x01\xc1"];
    for bytes in junk {
        let as_kind = |kind: Kind| bytes.iter().map(|byte| if *byte == b'?' { kind as u8 } else { *byte }).collect::<Vec<_>>();
        let link = room.link().await;
        let mut feed = link.open(1, "web", None).await;
        assert_eq!(feed.push().await.number, 1);
        feed.send.raw(&as_kind(Kind::Took)).await;
        link.is_cut().await;
        let link = room.link().await;
        let mut pulse = link.pulse().await;
        pulse.echo(1, 0).await;
        pulse.send.raw(&as_kind(Kind::Ping)).await;
        link.is_cut().await;
    }
    room.until_interests(1).await;
    room.shelf.put("web", Ok((2, "y")));
    assert_eq!(innocent.next().await, (2, 2, text("y")));
}

#[tokio::test]
async fn a_link_has_one_pulse_and_no_flood_of_pings() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let mut pulse = link.pulse().await;
    pulse.echo(1, 0).await;
    link.pulse().await.is_refused().await;
    let mut number = 2;
    let flood = loop {
        let frame = Frame::of(Kind::Ping, &Ping { number, heard: 0 }).unwrap();
        // A refusal may meet a ping on its way.
        if pulse.send.send(&frame).await.is_err() || number > 10_000 {
            break number;
        }
        number += 1;
        tokio::task::yield_now().await;
    };
    pulse.is_refused().await;
    assert!(flood <= 10_000);
    drop(pulse);
    // The link lives, and can have another.
    link.lives(1, "web").await;
    let deadline = Instant::now() + LONG;
    loop {
        let mut pulse = link.pulse().await;
        pulse.send(Frame::of(Kind::Ping, &Ping { number: 1, heard: 0 }).unwrap()).await;
        if read_header(&mut pulse.recv).await.is_ok() {
            break;
        }
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn a_follower_that_never_takes_a_push_loses_its_feed() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let mut pulse = link.pulse().await;
    let mut feed = link.open(1, "web", None).await;
    assert_eq!(feed.push().await.number, 1);
    pass(defaults::FEED_TOOK_TIMEOUT).await;
    feed.is_refused().await;
    room.shelf.put("web", Ok((2, "y")));
    assert_eq!(pulse.echo(1, 0).await.behind, [1], "it has not let go");
    pass(defaults::FEED_TOOK_TIMEOUT).await;
    link.is_cut().await;
    room.until_interests(0).await;
}

/// Lets `time` and a little more go by on the runtime's clock, in steps that leave the link alive.
async fn pass(time: Duration) {
    tokio::time::pause();
    let step = Duration::from_millis(100);
    for _ in 0..time.as_millis() / step.as_millis() + 5 {
        tokio::time::advance(step).await;
        // Packets take real time, however little.
        std::thread::sleep(Duration::from_millis(1));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::resume();
}

#[tokio::test]
async fn feeds_do_not_hold_up_a_shutdown() {
    let room = Room::new().await;
    room.shelf.put("web", Ok((1, "x")));
    let link = room.link().await;
    let mut pulse = link.pulse().await;
    pulse.echo(1, 0).await;
    let mut feed = link.open(1, "web", None).await;
    assert_eq!(feed.next().await.0, 1);
    room.bridge.shutdown(LONG).await;
    assert_eq!(room.shelf.interests(), 0);
}
