//! The messages between simulated datacenters, and the answers that are held of the other one.

use super::world::{Agent, World};
use crate::bridge::Datacenters;
use crate::cache::{Follow, Held};
use crate::clock;
use crate::defaults::{BRIDGE_PROGRESS_TIMEOUT, FEED_FIRST_TIMEOUT};
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use crate::model::federation::{DatacenterReport, Examination};
use crate::model::ids::ClusterId;
use crate::model::query::{Freshness, Identity, Query};
use crate::model::request::{Handler, Hops, Operation, Progress, Reply, Request, Source};
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, select};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The way from one server to the other datacenter.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub world: Arc<World>,
    pub from: usize,
    pub feeds: Arc<Mutex<HashMap<Arc<Identity>, Arc<Feed>>>>,
}

/// One answer that is held.
#[derive(Debug)]
pub(super) struct Feed {
    held: Mutex<Option<Held>>,
    changes: watch::Sender<u64>,
}

impl Feed {
    /// The answer with the greater index is the newer one, and either proves that it was so at its time.
    fn take(&self, answer: Arc<Answer>, as_of: Instant) -> Held {
        let mut held = self.held.lock().unwrap();
        let newer = match held.take() {
            Some(old) if old.answer.meta.index >= answer.meta.index => Held { as_of: old.as_of.max(as_of), ..old },
            _ => {
                self.changes.send_modify(|count| *count += 1);
                Held { answer, as_of }
            }
        };
        *held = Some(newer.clone());
        newer
    }
}

impl Link {
    fn is_named(&self, dc: &str) -> bool {
        dc == self.world.other_dc(self.from)
    }

    fn here(&self) -> &Agent {
        &self.world.agents[self.from]
    }

    async fn ask(&self, dc: &str, request: &Request) -> Result<Reply, Fault> {
        if !self.is_named(dc) {
            return Err(Fault::no_path(format!("no path to {dc}")));
        }
        if let Some(fault) = self.closed(dc) {
            return Err(fault);
        }
        if timeout(BRIDGE_PROGRESS_TIMEOUT, self.here().linked.until(true)).await.is_err() {
            return Err(Fault::unreachable("no link stands"));
        }
        let first = pin!(self.attempt(request));
        if matches!(request.operation, Operation::Write(_)) || !self.world.chance.strikes(4) {
            return first.await;
        }
        // A read that is late is asked on the standby too.
        match select(first, pin!(self.attempt(request))).await {
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
            Either::Left((reply, _)) | Either::Right((reply, _)) => reply,
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Reply, Fault> {
        let (world, chance) = (&self.world, &self.world.chance);
        chance.pause(5..40).await;
        let to = world.far_server(self.from);
        if world.is_down(to) || chance.strikes(40) {
            return Err(Fault::unreachable("the request was not sent"));
        }
        let lost = |why: &str| match request.operation {
            Operation::Write(_) => Fault::outcome_unknown(why),
            Operation::Read(_) => Fault::unreachable(why),
        };
        if chance.strikes(50) {
            sleep(BRIDGE_PROGRESS_TIMEOUT).await;
            return Err(lost("the request was lost"));
        }
        let (path, from_dc) = (world.hop(self.from, to, request, true), world.dc(self.from));
        if world.is_hung(to) && timeout(BRIDGE_PROGRESS_TIMEOUT, world.until_up(to)).await.is_err() {
            world.process_late(to, request, Some(from_dc), path);
            return Err(lost("the server hangs"));
        }
        let handled = world.router(to).handle(request.clone(), Some(from_dc), Progress::default());
        let reply = tokio::select! {
            reply = World::on_path(path, handled) => reply,
            () = world.break_off(to, BRIDGE_PROGRESS_TIMEOUT) => return Err(lost("the server went")),
            () = self.here().linked.until(false) => return Err(lost("the link broke")),
            () = self.here().closed.until(true) => return Err(lost("operators closed the link")),
        };
        chance.pause(5..40).await;
        if chance.strikes(50) {
            return Err(lost("the reply was lost"));
        }
        reply
    }

    /// Keeps an answer up to date while the link stands.
    async fn follow(self, query: Arc<Identity>, feed: Arc<Feed>) {
        loop {
            self.here().linked.until(true).await;
            let to = self.world.far_server(self.from);
            while self.here().linked.is(true) && !self.world.is_hung(to) && !self.world.is_down(to) {
                if !self.push(to, &query, &feed).await {
                    break;
                }
            }
            self.world.chance.pause(50..300).await;
        }
    }

    async fn push(&self, to: usize, query: &Identity, feed: &Feed) -> bool {
        let (asked, chance) = (clock::now(), &self.world.chance);
        chance.pause(5..40).await;
        let source = self.world.router(to);
        let (Some(age), Some(interest)) = (source.age(), source.watch(query)) else { return false };
        let Ok(answer) = source.read(query) else { return false };
        chance.pause(5..40).await;
        let as_of = asked.checked_sub(age);
        if let Some(as_of) = as_of.filter(|_| self.here().linked.is(true) && !chance.strikes(10)) {
            feed.take(Arc::new(answer), as_of);
        }
        tokio::select! {
            () = interest.changed() => {}
            () = sleep(Duration::from_millis(500)) => {}
        }
        true
    }
}

impl Datacenters for Link {
    fn call<'a>(&'a self, dc: &'a str, request: &'a Request, patience: Duration) -> BoxFuture<'a, Result<Reply, Fault>> {
        Box::pin(async move {
            let _under_way = self.world.enter();
            match timeout(patience, self.ask(dc, request)).await {
                Ok(reply) => reply,
                Err(_elapsed) if matches!(request.operation, Operation::Write(_)) => {
                    Err(Fault::outcome_unknown("no answer in time"))
                }
                Err(_elapsed) => Err(Fault::unreachable("no answer in time")),
            }
        })
    }

    fn has_way<'a>(&'a self, dc: &'a str, until: Instant) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.is_named(dc) && timeout_at(until, self.here().linked.until(true)).await.is_ok() })
    }

    fn follow(&self, dc: &str, query: &Arc<Identity>) -> Box<dyn Follow> {
        assert!(self.is_named(dc), "nobody follows {dc}");
        let new = || Arc::new(Feed { held: Mutex::default(), changes: watch::Sender::default() });
        let mut feeds = self.feeds.lock().unwrap();
        let feed = feeds.entry(query.clone()).or_insert_with(|| {
            let feed = new();
            let follow = self.clone().follow(query.clone(), Arc::clone(&feed));
            self.world.feeding.spawn_until("feed", follow);
            feed
        });
        Box::new(SimulatedFollow { link: self.clone(), query: query.clone(), feed: Arc::clone(feed) })
    }

    fn closed(&self, _dc: &str) -> Option<Fault> {
        self.here().closed.is(true).then(|| Fault::no_path("disabled"))
    }

    fn until_closed<'a>(&'a self, _dc: &'a str) -> BoxFuture<'a, Fault> {
        Box::pin(async {
            self.here().closed.until(true).await;
            Fault::no_path("disabled")
        })
    }

    fn names(&self) -> Vec<String> {
        Some(self.world.other_dc(self.from).to_owned()).filter(|dc| self.closed(dc).is_none()).into_iter().collect()
    }

    fn knows(&self, dc: &str) -> bool {
        self.is_named(dc)
    }

    fn cluster_of(&self, _dc: &str) -> Option<ClusterId> {
        None
    }

    fn rtt(&self, _dc: &str) -> Option<Duration> {
        self.here().linked.is(true).then_some(Duration::from_millis(40))
    }

    fn report(&self) -> Vec<DatacenterReport> {
        Vec::new()
    }

    fn examine<'a>(&'a self, _dc: &'a str) -> BoxFuture<'a, Result<Examination, Fault>> {
        Box::pin(async { Err(Fault::failed("nobody looks for faults")) })
    }

    fn dial_back<'a>(&'a self, _dc: &'a str) -> BoxFuture<'a, Result<Bytes, Fault>> {
        Box::pin(async { Err(Fault::failed("nobody dials")) })
    }
}

struct SimulatedFollow {
    link: Link,
    query: Arc<Identity>,
    feed: Arc<Feed>,
}

impl Follow for SimulatedFollow {
    fn held(&self) -> Option<Held> {
        self.feed.held.lock().unwrap().clone()
    }

    fn first(&self) -> BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(async {
            let mut changes = self.feed.changes.subscribe();
            let held = async {
                loop {
                    changes.mark_unchanged();
                    if let Some(held) = self.held() {
                        return held;
                    }
                    let _news = changes.changed().await;
                }
            };
            let cut_off = async {
                while timeout(BRIDGE_PROGRESS_TIMEOUT, self.link.here().linked.until(true)).await.is_ok() {
                    self.link.here().linked.until(false).await;
                }
            };
            tokio::select! {
                held = held => Ok(held),
                fault = self.link.until_closed("") => Err(fault),
                () = cut_off => Err(Fault::unreachable("no link stands")),
                () = sleep(FEED_FIRST_TIMEOUT) => Err(Fault::unreachable("no first answer came in time")),
            }
        })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<Held, Fault>> {
        Box::pin(async {
            let asked = clock::now();
            let query = Query::of(Arc::clone(&self.query), Freshness::default());
            let request = Request { operation: Operation::Read(query), hops: Hops { crossed: true, ..Hops::default() } };
            let dc = self.link.world.other_dc(self.link.from);
            let answer = self.link.call(dc, &request, FEED_FIRST_TIMEOUT).await?.answer()?;
            Ok(self.feed.take(Arc::new(answer), asked))
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.feed.changes.subscribe()
    }
}
