//! A far server that is cut off from its own datacenter, and another that is not.

use super::tests_far::*;
use crate::bridge::Datacenters;
use crate::bridge::answers::Bounds;
use crate::bridge::link::Link;
use crate::cache::Follow;
use crate::model::answer::Answer;
use crate::model::command::Deregister;
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::{CatalogWrite, Write};
use crate::model::principal::Principal;
use crate::model::query::{Freshness, Query};
use crate::model::request::{Hops, Operation, Reply, Request, WriteRequest};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Two far servers; the first is the one that is asked first.
async fn two() -> (Near, Far, Far) {
    let (near, [one, two]) = Near::with(["s1", "s2"], Bounds::default()).await;
    let first = near.links()[0].server.addr;
    if first == one.remote.addr { (near, one, two) } else { (near, two, one) }
}

impl Near {
    fn links(&self) -> Arc<Vec<Arc<Link>>> {
        self.bridge.links.of("dc2").unwrap().links()
    }
}

fn write() -> Request {
    let write = Write::Catalog(CatalogWrite::Deregister(Deregister::default()));
    let request = WriteRequest { dc: Some("dc2".to_owned()), principal: Principal::anonymous(), write };
    Request { operation: Operation::Write(request), hops: Hops { crossed: true, ..Hops::default() } }
}

fn set_age(far: &Far, seconds: u64) {
    *far.shared.echoes.lock().unwrap() = Some(Duration::from_secs(seconds));
}

fn replies(far: &Far, reply: Result<Answer, Fault>) {
    *far.shared.reply.lock().unwrap() = reply;
}

#[tokio::test]
async fn the_other_is_asked_first_and_feeds_move_to_it() {
    let (near, mut cut, mut other) = two().await;
    let (followed, first, mut fed) = near.asked(&mut cut, "n").await;
    fed.push(7, Some("old")).await;
    assert_eq!(body(&first.await.unwrap().unwrap()), "old");

    set_age(&cut, 60);
    eventually("the one that is cut off is asked first", || near.links()[0].server.addr == other.remote.addr).await;
    let mut moved = other.fed().await;
    assert_eq!(moved.open.known.map(|known| known.index), Some(7), "nothing is sent twice");
    moved.push(8, Some("new")).await;
    eventually("no news", || followed.held().is_some_and(|held| body(&held) == "new")).await;

    // A feed that has moved stays when both are as good.
    set_age(&cut, 0);
    eventually("it counts as cut off", || near.links().iter().all(|link| !link.is_behind())).await;
    moved.push(9, Some("newer")).await;
    eventually("no news", || followed.held().is_some_and(|held| body(&held) == "newer")).await;
}

#[tokio::test]
async fn a_write_that_was_held_in_vain_is_done_by_the_other_and_one_that_may_be_done_is_not() {
    let (near, cut, other) = two().await;
    replies(&other, Ok(answer(7, "done")));
    let Reply::Answer(done) = near.bridge.call("dc2", &write(), LONG).await.unwrap() else { panic!("a write is answered") };
    assert_eq!((&done.body[..], cut.shared.asked.load(Ordering::SeqCst)), (&b"done"[..], 1));

    // So is a watch that was parked there.
    let watch = Query::of(query("n"), Freshness { min_index: 5, ..Freshness::STALE });
    let watch = Request { operation: Operation::Read(watch), hops: Hops::default() };
    let Reply::Answer(seen) = near.bridge.call("dc2", &watch, LONG).await.unwrap() else { panic!("a read is answered") };
    assert_eq!((&seen.body[..], cut.shared.asked.load(Ordering::SeqCst)), (&b"done"[..], 2));

    for kind in [FaultKind::OutcomeUnknown, FaultKind::Failed] {
        replies(&cut, Err(Fault::new(kind, "as it is")));
        let before = other.shared.asked.load(Ordering::SeqCst);
        assert_eq!(near.bridge.call("dc2", &write(), LONG).await.unwrap_err().kind, kind);
        assert_eq!(other.shared.asked.load(Ordering::SeqCst), before);
    }

    // Nobody is made to wait a second time for a server that is cut off too.
    replies(&cut, Err(Fault::no_leader()));
    set_age(&other, 60);
    eventually("it does not count as cut off", || near.links().iter().any(|link| link.is_behind())).await;
    let before = other.shared.asked.load(Ordering::SeqCst);
    assert_eq!(near.bridge.call("dc2", &write(), LONG).await.unwrap_err().kind, FaultKind::NoLeader);
    assert_eq!(other.shared.asked.load(Ordering::SeqCst), before);
}
