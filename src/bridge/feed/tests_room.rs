//! The pushing side on a real link, with a follower that the tests write out by hand.

use super::super::endpoint::Endpoint;
use super::super::frame::{self, Frame, Kind, Outgoing, REFUSED, read_header, read_payload};
pub(super) use super::super::tests::{LONG, eventually_so};
use super::super::tests::{any_port, eventually, self_made, server, settings};
use super::super::{Bridge, RemoteServer};
use super::message::{Echo, Known, Open, Ping, Push, Took};
use crate::model::answer::{Answer, AnswerMeta};
use crate::model::fault::Fault;
use crate::model::ids::ClusterId;
use crate::model::operation::{HealthRead, Read, StatusRead};
use crate::model::principal::Principal;
use crate::model::query::Identity;
use crate::model::request::{BoxFuture, Handler, Interest, Progress, Reply, Request, Source};
use crate::shutdown::Shutdown;
use bytes::Bytes;
use quinn::{Connection, ReadError, RecvStream};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// An answer with its index.
type Text = Result<(u64, Bytes), Fault>;

/// A catalog of texts, which calls the interests of a text that changes.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) age: Mutex<Option<Duration>>,
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

fn name_of(query: &Identity) -> String {
    match &query.read {
        Read::Health(HealthRead::State { state }) => state.clone(),
        _ => "polled".to_owned(),
    }
}

impl Shelf {
    pub(super) fn put(&self, name: &str, text: Result<(u64, &str), Fault>) {
        let text = text.map(|(index, body)| (index, Bytes::copy_from_slice(body.as_bytes())));
        self.texts.lock().unwrap().insert(name.to_owned(), text);
        self.ring(name);
    }

    pub(super) fn ring(&self, name: &str) {
        for (_, bell) in self.bells.lock().unwrap().iter().filter(|(of, _)| of == name) {
            let Some(bell) = bell.upgrade() else { continue };
            bell.called.store(true, Ordering::Release);
            bell.waiting.notify_one();
        }
    }

    pub(super) fn interests(&self) -> usize {
        self.bells.lock().unwrap().iter().filter(|(_, bell)| bell.strong_count() > 0).count()
    }
}

impl Source for Shelf {
    fn age(&self) -> Option<Duration> {
        *self.age.lock().unwrap()
    }

    fn watch(&self, query: &Identity) -> Option<Box<dyn Interest>> {
        let name = name_of(query);
        if name == "polled" {
            return None;
        }
        let bell = Arc::new(Bell::default());
        self.bells.lock().unwrap().push((name, Arc::downgrade(&bell)));
        Some(Box::new(Watching(bell)))
    }

    fn read(&self, query: &Identity) -> Result<Answer, Fault> {
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

pub(super) fn cluster(number: u128) -> ClusterId {
    ClusterId(uuid::Uuid::from_u128(number))
}

pub(super) fn query(name: &str) -> Arc<Identity> {
    let read = if name == "polled" {
        Read::Status(StatusRead::Leader)
    } else {
        Read::Health(HealthRead::State { state: name.to_owned() })
    };
    Arc::new(Identity::new(read, Principal::anonymous()))
}

/// A bridge that pushes, and the endpoint of its follower.
pub(super) struct Room {
    pub(super) shelf: Arc<Shelf>,
    pub(super) bridge: Bridge,
    pin: Option<String>,
    near: Endpoint,
    _servers: watch::Sender<Arc<Vec<RemoteServer>>>,
}

impl Room {
    pub(super) async fn new() -> Room {
        let (ours, theirs) = (self_made("dc1"), self_made("dc2"));
        let trust = Arc::new(ours.trust("dc1", "consul", false));
        let (near_pin, pin) = (ours.fingerprint(), theirs.fingerprint());
        let near = Endpoint::bind(any_port(), ours, trust, "consul").unwrap();
        let addr = near.quic.local_addr().unwrap();
        let (servers, list) = watch::channel(Arc::new(vec![server("s1", "dc1", addr, near_pin)]));
        let settings = settings("s2", "dc2", theirs);
        let shelf = Arc::new(Shelf { age: Mutex::new(Some(Duration::ZERO)), ..Shelf::default() });
        let bridge = Bridge::start(settings, list, shelf.clone(), shelf.clone(), &Shutdown::new()).await.unwrap();
        Room { shelf, bridge, pin, near, _servers: servers }
    }

    pub(super) async fn link(&self) -> Near {
        let dialled = self.near.dial(self.bridge.local_addr(), "dc2", &self.pin.iter().cloned().collect()).unwrap();
        Near(tokio::time::timeout(LONG, dialled).await.unwrap().unwrap())
    }

    pub(super) async fn until_interests(&self, count: usize) {
        eventually("interests", || self.shelf.interests() == count).await;
    }
}

/// A link as its follower has it.
pub(super) struct Near(pub(super) Connection);

impl Near {
    pub(super) async fn stream(&self, first: Frame) -> Stream {
        let (send, recv) = tokio::time::timeout(LONG, self.0.open_bi()).await.unwrap().unwrap();
        let mut stream = Stream { send: Outgoing::new(send), recv };
        stream.send(first).await;
        stream
    }

    pub(super) async fn open(&self, feed: u64, name: &str, known: Option<Known>) -> Stream {
        self.stream(Frame::of(Kind::Open, &Open { feed, query: query(name), known }).unwrap()).await
    }

    pub(super) async fn heartbeat(&self) -> Stream {
        self.stream(Frame::bare(Kind::Heartbeat)).await
    }

    pub(super) async fn is_cut(&self) {
        let end = tokio::time::timeout(LONG, self.0.closed()).await.unwrap();
        assert!(matches!(&end, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == REFUSED), "{end:?}");
    }

    pub(super) async fn lives(&self, feed: u64, name: &str) {
        assert_eq!(self.open(feed, name, None).await.push().await.number, 1);
    }
}

pub(super) struct Stream {
    pub(super) send: Outgoing,
    pub(super) recv: RecvStream,
}

impl Stream {
    pub(super) async fn send(&mut self, frame: Frame) {
        self.send.send(&frame).await.unwrap();
    }

    pub(super) async fn frame(&mut self) -> (Kind, Bytes) {
        let read = async {
            let header = read_header(&mut self.recv).await.unwrap();
            (header.kind, read_payload(&mut self.recv, header, LONG).await.unwrap())
        };
        tokio::time::timeout(LONG, read).await.unwrap()
    }

    pub(super) async fn push(&mut self) -> Push {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, Kind::Push);
        frame::decode(&payload).unwrap()
    }

    pub(super) async fn took(&mut self, number: u64) {
        self.send(Frame::of(Kind::Took, &Took { number }).unwrap()).await;
    }

    /// The next push in short, taken.
    pub(super) async fn next(&mut self) -> (u64, u64, Option<String>) {
        let Push { number, meta, body } = self.push().await;
        self.took(number).await;
        (number, meta.index, body.map(|body| String::from_utf8(body.to_vec()).unwrap()))
    }

    pub(super) async fn fault(&mut self) -> Fault {
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, Kind::Fault);
        frame::decode(&payload).unwrap()
    }

    pub(super) async fn echo(&mut self, number: u64, heard: u64) -> Echo {
        self.send(Frame::of(Kind::Ping, &Ping { number, heard }).unwrap()).await;
        let (kind, payload) = self.frame().await;
        assert_eq!(kind, Kind::Echo);
        frame::decode(&payload).unwrap()
    }

    /// The error by which the far side ended the stream.
    pub(super) async fn end(&mut self) -> ReadError {
        loop {
            match tokio::time::timeout(LONG, self.recv.read_chunk(usize::MAX, true)).await.unwrap() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended in good order"),
                Err(error) => return error,
            }
        }
    }

    pub(super) async fn is_refused(&mut self) {
        let end = self.end().await;
        assert!(matches!(end, ReadError::Reset(code) if code == REFUSED), "{end:?}");
    }
}
