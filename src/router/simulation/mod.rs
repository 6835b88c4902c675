//! The router over simulated parts, in virtual time, with seeded faults. The router's own jitter is not seeded, so that a
//! seed repeats the faults and not each turn of them.

mod bridge;
mod chance;
mod cluster;
mod lan;
mod user;
mod world;

use crate::defaults::{HELD_REQUESTS_MAX, NEIGHBOURS_ASKS_MAX};
use crate::model::operation::{CatalogRead, Read};
use crate::model::query::testing::QueryOptions;
use crate::model::query::{CacheControl, Consistency};
use crate::shutdown::Shutdown;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};
use user::{Book, User, agents};
use world::{AGENTS, Condition, DATACENTERS, SERVERS, World};

const SEEDS: u64 = 150;
const QUESTIONS: usize = 12;
/// The faults are over by then: proposals, servers that hung, elections.
const CALM: Duration = Duration::from_secs(30);

/// A change reaches all agents by then, over feeds that poll and links that ping.
const SOON: Duration = Duration::from_secs(5);
/// The longest life of a world by its own clock, and by that of the machine, where it takes less than a second.
const LONGEST: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(300));

/// Strikes until dropped.
async fn strike(world: Arc<World>) {
    let chance = world.chance.clone();
    loop {
        chance.pause(100..1_500).await;
        let (dc, at) = (chance.below(2), chance.below(SERVERS));
        tokio::spawn(strike_once(Arc::clone(&world), dc, at, chance.below(9)));
    }
}

async fn strike_once(world: Arc<World>, dc: usize, at: usize, kind: usize) {
    let (server, cluster, chance) = (dc * AGENTS + at, &world.clusters[dc], &world.chance);
    let agent = &world.agents[server];
    match kind {
        0 => Arc::clone(cluster).elect(at).await,
        1 => {
            cluster.cut(at, true);
            Arc::clone(cluster).elect((at + 1) % SERVERS).await;
            chance.pause(0..4_000).await;
            cluster.cut(at, false);
        }
        2 => {
            agent.condition.set(Condition::Hung);
            chance.pause(300..5_000).await;
            agent.condition.set(Condition::Up);
        }
        3 => {
            agent.condition.set(Condition::Down);
            cluster.cut(at, true);
            chance.pause(300..5_000).await;
            cluster.restart(at);
            cluster.cut(at, false);
            agent.condition.set(Condition::Up);
        }
        4 => {
            agent.linked.set(false);
            chance.pause(300..6_000).await;
            agent.linked.set(true);
        }
        5 => {
            let all = &world.agents[dc * AGENTS..][..SERVERS];
            all.iter().for_each(|agent| agent.linked.set(false));
            chance.pause(300..4_000).await;
            all.iter().for_each(|agent| agent.linked.set(true));
        }
        6 => {
            agent.closed.set(true);
            chance.pause(300..3_000).await;
            agent.closed.set(false);
        }
        7 => {
            world.set_failed(dc, Some(server));
            chance.pause(300..5_000).await;
            world.set_failed(dc, None);
        }
        _ => {
            let two = [at, (at + 1) % SERVERS];
            two.iter().for_each(|at| cluster.cut(*at, true));
            chance.pause(1_000..9_000).await;
            two.iter().for_each(|at| cluster.cut(*at, false));
        }
    }
}

/// Every agent is answered again, with all that was acknowledged.
async fn ask_all(world: &Arc<World>, book: &Arc<Book>) {
    for agent in 0..2 * AGENTS {
        let user = User { world: Arc::clone(world), book: Arc::clone(book), agent };
        for dc in DATACENTERS {
            let options = QueryOptions { dc: Some(dc.to_owned()), ..QueryOptions::default() };
            if user.read(options.ask(Read::Catalog(CatalogRead::Nodes))).await.is_none() {
                world.wrong(format!("agent {agent} is not answered by {dc} once all is well"));
            }
        }
    }
}

/// Every parked reader, in any mode, gets a write soon.
async fn wake_all(world: &Arc<World>, book: &Arc<Book>, dc: usize) {
    let user = |agent| User { world: Arc::clone(world), book: Arc::clone(book), agent };
    let mut parked = Vec::new();
    for agent in 0..2 * AGENTS {
        for (consistency, cached) in [(Consistency::Default, false), (Consistency::Stale, false), (Consistency::Default, true)] {
            let cached = cached.then(CacheControl::default);
            let options = QueryOptions { dc: Some(DATACENTERS[dc].to_owned()), consistency, cached, ..QueryOptions::default() };
            let user = user(agent);
            parked.push(tokio::spawn(async move {
                let mut query = options.ask(Read::Catalog(CatalogRead::Nodes));
                query.freshness.min_index = user.read(query.clone()).await?;
                query.freshness.wait = Duration::from_secs(300);
                user.answer(query).await
            }));
        }
    }
    sleep(Duration::from_secs(20)).await;
    let Some(name) = user(dc * AGENTS).write(dc).await else {
        return world.wrong("a write fails once all is well".to_owned());
    };
    let written = Instant::now();
    for (at, parked) in parked.into_iter().enumerate() {
        let answer = parked.await.expect("a user fails no step");
        let has_name = answer.is_some_and(|answer| String::from_utf8_lossy(&answer.body).contains(&format!("\"{name}\"")));
        if !has_name || written.elapsed() > SOON {
            world.wrong(format!("reader {at} of dc {dc}, parked, is told {has_name} after {:?}", written.elapsed()));
        }
    }
}

/// No request is under way, and no reader waits.
fn check_free(world: &World) {
    for agent in 0..2 * AGENTS {
        let core = &world.router(agent).core;
        if core.holds.free() != HELD_REQUESTS_MAX || core.neighbours.free() != NEIGHBOURS_ASKS_MAX {
            world.wrong(format!("agent {agent} keeps places of those who left"));
        }
    }
    let watched: usize = world.clusters.iter().map(|cluster| cluster.watched()).sum();
    if (world.under_way(), watched) != (0, 0) {
        world.wrong(format!("{} messages are under way, and {watched} keys watched, for nobody", world.under_way()));
    }
}

/// One world with its faults; the promises that it saw broken.
async fn live(seed: u64, totals: &Book) -> Vec<String> {
    let shutdown = Shutdown::new();
    let world = World::new(seed, &shutdown);
    world.clusters.iter().for_each(|cluster| drop(tokio::spawn(Arc::clone(cluster).elect(0))));
    sleep(Duration::from_secs(4)).await;
    world.chance.set_rough(true);
    let book = Arc::<Book>::default();
    let striking = tokio::spawn(strike(Arc::clone(&world)));
    let user = |agent| User { world: Arc::clone(&world), book: Arc::clone(&book), agent };
    let users: Vec<_> = agents().map(|agent| tokio::spawn(user(agent).run(QUESTIONS))).collect();
    for user in users {
        user.await.expect("a user fails no step");
    }
    striking.abort();
    world.chance.set_rough(false);
    sleep(CALM).await;
    ask_all(&world, &book).await;
    wake_all(&world, &book, usize::from(seed % 2 == 1)).await;
    book.check(&world);
    let ended = shutdown.drain(CALM).await.and(world.feeding.drain(CALM).await);
    assert_eq!(ended, Ok(()), "tasks that did not end");
    check_free(&world);
    world.end();
    for (total, own) in [(&totals.answers, &book.answers), (&totals.faults, &book.faults)] {
        total.fetch_add(own.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    totals.slowest_millis.fetch_max(book.slowest_millis.load(Ordering::Relaxed), Ordering::Relaxed);
    for (way, times) in &*world.ways.lock().unwrap() {
        *totals.ways.lock().unwrap().entry(way.clone()).or_default() += times;
    }
    world.all_wrong()
}

/// Runs the worlds of these seeds on a thread of its own, and sends the broken promises of each.
fn live_each(seeds: Range<u64>, book: Arc<Book>) -> Receiver<Vec<String>> {
    let (sender, lives) = channel();
    std::thread::spawn(move || {
        for seed in seeds {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let endless = |_| vec![format!("it has no end within {:?} of its own time", LONGEST.0)];
            let lived = runtime.block_on(async { timeout(LONGEST.0, live(seed, &book)).await.unwrap_or_else(endless) });
            if sender.send(lived).is_err() {
                return;
            }
        }
    });
    lives
}

#[test]
fn every_request_keeps_its_promises_whatever_fails() {
    let (book, began) = (Arc::<Book>::default(), std::time::Instant::now());
    let only = std::env::var("KONTOR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    let (mut wrong, lives) = (Vec::new(), live_each(seeds.clone(), Arc::clone(&book)));
    for seed in seeds {
        // A world stands still where tasks never wait, or wait for an event that cannot come.
        let lived = lives.recv_timeout(LONGEST.1);
        let lived = lived.unwrap_or_else(|error| panic!("seed {seed} has no end: {error}; broken before: {wrong:#?}"));
        wrong.extend(lived.into_iter().map(|what| format!("seed {seed}: {what}")));
    }
    println!("{book:?} in {:?}", began.elapsed());
    // A client agent's request may go by a server, its neighbour and a server there to the leader there.
    let is_gone = |way: &str| book.ways.lock().unwrap().contains_key(way);
    let ways = ["L", "SL", "AXL", "SXL", "SAX", "SAXL"];
    assert!(only.is_some() || ways.into_iter().all(is_gone), "not all ways were gone: {book:?}");
    assert!(wrong.is_empty(), "{} promises broken:\n{}", wrong.len(), wrong.join("\n"));
}
