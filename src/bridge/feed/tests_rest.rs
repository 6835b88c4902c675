//! A link at rest: what ends its rest, and when it rests again.

use super::tests_far::{Near, eventually};
use crate::bridge::answers::Bounds;
use crate::bridge::datacenter::Way;
use std::time::Duration;

async fn comes_to_rest(way: &Way) {
    eventually("the link does not rest", || way.heartbeat.is_at_rest()).await;
}

#[tokio::test]
async fn a_link_rests_but_for_calls_and_feeds() {
    let (near, [mut far]) = Near::with(["s2"], Bounds::default()).await;
    let way = near.bridge.links.of("dc2").unwrap().ways().remove(0);
    comes_to_rest(&way).await;
    let call = way.heartbeat.use_link();
    assert!(!way.heartbeat.is_at_rest());
    drop(call);
    comes_to_rest(&way).await;
    let (_followed, first, mut fed) = near.asked(&mut far, "n").await;
    assert!(!way.heartbeat.is_at_rest(), "its feed's age is counted from here on");
    fed.push(10, Some("a")).await;
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_link_to_a_server_that_is_behind_does_not_rest() {
    let (near, [far]) = Near::with(["s2"], Bounds::default()).await;
    let way = near.bridge.links.of("dc2").unwrap().ways().remove(0);
    comes_to_rest(&way).await;
    *far.shared.echoes.lock().unwrap() = Some(Duration::from_secs(3600));
    eventually("the link rests on", || !way.heartbeat.is_at_rest()).await;
    assert!(way.heartbeat.is_behind());
}
