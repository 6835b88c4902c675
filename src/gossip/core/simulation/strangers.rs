//! Who and what never becomes a member, and what is bounded.

use super::*;

#[test]
fn other_pools_datacenters_and_keys_never_make_a_member() {
    let mut network = Network::joined(2);
    let other_dc = GossipSettings {
        datacenter: "dc2".to_owned(),
        tags: BTreeMap::from([(tag::DC.to_owned(), "dc2".to_owned())]),
        ..settings("foreign", 70)
    };
    let wan = GossipSettings {
        pool: Pool::Wan,
        tags: BTreeMap::from([(tag::DC.to_owned(), "dc1".to_owned()), (tag::ROLE.to_owned(), "consul".to_owned())]),
        ..settings("server.dc1", 71)
    };
    let sealed = GossipSettings { encrypt: Some(vec![1; 32]), ..settings("sealed", 72) };
    for (port, stranger) in [(70, other_dc), (71, wan), (72, sealed)] {
        let at = network.add(&stranger, port, 1000);
        assert!(network.exchange(at, addr(1)).is_err());
        // As if it knew the pool already: its membership packets go straight to a member.
        let (target, now) = (network.hosts[0].core.me.identity(), network.now);
        let core = &mut network.hosts[at].core;
        core.foca.announce(target, &mut core.runtime).unwrap();
        core.settle(now);
    }
    let reason = network.exchange(2, addr(1)).unwrap_err();
    assert_eq!(reason, "Member 'foreign' part of wrong datacenter 'dc2'; expected 'dc1'");
    network.run_for(Duration::from_secs(10));
    assert_eq!(network.hosts[0].core.roster().members.len(), 2);
    assert_eq!(network.hosts[0].core.foca.iter_membership_state().len(), 1);
}

#[test]
fn damaged_and_replayed_packets_never_panic_and_never_make_a_member() {
    let mut network = Network::joined(3);
    let stranger = network.add(&settings("stranger", 9), 9, 1000);
    let now = network.now;
    let target = network.hosts[0].core.me.identity();
    let core = &mut network.hosts[stranger].core;
    core.foca.announce(target, &mut core.runtime).unwrap();
    core.settle(now);
    let Some(Output::Datagram { bytes, .. }) = core.poll_output() else { panic!("an announce is a datagram") };
    let frame = core.state_frame(now).unwrap();
    network.hosts[stranger].alive = false;
    let victim = &mut network.hosts[0].core;
    for length in 0..bytes.len() {
        let _ = victim.handle_datagram(addr(9), &bytes[..length], now);
    }
    for length in 0..frame.len() {
        let _ = victim.handle_frame(&frame[..length], now);
    }
    let mut rng = StdRng::seed_from_u64(3);
    for _ in 0..5000 {
        let junk: Vec<u8> = (0..rng.random_range(0..200)).map(|_| rng.random()).collect();
        let _ = victim.handle_datagram(addr(9), &junk, now);
        let mut wrapped = victim.envelope.seal(Carrier::Datagram, &junk).unwrap();
        wrapped[4..20].copy_from_slice(&rng.random::<u128>().to_be_bytes());
        let _ = victim.handle_datagram(addr(9), &wrapped, now);
    }
    assert_eq!(victim.roster().members.len(), 3);
    assert!(victim.handle_datagram(addr(9), &bytes, now).is_err(), "its number was used up by a truncated copy");
    assert_eq!(victim.roster().members.len(), 3);
}

#[test]
fn a_flood_of_rumours_is_bounded() {
    let mut network = Network::joined(2);
    let now = network.now;
    let to = network.hosts[0].core.me.identity();
    for batch in 0..200_u64 {
        let core = &mut network.hosts[1].core;
        for number in 0..40 {
            let rumour =
                Rumour::Forced { name: format!("{batch}-{number}"), stamp: Stamp { generation: 1, version: 0 }, prune: false };
            core.foca.add_broadcast(&postcard::to_stdvec(&rumour).unwrap()).unwrap();
        }
        for _ in 0..4 {
            core.foca.announce(to, &mut core.runtime).unwrap();
            core.leave_round(now);
        }
        network.flush();
        network.run_for(Duration::from_millis(5));
    }
    let backlog = network.hosts[0].core.foca.custom_broadcast_backlog();
    assert!(backlog <= defaults::GOSSIP_MAX_RUMOURS + 100, "{backlog}");
    assert_eq!(network.hosts[0].core.roster().members.len(), 2);
}
