//! Datacenters that are unknown, gone, switched off or removed, and come back.

use super::*;
use crate::model::federation::DatacenterState;

#[tokio::test]
async fn an_unknown_datacenter_and_a_removed_one_say_so() {
    let (one, _two) = pair().await;
    let fault = one.ask("dc9", read("x")).await.unwrap_err();
    assert_eq!((fault.kind, fault.reason.as_deref()), (FaultKind::NoPath, Some("never-joined")));
    one.knows([]);
    one.until("dc2", Some("removed")).await;
}

/// The asker can then go to another server of its datacenter.
#[tokio::test]
async fn a_server_that_is_shutting_down_does_not_say_that_there_is_no_datacenter() {
    let (one, mut two) = pair().await;
    let bridge = one.bridge.clone();
    let under_way = tokio::spawn(async move { bridge.call("dc2", &blocking("hang"), LONG).await });
    assert_eq!(two.event_past_pings().await, "s2 hang");
    one.bridge.shutdown(LONG).await;
    assert_eq!(under_way.await.unwrap().unwrap_err().kind, FaultKind::NoLeader);
    for ask in [read("x"), write("x")] {
        let fault = one.ask("dc2", ask).await.unwrap_err();
        assert_eq!((fault.kind, fault.reason.as_deref()), (FaultKind::NoLeader, Some("this server is shutting down")));
    }
}

#[tokio::test]
async fn a_restarted_server_is_linked_again() {
    let folder = tempfile::tempdir().unwrap();
    let identity = || BridgeIdentity::self_made(Some(folder.path()), "dc2", "consul").unwrap();
    let (one, two) = (House::self_made("s1", "dc1").await, House::open("s2", "dc2", identity()).await);
    let addr = two.bridge.local_addr();
    one.knows([two.remote()]);
    two.knows([one.remote()]);
    one.until("dc2", None).await;
    two.bridge.shutdown(LONG).await;
    drop(two);
    // The socket closes when its driver has noticed that its last handle is gone.
    eventually("the socket is not closed", || std::net::UdpSocket::bind(addr).is_ok()).await;
    let again = House::open_at("s2", "dc2", identity(), addr).await;
    again.knows([one.remote()]);
    one.until("dc2", None).await;
}

#[tokio::test]
async fn a_server_that_is_gone_fails_calls_soon_and_says_since_when() {
    let (one, two) = pair().await;
    two.bridge.shutdown(LONG).await;
    drop(two);
    one.until("dc2", Some("unreachable since 20")).await;
    let started = Instant::now();
    assert!(one.ask("dc2", write("write")).await.is_err());
    assert!(started.elapsed() < LONG / 4);
}

#[tokio::test]
async fn a_datacenter_that_never_answers_fails_the_first_call_too() {
    let one = House::self_made("s1", "dc1").await;
    let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = mute.local_addr().unwrap();
    one.knows([stranger(addr, BTreeSet::new())]);
    one.until("dc2", Some("did not answer within")).await;
}

#[tokio::test]
async fn a_datacenter_that_is_switched_off_is_neither_dialled_nor_answered() {
    let (one, two) = pair().await;
    two.until("dc1", None).await;
    one.admission.send_replace(Arc::new(Admission { disabled: ["dc2".to_owned()].into(), ..Admission::default() }));
    one.until("dc2", Some("disabled")).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap_err().kind, FaultKind::NoPath);
    two.until("dc1", Some("refused by the other side: disabled")).await;
    assert!(one.bridge.names().is_empty() && one.bridge.closed("DC2").is_some());
    assert_eq!(one.bridge.until_closed("dc2").await.reason.as_deref(), Some("disabled"));
    assert_eq!(one.reported("dc2").unwrap().state, DatacenterState::Disabled);
    one.admission.send_replace(Arc::default());
    one.until("dc2", None).await;
    two.until("dc1", None).await;
}

#[tokio::test]
async fn a_removed_cluster_is_refused_both_ways_until_it_is_another_or_readmitted() {
    let [old, new] = [1, 2].map(|number| Some(ClusterId(uuid::Uuid::from_u128(number))));
    let (one, two) = acquainted().await;
    two.cluster.send_replace(old);
    one.until("dc2", None).await;
    two.until("dc1", None).await;
    assert_eq!(one.bridge.cluster_of("dc2"), old);
    let mut removals = Removals::default();
    removals.remove("dc2", old);
    let removed = Arc::new(Admission { removals: Arc::new(removals), ..Admission::default() });
    one.admission.send_replace(Arc::clone(&removed));
    one.until("dc2", Some("removed")).await;
    two.until("dc1", Some("refused by the other side: removed")).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap_err().kind, FaultKind::NoPath);
    assert_eq!(one.reported("dc2").unwrap().state, DatacenterState::Removed);
    // Another cluster by the same name is another datacenter.
    two.cluster.send_replace(new);
    one.until("dc2", None).await;
    two.until("dc1", None).await;
    two.cluster.send_replace(old);
    one.admission.send_replace(Arc::default());
    one.until("dc2", None).await;
}
