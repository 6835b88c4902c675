//! Reports of links, and the findings of examinations.

use super::*;
use crate::model::federation::{
    Check, DatacenterReport, DatacenterState, Examination, Finding, Level, LinkRole, LinkState, Voucher,
};

impl House {
    /// Waits until the report of `dc` is as `good` has it.
    async fn sees(&self, dc: &str, good: impl Fn(&DatacenterReport) -> bool) -> DatacenterReport {
        let mut seen = None;
        eventually("another report", || {
            seen = self.reported(dc).filter(|report| good(report));
            seen.is_some()
        })
        .await;
        seen.unwrap()
    }

    pub(super) fn reported(&self, dc: &str) -> Option<DatacenterReport> {
        self.bridge.report().into_iter().find(|report| report.name == dc)
    }
}

/// The findings about one thing.
fn of(examination: &Examination, check: Check) -> Vec<&Finding> {
    examination.findings.iter().filter(|finding| finding.check == check).collect()
}

#[tokio::test]
async fn a_datacenter_that_is_linked_is_told_with_its_links() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    let (three, four) = (House::self_made("s3", "dc2").await, House::self_made("s4", "dc2").await);
    let far = [&two, &three, &four];
    far.iter().for_each(|house| house.knows([one.remote()]));
    one.knows([RemoteServer { alive: false, ..two.remote() }, three.remote(), four.remote()]);
    let is_whole = |report: &DatacenterReport| {
        let count = |role| report.servers.iter().filter(|server| server.role == role).count();
        count(Some(LinkRole::Live)) == 1
            && count(Some(LinkRole::Standby)) == 1
            && report.servers.iter().all(|server| matches!(server.link, LinkState::Up | LinkState::None))
            && report.inbound >= 2
    };
    let report = one.sees("dc2", is_whole).await;
    assert_eq!((report.state, report.since, report.cause), (DatacenterState::Alive, None, None));
    assert_eq!(report.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["s2", "s3", "s4"]);
    assert_eq!(report.servers.iter().map(|server| server.alive).collect::<Vec<_>>(), [false, true, true]);
    let live = report.servers.iter().find(|server| server.role == Some(LinkRole::Live)).unwrap();
    assert!(live.since.as_ref().is_some_and(|since| since.ends_with('Z')) && live.cause.is_none());
    assert!(live.rtt_millis.is_some_and(|rtt| rtt > 0.0));
    let traffic = live.traffic.unwrap();
    assert!(traffic.bytes_in > 0 && traffic.bytes_out > 0 && traffic.datagrams_in > 0 && traffic.datagrams_out > 0);
    let certificate = live.certificate.as_ref().unwrap();
    let pins: Vec<String> = far.iter().filter_map(|house| house.pin.clone()).collect();
    assert!(certificate.voucher == Voucher::Pin && pins.contains(&certificate.fingerprint), "{certificate:?}");
    assert!(certificate.days_left > 365 && certificate.expires.ends_with('Z'), "{certificate:?}");
}

#[tokio::test]
async fn parked_queries_are_counted_on_their_link() {
    let (one, _two) = pair().await;
    let parked = one.ask("dc2", blocking("hang"));
    let counted = one.sees("dc2", |report| report.servers[0].parked == 1);
    tokio::select! {
        answer = parked => panic!("{answer:?}"),
        _report = counted => {}
    }
    one.sees("dc2", |report| report.servers[0].parked == 0).await;
}

#[tokio::test]
async fn a_lost_datacenter_is_unreachable_since_then_and_one_without_servers_is_gone() {
    let (one, two) = pair().await;
    two.bridge.shutdown(Duration::from_secs(5)).await;
    let report = one.sees("dc2", |report| report.state == DatacenterState::Unreachable).await;
    let (since, cause) = (report.since.unwrap(), report.cause.unwrap());
    assert!(cause.starts_with(&format!("unreachable since {since}: ")), "{cause}");
    let server = &report.servers[0];
    assert_eq!((server.link, server.role, server.rtt_millis), (LinkState::Down, None, None));
    assert!(server.cause.is_some() && server.since.is_some());
    one.knows([]);
    let report = one.sees("dc2", |report| report.state != DatacenterState::Unreachable).await;
    assert_eq!((report.state, report.cause.as_deref()), (DatacenterState::Removed, Some("removed")));
}

#[tokio::test]
async fn where_all_is_well_the_doctor_has_nothing_to_say() {
    let (one, two) = pair().await;
    two.until("dc1", None).await;
    let found = one.bridge.examine("DC2").await.unwrap();
    assert!(found.is_fine(), "{found:#?}");
    assert_eq!((found.datacenter.as_str(), found.server.as_str(), found.examined.as_str()), ("dc1", "s1", "dc2"));
    for check in [Check::Port, Check::Protocol, Check::Certificate, Check::Clock, Check::WayBack] {
        assert_eq!(of(&found, check).len(), 1, "{check:?}: {found:#?}");
    }
    assert_eq!(of(&found, Check::WayBack)[0].about, "s2.dc2 -> s1.dc1");
    assert_eq!(one.bridge.examine("dc9").await.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn the_doctor_names_the_check_that_a_certificate_failed() {
    let (ca, other) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    let stranger = House::open("s3", "dc3", identity(&ca, "dc3")).await;
    let of_another_ca = House::open("s2", "dc2", identity(&other, "dc2")).await;
    let self_made = House::self_made("s4", "dc2").await;
    let of = |server: RemoteServer| RemoteServer { dc: "dc2".to_owned(), ..server };
    for (server, word, advice) in [
        (of(stranger.remote()), "wrong-datacenter: expected a server of \"dc2\"", "-server -dc dc2"),
        (of(of_another_ca.remote()), "another-ca", "one CA"),
        (RemoteServer { pins: ["ab".repeat(32)].into(), ..self_made.remote() }, "pin-mismatch", "fingerprint"),
        (RemoteServer { pins: BTreeSet::new(), ..self_made.remote() }, "not-yet-known", "8302"),
    ] {
        one.knows([server.clone()]);
        let found = one.bridge.examine("dc2").await.unwrap();
        let about = format!("{}.dc2", server.name);
        let finding = found.findings.iter().find(|finding| finding.about == about).unwrap();
        assert_eq!((finding.level, finding.check), (Level::Error, Check::Certificate), "{finding:?}");
        assert!(finding.came.contains(word), "{finding:?}");
        assert!(finding.advice.as_ref().is_some_and(|text| text.contains(advice)), "{finding:?}");
    }
}

#[tokio::test]
async fn the_doctor_tells_a_one_way_path_and_a_blocked_port() {
    let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
    // A port without a listener: packets to it are lost, as behind a firewall.
    let hole = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let blocked = RemoteServer { addr: hole.local_addr().unwrap(), ..two.remote() };
    one.knows([blocked.clone()]);
    two.knows([one.remote()]);
    two.until("dc1", None).await;
    one.sees("dc2", |report| report.inbound == 1 && report.state == DatacenterState::Unreachable).await;
    let found = one.bridge.examine("dc2").await.unwrap();
    let [port] = of(&found, Check::Port)[..] else { panic!("{found:#?}") };
    assert!(port.came.contains("alive by gossip, but UDP"), "{port:?}");
    assert!(port.advice.as_ref().is_some_and(|text| text.contains("udp is blocked")), "{port:?}");
    let [back] = of(&found, Check::WayBack)[..] else { panic!("{found:#?}") };
    assert!(back.level == Level::Error && back.came.contains("one-way path"), "{back:?}");
    // Seen from the other side: the way there is open, and the way back is not.
    let found = two.bridge.examine("dc1").await.unwrap();
    assert_eq!(of(&found, Check::Port)[0].level, Level::Ok, "{found:#?}");
    let [back] = of(&found, Check::WayBack)[..] else { panic!("{found:#?}") };
    assert!(back.level == Level::Error && back.about == "s1.dc1 -> s2.dc2" && back.came.contains("UDP"), "{back:?}");
    one.knows([RemoteServer { alive: false, ..blocked }]);
    let found = one.bridge.examine("dc2").await.unwrap();
    assert!(of(&found, Check::Port)[0].came.contains("failed by gossip"), "{found:#?}");
}

#[tokio::test]
async fn the_doctor_sees_that_the_other_side_does_not_know_us() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let one = House::open("s1", "dc1", identity(&ca, "dc1")).await;
    let two = House::open("s2", "dc2", identity(&ca, "dc2")).await;
    one.knows([RemoteServer { alive: false, ..two.remote() }]);
    one.until("dc2", None).await;
    let found = one.bridge.examine("dc2").await.unwrap();
    let [back] = of(&found, Check::WayBack)[..] else { panic!("{found:#?}") };
    assert!(back.level == Level::Error && back.came == "it knows no server of dc1", "{back:?}");
    assert_eq!(of(&found, Check::Gossip)[0].level, Level::Warning, "{found:#?}");
    let certificate = of(&found, Check::Certificate)[0];
    assert_eq!(certificate.level, Level::Warning, "its last day is near: {certificate:?}");
    assert!(certificate.came.contains("of the CA"), "{certificate:?}");
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_told() {
    let one = House::self_made("s1", "dc1").await;
    let (dc, name, cause) = ("dc2".to_owned(), "far.example:8300".to_owned(), "no such name".to_owned());
    one.bridge.set_unresolved(vec![super::super::UnresolvedName { dc, name, cause }]);
    let report = one.sees("dc2", |report| report.state == DatacenterState::Unreachable).await;
    assert_eq!(report.cause.as_deref(), Some("unreachable: far.example:8300 cannot be resolved: no such name"));
    let found = one.bridge.examine("dc2").await.unwrap();
    let [name] = of(&found, Check::Name)[..] else { panic!("{found:#?}") };
    assert_eq!((name.level, name.about.as_str(), name.came.as_str()), (Level::Error, "far.example:8300", "no such name"));
    one.bridge.set_unresolved(vec![]);
    assert_eq!(one.bridge.examine("dc2").await.unwrap_err().kind, FaultKind::NotFound);
}
