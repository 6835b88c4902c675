//! Two datacenters whose bridges meet through relays alone: what the network between them does is
//! the test's to say.

use super::relay::{Relay, Way, Weather};
use super::{Datacenter, Plan, address};
use kontor::tls::BridgeIdentity;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// Where a packet between the datacenters is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// From dc1 to dc2.
    ToFar,
    /// From dc2 to dc1.
    ToNear,
}

/// How many agents there are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub near_servers: u32,
    pub near_clients: u32,
    pub far_servers: u32,
}

/// The network between the two: a relay before each server of both.
#[derive(Debug)]
pub struct Wan {
    /// Before the servers of dc1, in their order.
    pub before_near: Vec<Relay>,
    /// Before the servers of dc2, in their order.
    pub before_far: Vec<Relay>,
}

impl Wan {
    /// Changes the weather everywhere.
    pub fn set(&self, change: impl Fn(&mut Weather)) {
        self.before_near.iter().chain(&self.before_far).for_each(|relay| relay.set(&change));
    }

    /// Nothing that is `heading` there arrives any more, whoever dialled.
    pub fn cut(&self, heading: Heading) {
        let (there, back) = match heading {
            Heading::ToFar => (&self.before_far, &self.before_near),
            Heading::ToNear => (&self.before_near, &self.before_far),
        };
        there.iter().for_each(|relay| relay.set(|weather| weather.cut_there = true));
        back.iter().for_each(|relay| relay.set(|weather| weather.cut_back = true));
    }

    /// Nothing arrives any more.
    pub fn cut_both_ways(&self) {
        self.cut(Heading::ToFar);
        self.cut(Heading::ToNear);
    }

    /// Ends all cuts; delay, jitter and loss stay.
    pub fn heal(&self) {
        self.set(|weather| (weather.cut_there, weather.cut_back) = (false, false));
    }

    /// Bytes delivered so far, everywhere and in both directions.
    pub fn bytes(&self) -> u64 {
        self.before_near.iter().chain(&self.before_far).map(Relay::bytes).sum()
    }

    /// Which server of dc2 is asked by what `ask` does: the one whose relay is busiest meanwhile.
    pub fn busiest_far(&self, ask: impl FnOnce()) -> usize {
        let count = || self.before_far.iter().map(|relay| relay.carried(Way::Back).bytes).collect::<Vec<u64>>();
        let before = count();
        ask();
        let more = count().into_iter().zip(before).map(|(after, before)| after - before);
        more.enumerate().max_by_key(|(_, bytes)| *bytes).unwrap().0
    }
}

/// dc1 ("near") and dc2 ("far"), federated by static entries that name relays, with no WAN pool.
#[derive(Debug)]
pub struct Federation {
    pub near: Datacenter,
    pub far: Datacenter,
    pub wan: Wan,
}

impl Federation {
    /// Starts both and waits until each agent is answered by both.
    pub fn start(root: &Path, sizes: Sizes) -> Federation {
        Federation::start_with(root, sizes, &json!({}))
    }

    /// The same, with more settings for every agent.
    pub fn start_with(root: &Path, sizes: Sizes, settings: &Value) -> Federation {
        let near = Datacenter::plans_of(root, "dc1", sizes.near_servers);
        let far = Datacenter::plans_of(root, "dc2", sizes.far_servers);
        let wan = Wan { before_near: relays(&near), before_far: relays(&far) };
        let near_entries = entries(&near, &wan.before_near);
        let far_entries = entries(&far, &wan.before_far);
        let near_clients = (1..=sizes.near_clients)
            .map(|number| Plan::client(root, "dc1", &format!("c{number}")).join(&near.iter().collect::<Vec<&Plan>>()));
        let server = |dc: &str, entries: Vec<String>| {
            let mut all = settings.clone();
            all["federation"] = json!({dc: entries});
            all["ports"] = json!({"serf_wan": -1});
            all
        };
        let (near_settings, far_settings) = (server("dc2", far_entries), server("dc1", near_entries));
        let near_clients: Vec<_> = near_clients.map(|plan| plan.settings(settings).start()).collect();
        let start = |plans: Vec<Plan>, settings: &Value| plans.into_iter().map(|plan| plan.settings(settings).start()).collect();
        let near = Datacenter { servers: start(near, &near_settings), clients: near_clients };
        let far = Datacenter { servers: start(far, &far_settings), clients: Vec::new() };
        let federation = Federation { near, far, wan };
        federation.settle();
        federation
    }

    /// Waits until each agent is answered by both datacenters.
    pub fn settle(&self) {
        for datacenter in [&self.near, &self.far] {
            datacenter.settle();
        }
        for agent in self.near.agents().chain(self.far.agents()) {
            for (dc, other) in [("dc1", &self.near), ("dc2", &self.far)] {
                let path = format!("/v1/catalog/nodes?dc={dc}");
                agent.wait_for(&path, |nodes| nodes.as_array().unwrap().len() >= other.agents().count());
            }
        }
    }
}

fn relays(plans: &[Plan]) -> Vec<Relay> {
    let bridge = |ip| SocketAddr::from((ip, 8300));
    plans.iter().map(|plan| Relay::start(bridge(address()), bridge(plan.address))).collect()
}

/// The entries by which these servers are found behind their relays. Their keys are made here, as
/// each would make its own at its first start.
fn entries(plans: &[Plan], relays: &[Relay]) -> Vec<String> {
    let entry = |(plan, relay): (&Plan, &Relay)| {
        std::fs::create_dir_all(&plan.data_dir).unwrap();
        let identity = BridgeIdentity::self_made(Some(&plan.data_dir), &plan.dc, "consul").unwrap();
        format!("{}#sha256:{}", relay.address, identity.fingerprint().unwrap())
    };
    plans.iter().zip(relays).map(entry).collect()
}
