//! Members that join, report, fail, leave and are forgotten.

use super::*;

#[test]
fn ten_members_that_joined_by_one_see_each_other() {
    let network = Network::joined(10);
    assert!(network.now - network.started < Duration::from_secs(10));
}

#[test]
fn a_pool_of_two_survives_a_kill_and_a_restart() {
    let mut network = Network::joined(2);
    network.hosts[1].alive = false;
    network.until_seen(0..1, "n2", MemberStatus::Failed);
    let back = network.add(&settings("n2", 2), 2, 2000);
    network.exchange(back, addr(1)).unwrap();
    network.until_seen(0..1, "n2", MemberStatus::Alive);
    network.run_for(Duration::from_secs(10));
    assert_eq!(network.status(0, "n2"), Some(MemberStatus::Alive));
    assert_eq!(network.status(back, "n1"), Some(MemberStatus::Alive));
}

#[test]
fn a_killed_member_is_failed_and_a_leaving_one_left_for_all() {
    let mut network = Network::joined(6);
    network.hosts[5].alive = false;
    network.act(4, Core::leave);
    for _ in 0..6 {
        network.act(4, Core::leave_round);
        network.run_for(Duration::from_millis(60));
    }
    network.act(4, Core::depart);
    network.until_seen(0..4, "n5", MemberStatus::Left);
    network.until_seen(0..4, "n6", MemberStatus::Failed);
    assert!(network.all_see(0..4, "n5", MemberStatus::Left));
}

#[test]
fn a_frozen_member_fails_and_comes_back_by_itself() {
    for size in [2, 5] {
        let mut network = Network::joined(size);
        network.hosts[1].frozen = true;
        network.until_seen(0..1, "n2", MemberStatus::Failed);
        network.run_for(Duration::from_secs(30));
        network.hosts[1].frozen = false;
        network.until_whole(usize::from(size));
    }
}

#[test]
fn force_leave_spreads_and_a_living_member_refutes_it() {
    let mut network = Network::joined(4);
    network.act(0, |core, now| core.force_leave("n4", false, now)).unwrap();
    network.run_for(Duration::from_secs(5));
    assert!(network.all_see(0..4, "n4", MemberStatus::Alive), "it lives");
    network.hosts[3].alive = false;
    network.until_seen(0..1, "n4", MemberStatus::Failed);
    network.act(0, |core, now| core.force_leave("n4", false, now)).unwrap();
    network.until_seen(0..3, "n4", MemberStatus::Left);
    network.act(1, |core, now| core.force_leave("n4", true, now)).unwrap();
    network.until_seen(0..3, "n4", None);
    network.run_for(Duration::from_secs(30));
    assert!(network.all_see(0..3, "n4", None), "nobody brings it back");
    let error = network.act(0, |core, now| core.force_leave("nobody", false, now)).unwrap_err();
    assert_eq!(error, "No node found with name 'nobody'");
}

#[test]
fn tags_reach_all_quickly_and_large_ones_too() {
    let mut network = Network::joined(8);
    for size in [10, 3000] {
        let took = network.spread(&"x".repeat(size));
        assert!(took < Duration::from_secs(2), "{size} bytes: {took:?}");
    }
}

#[test]
fn members_learn_coordinates_from_each_other() {
    let mut network = Network::joined(3);
    network.run_until("coordinates", |network| network.hosts[0].core.coordinates().1.len() == 2);
    network.run_for(Duration::from_secs(60));
    let (mine, others) = network.hosts[0].core.coordinates();
    let rtt = mine.distance(&others["n2"]);
    assert!(rtt > LATENCY && rtt < 4 * LATENCY, "{rtt:?}");
}

#[test]
fn an_idle_pool_wakes_for_its_probes_and_little_else() {
    let mut network = Network::joined_with(3, |settings| GossipSettings { fast: false, ..settings });
    network.run_for(Duration::from_secs(60));
    let before = network.hosts[0].wakes;
    network.run_for(Duration::from_secs(60));
    let wakes = network.hosts[0].wakes - before;
    // Each second a probe with a measurement, and the end of its answer's time.
    assert!(wakes > 60 && wakes < 3 * 60, "{wakes} in a minute");
}

#[test]
fn who_has_left_needs_no_time_any_more() {
    let mut network = Network::joined(2);
    let now = network.now;
    let core = &mut network.hosts[1].core;
    core.leave(now);
    core.depart(now);
    for _ in 0..100 {
        let now = core.poll_timeout();
        core.handle_timeout(now);
    }
    assert!(core.poll_timeout() > now + Duration::from_secs(3600));
}

#[test]
fn the_timings_of_consuls_pools_find_a_dead_member_in_time() {
    for (pool, limit) in [(Pool::Lan, 15), (Pool::Wan, 90)] {
        let slow = |mut settings: GossipSettings| {
            settings.tags.insert(tag::ROLE.to_owned(), "consul".to_owned());
            let name = if pool == Pool::Wan { format!("{}.dc1", settings.name) } else { settings.name };
            GossipSettings { fast: false, pool, name, ..settings }
        };
        let mut network = Network::joined_with(5, slow);
        network.hosts[4].alive = false;
        let name = network.hosts[4].core.name().to_owned();
        let took = network.until_seen(0..4, &name, MemberStatus::Failed);
        assert!(took < Duration::from_secs(limit), "{pool:?}: {took:?}");
    }
}

#[test]
fn a_failed_member_that_told_when_to_forget_it_is_forgotten_then_by_all() {
    let mut network = Network::joined(3);
    let mut tags = tags("dc1", "node");
    tags.insert(tag::RECONNECT_TIMEOUT.to_owned(), "1m0s".to_owned());
    network.act(2, |core, now| core.set_tags(tags, now));
    network.run_for(Duration::from_secs(5));
    network.hosts[1].alive = false;
    network.hosts[2].alive = false;
    network.until_seen(0..1, "n3", MemberStatus::Failed);
    let took = network.until_seen(0..1, "n3", None);
    assert!(took > Duration::from_secs(50), "{took:?}");
    assert_eq!(network.status(0, "n2"), Some(MemberStatus::Failed), "a member without a setting is kept as ever");
}

#[test]
fn a_failed_member_is_forgotten_after_its_time_and_nobody_brings_it_back() {
    let mut network =
        Network::joined_with(3, |settings| GossipSettings { reconnect_timeout: Duration::from_secs(60), ..settings });
    network.hosts[2].alive = false;
    network.until_seen(0..1, "n3", MemberStatus::Failed);
    network.until_seen(0..2, "n3", None);
    network.run_for(Duration::from_secs(30));
    assert!(network.all_see(0..2, "n3", None));
}
