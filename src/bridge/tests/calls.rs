//! Calls: their answers, their faults, their doubles, their ends.

use super::*;

/// A server of dc1 that may ask either of two of dc2.
async fn one_and_two_servers_of_another() -> (House, House, House) {
    let (one, two) = pair().await;
    let three = House::self_made("s3", "dc2").await;
    three.knows([one.remote()]);
    one.knows([two.remote(), three.remote()]);
    eventually("one link is up", || one.bridge.links.of("dc2").unwrap().ways().len() == 2).await;
    (one, two, three)
}

#[tokio::test]
async fn two_datacenters_with_pins_answer_each_other() {
    let (one, two) = pair().await;
    two.until("dc1", None).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    assert_eq!(two.ask("dc1", read("x")).await.unwrap(), "x of dc2 at s1");
    assert_eq!(one.ask("dc2", write("write")).await.unwrap(), "written 7 Set(true)");
    assert_eq!(one.ask("dc2", read("fault")).await.unwrap_err().kind, FaultKind::NoLeader);
    assert_eq!(one.ask("dc2", read("large")).await.unwrap().len(), 20 << 20);
    assert!(one.bridge.rtt("dc2").is_some());
    assert_eq!(one.bridge.rtt("dc9"), None);
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
    let (one, mut two, mut three) = one_and_two_servers_of_another().await;
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
    let (one, _two, _three) = one_and_two_servers_of_another().await;
    // One of these hangs at the server that is asked first, and is answered by the other.
    assert_eq!(one.ask("dc2", read("hangs-on-s2")).await.unwrap(), "hangs-on-s2 of dc1 at s3");
    assert_eq!(one.ask("dc2", read("hangs-on-s3")).await.unwrap(), "hangs-on-s3 of dc1 at s2");
    // A request to a server without a leader is no double, however many there were already.
    while one.bridge.links.of("dc2").unwrap().may_double() {}
    assert_eq!(one.ask("dc2", read("held-by-s2")).await.unwrap(), "held-by-s2 of dc1 at s3");
    assert_eq!(one.ask("dc2", read("held-by-s3")).await.unwrap(), "held-by-s3 of dc1 at s2");
}

#[tokio::test]
async fn a_caller_that_hangs_up_drops_the_handlers_future() {
    let (one, mut two) = pair().await;
    let bridge = one.bridge.clone();
    let call = tokio::spawn(async move { bridge.call("dc2", &blocking("hang"), LONG).await });
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
    let fault = one.bridge.call("dc2", &blocking("x"), LONG).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Busy, "{fault}");
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    drop(parked);
    assert_eq!(one.ask("dc2", blocking("x")).await.unwrap(), "x of dc1 at s2", "the places are given back");
}
