//! The holders of names and addresses, when another wants them or the holder moves.

use super::*;
use crate::gossip::info::tests::info;

#[test]
fn a_member_that_returns_elsewhere_moves_and_a_late_down_does_not_touch_it() {
    let mut network = Network::joined(4);
    let old = network.hosts[3].core.me.identity();
    network.hosts[3].alive = false;
    let moved = network.add(&settings("n4", 4), 44, 2000);
    network.exchange(moved, addr(1)).unwrap();
    network.run_until("moved", |network| (0..3).all(|at| network.hosts[at].member("n4").addr == addr(44)));
    for at in 0..3 {
        network.act(at, |core, now| {
            core.foca.apply_many(std::iter::once(foca::Member::down(old)), true, &mut core.runtime).unwrap();
            core.stale = true;
            core.settle(now);
        });
    }
    network.run_for(Duration::from_secs(10));
    assert!(network.all_see(0..3, "n4", MemberStatus::Alive));
}

#[test]
fn a_new_node_takes_over_name_and_address_at_once_even_with_a_clock_behind() {
    let mut network = Network::joined(3);
    network.hosts[2].alive = false;
    let fresh = network.add(&settings("n3", 33), 3, 5);
    network.exchange(fresh, addr(1)).unwrap();
    network.run_until("replaced", |network| {
        let host = &network.hosts[0].core;
        host.table.get("n3").is_some_and(|record| record.info.node_id == NodeId::from_u128(33))
            && network.status(0, "n3") == Some(MemberStatus::Alive)
            && network.status(1, "n3") == Some(MemberStatus::Alive)
    });
}

#[test]
fn a_taken_name_is_refused_while_its_holder_answers_and_given_when_not() {
    let mut network = Network::joined(3);
    let thief = network.add(&settings("n3", 99), 99, 5000);
    let reason = network.exchange(thief, addr(1)).unwrap_err();
    assert!(reason.contains("127.0.0.1:3") && reason.contains("127.0.0.1:99"), "{reason}");
    network.run_for(Duration::from_secs(5));
    assert_eq!(network.hosts[1].member("n3").addr, addr(3));
    network.hosts[2].alive = false;
    network.exchange(thief, addr(1)).unwrap();
    network.run_until("given", |network| (0..2).all(|at| network.hosts[at].member("n3").addr == addr(99)));
}

#[test]
fn a_node_that_is_renamed_leaves_its_old_name() {
    let mut network = Network::joined(3);
    network.hosts[2].alive = false;
    let renamed = network.add(&settings("other", 3), 3, 2000);
    network.exchange(renamed, addr(1)).unwrap();
    network.run_until("renamed", |network| {
        (0..2).all(|at| {
            network.status(at, "other") == Some(MemberStatus::Alive) && network.status(at, "n3") == Some(MemberStatus::Left)
        })
    });
}

#[test]
fn an_address_change_keeps_the_member() {
    let mut network = Network::joined(3);
    network.act(2, |core, now| core.set_advertise([127, 0, 0, 9].into(), now));
    let new = SocketAddr::from(([127, 0, 0, 9], 3));
    network.hosts[2].addr = new;
    network.run_until("moved", |network| (0..2).all(|at| network.hosts[at].member("n3").addr == new));
    network.run_for(Duration::from_secs(10));
    assert!(network.all_see(0..2, "n3", MemberStatus::Alive));
}

#[test]
fn what_a_state_says_of_this_agent_is_outbid() {
    let mut network = Network::new();
    network.add(&settings("n1", 1), 1, 1000);
    let claim = NodeInfo { node_id: NodeId::from_u128(1), ..info("n1", 1, 9000) };
    network.act(0, |core, now| core.offer(claim, None, None, now));
    assert!(network.hosts[0].core.generation() > 9000);
}
