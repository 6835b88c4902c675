//! Orders to leave that arrive before they can be carried out.

use super::*;

fn wan(settings: GossipSettings) -> GossipSettings {
    let name = format!("{}.dc1", settings.name);
    GossipSettings { pool: Pool::Wan, name, fast: false, tags: tags("dc1", "consul"), ..settings }
}

#[test]
fn who_is_pruned_before_it_is_seen_to_have_failed_is_forgotten_by_all_when_it_is() {
    for (size, change) in [(2, None), (4, None), (4, Some(wan as fn(GossipSettings) -> GossipSettings))] {
        let change = change.unwrap_or(|settings| settings);
        let mut network = Network::joined_with(size, change);
        let last = usize::from(size) - 1;
        let name = network.hosts[last].core.name().to_owned();
        network.hosts[last].alive = false;
        network.act(0, |core, now| core.force_leave(&name, true, now)).unwrap();
        assert_eq!(network.status(0, &name), Some(MemberStatus::Leaving));
        network.until_seen(0..last, &name, None);
        network.run_for(Duration::from_secs(60));
        assert!(network.all_see(0..last, &name, None), "nobody brings it back");
        let back = network.add(&change(settings(&format!("n{size}"), u128::from(size))), size, 2000);
        network.exchange(back, addr(1)).unwrap();
        network.until_seen(0..last, &name, MemberStatus::Alive);
    }
}

#[test]
fn who_is_made_to_leave_before_it_is_seen_to_have_failed_ends_as_left_in_both_pools() {
    for change in [wan as fn(GossipSettings) -> GossipSettings, |settings| settings] {
        let mut network = Network::joined_with(5, change);
        let name = network.hosts[4].core.name().to_owned();
        network.hosts[4].alive = false;
        network.act(0, |core, now| core.force_leave(&name, false, now)).unwrap();
        network.until_seen(0..4, &name, MemberStatus::Left);
        network.run_for(Duration::from_secs(120));
        assert!(network.all_see(0..4, &name, MemberStatus::Left));
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
        network.act(1, |core, now| core.force_leave(name, false, now)).unwrap();
    }
    network.run_until("left for all", |network| names.iter().all(|name| network.all_see(0..3, name, MemberStatus::Left)));
}

#[test]
fn an_order_that_a_member_missed_comes_with_the_next_state_exchange() {
    let mut network = Network::joined(4);
    network.hosts[3].alive = false;
    network.until_seen(0..3, "n4", MemberStatus::Failed);
    // The third hears no rumour, and returns long after the order was carried out.
    network.hosts[2].frozen = true;
    network.act(0, |core, now| core.force_leave("n4", true, now)).unwrap();
    network.run_for(Duration::from_secs(60));
    assert_eq!(network.status(0, "n4"), None);
    network.in_flight.retain(|packet| packet.2 != addr(3));
    network.hosts[2].frozen = false;
    assert_eq!(network.status(2, "n4"), Some(MemberStatus::Failed));
    network.until_seen(0..3, "n4", None);
}

#[test]
fn an_order_may_be_repeated_and_an_alive_member_refutes_it() {
    let mut network = Network::joined(3);
    for _ in 0..2 {
        network.act(0, |core, now| core.force_leave("n3", true, now)).unwrap();
        network.run_for(Duration::from_secs(10));
        assert!(network.all_see(0..3, "n3", MemberStatus::Alive));
    }
    // A refuted order is forgotten, and is not held against the member when it fails.
    network.hosts[2].alive = false;
    network.until_seen(0..2, "n3", MemberStatus::Failed);
}

#[test]
fn orders_of_who_is_not_let_in_are_not_obeyed() {
    let mut network = Network::joined_with(3, |settings| settings);
    let name = network.hosts[2].core.name().to_owned();
    // Another datacenter, which has a member of the same name.
    let elsewhere =
        |name: &str, id| GossipSettings { datacenter: "dc2".to_owned(), tags: tags("dc2", "node"), ..settings(name, id) };
    let stranger = network.add(&elsewhere("stranger", 11), 11, 1000);
    let namesake = network.add(&elsewhere(&name, 12), 12, 1000);
    network.exchange(namesake, addr(11)).unwrap();
    for gone in [2, namesake] {
        network.hosts[gone].alive = false;
    }
    network.act(stranger, |core, now| core.force_leave(&name, true, now)).unwrap();
    assert!(network.exchange(stranger, addr(1)).is_err(), "it is not let in");
    network.until_seen(0..1, &name, MemberStatus::Failed);
    network.run_for(Duration::from_secs(60));
    assert_eq!(network.status(0, &name), Some(MemberStatus::Failed));
}
