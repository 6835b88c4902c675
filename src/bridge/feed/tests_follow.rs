//! Following: the answers of feeds, how they are held, and the failures of the far side.

use super::message::{Echo, Known, Push, fingerprint};
use super::tests_far::*;
use crate::bridge::answers::Bounds;
use crate::bridge::frame::{self, Frame, Kind};
use crate::bridge::{Admission, Datacenters};
use crate::cache::Follow;
use crate::defaults;
use crate::model::answer::{AnswerMeta, DatacenterPart};
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use crate::model::query::{Freshness, Query};
use crate::model::request::{Hops, Operation, Reply, Request};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

#[tokio::test]
async fn every_reader_is_served_by_one_feed_and_every_change_comes() {
    let (near, mut far, followed, mut fed) = standing().await;
    let mut changes = followed.changes();
    let before = *changes.borrow_and_update();
    fed.push(11, Some("b")).await;
    changes.wait_for(|count| *count > before).await.unwrap();
    let held = near.follow("n").held().unwrap();
    assert_eq!((body(&held).as_str(), held.answer.meta.index), ("b", 11));
    // The same body at another index.
    fed.push(12, None).await;
    let held = near.follow("n").held().unwrap();
    assert_eq!((body(&held).as_str(), held.answer.meta.index), ("b", 12));
    assert!(far.feeds.try_recv().is_err(), "a second feed for the same query");
    let other = near.follow("other");
    let waiting = first(&other);
    assert_eq!(far.fed().await.open.query, query("other"));
    drop(waiting);
    let report = near.answers.report("dc2");
    assert_eq!((report.standing, report.held), (2, 1));
    assert!(report.bytes > 0 && report.oldest.is_some());
}

#[tokio::test]
async fn thousands_who_watch_are_woken_by_one_push() {
    let (near, mut far, _followed, mut fed) = standing().await;
    let parked: Vec<_> = (0..5_000)
        .map(|_| {
            // As the router does: nothing but the receiver is kept while parked.
            let mut changes = near.follow("n").changes();
            changes.mark_unchanged();
            tokio::spawn(async move { changes.changed().await.is_ok() })
        })
        .collect();
    fed.push(11, Some("b")).await;
    for one in parked {
        assert!(tokio::time::timeout(LONG, one).await.unwrap().unwrap());
    }
    assert!(far.feeds.try_recv().is_err(), "a second feed for the same query");
}

#[tokio::test]
async fn a_lower_index_never_replaces_and_its_echoes_say_nothing() {
    let (_near, _far, followed, mut fed) = standing().await;
    let before = followed.held().unwrap();
    // As of the last echo at the latest that came before the push was made.
    fed.push(9, Some("old")).await;
    let refused = followed.held().unwrap();
    assert_eq!((body(&refused).as_str(), refused.answer.meta.index), ("a", 10));
    let limit = Instant::now();
    tokio::time::sleep(defaults::BRIDGE_PING_INTERVAL * 3).await;
    let held = followed.held().unwrap();
    assert_eq!(body(&held), "a");
    assert!(held.as_of >= before.as_of && held.as_of <= limit && followed.is_standing());
    fed.push(10, Some("a")).await;
    until(&followed, |held| held.as_of > limit).await;
}

#[tokio::test]
async fn the_age_is_counted_from_echoes() {
    let (_near, far, followed, _fed) = standing().await;
    let first = followed.held().unwrap();
    let later = until(&followed, |held| held.as_of > first.as_of && followed.is_standing()).await;
    assert!(later.as_of <= Instant::now());
    // A server that lags by an hour says so, and nothing is known to be newer.
    *far.shared.echoes.lock().unwrap() = Some(Duration::from_secs(3600));
    tokio::time::sleep(defaults::BRIDGE_PING_INTERVAL * 2).await;
    let lagging = followed.held().unwrap().as_of;
    tokio::time::sleep(defaults::BRIDGE_PING_INTERVAL * 3).await;
    assert_eq!(followed.held().unwrap().as_of, lagging);
}

#[tokio::test]
async fn a_broken_link_moves_the_feed_with_what_is_known() {
    let (near, [mut one, mut two]) = Near::with(["s2", "s3"], Bounds::default()).await;
    let followed = near.follow("n");
    let waiting = first(&followed);
    let (mut fed, live, other) = fed_first(&mut one, &mut two).await;
    fed.push(10, Some("a")).await;
    waiting.await.unwrap().unwrap();
    let mut changes = followed.changes();
    changes.mark_unchanged();
    live.hang_up();
    let mut fed = other.fed().await;
    let known = Known { cluster: CLUSTER, index: 10, hash: fingerprint(true, b"a") };
    assert_eq!(fed.open.known, Some(known));
    assert_eq!(body(&followed.held().unwrap()), "a", "no read fails meanwhile");
    fed.push(11, Some("b")).await;
    changes.changed().await.unwrap();
    assert_eq!(body(&until(&followed, |_| followed.is_standing()).await), "b");
}

#[tokio::test]
async fn another_cluster_replaces_everything_and_wakes() {
    let (_near, mut far, followed, mut fed) = standing().await;
    let mut changes = followed.changes();
    let other = ClusterId(Uuid::from_u128(2));
    // Not on a stream that vouches for the first: the feed is opened anew.
    fed.push_of(other, 3, Some("other")).await;
    fed.is_over().await;
    let mut fed = far.fed().await;
    changes.mark_unchanged();
    let before = Instant::now();
    fed.push_of(other, 3, Some("other")).await;
    assert_eq!(fed.took().await, Some(1));
    changes.changed().await.unwrap();
    let held = followed.held().unwrap();
    assert_eq!((body(&held).as_str(), held.answer.meta.index), ("other", 3));
    assert!(held.as_of <= before);
}

#[tokio::test]
async fn what_is_held_grows_old_when_the_link_is_cut() {
    let (near, far, followed, _fed) = standing().await;
    near.knows(std::iter::empty());
    far.hang_up();
    let held = until(&followed, |_| !followed.is_standing()).await;
    tokio::time::sleep(defaults::BRIDGE_PING_INTERVAL * 2).await;
    let later = followed.held().unwrap();
    assert_eq!((body(&later).as_str(), later.as_of), ("a", held.as_of));
    assert_eq!(body(&followed.first().await.unwrap()), "a");
    let fault = followed.refresh().await.unwrap_err();
    let reason = fault.reason.unwrap();
    assert!(reason.contains("; the best known answer is ") && reason.ends_with(" s old"), "{reason}");
}

#[tokio::test]
async fn what_is_held_of_a_closed_datacenter_is_forgotten_and_who_is_parked_on_it_is_woken() {
    let (near, _far, followed, _fed) = standing().await;
    let mut changes = followed.changes();
    changes.mark_unchanged();
    near.admission.send_replace(Arc::new(Admission { disabled: ["dc2".to_owned()].into(), ..Admission::default() }));
    tokio::time::timeout(LONG, changes.changed()).await.unwrap().unwrap();
    assert!(near.bridge.closed("dc2").is_some(), "whoever looks then is told");
    eventually("answers are kept", || near.answers.report("dc2").held == 0).await;
    let fault = near.follow("n").first().await.unwrap_err();
    assert_eq!((fault.kind, fault.reason.as_deref()), (FaultKind::NoPath, Some("disabled")));
    near.admission.send_replace(Arc::default());
    assert!(near.follow("n").held().is_none(), "what is let in again starts with nothing");
}

#[tokio::test]
async fn a_server_that_hangs_loses_its_link() {
    let (near, far, followed, fed) = standing().await;
    far.shared.mute.store(true, Ordering::SeqCst);
    let closed = tokio::time::timeout(LONG, fed.connection.closed()).await.unwrap();
    assert!(matches!(&closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == frame::SILENT), "{closed}");
    assert_eq!(body(&followed.held().unwrap()), "a");
    far.shared.mute.store(false, Ordering::SeqCst);
    drop(near);
}

#[tokio::test]
async fn an_unused_feed_ends_and_the_next_use_opens_it_with_what_is_known() {
    let bounds = Bounds { idle: Duration::from_millis(300), ..Bounds::default() };
    let (near, mut far, followed, mut fed) = standing_under(bounds).await;
    // A reader that waits keeps it standing.
    let changes = followed.changes();
    tokio::time::sleep(Duration::from_millis(900)).await;
    fed.push(11, Some("b")).await;
    drop(changes);
    fed.is_over().await;
    assert_eq!(near.answers.report("dc2").held, 1);
    let waiting = first(&followed);
    let mut fed = far.fed().await;
    assert_eq!(fed.open.known.unwrap().index, 11);
    fed.push(11, None).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), "b");
}

#[tokio::test]
async fn only_so_many_feeds_stand_and_a_watched_one_is_the_last_to_go() {
    let (near, [mut far]) = Near::with(["s2"], Bounds { standing: 16, ..Bounds::default() }).await;
    let watched = near.follow("watched");
    let _changes = watched.changes();
    let mut kept = far.fed().await;
    kept.push(1, Some("w")).await;
    let mut others = Vec::new();
    for i in 0..100 {
        let (_followed, waiting, mut fed) = near.asked(&mut far, &format!("n{i}")).await;
        fed.push(1, Some("x")).await;
        others.push(fed);
        waiting.await.unwrap().unwrap();
        assert!(near.answers.report("dc2").standing <= 16);
    }
    kept.push(2, Some("still")).await;
    assert_eq!(body(&watched.held().unwrap()), "still");
}

#[tokio::test]
async fn what_is_held_is_bounded_in_bytes() {
    let bytes = 40 * u64::from(defaults::FEED_OVERHEAD);
    let near = Near::start(bytes, Bounds::default()).await;
    let mut far = Far::start("s2", &near.pin).await;
    near.knows(std::iter::once(&far));
    let mut all = Vec::new();
    for i in 0..100 {
        let (_followed, waiting, mut fed) = near.asked(&mut far, &format!("n{i}")).await;
        // A feed that falls out of the cache at once may end before it has acknowledged the push.
        fed.push_of(CLUSTER, 1, Some(&"x".repeat(defaults::FEED_OVERHEAD as usize))).await;
        all.push(fed);
        waiting.await.unwrap().unwrap();
    }
    // A feed that fell out of the cache ends by itself.
    eventually("too many feeds are kept", || {
        let report = near.answers.report("dc2");
        let _maintained = near.follow("n0").held();
        report.bytes <= bytes && report.standing as u64 <= bytes / u64::from(defaults::FEED_OVERHEAD)
    })
    .await;
}

#[tokio::test]
async fn who_watches_what_is_not_held_any_more_hears_of_news_and_no_body_is_kept_for_it() {
    let near = Near::start(4 * u64::from(defaults::FEED_OVERHEAD), Bounds::default()).await;
    let mut far = Far::start("s2", &near.pin).await;
    near.knows(std::iter::once(&far));
    eventually("dc2 is unknown", || near.bridge.links.of("dc2").is_ok()).await;
    let followed = near.follow("n");
    let mut changes = followed.changes();
    let mut fed = far.fed().await;
    let large = "x".repeat(10 * defaults::FEED_OVERHEAD as usize);
    fed.push(10, Some(&large)).await;
    eventually("it is larger than the whole cache", || {
        (0..200).for_each(|i| _ = near.follow(&format!("aside{i}")));
        followed.kept_bytes() == 0
    })
    .await;
    let before = *changes.borrow_and_update();
    let larger = format!("{large}{large}");
    fed.push(11, Some(&larger)).await;
    changes.wait_for(|count| *count > before).await.unwrap();
    // The same body at another index needs no body.
    fed.push(12, None).await;
    assert_eq!(followed.kept_bytes(), 0);
    // A reader that has found it before asks for it, and one that looks now has a feed of its own.
    *far.shared.reply.lock().unwrap() = Ok(answer(12, "asked for"));
    assert_eq!(body(&followed.first().await.unwrap()), "asked for");
    let again = near.follow("n");
    let waiting = first(&again);
    let mut other = far.fed().await;
    assert_eq!(other.open.known, None);
    other.push_of(CLUSTER, 12, Some(&larger)).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), larger);
}

#[tokio::test]
async fn a_push_brings_nothing_that_the_cache_does_not_count() {
    let (_near, _far, followed, mut fed) = standing().await;
    let part = DatacenterPart { name: "x".repeat(1_000), ..DatacenterPart::default() };
    fed.number += 1;
    let meta = AnswerMeta { datacenters: Some(vec![part; 1_000].into()), ..meta(CLUSTER, 11) };
    let push = Push { number: fed.number, meta, body: Some("b".into()) };
    fed.send(&Frame::of(Kind::Push, &push).unwrap()).await;
    let held = until(&followed, |held| held.answer.meta.index == 11).await;
    assert_eq!((body(&held).as_str(), &held.answer.meta.datacenters), ("b", &None));
}

#[tokio::test]
async fn a_refresh_is_one_question_for_all_who_wait_and_is_held() {
    let (_near, far, followed, mut fed) = standing().await;
    *far.shared.reply.lock().unwrap() = Ok(answer(12, "fresh"));
    let asked = Instant::now();
    let all: Vec<_> = (0..50)
        .map(|_| {
            let followed = followed.clone();
            tokio::spawn(async move { followed.refresh().await })
        })
        .collect();
    for one in all {
        let held = one.await.unwrap().unwrap();
        assert_eq!(body(&held), "fresh");
        assert!(held.as_of >= asked);
    }
    // A question that was under way when the others came does not count for them.
    assert!(far.shared.asked.load(Ordering::SeqCst) <= 2);
    assert_eq!(body(&followed.held().unwrap()), "fresh");
    // The feed is behind the leader's answer, and does not take it back.
    fed.push(11, Some("b")).await;
    assert_eq!(body(&followed.held().unwrap()), "fresh");
    fed.push(12, Some("fresh")).await;
    until(&followed, |held| held.as_of > asked && followed.is_standing()).await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_fed_is_asked_for_each_time() {
    let (near, [mut far]) = Near::with(["s2"], Bounds::default()).await;
    *far.shared.reply.lock().unwrap() = Ok(answer(5, "asked"));
    let (followed, waiting, mut fed) = near.asked(&mut far, "n").await;
    let fault = Frame::of(Kind::Fault, &Fault::failed("too large to be fed")).unwrap();
    fed.send(&fault).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), "asked");
    assert!(followed.is_unfed() && followed.held().is_none());
    assert_eq!(body(&followed.first().await.unwrap()), "asked");
    assert!(far.feeds.try_recv().is_err(), "no feed is tried for a while");
    // Without a server to ask, the last answer goes on.
    near.knows(std::iter::empty());
    far.hang_up();
    assert_eq!(body(&followed.first().await.unwrap()), "asked");
}

#[tokio::test]
async fn a_server_without_a_view_or_room_is_passed_over_for_the_other() {
    for fault in [Fault::no_leader(), Fault::new(FaultKind::Busy, "full")] {
        let (near, [mut one, mut two]) = Near::with(["s2", "s3"], Bounds::default()).await;
        let waiting = first(&near.follow("n"));
        let (mut fed, _asked, other) = fed_first(&mut one, &mut two).await;
        fed.send(&Frame::of(Kind::Fault, &fault).unwrap()).await;
        other.fed().await.push(10, Some("a")).await;
        assert_eq!(body(&waiting.await.unwrap().unwrap()), "a");
    }
}

#[tokio::test]
async fn what_nobody_has_room_to_feed_is_asked_for_each_time() {
    let (near, [mut far]) = Near::with(["s2"], Bounds::default()).await;
    *far.shared.reply.lock().unwrap() = Ok(answer(5, "asked"));
    let busy = Frame::of(Kind::Fault, &Fault::new(FaultKind::Busy, "full")).unwrap();
    // Kept: a stream that is dropped is reset, and its bytes may be lost.
    let (followed, waiting, mut once) = near.asked(&mut far, "n").await;
    once.send(&busy).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), "asked");
    let mut again = far.fed().await;
    again.send(&busy).await;
    eventually("it is fed", || followed.is_unfed()).await;
    // The answer to a question does not grow old in place of a feed.
    assert!(followed.held().is_none());
    *far.shared.reply.lock().unwrap() = Ok(answer(6, "asked again"));
    assert_eq!(body(&followed.first().await.unwrap()), "asked again");
    assert!(far.feeds.try_recv().is_err(), "it is not tried again and again");
}

/// As in a datacenter that has just elected its leader: a question is held there until there is a view.
#[tokio::test]
async fn what_nobody_has_a_view_of_yet_is_asked_for() {
    let (near, [mut far]) = Near::with(["s2"], Bounds::default()).await;
    *far.shared.reply.lock().unwrap() = Ok(answer(5, "asked"));
    let (followed, waiting, mut without) = near.asked(&mut far, "n").await;
    without.send(&Frame::of(Kind::Fault, &Fault::no_leader()).unwrap()).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), "asked");
    far.fed().await.push(6, Some("fed")).await;
    eventually_so("it is not fed", async || body(&followed.first().await.unwrap()) == "fed").await;
}

#[tokio::test]
async fn a_push_that_comes_slowly_is_whole() {
    let (_near, _far, followed, mut fed) = standing().await;
    let push = Push { number: 2, meta: meta(CLUSTER, 11), body: Some(Bytes::from_static(&[b'b'; 1_000])) };
    let payload: &'static [u8] = rmp_serde::to_vec_named(&push).unwrap().leak();
    let (half, rest) = payload.split_at(payload.len() / 2);
    fed.send(&Frame::cut(Kind::Push, payload.len() as u32, half)).await;
    tokio::time::sleep(defaults::BRIDGE_PROGRESS_TIMEOUT + Duration::from_millis(300)).await;
    fed.outgoing.raw(rest).await;
    assert_eq!(fed.took().await, Some(2));
    assert_eq!(followed.held().unwrap().answer.meta.index, 11);
}

#[tokio::test]
async fn thousands_of_feeds_that_are_opened_leave_streams_for_requests() {
    let (near, [far]) = Near::with(["s2"], Bounds::default()).await;
    *far.shared.reply.lock().unwrap() = Ok(answer(5, "asked"));
    let many: Vec<_> = (0..defaults::BRIDGE_MAX_STREAMS + 100).map(|i| near.follow(&i.to_string())).collect();
    // The far side opens its feeds and says no more.
    assert!(many.iter().all(|followed| followed.held().is_none()));
    eventually("no feed is opened", || !far.feeds.is_empty()).await;
    let request = Request { operation: Operation::Read(Query::of(query("n"), Freshness::STALE)), hops: Hops::default() };
    // On a busy machine a call may be given up for lack of progress; without a stream all would.
    let mut reply = Err(Fault::no_leader());
    eventually_so("no request is answered", async || {
        reply = near.bridge.call("dc2", &request, LONG).await;
        reply.is_ok()
    })
    .await;
    assert_eq!(reply, Ok(Reply::Answer(answer(5, "asked"))));
}

#[tokio::test]
async fn a_late_first_answer_is_asked_of_the_standby_too() {
    let (near, [mut one, mut two]) = Near::with(["s2", "s3"], Bounds::default()).await;
    let waiting = first(&near.follow("n"));
    let (mut slow, _asked, other) = fed_first(&mut one, &mut two).await;
    other.fed().await.push(10, Some("a")).await;
    assert_eq!(body(&waiting.await.unwrap().unwrap()), "a");
    slow.is_over().await;
}

#[tokio::test]
async fn nobody_to_ask_is_said_at_once() {
    let (near, _fars) = Near::with([], Bounds::default()).await;
    let fault = near.follow("n").first().await.unwrap_err();
    assert_eq!((fault.kind, fault.reason.as_deref()), (FaultKind::NoPath, Some("never-joined")));
    assert_eq!(near.answers.report("dc2"), Default::default());
}

#[tokio::test]
async fn who_watches_is_woken_when_the_datacenter_goes() {
    let (near, _far, followed, _fed) = standing().await;
    let mut changes = followed.changes();
    changes.mark_unchanged();
    near.knows(std::iter::empty());
    tokio::time::timeout(LONG, changes.changed()).await.unwrap().unwrap();
    assert_eq!(body(&followed.held().unwrap()), "a");
}

#[tokio::test]
async fn whoever_breaks_the_rules_loses_the_link() {
    fn raw(bytes: &[u8]) -> Frame {
        Frame::new(Kind::Push, Bytes::copy_from_slice(bytes)).unwrap()
    }
    let push = |number, body: Option<&str>| {
        let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
        Frame::of(Kind::Push, &Push { number, meta: meta(CLUSTER, 11), body }).unwrap()
    };
    for (frame, why) in [
        (raw(b"\xc1\xc1\xc1"), "cannot be read"),
        (push(3, Some("b")), "push 3 of a feed came where 2 was due"),
        (push(1, Some("b")), "push 1 of a feed came where 2 was due"),
        (Frame::bare(Kind::Working), "expected a push, got a Working"),
    ] {
        let (_near, _far, followed, mut fed) = standing().await;
        fed.send(&frame).await;
        let reason = fed.link_is_closed().await;
        assert!(reason.contains(why), "{reason}");
        assert_eq!(body(&followed.held().unwrap()), "a");
    }
    // The first push must have a body when nothing is known.
    let (near, [mut far]) = Near::with(["s2"], Bounds::default()).await;
    let waiting = first(&near.follow("n"));
    let mut fed = far.fed().await;
    fed.send(&push(1, None)).await;
    assert!(fed.link_is_closed().await.contains("no body"));
    let fault = waiting.await.unwrap().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_none() {
    let (near, [mut far]) = Near::with(["s2"], Bounds::default()).await;
    let (followed, waiting, mut fed) = near.asked(&mut far, "n").await;
    fed.send(&Frame::cut(Kind::Push, 80, b"half an answer")).await;
    fed.outgoing.finish().unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind, FaultKind::Unreachable);
    assert!(followed.held().is_none());
}

#[tokio::test]
async fn garbage_for_an_echo_and_pushes_without_end_lose_the_link() {
    let (_near, far, followed, fed) = standing().await;
    *far.shared.garbage.lock().unwrap() = Some(b"\xc1".to_vec());
    assert!(fed.link_is_closed().await.contains("its heartbeat"));
    assert_eq!(body(&followed.held().unwrap()), "a");

    let (_near, far, _followed, fed) = standing().await;
    let stray = Echo { number: 1 << 40, ..Echo::default() };
    *far.shared.garbage.lock().unwrap() = Some(rmp_serde::to_vec_named(&stray).unwrap());
    assert!(fed.link_is_closed().await.contains("answers no ping"));

    let (_near, _far, followed, mut fed) = standing().await;
    for i in 0..10_000 {
        fed.push_of(CLUSTER, 11 + i, Some("flood")).await;
        if fed.connection.close_reason().is_some() {
            break;
        }
    }
    assert!(fed.link_is_closed().await.contains("within a second"));
    assert!(followed.held().is_some());
}
