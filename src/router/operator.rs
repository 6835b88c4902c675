//! The servers as operators and `status` read them: rendered from Raft's numbers and the LAN roster. Pure.

use super::health::ServerHealth;
use crate::gossip::Roster;
use crate::model::duration;
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::member::{Member, tag};
use crate::model::operation::PeerRef;
use crate::raft::{Leadership, Peer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The servers of the Raft configuration with what gossip knows of them.
#[derive(Debug)]
pub(super) struct Servers<'a> {
    pub leadership: Leadership,
    pub peers: &'a [Peer],
    pub roster: &'a Roster,
}

impl Servers<'_> {
    /// The member that carries this node id.
    fn member(&self, id: NodeId) -> Option<&Member> {
        self.roster.members.values().find(|member| member.is_server() && member.id() == Some(id))
    }

    fn addr(&self, id: NodeId) -> Option<SocketAddr> {
        self.member(id)?.rpc_addr()
    }

    fn addr_text(&self, id: NodeId) -> String {
        self.addr(id).map(|addr| addr.to_string()).unwrap_or_default()
    }

    /// `status/leader`: its address, or the empty text.
    pub(super) fn leader(&self) -> Value {
        self.leadership.leader.map(|id| self.addr_text(id)).unwrap_or_default().into()
    }

    /// `status/peers`: the addresses that are known; `null` where Consul has no list.
    pub(super) fn peer_addrs(&self) -> Value {
        let addrs: Vec<String> = self.peers.iter().filter_map(|peer| self.addr(peer.id)).map(|addr| addr.to_string()).collect();
        if addrs.is_empty() { Value::Null } else { addrs.into() }
    }

    /// `operator/raft/configuration`, in force since log index `index`. Without `health`, `LastIndex` is 0.
    pub(super) fn configuration(&self, index: u64, health: &[ServerHealth]) -> Value {
        let last = |id| health.iter().find(|server| server.id == id).map_or(0, |server| server.last_index);
        let servers: Vec<Value> = self.peers.iter().map(|peer| self.raft_server(peer, last(peer.id))).collect();
        json!({ "Servers": servers, "Index": index })
    }

    fn raft_server(&self, peer: &Peer, last_index: u64) -> Value {
        let member = self.member(peer.id);
        json!({
            "ID": peer.id.to_string(),
            "Node": member.map_or("(unknown)", |member| member.node_name()),
            "Address": self.addr_text(peer.id),
            "Leader": self.leadership.leader == Some(peer.id),
            // The number of Consul's Raft protocol, by which tools tell ids from addresses.
            "ProtocolVersion": if member.is_some() { "3" } else { "unknown" },
            "Voter": peer.voter,
            "LastIndex": last_index,
        })
    }

    /// The id of the peer that an operator names, or Consul's text that there is none.
    pub(super) fn find(&self, peer: &PeerRef) -> Result<NodeId, Fault> {
        let (what, name, id) = match peer {
            PeerRef::Id(id) => ("id", id, id.parse().ok()),
            PeerRef::Address(addr) => ("address", addr, self.at_address(addr)),
        };
        id.filter(|id| self.peers.iter().any(|peer| peer.id == *id))
            .ok_or_else(|| Fault::failed(format!("{what} {name:?} was not found in the Raft configuration")))
    }

    fn at_address(&self, addr: &str) -> Option<NodeId> {
        let addr: SocketAddr = addr.parse().ok()?;
        self.peers.iter().map(|peer| peer.id).find(|id| self.addr(*id) == Some(addr))
    }

    /// `operator/autopilot/health`.
    pub(super) fn health(&self, servers: &[ServerHealth]) -> Value {
        let list: Vec<Value> = servers.iter().map(|server| self.health_row(server)).collect();
        json!({ "Healthy": all_healthy(servers), "FailureTolerance": tolerance(servers), "Servers": list })
    }

    /// The row of a server with the fields that both lists have.
    fn row(&self, server: &ServerHealth, more: Value) -> Value {
        let member = self.member(server.id);
        let mut row = json!({
            "ID": server.id.to_string(),
            "Name": member.map_or("(unknown)", |member| member.node_name()),
            "Address": self.addr_text(server.id),
            "Version": version(member),
            "LastContact": duration::format(server.last_contact),
            "LastTerm": server.last_term,
            "LastIndex": server.last_index,
            "Healthy": server.healthy,
            "StableSince": server.stable_since_text(),
        });
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    }

    fn health_row(&self, server: &ServerHealth) -> Value {
        let leader = self.leadership.leader == Some(server.id);
        self.row(server, json!({ "SerfStatus": status_text(self.member(server.id)), "Leader": leader, "Voter": server.voter }))
    }

    /// `operator/autopilot/state`; `meta` gives the metadata of a node.
    pub(super) fn state(&self, servers: &[ServerHealth], meta: impl Fn(&str) -> BTreeMap<String, String>) -> Value {
        let rows: BTreeMap<String, Value> =
            servers.iter().map(|server| (server.id.to_string(), self.state_row(server, &meta))).collect();
        let voters: Vec<String> = servers.iter().filter(|server| server.voter).map(|server| server.id.to_string()).collect();
        json!({
            "Healthy": all_healthy(servers),
            "FailureTolerance": tolerance(servers),
            "OptimisticFailureTolerance": tolerance(servers),
            "Servers": rows,
            "Leader": self.leadership.leader.map(|id| id.to_string()).unwrap_or_default(),
            "Voters": voters,
        })
    }

    fn state_row(&self, server: &ServerHealth, meta: impl Fn(&str) -> BTreeMap<String, String>) -> Value {
        let member = self.member(server.id);
        let status = match (self.leadership.leader == Some(server.id), server.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "non-voter",
        };
        let more = json!({
            "NodeStatus": status_text(member),
            "ReadReplica": false,
            "Status": status,
            "Meta": member.map(|member| meta(member.node_name())).unwrap_or_default(),
            "NodeType": "voter",
        });
        self.row(server, more)
    }
}

pub(super) fn all_healthy(servers: &[ServerHealth]) -> bool {
    !servers.is_empty() && servers.iter().all(|server| server.healthy)
}

/// The number of healthy voters that can be lost before there is no quorum.
fn tolerance(servers: &[ServerHealth]) -> usize {
    let voters = servers.iter().filter(|server| server.voter).count();
    let healthy = servers.iter().filter(|server| server.voter && server.healthy).count();
    healthy.saturating_sub(voters / 2 + 1)
}

fn status_text(member: Option<&Member>) -> &'static str {
    member.map_or("none", |member| member.status.as_str())
}

fn version(member: Option<&Member>) -> &str {
    let build = member.map_or("", |member| member.tag(tag::BUILD));
    build.split_once(':').map_or(build, |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, id};
    use super::*;
    use crate::model::member::MemberStatus;
    use std::time::{Duration, SystemTime};

    fn roster(numbers: impl IntoIterator<Item = u8>) -> Roster {
        testing::roster(numbers.into_iter().map(|number| testing::agent(number, "consul", MemberStatus::Alive)))
    }

    fn peers(count: u8) -> Vec<Peer> {
        (1..=count).map(|number| Peer { id: id(number), voter: true }).collect()
    }

    fn led_by(leader: Option<u8>) -> Leadership {
        Leadership { leader: leader.map(id), is_self: false, term: 3 }
    }

    fn health(number: u8, healthy: bool) -> ServerHealth {
        ServerHealth {
            id: id(number),
            voter: true,
            healthy,
            last_contact: Duration::from_millis(12),
            last_term: 3,
            last_index: 46,
            stable_since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_605_866_400),
        }
    }

    #[test]
    fn the_leader_is_an_address_or_the_empty_text() {
        let (roster, peers) = (roster(1..=3), peers(3));
        let of = |leader| Servers { leadership: led_by(leader), peers: &peers, roster: &roster }.leader();
        assert_eq!(of(Some(2)), json!("10.0.0.2:8300"));
        assert_eq!(of(None), json!(""));
        assert_eq!(of(Some(9)), json!(""));
    }

    #[test]
    fn the_peers_are_null_before_there_are_any() {
        let roster = roster(1..=2);
        let of = |peers: &[Peer]| Servers { leadership: led_by(None), peers, roster: &roster }.peer_addrs();
        assert_eq!(of(&peers(3)), json!(["10.0.0.1:8300", "10.0.0.2:8300"]));
        assert_eq!(of(&[]), Value::Null);
    }

    #[test]
    fn a_peer_that_gossip_does_not_know_is_listed_as_unknown() {
        let (roster, peers) = (roster([1]), peers(2));
        let found = Servers { leadership: led_by(Some(1)), peers: &peers, roster: &roster }.configuration(22, &[health(1, true)]);
        assert_eq!(
            found,
            json!({"Servers": [
                {"ID": id(1).to_string(), "Node": "s1", "Address": "10.0.0.1:8300", "Leader": true, "ProtocolVersion": "3", "Voter": true,
                    "LastIndex": 46},
                {"ID": id(2).to_string(), "Node": "(unknown)", "Address": "", "Leader": false, "ProtocolVersion": "unknown", "Voter": true,
                    "LastIndex": 0},
            ], "Index": 22})
        );
    }

    #[test]
    fn an_operator_names_a_peer_by_id_or_address() {
        let (roster, peers) = (roster(1..=3), peers(2));
        let servers = Servers { leadership: led_by(None), peers: &peers, roster: &roster };
        assert_eq!(servers.find(&PeerRef::Id(id(2).to_string())), Ok(id(2)));
        assert_eq!(servers.find(&PeerRef::Address("10.0.0.1:8300".into())), Ok(id(1)));
        let no_peer = id(3).to_string();
        for (peer, shown) in [
            (PeerRef::Id("x".into()), "id \"x\"".to_owned()),
            (PeerRef::Id(no_peer.clone()), format!("id {no_peer:?}")),
            (PeerRef::Address("10.0.0.3:8300".into()), "address \"10.0.0.3:8300\"".to_owned()),
        ] {
            let text = format!("{shown} was not found in the Raft configuration");
            assert_eq!(servers.find(&peer).unwrap_err().message, text);
        }
    }

    #[test]
    fn health_counts_how_many_voters_may_be_lost() {
        let (roster, peers) = (roster(1..=3), peers(3));
        let servers = Servers { leadership: led_by(Some(1)), peers: &peers, roster: &roster };
        let all = servers.health(&[health(1, true), health(2, true), health(3, true)]);
        assert_eq!((&all["Healthy"], &all["FailureTolerance"]), (&json!(true), &json!(1)));
        assert_eq!(
            all["Servers"][0],
            json!({"ID": id(1).to_string(), "Name": "s1", "Address": "10.0.0.1:8300", "SerfStatus": "alive", "Version": "1.9.0",
                "Leader": true, "LastContact": "12ms", "LastTerm": 3, "LastIndex": 46, "Healthy": true, "Voter": true,
                "StableSince": "2020-11-20T10:00:00Z"})
        );
        for known in [&[health(1, true), health(2, true), health(3, false)][..], &[]] {
            let found = servers.health(known);
            assert_eq!((&found["Healthy"], &found["FailureTolerance"]), (&json!(false), &json!(0)));
        }
    }

    #[test]
    fn the_state_names_the_leader_and_the_voters() {
        let (roster, peers) = (roster(1..=2), peers(2));
        let servers = Servers { leadership: led_by(Some(1)), peers: &peers, roster: &roster };
        let learner = ServerHealth { voter: false, ..health(2, true) };
        let meta = |name: &str| BTreeMap::from([("rack".to_owned(), format!("of {name}"))]);
        let state = servers.state(&[health(1, true), learner], meta);
        assert_eq!(state["Servers"][id(2).to_string()]["Meta"], json!({"rack": "of s2"}));
        assert_eq!((&state["Leader"], &state["Voters"]), (&json!(id(1).to_string()), &json!([id(1).to_string()])));
        let status = |number| state["Servers"][id(number).to_string()]["Status"].clone();
        assert_eq!((status(1), status(2)), (json!("leader"), json!("non-voter")));
    }
}
