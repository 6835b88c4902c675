//! Members that come, tell of themselves, fail, leave and are forgotten.

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
    network.run_until("seen as failed", |network| network.status(0, "n2") == Some(MemberStatus::Failed));
    let back = network.add(&settings("n2", 2), 2, 2000);
    network.exchange(back, addr(1)).unwrap();
    network.run_until("seen again", |network| network.status(0, "n2") == Some(MemberStatus::Alive));
    network.run_for(Duration::from_secs(10));
    assert_eq!(network.status(0, "n2"), Some(MemberStatus::Alive));
    assert_eq!(network.status(back, "n1"), Some(MemberStatus::Alive));
}

#[test]
fn a_killed_member_is_failed_and_a_leaving_one_left_for_all() {
    let mut network = Network::joined(6);
    network.hosts[5].alive = false;
    let now = network.now;
    network.hosts[4].core.leave(now);
    for _ in 0..6 {
        network.hosts[4].core.leave_round(now);
        network.run_for(Duration::from_millis(60));
    }
    let now = network.now;
    network.hosts[4].core.depart(now);
    network.run_until("seen by all", |network| {
        (0..4).all(|at| {
            network.status(at, "n5") == Some(MemberStatus::Left) && network.status(at, "n6") == Some(MemberStatus::Failed)
        })
    });
}

#[test]
fn a_frozen_member_fails_and_comes_back_by_itself() {
    for size in [2, 5] {
        let mut network = Network::joined(size);
        network.hosts[1].frozen = true;
        network.run_until("failed", |network| network.status(0, "n2") == Some(MemberStatus::Failed));
        network.run_for(Duration::from_secs(30));
        network.hosts[1].frozen = false;
        network
            .run_until("all see all", |network| network.hosts.iter().all(|host| host.alive_names().len() == usize::from(size)));
    }
}

#[test]
fn force_leave_spreads_and_a_living_member_refutes_it() {
    let mut network = Network::joined(4);
    let now = network.now;
    network.hosts[0].core.force_leave("n4", false, now).unwrap();
    network.run_for(Duration::from_secs(5));
    assert!((0..4).all(|at| network.status(at, "n4") == Some(MemberStatus::Alive)), "it lives");
    network.hosts[3].alive = false;
    network.run_until("failed", |network| network.status(0, "n4") == Some(MemberStatus::Failed));
    let now = network.now;
    network.hosts[0].core.force_leave("n4", false, now).unwrap();
    network.run_until("left for all", |network| (0..3).all(|at| network.status(at, "n4") == Some(MemberStatus::Left)));
    let now = network.now;
    network.hosts[1].core.force_leave("n4", true, now).unwrap();
    network.run_until("pruned by all", |network| (0..3).all(|at| network.status(at, "n4").is_none()));
    network.run_for(Duration::from_secs(30));
    assert!((0..3).all(|at| network.status(at, "n4").is_none()), "nobody brings it back");
    let error = network.hosts[0].core.force_leave("nobody", false, now).unwrap_err();
    assert_eq!(error, "No node found with name 'nobody'");
}

#[test]
fn tags_reach_all_quickly_and_large_ones_too() {
    let mut network = Network::joined(8);
    for host in &mut network.hosts {
        host.core.timings.push_pull = Duration::from_secs(3600);
    }
    network.run_for(Duration::from_secs(5));
    for size in [10, 3000] {
        let mut tags = network.hosts[0].core.me.tags.clone();
        tags.insert("note".to_owned(), "x".repeat(size));
        let now = network.now;
        network.hosts[0].core.set_tags(tags, now);
        let took =
            network.run_until("spread", |network| network.hosts.iter().all(|host| host.member("n1").tag("note").len() == size));
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
    // Each second a probe, the end of its answer's time, and a measurement.
    assert!(wakes > 60 && wakes < 4 * 60, "{wakes} in a minute");
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
        let took = network
            .run_until("failed for all", |network| (0..4).all(|at| network.status(at, &name) == Some(MemberStatus::Failed)));
        assert!(took < Duration::from_secs(limit), "{pool:?}: {took:?}");
    }
}

#[test]
fn a_failed_member_that_told_when_to_forget_it_is_forgotten_then_by_all() {
    let mut network = Network::joined(3);
    let pairs = [(tag::DC, "dc1"), (tag::ROLE, "node"), (tag::RECONNECT_TIMEOUT, "1m0s")];
    let tags = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let now = network.now;
    network.hosts[2].core.set_tags(tags, now);
    network.run_for(Duration::from_secs(5));
    network.hosts[1].alive = false;
    network.hosts[2].alive = false;
    network.run_until("failed", |network| network.status(0, "n3") == Some(MemberStatus::Failed));
    let took = network.run_until("forgotten", |network| network.status(0, "n3").is_none());
    assert!(took > Duration::from_secs(50), "{took:?}");
    assert_eq!(network.status(0, "n2"), Some(MemberStatus::Failed), "who tells nothing is kept as ever");
}

#[test]
fn a_failed_member_is_forgotten_after_its_time_and_nobody_brings_it_back() {
    let mut network =
        Network::joined_with(3, |settings| GossipSettings { reconnect_timeout: Duration::from_secs(60), ..settings });
    network.hosts[2].alive = false;
    network.run_until("failed", |network| network.status(0, "n3") == Some(MemberStatus::Failed));
    network.run_until("forgotten", |network| (0..2).all(|at| network.status(at, "n3").is_none()));
    network.run_for(Duration::from_secs(30));
    assert!((0..2).all(|at| network.status(at, "n3").is_none()));
}
