//! Orders to leave that come before they can be carried out.

use super::*;

fn wan(settings: GossipSettings) -> GossipSettings {
    let tags = [(tag::DC, "dc1"), (tag::ROLE, "consul")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let name = format!("{}.dc1", settings.name);
    GossipSettings { pool: Pool::Wan, name, fast: false, tags: BTreeMap::from(tags), ..settings }
}

#[test]
fn who_is_pruned_before_it_is_seen_to_have_failed_is_forgotten_by_all_when_it_is() {
    for (size, change) in [(2, None), (4, None), (4, Some(wan as fn(GossipSettings) -> GossipSettings))] {
        let change = change.unwrap_or(|settings| settings);
        let mut network = Network::joined_with(size, change);
        let last = usize::from(size) - 1;
        let name = network.hosts[last].core.name().to_owned();
        network.hosts[last].alive = false;
        let now = network.now;
        network.hosts[0].core.force_leave(&name, true, now).unwrap();
        assert_eq!(network.status(0, &name), Some(MemberStatus::Leaving));
        network.run_until("forgotten by all", |network| (0..last).all(|at| network.status(at, &name).is_none()));
        network.run_for(Duration::from_secs(60));
        assert!((0..last).all(|at| network.status(at, &name).is_none()), "nobody brings it back");
        let back = network.add(&change(settings(&format!("n{size}"), u128::from(size))), size, 2000);
        network.exchange(back, addr(1)).unwrap();
        network.run_until("back", |network| (0..last).all(|at| network.status(at, &name) == Some(MemberStatus::Alive)));
    }
}

#[test]
fn who_is_made_to_leave_before_it_is_seen_to_have_failed_ends_as_left_in_both_pools() {
    for change in [wan as fn(GossipSettings) -> GossipSettings, |settings| settings] {
        let mut network = Network::joined_with(5, change);
        let name = network.hosts[4].core.name().to_owned();
        network.hosts[4].alive = false;
        let now = network.now;
        network.hosts[0].core.force_leave(&name, false, now).unwrap();
        network.run_until("left for all", |network| (0..4).all(|at| network.status(at, &name) == Some(MemberStatus::Left)));
        network.run_for(Duration::from_secs(120));
        assert!((0..4).all(|at| network.status(at, &name) == Some(MemberStatus::Left)));
    }
}

#[test]
fn all_servers_of_a_datacenter_that_are_made_to_leave_at_once_end_as_left() {
    let mut network = Network::joined_with(6, wan);
    let names: Vec<String> = network.hosts[3..].iter().map(|host| host.core.name().to_owned()).collect();
    for host in &mut network.hosts[3..] {
        host.alive = false;
    }
    for name in &names {
        let now = network.now;
        network.hosts[1].core.force_leave(name, false, now).unwrap();
    }
    network.run_until("left for all", |network| {
        names.iter().all(|name| (0..3).all(|at| network.status(at, name) == Some(MemberStatus::Left)))
    });
}

#[test]
fn an_order_that_a_member_missed_comes_with_the_next_state_exchange() {
    let mut network = Network::joined(4);
    network.hosts[3].alive = false;
    network.run_until("failed", |network| (0..3).all(|at| network.status(at, "n4") == Some(MemberStatus::Failed)));
    // The third hears no rumour, and is there again when the order has long been carried out.
    network.hosts[2].frozen = true;
    let now = network.now;
    network.hosts[0].core.force_leave("n4", true, now).unwrap();
    network.run_for(Duration::from_secs(60));
    assert_eq!(network.status(0, "n4"), None);
    network.in_flight.retain(|packet| packet.2 != addr(3));
    network.hosts[2].frozen = false;
    assert_eq!(network.status(2, "n4"), Some(MemberStatus::Failed));
    network.run_until("forgotten by all", |network| (0..3).all(|at| network.status(at, "n4").is_none()));
}

#[test]
fn an_order_may_be_repeated_and_an_alive_member_refutes_it() {
    let mut network = Network::joined(3);
    for _ in 0..2 {
        let now = network.now;
        network.hosts[0].core.force_leave("n3", true, now).unwrap();
        network.run_for(Duration::from_secs(10));
        assert!((0..3).all(|at| network.status(at, "n3") == Some(MemberStatus::Alive)));
    }
    // What it refuted is forgotten, and is not held against it when it fails.
    network.hosts[2].alive = false;
    network.run_until("failed", |network| (0..2).all(|at| network.status(at, "n3") == Some(MemberStatus::Failed)));
}

#[test]
fn orders_of_who_is_not_let_in_are_not_obeyed() {
    let mut network = Network::joined_with(3, |settings| settings);
    let name = network.hosts[2].core.name().to_owned();
    // Another datacenter, which has a member of the same name.
    let elsewhere = |name: &str, id| {
        let tags = [(tag::DC, "dc2"), (tag::ROLE, "node")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        GossipSettings { datacenter: "dc2".to_owned(), tags: BTreeMap::from(tags), ..settings(name, id) }
    };
    let stranger = network.add(&elsewhere("stranger", 11), 11, 1000);
    let namesake = network.add(&elsewhere(&name, 12), 12, 1000);
    network.exchange(namesake, addr(11)).unwrap();
    for gone in [2, namesake] {
        network.hosts[gone].alive = false;
    }
    let now = network.now;
    network.hosts[stranger].core.force_leave(&name, true, now).unwrap();
    assert!(network.exchange(stranger, addr(1)).is_err(), "it is not let in");
    network.run_until("failed", |network| network.status(0, &name) == Some(MemberStatus::Failed));
    network.run_for(Duration::from_secs(60));
    assert_eq!(network.status(0, &name), Some(MemberStatus::Failed));
}
