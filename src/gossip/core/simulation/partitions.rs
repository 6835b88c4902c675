//! Packets lost, and pools cut in two.

use super::*;

#[test]
fn a_quarter_of_all_packets_lost_ends_with_everybody_there() {
    let mut network = Network::joined(6);
    network.lose_one_in = Some(4);
    network.run_for(Duration::from_secs(60));
    network.lose_one_in = None;
    network.until_whole(6);
}

#[test]
fn two_halves_find_each_other_after_a_partition() {
    for (size, cut) in [(2, 1), (6, 3)] {
        let mut network = Network::joined(size);
        network.cut_at = Some(cut);
        network.run_until("apart", |network| {
            network.hosts[0].alive_names().len() == cut && network.hosts[cut].alive_names().len() == usize::from(size) - cut
        });
        network.run_for(Duration::from_secs(30));
        network.cut_at = None;
        network.run_until("together", |network| network.hosts.iter().all(|host| host.alive_names().len() == usize::from(size)));
    }
}

#[test]
fn a_member_that_was_cut_off_alone_does_not_bring_its_view_of_the_others_along() {
    for silence in [1, 30] {
        let mut network = Network::joined(6);
        network.cut_at = Some(5);
        network.run_until("apart", |network| {
            network.hosts[5].alive_names().len() == 1 && (0..5).all(|at| network.hosts[at].alive_names().len() == 5)
        });
        network.run_for(Duration::from_secs(silence));
        network.cut_at = None;
        network.run_until("together", |network| {
            for (at, host) in network.hosts[..5].iter().enumerate() {
                assert!(host.alive_names().len() >= 5, "n{} sees {:?} only", at + 1, host.alive_names());
            }
            network.hosts.iter().all(|host| host.alive_names().len() == 6)
        });
    }
}
