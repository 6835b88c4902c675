//! Datacenters that operators have removed.

use super::*;
use crate::model::ids::ClusterId;
use crate::model::removals::Removals;

#[test]
fn a_removed_datacenter_stays_away_whoever_tells_of_it_and_comes_back_when_readmitted() {
    let cluster = |number: u16| ClusterId(uuid::Uuid::from_u128(u128::from(number)));
    let server = |number: u16, datacenter: &str, of: u16| {
        let mut tags = tags(datacenter, "consul");
        tags.insert(tag::CLUSTER.to_owned(), cluster(of).to_string());
        let settings = settings(&format!("n{number}.{datacenter}"), u128::from(number));
        GossipSettings { pool: Pool::Wan, datacenter: datacenter.to_owned(), tags, ..settings }
    };
    let mut network = Network::new();
    for (number, dc, of) in [(1, "dc1", 1), (2, "dc2", 2), (3, "dc3", 3), (4, "dc2", 2)] {
        network.add(&server(number, dc, of), number, 1000);
    }
    let mut network = network.join_first();
    let sees = |network: &Network, host: usize, count: usize| network.hosts[host].alive_names().len() == count;

    let mut removals = Removals::default();
    removals.remove("dc2", Some(cluster(2)));
    network.act(0, |core, now| core.set_removals(Arc::new(removals), now));
    assert_eq!(network.hosts[0].alive_names(), ["n1.dc1", "n3.dc3"], "at once");
    for _ in 0..30 {
        // The third reports all it knows, as every member does from time to time.
        assert_eq!(network.exchange(0, addr(3)), Ok(Contact::Member));
        assert_eq!(network.exchange(2, addr(1)), Ok(Contact::Member));
        network.run_for(Duration::from_secs(1));
        assert_eq!(network.hosts[0].core.roster().members.len(), 2);
        assert!((1..4).all(|host| sees(&network, host, 4)), "nobody else takes anybody for failed");
    }
    assert_eq!(network.exchange(0, addr(2)), Ok(Contact::Removed("dc2".to_owned())));
    assert!(network.exchange(1, addr(1)).unwrap_err().contains("was removed in 'dc1'"));

    // A restart of a removed server is asked which cluster it is of; one of another cluster is let in.
    network.hosts[3].alive = false;
    let again = network.add(&server(4, "dc2", 9), 4, 2000);
    assert_eq!(network.exchange(again, addr(3)), Ok(Contact::Member));
    network.run_until("the other cluster is in", |network| network.hosts[0].alive_names() == ["n1.dc1", "n3.dc3", "n4.dc2"]);

    network.act(0, |core, now| core.set_removals(Arc::default(), now));
    network.run_until("all are back", |network| sees(network, 0, 4));
}
