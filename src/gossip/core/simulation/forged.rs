//! Forged numbers: in another agent's name, or so large that nothing is larger.

use super::*;
use crate::gossip::identity::MAX_GENERATION;
use crate::gossip::info::tests::info;
use foca::Codec;

const DAY: u64 = 24 * 3600 * 1000;

/// A packet without a key in the name of host `of`, with the update of a member or a rumour.
fn forged(network: &mut Network, of: usize, to: usize, rumour: Option<Rumour>, update: Option<Identity>) -> Vec<u8> {
    let [source, target] = [of, to].map(|at| network.hosts[at].core.me.clone());
    let header =
        foca::Header { src: source.identity(), src_incarnation: 0, dst: target.identity(), message: foca::Message::Gossip };
    let mut data = vec![MEMBERSHIP];
    PostcardCodec.encode_header(&header, &mut data).unwrap();
    data.extend(u16::from(update.is_some()).to_be_bytes());
    if let Some(update) = update {
        PostcardCodec.encode_member(&foca::Member::alive(update), &mut data).unwrap();
    }
    if let Some(rumour) = rumour {
        let rumour = postcard::to_stdvec(&rumour).unwrap();
        data.extend(u16::try_from(rumour.len()).unwrap().to_be_bytes());
        data.extend(rumour);
    }
    let mut envelope = Envelope::new(Pool::Lan, "dc1", source.node_id, 1000, None, Arc::default()).unwrap();
    envelope.seal(Carrier::Datagram, &data).unwrap()
}

fn assert_whole(network: &mut Network) {
    network.run_for(Duration::from_secs(20));
    for host in &network.hosts {
        assert_eq!(host.alive_names().len(), network.hosts.len(), "as n{} sees it", host.addr.port());
        let core = &host.core;
        assert!(core.generation() < network.clock + 2 * DAY, "{} is at {}", core.name(), core.generation());
    }
}

/// A tag of the first host reaches the others by rumour.
fn assert_heard(network: &mut Network) {
    let took = network.spread("new");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn no_life_far_ahead_of_now_is_outbid_and_none_makes_a_member_unheard() {
    for generation in [MAX_GENERATION - 2, MAX_GENERATION - 1, u64::MAX, 3 * DAY] {
        let mut network = Network::joined(4);
        let later = Identity::new(addr(1), generation, NodeId::from_u128(1));
        for to in 0..4 {
            let bytes = forged(&mut network, if to == 1 { 2 } else { 1 }, to, None, Some(later));
            let _ = network.act(to, |core, now| core.handle_datagram(addr(66), &bytes, now));
        }
        assert_whole(&mut network);
    }
}

#[test]
fn versions_and_states_that_nobody_can_go_beyond_are_gone_beyond() {
    let me = |generation, version| Stamp { generation, version };
    let rumours = |stamp: Stamp| {
        let name = "n1".to_owned();
        [
            Rumour::Forced { name: name.clone(), stamp, prune: false },
            Rumour::Newer { name, addr: addr(2), stamp },
            Rumour::Info(NodeInfo { stamp, ..info("n1", 1, 1000) }),
        ]
    };
    for stamp in [me(1000, u64::MAX), me(1000, u64::MAX - 1), me(DAY, u64::MAX), me(u64::MAX, u64::MAX)] {
        for rumour in rumours(stamp) {
            let mut network = Network::joined(3);
            for to in 0..3 {
                let bytes = forged(&mut network, if to == 1 { 2 } else { 1 }, to, Some(rumour.clone()), None);
                network.act(to, |core, now| core.handle_datagram(addr(66), &bytes, now)).unwrap();
            }
            assert_whole(&mut network);
            assert_heard(&mut network);
        }
    }
}

fn keyed(settings: GossipSettings) -> GossipSettings {
    GossipSettings { encrypt: Some(vec![1; 32]), ..settings }
}

/// Host n2 dies, has forgotten its earlier lives, and its clock reads `clock`.
fn restarted(network: &mut Network, clock: u64) -> usize {
    network.hosts[1].alive = false;
    network.until_seen(0..1, "n2", MemberStatus::Failed);
    let right = std::mem::replace(&mut network.clock, clock);
    let back = network.add(&keyed(settings("n2", 2)), 2, clock);
    network.clock = right;
    back
}

#[test]
fn an_agent_whose_clock_went_back_and_who_forgot_its_lives_is_heard_again() {
    for clock in [5, DAY / 2, 12 * DAY] {
        let mut network = Network::new();
        network.clock = 20 * DAY;
        for number in 1..=4u16 {
            network.add(&keyed(settings(&format!("n{number}"), u128::from(number))), number, 20 * DAY);
        }
        let mut network = network.join_first();
        let back = restarted(&mut network, clock);
        let reason = network.exchange(back, addr(1)).unwrap_err();
        assert!(reason.contains("later life"), "{reason}");
        assert_eq!(network.exchange(back, addr(1)), Ok(Contact::Member));
        network.run_until("heard by all", |network| {
            [0, 2, 3].into_iter().all(|at| network.status(at, "n2") == Some(MemberStatus::Alive))
                && network.hosts[back].alive_names().len() == 4
        });
        network.run_for(Duration::from_secs(20));
        assert!([0, 2, 3].into_iter().all(|at| network.status(at, "n2") == Some(MemberStatus::Alive)));
    }
}

#[test]
fn a_life_that_began_by_a_clock_ahead_ends_when_it_is_refused() {
    let mut network = Network::joined(3);
    let ahead = network.clock + 30 * DAY;
    // Its clock was wrong when it began, and has been set since.
    let late = network.add(&settings("n4", 4), 4, ahead);
    let reason = network.exchange(late, addr(1)).unwrap_err();
    assert!(reason.contains("'n4'") && reason.contains("ahead of the clock here"), "{reason}");
    assert_eq!(network.exchange(late, addr(1)), Ok(Contact::Member));
    network.until_whole(4);
}

#[test]
fn one_member_with_the_key_makes_nobody_unheard_for_good() {
    let mut network = Network::joined_with(3, keyed);
    let (victim, now) = (network.hosts[0].core.me.node_id, network.now);
    for (session, number) in [(1000, u64::MAX), (DAY - 1, 1), (u64::MAX, u64::MAX)] {
        let mut envelope = Envelope::new(Pool::Lan, "dc1", victim, session, Some(&[1; 32]), Arc::default()).unwrap();
        envelope.number_from(number - 1);
        let bytes = envelope.seal(Carrier::Datagram, &[PONG]).unwrap();
        for at in 1..3 {
            let _ = network.hosts[at].core.handle_datagram(addr(66), &bytes, now);
        }
    }
    network.run_for(Duration::from_secs(60));
    assert_whole(&mut network);
    assert_heard(&mut network);
}
