//! The proofs by which a peer counts as a server of its datacenter.

use super::*;
use crate::tls::testing::dated_cert;

#[tokio::test]
async fn certificates_of_one_ca_need_no_pins() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let (one, two) = (House::open("s1", "dc1", identity(&ca, "dc1")).await, House::open("s2", "dc2", identity(&ca, "dc2")).await);
    one.knows([two.remote()]);
    // The first call waits for the link that is being dialled; dc2 need not even know of dc1.
    one.until("dc2", None).await;
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
}

#[tokio::test]
async fn a_peer_that_does_not_know_us_yet_is_not_yet_known_and_then_is() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    one.knows([two.remote()]);
    one.until("dc2", Some("not-yet-known")).await;
    two.knows([one.remote()]);
    one.until("dc2", None).await;
}

#[tokio::test]
async fn a_server_without_a_pin_is_not_yet_known() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    one.knows([RemoteServer { pins: BTreeSet::new(), ..two.remote() }]);
    two.knows([one.remote()]);
    one.until("dc2", Some("not-yet-known")).await;
}

#[tokio::test]
async fn a_wrong_pin_is_refused_on_both_sides() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    let wrong = BTreeSet::from(["ab".repeat(32)]);
    one.knows([RemoteServer { pins: wrong.clone(), ..two.remote() }]);
    one.until("dc2", Some("tls-refused: pin-mismatch")).await;
    one.knows([two.remote()]);
    two.knows([RemoteServer { pins: wrong, ..one.remote() }]);
    one.until("dc2", Some("tls-refused: by the other side: pin-mismatch")).await;
}

#[tokio::test]
async fn a_certificate_of_another_datacenter_is_refused() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    let three = House::open("s3", "dc3", identity(&ca, "dc3")).await;
    one.knows([RemoteServer { dc: "dc2".to_owned(), ..three.remote() }]);
    one.until("dc2", Some("tls-refused: wrong-datacenter: expected a server of \"dc2\"")).await;
    // A server of this datacenter has no business on its bridge.
    let other = House::open("s4", "dc4", identity(&ca, "dc1")).await;
    other.knows([one.remote()]);
    other.until("dc1", Some("tls-refused: by the other side: wrong-datacenter")).await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let (ca, other) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    let two = House::open("s2", "dc2", identity(&other, "dc2")).await;
    one.knows([two.remote()]);
    one.until("dc2", Some("tls-refused: another-ca")).await;
    // It trusts our CA, and shows a certificate of its own: we refuse it when it dials.
    let mixed = BridgeIdentity::unchecked(&material(&other, &ca, "dc3")).unwrap();
    let three = House::open("s3", "dc3", mixed).await;
    three.knows([one.remote()]);
    three.until("dc1", Some("tls-refused: by the other side: another-ca")).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let (cert, key) = dated_cert(&ca, &["server.dc2.consul"], [2020, 2021]);
    let material = load(&ca.0, &cert, &key);
    assert!(BridgeIdentity::from_ca(&material, "dc2", "consul").unwrap_err().contains("expired"));
    let two = House::open("s2", "dc2", BridgeIdentity::unchecked(&material).unwrap()).await;
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    one.knows([two.remote()]);
    one.until("dc2", Some("tls-refused: expired")).await;
    two.knows([one.remote()]);
    two.until("dc1", Some("tls-refused: by the other side: expired")).await;
}

#[tokio::test]
async fn require_ca_refuses_pins() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let (servers, list) = watch::channel(Arc::default());
    let settings = |identity| BridgeSettings { require_ca: true, ..settings("s1", "dc1", identity) };
    let start = |identity, list| async move {
        Bridge::start(settings(identity), list, Arc::new(Mute), Arc::new(Mute), &Shutdown::new()).await
    };
    assert!(start(self_made("dc1"), list.clone()).await.is_err());
    let bridge = start(identity(&ca, "dc1"), list).await.unwrap();
    let two = House::self_made("s2", "dc2").await;
    servers.send_replace(Arc::new(vec![two.remote()]));
    let is_refused = async || {
        let fault = bridge.call("dc2", &read("x"), LONG).await.unwrap_err();
        fault.reason.is_some_and(|reason| reason.contains("require-ca"))
    };
    eventually_so("another reason", is_refused).await;
}

#[tokio::test]
async fn other_certificates_come_into_force_without_a_dropped_link() {
    let (old, new) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
    let one = House::open("s1", "dc1", identity(&old, "dc1")).await;
    let two = House::open("s2", "dc2", identity(&old, "dc2")).await;
    one.knows([two.remote()]);
    one.until("dc2", None).await;
    let before = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    one.bridge.reload(identity(&new, "dc1"), false).unwrap();
    two.bridge.reload(identity(&new, "dc2"), false).unwrap();
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    assert!(before.close_reason().is_none());
    // A server that comes now is judged by the new CA.
    let three = House::open("s3", "dc3", identity(&new, "dc3")).await;
    three.knows([two.remote()]);
    three.until("dc2", None).await;
    let four = House::open("s4", "dc4", identity(&old, "dc4")).await;
    four.knows([two.remote()]);
    four.until("dc2", Some("tls-refused: another-ca")).await;
}
