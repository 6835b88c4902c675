//! A told age is never below the true one: both sides of two links in a world of explicit times.
//! A datacenter commits writes; its servers lag, lead and are deposed, each with a clock that is off by minutes. Two of them
//! feed one follower, by links that delay, lose and reorder.

use super::age::{Ages, AsOf};
use super::freshness::{FeedsFreshness, FreshnessBasis, Poll};
use super::message::{Echo, Known, Ping};
use crate::model::ids::ClusterId;
use crate::model::operation::{Read, StatusRead};
use crate::model::principal::Principal;
use crate::model::query::Identity;
use crate::model::request::Interest;
use futures_util::FutureExt;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Servers of the far datacenter; the first ones are at the end of a link each.
const SERVERS: usize = 3;
const LINKS: usize = 2;
/// The last query calls no interest.
const QUERIES: usize = 3;
const POLLED: usize = QUERIES - 1;

/// Milliseconds since the world began.
type Ms = u64;

/// The commits: for each entry the query whose answer it changes, and the time of its acknowledgement.
type Log = Vec<(usize, Ms)>;

fn index_of(log: &Log, query: usize, applied: usize) -> u64 {
    log[..applied].iter().rposition(|(of, _)| *of == query).map_or(0, |at| at as u64 + 1)
}

/// A server of the far datacenter.
struct Server {
    applied: usize,
    /// Everything acknowledged up to this time of its own clock is applied.
    as_of: Instant,
    /// The reading of its own clock when the world begins: another era, and minutes from the others'.
    clock: Instant,
}

impl Server {
    fn at(&self, time: Ms) -> Instant {
        self.clock + Duration::from_millis(time)
    }
}

/// Interest in a query as of an applied index.
struct Watched {
    far: Arc<Mutex<Far>>,
    server: usize,
    query: usize,
    from: usize,
}

impl Interest for Watched {
    fn called(&self) -> bool {
        let far = self.far.lock().unwrap();
        let applied = far.servers[self.server].applied;
        far.log[self.from.min(applied)..applied].iter().any(|(of, _)| *of == self.query)
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(pending())
    }
}

/// The far datacenter.
struct Far {
    log: Log,
    servers: Vec<Server>,
    leader: Option<usize>,
}

impl Far {
    fn commit(&mut self, query: usize, now: Ms) {
        // A leader has applied all that it acknowledges; without one nothing is acknowledged.
        let Some(leader) = self.leader else { return };
        self.log.push((query, now));
        self.servers[leader].applied = self.log.len();
    }

    fn elect(&mut self, server: usize) {
        if self.leader.is_none() {
            self.servers[server].applied = self.log.len();
            self.leader = Some(server);
        }
    }

    /// The leader loses its lease, and knows nothing for sure since `back` ago.
    fn depose(&mut self, back: Ms, now: Ms) {
        if let Some(leader) = self.leader.take() {
            let server = &mut self.servers[leader];
            server.as_of = server.as_of.max(server.at(now.saturating_sub(back)));
        }
    }

    /// A follower applies some more, and does not know yet how much is missing.
    fn apply(&mut self, server: usize, entries: usize) {
        let server = &mut self.servers[server];
        server.applied = (server.applied + entries).min(self.log.len());
    }

    /// A follower has all that the leader had `lag` ago.
    fn sync(&mut self, server: usize, lag: Ms, now: Ms) {
        let asked = now.saturating_sub(lag);
        let known = self.log.iter().take_while(|(_, acked)| *acked <= asked).count();
        if self.leader.is_some() {
            let server = &mut self.servers[server];
            server.applied = server.applied.max(known);
            server.as_of = server.as_of.max(server.at(asked));
        }
    }

    fn age(&self, server: usize, now: Ms) -> Duration {
        if self.leader == Some(server) {
            return Duration::ZERO;
        }
        let server = &self.servers[server];
        server.at(now) - server.as_of
    }

    fn read(&self, server: usize, query: usize) -> Known {
        let index = index_of(&self.log, query, self.servers[server].applied);
        Known { cluster: ClusterId::default(), index, hash: index }
    }
}

/// A feed's task on the far side, which stands still between its steps for as long as it likes.
#[derive(Default)]
struct Task {
    query: usize,
    news: Arc<Notify>,
    /// The basis that the next read rests on, and that read.
    next: Option<(usize, Option<Known>)>,
    basis: Option<Arc<Watched>>,
    reported: Option<Known>,
    /// The push that was not taken yet.
    in_flight: bool,
    retired: bool,
}

/// The messages on their way on a feed's stream.
#[derive(Default)]
struct Stream {
    opens: VecDeque<usize>,
    pushes: VecDeque<(u64, Known)>,
    /// A fault comes behind the pushes.
    ends: bool,
    took: VecDeque<u64>,
    let_go: bool,
}

/// One link with both its ends.
#[derive(Default)]
struct Link {
    standing: FeedsFreshness,
    tasks: BTreeMap<u64, Task>,
    streams: BTreeMap<u64, Stream>,
    pings: Vec<Ping>,
    echoes: Vec<Echo>,
    ages: Ages,
}

/// A follower's answer to a query.
#[derive(Default)]
struct Held {
    answer: Option<Known>,
    as_of: Arc<AsOf>,
    /// By link.
    feeds: [Option<u64>; LINKS],
}

struct World {
    now: Ms,
    began: Instant,
    far: Arc<Mutex<Far>>,
    links: [Link; LINKS],
    held: [Held; QUERIES],
    feeds: u64,
}

/// One event, after a while; the meaning of `a` and `b` depends on the kind.
#[derive(Clone, Copy, Debug)]
struct Event {
    wait: Ms,
    kind: u8,
    a: usize,
    b: usize,
}

impl World {
    fn new() -> World {
        let began = Instant::now();
        let minutes = |minutes: u64| began + Duration::from_secs(60 * minutes);
        let server = |clock| Server { applied: 0, as_of: clock, clock };
        let servers = [minutes(5), minutes(10), minutes(15)].map(server).into_iter().collect();
        let far = Far { log: Log::new(), servers, leader: Some(0) };
        let (links, held) = Default::default();
        World { now: 0, began, far: Arc::new(Mutex::new(far)), links, held, feeds: 0 }
    }

    fn here(&self) -> Instant {
        self.began + Duration::from_millis(self.now)
    }

    fn happen(&mut self, event: Event) {
        self.now += event.wait;
        let Event { kind, a, b, .. } = event;
        let (link, query, server) = (a % LINKS, b % QUERIES, a % SERVERS);
        let nth_feed = self.links[link].streams.keys().copied().nth(b % self.links[link].streams.len().max(1));
        let feed = nth_feed.unwrap_or_default();
        match kind {
            0 | 1 => self.far.lock().unwrap().commit(query, self.now),
            2 => self.far.lock().unwrap().apply(server, b),
            3 => self.far.lock().unwrap().sync(server, b as Ms * 10, self.now),
            4 => self.far.lock().unwrap().depose(b as Ms * 20, self.now),
            5 => self.far.lock().unwrap().elect(server),
            6 => self.open(link, query),
            7 => self.let_go(link, query),
            8 | 9 => self.ping(link),
            10 => drop(take(&mut self.links[link].pings, b)),
            11 => drop(take(&mut self.links[link].echoes, b)),
            12 | 13 => self.answer_ping(link, b),
            14 | 15 => self.hear(link, b),
            16..=19 => _ = self.step(link, feed),
            20 | 21 => _ = self.deliver(link, feed),
            22 | 23 => _ = self.acknowledge(link, feed),
            _ if b % 8 == 0 => self.fail(link, feed),
            _ => {}
        }
    }

    fn open(&mut self, link: usize, query: usize) {
        let held = &mut self.held[query];
        if held.feeds[link].is_some() {
            return;
        }
        self.feeds += 1;
        held.feeds[link] = Some(self.feeds);
        self.links[link].ages.open(self.feeds, Arc::clone(&held.as_of));
        let stream = Stream { opens: [query].into(), ..Stream::default() };
        self.links[link].streams.insert(self.feeds, stream);
    }

    fn let_go(&mut self, link: usize, query: usize) {
        if let Some(feed) = self.held[query].feeds[link].take() {
            self.links[link].ages.close(feed);
            self.links[link].streams.get_mut(&feed).unwrap().let_go = true;
        }
    }

    fn ping(&mut self, link: usize) {
        let now = self.here();
        let ping = self.links[link].ages.ping(now);
        self.links[link].pings.push(ping);
    }

    fn answer_ping(&mut self, link: usize, which: usize) {
        let Some(ping) = take(&mut self.links[link].pings, which) else { return };
        let (age, seen) = {
            let far = self.far.lock().unwrap();
            let polls = self.links[link].standing.polls();
            let seen: HashMap<u64, Known> = polls.into_iter().map(|(feed, _)| (feed, far.read(link, POLLED))).collect();
            (far.age(link, self.now), seen)
        };
        let echo = self.links[link].standing.echo(ping, Some(age), &seen);
        self.links[link].echoes.push(echo);
    }

    fn hear(&mut self, link: usize, which: usize) {
        if let Some(echo) = take(&mut self.links[link].echoes, which) {
            self.links[link].ages.echo(&echo);
        }
    }

    /// The next step of a feed's task, if it has one to do.
    fn step(&mut self, link: usize, feed: u64) -> bool {
        let Link { standing, tasks, streams, .. } = &mut self.links[link];
        let Some(stream) = streams.get_mut(&feed) else { return false };
        if let Some(query) = stream.opens.pop_front() {
            assert!(standing.open(feed));
            tasks.insert(feed, Task { query, ..Task::default() });
            return true;
        }
        let Some(task) = tasks.get_mut(&feed) else { return false };
        if stream.let_go {
            standing.close(feed);
            tasks.remove(&feed);
            streams.remove(&feed);
            return true;
        }
        if task.retired || task.in_flight {
            return false;
        }
        let is_called = task.basis.as_ref().is_some_and(|basis| basis.called());
        let far = self.far.lock().unwrap();
        match task.next {
            None => {
                let is_first = task.reported.is_none();
                let polled_news = task.query == POLLED && task.news.notified().now_or_never().is_some();
                if !(is_first || polled_news || is_called) {
                    return false;
                }
                task.next = Some((far.servers[link].applied, None));
            }
            Some((from, None)) => task.next = Some((from, Some(far.read(link, task.query)))),
            Some((from, Some(read))) => {
                drop(far);
                task.next = None;
                let watched = Watched { far: Arc::clone(&self.far), server: link, query: task.query, from };
                let watched = Arc::new(watched);
                let basis = if task.query == POLLED {
                    let query = Arc::new(Identity::new(Read::Status(StatusRead::Leader), Principal::anonymous()));
                    FreshnessBasis::Polled(Arc::new(Poll { query, reported: read, news: Arc::clone(&task.news) }))
                } else {
                    task.basis = Some(Arc::clone(&watched));
                    FreshnessBasis::Called(watched)
                };
                if task.reported.replace(read) == Some(read) {
                    standing.settle(feed, basis);
                } else {
                    let (number, _) = standing.push(feed, basis);
                    stream.pushes.push_back((number, read));
                    task.in_flight = true;
                }
            }
        }
        true
    }

    /// A feed ends on the far side.
    fn fail(&mut self, link: usize, feed: u64) {
        let Link { tasks, streams, .. } = &mut self.links[link];
        if let (Some(task), Some(stream)) = (tasks.get_mut(&feed), streams.get_mut(&feed)) {
            task.retired = true;
            stream.ends = true;
        }
    }

    /// The follower gets the next message of a feed's stream.
    fn deliver(&mut self, link: usize, feed: u64) -> bool {
        let Some(stream) = self.links[link].streams.get_mut(&feed).filter(|stream| !stream.let_go) else { return false };
        let query = self.held.iter().position(|held| held.feeds[link] == Some(feed)).unwrap();
        let Some((number, came)) = stream.pushes.pop_front() else {
            if stream.ends {
                self.let_go(link, query);
                return true;
            }
            return false;
        };
        stream.took.push_back(number);
        let held = &mut self.held[query];
        // A lower index under the same cluster never replaces an answer.
        if held.answer.is_none_or(|answer| answer.index <= came.index) {
            held.answer = Some(came);
            self.links[link].ages.took(feed, number);
        }
        true
    }

    /// The far side hears that a push was taken.
    fn acknowledge(&mut self, link: usize, feed: u64) -> bool {
        let Link { tasks, streams, .. } = &mut self.links[link];
        let Some(took) = streams.get_mut(&feed).and_then(|stream| stream.took.pop_front()) else { return false };
        if let Some(task) = tasks.get_mut(&feed).filter(|_| took > 0) {
            task.in_flight = false;
        }
        true
    }

    /// The time at which the answer held to `query` was superseded; unset while it is the newest.
    fn superseded(&self, query: usize) -> Option<Ms> {
        let answer = self.held[query].answer?;
        let far = self.far.lock().unwrap();
        far.log.iter().skip(answer.index as usize).find(|(of, _)| *of == query).map(|(_, acked)| *acked)
    }

    /// No answer held is told to be younger than it is.
    fn check(&self) -> Result<(), TestCaseError> {
        for (query, held) in self.held.iter().enumerate() {
            let Some(as_of) = held.as_of.get() else { continue };
            prop_assert!(held.answer.is_some(), "an age of no answer");
            let reported = self.here().checked_duration_since(as_of);
            prop_assert!(reported.is_some(), "an answer of the future");
            let truth = self.superseded(query).map_or(0, |since| self.now - since);
            prop_assert!(
                reported >= Some(Duration::from_millis(truth)),
                "query {query}: told {reported:?}, and it is {truth} ms old"
            );
        }
        Ok(())
    }

    /// Delays end: all messages under way arrive at once.
    fn calm(&mut self) {
        for query in 0..QUERIES {
            if self.held[query].feeds.iter().all(Option::is_none) {
                self.open(query % LINKS, query);
            }
        }
        let mut is_moving = true;
        while is_moving {
            self.far.lock().unwrap().elect(SERVERS - 1);
            (0..SERVERS).for_each(|server| self.far.lock().unwrap().sync(server, 0, self.now));
            is_moving = false;
            for link in 0..LINKS {
                while !self.links[link].pings.is_empty() {
                    self.answer_ping(link, 0);
                }
                while !self.links[link].echoes.is_empty() {
                    self.hear(link, 0);
                }
                for feed in self.links[link].streams.keys().copied().collect::<Vec<_>>() {
                    is_moving |= self.step(link, feed) | self.deliver(link, feed) | self.acknowledge(link, feed);
                }
            }
        }
    }
}

fn take<T>(list: &mut Vec<T>, which: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(which % list.len()))
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![3 => Just(0), 6 => 1_u64..40, 1 => 100_u64..3_000];
    (wait, 0_u8..25, 0_usize..60, 0_usize..60).prop_map(|(wait, kind, a, b)| Event { wait, kind, a, b })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_told_younger_than_it_is(events in prop::collection::vec(event(), 1..400)) {
        let mut world = World::new();
        (0..QUERIES).for_each(|query| world.open(query % LINKS, query));
        for event in events {
            world.happen(event);
            world.check()?;
        }
        // And once delays end, two pings are enough.
        world.calm();
        let first = world.here();
        for _ in 0..2 {
            world.now += 500;
            (0..LINKS).for_each(|link| world.ping(link));
            world.calm();
            world.check()?;
        }
        for query in 0..QUERIES {
            prop_assert_eq!(world.superseded(query), None);
            let as_of = world.held[query].as_of.get();
            prop_assert!(as_of > Some(first), "query {} is as of {:?} before the end of the delays", query, as_of.map(|as_of| first - as_of));
        }
    }
}
