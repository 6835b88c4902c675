//! The pushing side: its pushes, its echoes, and its defence against peers that break the rules.

use super::super::frame::{self, Frame, Kind, read_header};
use super::message::{Echo, Known, Open, Ping, fingerprint};
use super::tests_room::{LONG, Near, Room, cluster, eventually_so, query};
use crate::defaults;
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::testing::QueryOptions;
use bytes::Bytes;
use quinn::VarInt;
use std::time::{Duration, Instant};

/// A bridge that pushes the answer to `web`, and a link to it.
async fn web(answer: (u64, &str)) -> (Room, Near) {
    let room = Room::new().await;
    room.shelf.put("web", Ok(answer));
    let link = room.link().await;
    (room, link)
}

fn text(body: &str) -> Option<String> {
    Some(body.to_owned())
}

#[tokio::test]
async fn each_change_is_pushed_and_a_body_only_once() {
    let (room, link) = web((5, "one")).await;
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
    let (room, link) = web((5, "one")).await;
    let known = Known { cluster: cluster(1), index: 3, hash: fingerprint(true, b"one") };
    let mut feed = link.open(1, "web", Some(known)).await;
    assert_eq!(feed.next().await, (1, 5, None));
    // Only the last push counts: the follower may hold nothing older any more.
    room.shelf.put("web", Ok((6, "two")));
    assert_eq!(feed.next().await, (2, 6, text("two")));
    room.shelf.put("web", Ok((7, "one")));
    assert_eq!(feed.next().await, (3, 7, text("one")));
    let of_another_cluster = Known { cluster: cluster(2), ..known };
    assert_eq!(link.open(2, "web", Some(of_another_cluster)).await.next().await, (1, 7, text("one")));
}

#[tokio::test]
async fn one_push_is_in_flight_and_the_newest_wins() {
    let (room, link) = web((1, "first")).await;
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
    let (room, link) = web((1, "x")).await;
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
    let (room, link) = web((1, "x")).await;
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
    // Not by its body alone: the frame as a whole is over the bound.
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
    let (room, link) = web((1, "x")).await;
    let mut heartbeat = link.heartbeat().await;
    let mut feed = link.open(7, "web", None).await;
    assert_eq!(feed.next().await.0, 1);
    assert_eq!(heartbeat.echo(1, 0).await, Echo { number: 1, age: Some(Duration::ZERO), pushed: vec![(7, 1)], behind: vec![] });
    room.shelf.put("web", Err(Fault::no_leader()));
    feed.fault().await;
    assert_eq!(heartbeat.echo(2, 1).await.behind, [7]);
    drop(feed);
    room.until_interests(0).await;
    let mut number = 3;
    while !heartbeat.echo(number, 2).await.behind.is_empty() {
        number += 1;
        tokio::time::sleep(defaults::BRIDGE_PING_PACE * 2).await;
    }
}

#[tokio::test]
async fn echoes_tell_age_pushes_and_who_is_behind() {
    let (room, link) = web((1, "x")).await;
    room.shelf.put("db", Ok((1, "y")));
    let mut heartbeat = link.heartbeat().await;
    assert_eq!(heartbeat.echo(1, 0).await, Echo { number: 1, age: Some(Duration::ZERO), ..Echo::default() });
    let (mut web, mut db) = (link.open(1, "web", None).await, link.open(2, "db", None).await);
    assert_eq!((web.next().await.0, db.push().await.number), (1, 1));
    // The first push is not taken yet, so the next one waits, and the echo says so.
    room.shelf.put("db", Ok((2, "z")));
    *room.shelf.age.lock().unwrap() = Some(Duration::from_secs(3));
    let mut echo = heartbeat.echo(2, 1).await;
    echo.pushed.sort_unstable();
    assert_eq!(echo, Echo { number: 2, age: Some(Duration::from_secs(3)), pushed: vec![(1, 1), (2, 1)], behind: vec![2] });
    db.took(1).await;
    assert_eq!(db.next().await, (2, 2, text("z")));
    *room.shelf.age.lock().unwrap() = None;
    assert_eq!(heartbeat.echo(3, 2).await, Echo { number: 3, age: None, pushed: vec![(2, 2)], behind: vec![] });
    assert_eq!(heartbeat.echo(4, 3).await, Echo { number: 4, ..Echo::default() });
}

#[tokio::test]
async fn what_nobody_calls_about_is_read_at_each_ping() {
    let room = Room::new().await;
    room.shelf.put("polled", Ok((0, "s1")));
    let link = room.link().await;
    let mut heartbeat = link.heartbeat().await;
    let mut feed = link.open(1, "polled", None).await;
    assert_eq!(feed.next().await, (1, 0, text("s1")));
    assert_eq!(heartbeat.echo(1, 0).await.behind, [0_u64; 0]);
    room.shelf.put("polled", Ok((0, "s2")));
    assert_eq!(heartbeat.echo(2, 1).await.behind, [1]);
    assert_eq!(feed.next().await, (2, 0, text("s2")));
    assert_eq!(heartbeat.echo(3, 2).await.behind, [0_u64; 0]);
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
    let mut numbers = next + 1..;
    eventually_so("no place is given back", async || {
        link.open(numbers.next().unwrap(), "polled", None).await.frame().await.0 == Kind::Push
    })
    .await;
}

#[tokio::test]
async fn the_queries_of_a_link_are_bounded_in_bytes_and_short_texts_count_as_what_they_take_in_memory() {
    let long = QueryOptions { filter: Some("x".repeat(200 << 10)), ..QueryOptions::default() };
    let many = QueryOptions { tags: vec![String::new(); 200_000], ..QueryOptions::default() };
    for (options, taken) in [(long, 200 << 10), (many, 200_000 * size_of::<String>())] {
        let (_room, link) = web((1, "x")).await;
        let query = options.ask(query("web").read.clone()).identity;
        let mut streams = Vec::new();
        let refused = loop {
            let open = Open { feed: streams.len() as u64, query: query.clone(), known: None };
            let mut stream = link.stream(Frame::of(Kind::Open, &open).unwrap()).await;
            let (kind, payload) = stream.frame().await;
            if kind == Kind::Fault {
                break frame::decode::<Fault>(&payload).unwrap();
            }
            streams.push(stream);
        };
        assert_eq!(refused.kind, FaultKind::Busy);
        assert_eq!(streams.len(), defaults::FEED_QUERY_BYTES / taken);
    }
}

#[tokio::test]
async fn what_is_in_flight_leaves_room_for_echoes_and_answers() {
    let body = "x".repeat(7 << 20);
    let (_room, link) = web((1, &body)).await;
    let fit = defaults::FEED_ARRIVING_BYTES as usize / body.len();
    let mut sent = Vec::new();
    for feed in 0..fit {
        let mut stream = link.open(feed as u64, "web", None).await;
        assert_eq!(stream.push().await.number, 1);
        sent.push(stream);
    }
    // A push that is not taken may be read or not: this side cannot know.
    let mut last = link.open(fit as u64, "web", None).await;
    let waits = tokio::time::timeout(defaults::FEED_PACE * 3, read_header(&mut last.recv)).await;
    assert!(waits.is_err(), "{waits:?}");
    sent[0].took(1).await;
    // The read that was dropped had nothing of the frame yet.
    assert_eq!(last.push().await.number, 1);
}

#[tokio::test]
async fn who_breaks_the_rules_of_a_stream_loses_the_stream() {
    let (room, link) = web((1, "x")).await;
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
    let mut no_ping = link.heartbeat().await;
    no_ping.took(1).await;
    no_ping.is_refused().await;
    drop((never_sent, twice, reopened));
    room.until_interests(1).await;
    room.shelf.put("web", Ok((2, "y")));
    assert_eq!(innocent.next().await, (2, 2, text("y")));
}

#[tokio::test]
async fn garbage_costs_the_link_and_no_other() {
    let (room, other) = web((1, "x")).await;
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
        let mut heartbeat = link.heartbeat().await;
        heartbeat.echo(1, 0).await;
        heartbeat.send.raw(&as_kind(Kind::Ping)).await;
        link.is_cut().await;
    }
    room.until_interests(1).await;
    room.shelf.put("web", Ok((2, "y")));
    assert_eq!(innocent.next().await, (2, 2, text("y")));
}

#[tokio::test]
async fn a_link_has_one_pulse_and_no_flood_of_pings() {
    let (_room, link) = web((1, "x")).await;
    let mut heartbeat = link.heartbeat().await;
    heartbeat.echo(1, 0).await;
    link.heartbeat().await.is_refused().await;
    let mut number = 2;
    let flood = loop {
        let frame = Frame::of(Kind::Ping, &Ping { number, heard: 0 }).unwrap();
        // A refusal may meet a ping on its way.
        if heartbeat.send.send(&frame).await.is_err() || number > 10_000 {
            break number;
        }
        number += 1;
        tokio::task::yield_now().await;
    };
    heartbeat.is_refused().await;
    assert!(flood <= 10_000);
    drop(heartbeat);
    // The link lives, and can have another.
    link.lives(1, "web").await;
    eventually_so("it has no other pulse", async || {
        let mut heartbeat = link.heartbeat().await;
        heartbeat.send(Frame::of(Kind::Ping, &Ping { number: 1, heard: 0 }).unwrap()).await;
        read_header(&mut heartbeat.recv).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_follower_that_never_takes_a_push_loses_its_feed() {
    let (room, link) = web((1, "x")).await;
    let mut heartbeat = link.heartbeat().await;
    let mut feed = link.open(1, "web", None).await;
    assert_eq!(feed.push().await.number, 1);
    pass(defaults::FEED_TOOK_TIMEOUT).await;
    feed.is_refused().await;
    room.shelf.put("web", Ok((2, "y")));
    assert_eq!(heartbeat.echo(1, 0).await.behind, [1], "it has not let go");
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
    let (room, link) = web((1, "x")).await;
    let mut heartbeat = link.heartbeat().await;
    heartbeat.echo(1, 0).await;
    let mut feed = link.open(1, "web", None).await;
    assert_eq!(feed.next().await.0, 1);
    room.bridge.shutdown(LONG).await;
    assert_eq!(room.shelf.interests(), 0);
}
