//! Senders that never become members, and the bounds.

use super::*;

#[test]
fn other_pools_datacenters_and_keys_never_make_a_member() {
    let mut network = Network::joined(2);
    let other_dc = GossipSettings { datacenter: "dc2".to_owned(), tags: tags("dc2", ""), ..settings("foreign", 70) };
    let wan = GossipSettings { pool: Pool::Wan, tags: tags("dc1", "consul"), ..settings("server.dc1", 71) };
    let sealed = GossipSettings { encrypt: Some(vec![1; 32]), ..settings("sealed", 72) };
    for (port, stranger) in [(70, other_dc), (71, wan), (72, sealed)] {
        let at = network.add(&stranger, port, 1000);
        assert!(network.exchange(at, addr(1)).is_err());
        // As if it knew the pool already: its membership packets go straight to a member.
        network.announce(at);
    }
    let reason = network.exchange(2, addr(1)).unwrap_err();
    assert_eq!(reason, "Member 'foreign' part of wrong datacenter 'dc2'; expected 'dc1'");
    network.run_for(Duration::from_secs(10));
    assert_eq!(network.hosts[0].core.roster().members.len(), 2);
    assert_eq!(network.hosts[0].core.foca.iter_membership_state().len(), 1);
}

#[test]
fn damaged_and_replayed_packets_never_panic_and_never_make_a_member() {
    // Packets are known as seen with a key alone.
    let keyed = |settings| GossipSettings { encrypt: Some(vec![1; 32]), ..settings };
    let mut network = Network::joined_with(3, keyed);
    let stranger = network.add(&keyed(settings("stranger", 9)), 9, 1000);
    network.announce(stranger);
    let now = network.now;
    let core = &mut network.hosts[stranger].core;
    let Some(Output::Datagram { bytes, .. }) = core.poll_output() else { panic!("an announce is a datagram") };
    let frame = core.state_frame(now).unwrap();
    network.hosts[stranger].alive = false;
    let victim = &mut network.hosts[0].core;
    for length in 0..bytes.len() {
        let _ = victim.handle_datagram(addr(9), &bytes[..length], now);
    }
    for length in 0..frame.len() {
        let _ = victim.handle_frame(addr(9).ip(), &frame[..length], now);
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
    assert!(victim.handle_datagram(addr(9), &bytes, now).is_ok());
    assert!(victim.handle_datagram(addr(9), &bytes, now).is_err(), "its number was used up");
    assert_eq!(victim.roster().members.len(), 3, "nobody knows its state");
}

/// The packet by which an agent of no pool tries to become a member.
fn announce(network: &mut Network, settings: &GossipSettings, port: u16, target: usize) -> Vec<u8> {
    let (target, now) = (network.hosts[target].core.me.identity(), network.now);
    let mut core = Core::new(settings, addr(port), network.clock, network.clock, 5, now).unwrap();
    core.foca.announce(target, &mut core.runtime).unwrap();
    while let Some((to, data)) = core.runtime.to_send() {
        core.send(to.addr, MEMBERSHIP, &data);
    }
    let Some(Output::Datagram { bytes, .. }) = core.poll_output() else { panic!("an announce is a datagram") };
    bytes
}

#[test]
fn an_address_that_another_names_is_sent_no_more_than_was_sent_in_its_name() {
    let mut network = Network::lifelike(8);
    let bytes = announce(&mut network, &settings("x", u128::MAX - 99), 9099, 0);
    let _ = network.act(0, |core, now| core.handle_datagram(addr(66), &bytes, now));
    network.run_for(Duration::from_secs(60));
    let sent: usize = network.lost.iter().filter(|(to, _)| *to == addr(9099)).map(|(_, length)| length).sum();
    assert!(sent > 0 && sent <= bytes.len(), "{sent} bytes for {}", bytes.len());
}

#[test]
fn an_address_that_never_answers_gets_a_few_short_questions_even_when_a_member_tells_of_it() {
    let mut network = Network::joined(8);
    let victim = foca::Member::alive(Identity::new(addr(99), 1000, NodeId::from_u128(99)));
    network.act(1, |core, now| {
        core.foca.apply_many(std::iter::once(victim), true, &mut core.runtime).unwrap();
        core.settle(now);
    });
    let length = 20;
    network.run_for(Duration::from_secs(length));
    let sent: Vec<usize> = network.lost.iter().filter(|(to, _)| *to == addr(99)).map(|(_, length)| *length).collect();
    assert!(!sent.is_empty() && sent.iter().all(|length| *length < 100), "{sent:?}");
    let waits = usize::try_from(length / defaults::GOSSIP_PROOF_WAIT.as_secs() + 1).unwrap();
    let tries = usize::try_from(defaults::GOSSIP_PROOF_TRIES).unwrap();
    assert!(sent.len() <= network.hosts.len() * waits * tries, "{}", sent.len());
}

#[test]
fn a_stranger_that_answers_is_heard_with_what_it_said() {
    let mut network = Network::lifelike(3);
    let clock = network.clock;
    let stranger = network.add(&settings("n9", u128::MAX - 9), 9099, clock);
    let now = network.now;
    network.announce(stranger);
    network.until_whole(4);
    assert!(network.now - now < Duration::from_secs(10));
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
