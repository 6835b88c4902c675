//! Lists derived from the rosters: Raft's candidates and addresses, the bridge's servers, the flood join.
//!
//! The derivations are pure; the tasks at the end feed them from gossip.

use super::dispatch::{RaftAddresses, RaftServer};
use super::federation::merged;
use super::publish;
use crate::bridge::RemoteServer;
use crate::config::Config;
use crate::defaults;
use crate::gossip::{Gossip, Roster};
use crate::model::duration;
use crate::model::ids::{ClusterId, NodeId};
use crate::model::member::{Member, MemberStatus, tag};
use crate::raft::Candidate;
use futures_util::future::OptionFuture;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, info};

/// The servers that may take part in a bootstrap, this one included.
pub(super) fn candidates(roster: &Roster, own: &Candidate) -> Vec<Candidate> {
    let others = roster.alive().filter(|member| member.is_server()).filter_map(|member| {
        let id = member.id()?;
        let expect = if member.tag(tag::BOOTSTRAP) == "1" { 1 } else { member.tag(tag::EXPECT).parse().unwrap_or(0) };
        let cluster = member.tag(tag::CLUSTER).parse().ok();
        (id != own.id).then_some(Candidate { id, expect, cluster })
    });
    std::iter::once(own.clone()).chain(others).collect()
}

/// The servers' names and addresses for Raft's messages. Failed servers keep their address: gossip may be wrong.
pub(super) fn raft_addresses(roster: &Roster) -> RaftAddresses {
    let servers = roster.members.values().filter(|member| member.is_server());
    let addr = |member: &Member| member.rpc_addr().filter(|_| member.status != MemberStatus::Left);
    let server = |member: &Member| RaftServer { name: member.name.clone(), addr: addr(member), level: member.level() };
    Arc::new(servers.filter_map(|member| Some((member.id()?, server(member)))).collect())
}

/// The servers of other datacenters, with the estimated way to each.
pub(super) fn remote_servers(roster: &Roster, own_dc: &str, estimate: impl Fn(&str) -> Option<Duration>) -> Vec<RemoteServer> {
    let others = roster.members.values().filter(|member| member.dc() != own_dc && member.is_server());
    others
        .filter(|member| matches!(member.status, MemberStatus::Alive | MemberStatus::Failed))
        .filter_map(|member| {
            Some(RemoteServer {
                name: member.node_name().to_owned(),
                dc: member.dc().to_owned(),
                addr: member.rpc_addr()?,
                pins: Some(member.tag(tag::BRIDGE_PIN)).filter(|pin| !pin.is_empty()).map(str::to_owned).into_iter().collect(),
                cluster: member.tag(tag::CLUSTER).parse().ok(),
                alive: member.status == MemberStatus::Alive,
                estimate: estimate(&member.name),
            })
        })
        .collect()
}

/// The WAN addresses of servers of this datacenter that are not in the WAN pool yet.
pub(super) fn missing_from_wan(lan: &Roster, wan: &Roster, own_name: &str) -> Vec<SocketAddr> {
    let in_wan = |member: &Member| {
        let name = format!("{}.{}", member.name, member.dc());
        wan.members.get(&name).is_some_and(|known| known.status == MemberStatus::Alive)
    };
    lan.alive()
        .filter(|member| member.is_server() && member.name != own_name && !in_wan(member))
        .filter_map(|member| {
            let port = member.tag(tag::WAN_JOIN_PORT).parse().ok()?;
            let ip: IpAddr = member.tag(tag::WAN_JOIN_ADDR).parse().unwrap_or(member.addr.ip());
            Some(SocketAddr::new(ip, port))
        })
        .collect()
}

/// The lists fed from the LAN pool of a server.
#[derive(Debug)]
pub(super) struct LanFeeds {
    /// This server, as a candidate, but for its cluster.
    pub own: Candidate,
    /// The cluster it is part of.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    pub candidates: watch::Sender<Vec<Candidate>>,
    pub addresses: watch::Sender<RaftAddresses>,
}

/// Keeps Raft's candidates and addresses as the LAN roster has them, and the `cluster` tag as Raft has it.
pub(super) async fn follow_lan(lan: Gossip, mut feeds: LanFeeds) {
    let mut roster = lan.changes();
    loop {
        let cluster = *feeds.cluster.borrow_and_update();
        if cluster.is_some() && cluster != feeds.own.cluster {
            lan.set_tag(tag::CLUSTER, cluster.map(|cluster| cluster.to_string()));
        }
        let members = roster.borrow_and_update().clone();
        feeds.own.cluster = cluster;
        feeds.candidates.send_replace(candidates(&members, &feeds.own));
        feeds.addresses.send_replace(raft_addresses(&members));
        tokio::select! {
            changed = roster.changed() => if changed.is_err() { return },
            changed = feeds.cluster.changed() => if changed.is_err() { return },
        }
    }
}

/// Keeps this server's `cluster` tag in the WAN pool as Raft has it.
pub(super) async fn tell_cluster(wan: Gossip, mut cluster: watch::Receiver<Option<ClusterId>>) {
    loop {
        if let Some(cluster) = *cluster.borrow_and_update() {
            wan.set_tag(tag::CLUSTER, Some(cluster.to_string()));
        }
        if cluster.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps the bridge's list of servers as the WAN roster and the static list have it.
pub(super) async fn follow_servers(
    wan: Option<Gossip>,
    mut listed: watch::Receiver<Vec<RemoteServer>>,
    own_dc: String,
    servers: watch::Sender<Arc<Vec<RemoteServer>>>,
) {
    let mut roster = wan.as_ref().map(Gossip::changes);
    loop {
        let of_pool = |wan: &Gossip| {
            let here = wan.coordinate();
            remote_servers(&wan.roster(), &own_dc, |name| Some(here.distance(&wan.coordinate_of(name)?)))
        };
        if let Some(roster) = &mut roster {
            roster.mark_unchanged();
        }
        let pool = wan.as_ref().map(of_pool).unwrap_or_default();
        let list = merged(pool, &listed.borrow_and_update());
        publish(&servers, Arc::new(list));
        tokio::select! {
            Some(changed) = OptionFuture::from(roster.as_mut().map(|roster| roster.changed())) => if changed.is_err() { return },
            changed = listed.changed() => if changed.is_err() { return },
            // Coordinates move without a change of the roster.
            () = tokio::time::sleep(defaults::WAN_ESTIMATE_INTERVAL) => {}
        }
    }
}

/// Has every server of this datacenter join the WAN pool once one of them has ("flood join").
pub(super) async fn flood_join(lan: Gossip, wan: Gossip, own_name: String) {
    let mut roster = lan.changes();
    loop {
        let missing = missing_from_wan(&roster.borrow_and_update().clone(), &wan.roster(), &own_name);
        if !missing.is_empty() {
            let addresses: Vec<String> = missing.iter().map(SocketAddr::to_string).collect();
            match wan.join(&addresses).await {
                Ok(joined) => info!(pool = "WAN", joined = joined.answered, "servers of this datacenter joined"),
                Err(error) => debug!(pool = "WAN", %error, "flood join failed; it is tried again"),
            }
            // Not at each change of the roster, which may keep changing.
            tokio::time::sleep(defaults::FLOOD_JOIN_RETRY).await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(defaults::FLOOD_JOIN_INTERVAL) => {}
            changed = roster.changed() => if changed.is_err() { return },
        }
    }
}

/// The tags of this agent in a pool, as Consul's members carry them.
pub(super) fn own_tags(config: &Config, node_id: NodeId, rpc_port: u16) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = [
        (tag::ROLE, if config.server { "consul" } else { "node" }),
        (tag::DC, &config.datacenter),
        (tag::SEGMENT, ""),
        ("vsn", "2"),
        ("vsn_min", "2"),
        ("vsn_max", "3"),
        ("acls", "0"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let mut add = |name: &str, value: String| tags.insert(name.to_owned(), value);
    add(tag::ID, node_id.to_string());
    add(tag::BUILD, format!("{}:kontor-{}", defaults::CONSUL_VERSION, env!("CARGO_PKG_VERSION")));
    if let Some(timeout) = config.advertise_reconnect_timeout {
        add(tag::RECONNECT_TIMEOUT, duration::format(timeout));
    }
    if config.server {
        add(tag::PORT, rpc_port.to_string());
        add("raft_vsn", "3".to_owned());
        match config.bootstrap_expect {
            0 => None,
            1 => add(tag::BOOTSTRAP, "1".to_owned()),
            expect => add(tag::EXPECT, expect.to_string()),
        };
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};
    use serde_json::json;

    fn config(server: bool, datacenter: &str) -> Config {
        let flags = json!({"bind_addr": "127.0.0.1", "data_dir": "/d", "server": server, "datacenter": datacenter});
        resolve(&Sources { flags, ..Sources::default() }).unwrap()
    }

    fn server(name: &str, dc: &str, last: u8, status: MemberStatus, extra: &[(&str, &str)]) -> Member {
        let mut tags = own_tags(&config(true, dc), NodeId::from_u128(u128::from(last)), 8300);
        tags.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Member { name: name.to_owned(), addr: SocketAddr::from(([127, 0, 0, last], 8301)), tags, status }
    }

    fn roster(members: Vec<Member>) -> Roster {
        Roster { members: members.into_iter().map(|member| (member.name.clone(), member)).collect() }
    }

    #[test]
    fn a_client_tells_how_long_the_others_keep_it() {
        let tag = |advertise_reconnect_timeout| {
            let config = Config { advertise_reconnect_timeout, ..config(false, "dc1") };
            own_tags(&config, NodeId::from_u128(1), 8300).get(tag::RECONNECT_TIMEOUT).cloned()
        };
        assert_eq!(tag(Some(Duration::from_secs(90 * 60))), Some("1h30m0s".to_owned()));
        assert_eq!(tag(None), None);
    }

    #[test]
    fn candidates_are_the_alive_servers_and_this_one_first() {
        let own = Candidate { id: NodeId::from_u128(1), expect: 3, cluster: None };
        let cluster = uuid::Uuid::from_u128(7).to_string();
        let members = roster(vec![
            server("s1", "dc1", 1, MemberStatus::Alive, &[]),
            server("s2", "dc1", 2, MemberStatus::Alive, &[(tag::EXPECT, "3"), (tag::CLUSTER, &cluster)]),
            server("s3", "dc1", 3, MemberStatus::Failed, &[]),
        ]);
        let seen = candidates(&members, &own);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], own);
        assert_eq!(seen[1].expect, 3);
        assert_eq!(seen[1].cluster, Some(ClusterId(uuid::Uuid::from_u128(7))));
    }

    #[test]
    fn raft_still_finds_a_server_that_gossip_has_given_up() {
        let members =
            roster(vec![server("s2", "dc1", 2, MemberStatus::Failed, &[]), server("s3", "dc1", 3, MemberStatus::Left, &[])]);
        let addresses = raft_addresses(&members);
        let found = |number| addresses.get(&NodeId::from_u128(number)).map(|server| (server.name.as_str(), server.addr));
        assert_eq!(found(2), Some(("s2", Some(SocketAddr::from(([127, 0, 0, 2], 8300))))));
        assert_eq!(found(3), Some(("s3", None)));
    }

    #[test]
    fn only_servers_of_other_datacenters_are_remote() {
        let members = roster(vec![
            server("s1.dc1", "dc1", 1, MemberStatus::Alive, &[]),
            server("s1.dc2", "dc2", 2, MemberStatus::Alive, &[(tag::BRIDGE_PIN, "abcd")]),
            server("s2.dc2", "dc2", 3, MemberStatus::Left, &[]),
        ]);
        let remote = remote_servers(&members, "dc1", |_| None);
        assert_eq!(remote.len(), 1);
        assert_eq!((remote[0].name.as_str(), remote[0].dc.as_str()), ("s1", "dc2"));
        assert_eq!(remote[0].pins, ["abcd".to_owned()].into());
    }

    #[test]
    fn the_flood_join_asks_only_for_servers_that_the_wan_pool_lacks() {
        let wan_port = [(tag::WAN_JOIN_PORT, "8302")];
        let lan = roster(vec![
            server("s1", "dc1", 1, MemberStatus::Alive, &wan_port),
            server("s2", "dc1", 2, MemberStatus::Alive, &wan_port),
            server("s3", "dc1", 3, MemberStatus::Alive, &[(tag::WAN_JOIN_PORT, "9302"), (tag::WAN_JOIN_ADDR, "127.1.0.3")]),
        ]);
        let wan = roster(vec![server("s2.dc1", "dc1", 2, MemberStatus::Alive, &[])]);
        assert_eq!(missing_from_wan(&lan, &wan, "s1"), vec![SocketAddr::from(([127, 1, 0, 3], 9302))]);
    }
}
