//! What the catalog must be told so that it agrees with the members of the pool.
//!
//! `duties` feeds it the roster and the catalog; it answers with commands, none where all agrees.
//! No I/O. It never touches nodes that were registered from outside, and never removes its own.

use crate::config::defaults::REAP_UNKNOWN_AFTER;
use crate::gossip::Roster;
use crate::model::check::{CheckStatus, HealthCheck, SERF_HEALTH};
use crate::model::command::{Command, Deregister, Register};
use crate::model::member::{Member, MemberStatus, tag};
use crate::model::node::Node;
use crate::model::service::{NodeService, Weights};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The id and the name of the service that servers are.
const CONSUL_SERVICE: &str = "consul";
const HEALTH_NAME: &str = "Serf Health Status";
const ALIVE: &str = "Agent alive and reachable";
const FAILED: &str = "Agent not live or unreachable";

/// A node as the catalog has it, as far as the leader cares.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CatalogNode {
    pub(super) node: Node,
    /// Status and output of `serfHealth`; unset for nodes registered from outside.
    pub(super) health: Option<(CheckStatus, String)>,
    /// Port and metadata of its `consul` service.
    pub(super) consul: Option<(u16, BTreeMap<String, String>)>,
}

/// The nodes of the catalog by name in lower case, which is how names are told apart.
pub(super) type Nodes = BTreeMap<String, CatalogNode>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthRow {
    node: String,
    #[serde(rename = "CheckID")]
    check_id: String,
    status: CheckStatus,
    output: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConsulRow {
    node: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_port: u16,
    service_meta: Option<BTreeMap<String, String>>,
}

/// Reads the bodies of `catalog/nodes`, `health/state/any` and `catalog/service/consul`.
pub(super) fn parse(nodes: &[u8], checks: &[u8], consul: &[u8]) -> Result<Nodes, serde_json::Error> {
    let listed: Vec<Node> = serde_json::from_slice(nodes)?;
    let mut nodes: Nodes =
        listed.into_iter().map(|node| (node.node.to_lowercase(), CatalogNode { node, ..CatalogNode::default() })).collect();
    for row in serde_json::from_slice::<Vec<HealthRow>>(checks)? {
        if row.check_id == SERF_HEALTH
            && let Some(node) = nodes.get_mut(&row.node.to_lowercase())
        {
            node.health = Some((row.status, row.output));
        }
    }
    for row in serde_json::from_slice::<Vec<ConsulRow>>(consul)? {
        if row.service_id == CONSUL_SERVICE
            && let Some(node) = nodes.get_mut(&row.node.to_lowercase())
        {
            node.consul = Some((row.service_port, row.service_meta.unwrap_or_default()));
        }
    }
    Ok(nodes)
}

/// What one term of leadership knows about members that come and go.
#[derive(Debug)]
pub(super) struct Reconciler {
    node_name: String,
    datacenter: String,
    leading_since: Instant,
    /// Names that gossip has shown in this term: when one of them is gone, it was reaped.
    seen: BTreeSet<String>,
}

impl Reconciler {
    /// For the leader `node_name`, from `now` on.
    pub(super) fn new(node_name: &str, datacenter: &str, now: Instant) -> Reconciler {
        Reconciler {
            node_name: node_name.to_owned(),
            datacenter: datacenter.to_owned(),
            leading_since: now,
            seen: BTreeSet::new(),
        }
    }

    /// The commands that make `nodes` agree with `roster`.
    pub(super) fn reconcile(&mut self, roster: &Roster, nodes: &Nodes, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut present = BTreeSet::new();
        for member in roster.members.values().filter(|member| member.dc() == self.datacenter) {
            let key = member.name.to_lowercase();
            commands.extend(self.agree(member, nodes.get(&key)));
            present.insert(key);
        }
        for (key, known) in nodes.iter().filter(|(key, known)| known.health.is_some() && !present.contains(*key)) {
            let patient = now.saturating_duration_since(self.leading_since) < REAP_UNKNOWN_AFTER;
            if self.seen.contains(key) || !patient {
                commands.extend(self.deregister_node(&known.node.node));
            }
        }
        self.seen = present;
        commands
    }

    fn agree(&self, member: &Member, known: Option<&CatalogNode>) -> Vec<Command> {
        match member.status {
            MemberStatus::Alive => self.alive(member, known),
            MemberStatus::Failed => self.failed(known).into_iter().collect(),
            MemberStatus::Left => {
                let ours = known.filter(|known| known.health.is_some());
                ours.and_then(|known| self.deregister_node(&known.node.node)).into_iter().collect()
            }
            // It is still there; what it becomes will be told.
            MemberStatus::Leaving => Vec::new(),
        }
    }

    fn alive(&self, member: &Member, known: Option<&CatalogNode>) -> Vec<Command> {
        let (id, address) = (member.tag(tag::ID), member.addr.ip().to_string());
        let consul = if member.is_server() { consul_service(member) } else { None };
        let same_node = known.is_some_and(|known| known.node.id.eq_ignore_ascii_case(id) && known.node.address == address);
        let same_health = known
            .and_then(|known| known.health.as_ref())
            .is_some_and(|(status, output)| *status == CheckStatus::Passing && output == ALIVE);
        let had = known.and_then(|known| known.consul.as_ref());
        let same_consul = consul
            .as_ref()
            .is_none_or(|service| had.is_some_and(|(port, meta)| *port == service.port && Some(meta) == service.meta.as_ref()));
        let mut commands = Vec::new();
        // A name belongs to its node for as long as that one passes. Gossip says that it is another
        // now (the agent has lost its data directory), so the old one fails first.
        let old = known.filter(|known| !known.node.id.is_empty() && !known.node.id.eq_ignore_ascii_case(id));
        commands.extend(self.failed(old));
        if !(same_node && same_health && same_consul) {
            let register = Register {
                datacenter: self.datacenter.clone(),
                id: id.to_owned(),
                node: member.name.clone(),
                // What the node itself has said stays; it says anew what has changed.
                tagged_addresses: known.and_then(|known| moved(known, &address)),
                address,
                node_meta: known.and_then(|known| known.node.meta.clone()),
                service: consul.filter(|_| !same_consul),
                check: Some(health(&member.name, CheckStatus::Passing, ALIVE)),
                // A node that was not there when the catalog was read may have registered itself
                // since: then what it said stays.
                skip_node_update: same_node || known.is_none(),
                ..Register::default()
            };
            commands.push(Command::Register(Box::new(register)));
        }
        if let (false, Some(known), Some(_)) = (member.is_server(), known, had) {
            let service_id = CONSUL_SERVICE.to_owned();
            commands.push(Command::Deregister(Deregister { service_id, ..self.removal(&known.node.node) }));
        }
        commands
    }

    fn failed(&self, known: Option<&CatalogNode>) -> Option<Command> {
        let known = known?;
        let (status, output) = known.health.as_ref()?;
        if *status == CheckStatus::Critical && output == FAILED {
            return None;
        }
        let register = Register {
            datacenter: self.datacenter.clone(),
            id: known.node.id.clone(),
            node: known.node.node.clone(),
            address: known.node.address.clone(),
            check: Some(health(&known.node.node, CheckStatus::Critical, FAILED)),
            skip_node_update: true,
            ..Register::default()
        };
        Some(Command::Register(Box::new(register)))
    }

    /// Nothing for the leader itself: its successor does that.
    fn deregister_node(&self, name: &str) -> Option<Command> {
        (!name.eq_ignore_ascii_case(&self.node_name)).then(|| Command::Deregister(self.removal(name)))
    }

    fn removal(&self, node: &str) -> Deregister {
        Deregister { datacenter: self.datacenter.clone(), node: node.to_owned(), ..Deregister::default() }
    }
}

/// What a node said of its addresses, with the new one in place of the one it is no longer at.
fn moved(known: &CatalogNode, address: &str) -> Option<BTreeMap<String, String>> {
    let mut tagged = known.node.tagged_addresses.clone()?;
    for told in tagged.values_mut().filter(|told| **told == known.node.address) {
        address.clone_into(told);
    }
    Some(tagged)
}

fn health(node: &str, status: CheckStatus, output: &str) -> HealthCheck {
    HealthCheck {
        node: node.to_owned(),
        check_id: SERF_HEALTH.to_owned(),
        name: HEALTH_NAME.to_owned(),
        status,
        output: output.to_owned(),
        ..HealthCheck::default()
    }
}

/// The service that a server is; nothing while it does not tell its port.
fn consul_service(member: &Member) -> Option<NodeService> {
    let port = member.tag(tag::PORT).parse().ok()?;
    let version = member.tag(tag::BUILD).split(':').next().unwrap_or_default();
    let meta = [
        ("non_voter", "false"),
        ("raft_version", "3"),
        ("serf_protocol_current", "2"),
        ("serf_protocol_min", "1"),
        ("serf_protocol_max", "5"),
        ("version", version),
    ];
    Some(NodeService {
        id: CONSUL_SERVICE.to_owned(),
        service: CONSUL_SERVICE.to_owned(),
        port,
        weights: Some(Weights::default()),
        meta: Some(meta.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..NodeService::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::NodeId;
    use std::time::Duration;

    fn member(name: &str, number: u8, status: MemberStatus, server: bool) -> Member {
        let role = if server { "consul" } else { "node" };
        let id = NodeId::from_u128(u128::from(number)).to_string();
        let tags = [(tag::ROLE, role), (tag::DC, "dc1"), (tag::ID, &id), (tag::PORT, "8300"), (tag::BUILD, "1.9.0:abc")];
        Member {
            name: name.to_owned(),
            addr: ([10, 0, 0, number], 8301).into(),
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            status,
        }
    }

    fn roster(members: &[Member]) -> Roster {
        Roster { members: members.iter().map(|member| (member.name.clone(), member.clone())).collect() }
    }

    /// The catalog after `commands`, as far as the leader looks at it.
    fn applied(mut nodes: Nodes, commands: &[Command]) -> Nodes {
        for command in commands {
            match command {
                Command::Register(register) => {
                    let fresh = !nodes.contains_key(&register.node.to_lowercase());
                    let node = nodes.entry(register.node.to_lowercase()).or_default();
                    if fresh || !register.skip_node_update {
                        let (id, address) = (register.id.clone(), register.address.clone());
                        node.node = Node { id, node: register.node.clone(), address, ..Node::default() };
                    }
                    node.health = register.check.as_ref().map(|check| (check.status, check.output.clone()));
                    if let Some(service) = &register.service {
                        node.consul = Some((service.port, service.meta.clone().unwrap_or_default()));
                    }
                }
                Command::Deregister(gone) if gone.service_id.is_empty() => drop(nodes.remove(&gone.node.to_lowercase())),
                Command::Deregister(gone) => nodes.get_mut(&gone.node.to_lowercase()).expect("known").consul = None,
                other => panic!("unexpected {other:?}"),
            }
        }
        nodes
    }

    fn leader(now: Instant) -> Reconciler {
        Reconciler::new("s1", "dc1", now)
    }

    #[test]
    fn alive_members_are_registered_once_and_servers_with_their_service() {
        let now = Instant::now();
        let mut leader = leader(now);
        let roster = roster(&[member("s1", 1, MemberStatus::Alive, true), member("c1", 2, MemberStatus::Alive, false)]);
        let commands = leader.reconcile(&roster, &Nodes::new(), now);
        let nodes = applied(Nodes::new(), &commands);
        assert_eq!(nodes["c1"].health, Some((CheckStatus::Passing, ALIVE.to_owned())));
        assert_eq!(nodes["c1"].consul, None);
        let (port, meta) = nodes["s1"].consul.clone().expect("a server");
        assert_eq!((port, meta["version"].as_str(), meta["non_voter"].as_str()), (8300, "1.9.0", "false"));
        assert_eq!(leader.reconcile(&roster, &nodes, now), []);
    }

    #[test]
    fn a_failed_member_is_critical_and_keeps_its_node_and_comes_back() {
        let now = Instant::now();
        let mut leader = leader(now);
        let alive = roster(&[member("c1", 2, MemberStatus::Alive, false)]);
        let nodes = applied(Nodes::new(), &leader.reconcile(&alive, &Nodes::new(), now));
        let failed = roster(&[member("c1", 2, MemberStatus::Failed, false)]);
        let nodes = applied(nodes.clone(), &leader.reconcile(&failed, &nodes, now));
        assert_eq!(nodes["c1"].health, Some((CheckStatus::Critical, FAILED.to_owned())));
        assert_eq!(nodes["c1"].node.address, "10.0.0.2");
        assert_eq!(leader.reconcile(&failed, &nodes, now), []);
        let nodes = applied(nodes.clone(), &leader.reconcile(&alive, &nodes, now));
        assert_eq!(nodes["c1"].health, Some((CheckStatus::Passing, ALIVE.to_owned())));
    }

    #[test]
    fn a_failed_member_that_the_catalog_does_not_know_is_not_registered() {
        let failed = roster(&[member("c1", 2, MemberStatus::Failed, false)]);
        assert_eq!(leader(Instant::now()).reconcile(&failed, &Nodes::new(), Instant::now()), []);
    }

    #[test]
    fn a_member_that_left_or_was_reaped_is_deregistered_but_never_the_leader_itself() {
        let now = Instant::now();
        let mut leader = leader(now);
        let both = [member("s1", 1, MemberStatus::Alive, true), member("c1", 2, MemberStatus::Alive, false)];
        let nodes = applied(Nodes::new(), &leader.reconcile(&roster(&both), &Nodes::new(), now));
        let left = both.clone().map(|member| Member { status: MemberStatus::Left, ..member });
        let commands = leader.reconcile(&roster(&left), &nodes, now);
        assert_eq!(applied(nodes.clone(), &commands).keys().collect::<Vec<_>>(), ["s1"]);
        let commands = leader.reconcile(&roster(&[]), &nodes, now);
        assert_eq!(applied(nodes.clone(), &commands).keys().collect::<Vec<_>>(), ["s1"], "reaped by gossip");
    }

    #[test]
    fn a_new_leader_gives_gossip_time_before_it_removes_nodes_it_has_never_seen() {
        let now = Instant::now();
        let c1 = roster(&[member("c1", 2, MemberStatus::Alive, false)]);
        let nodes = applied(Nodes::new(), &leader(now).reconcile(&c1, &Nodes::new(), now));
        let mut fresh = leader(now);
        assert_eq!(fresh.reconcile(&roster(&[]), &nodes, now), []);
        assert_eq!(fresh.reconcile(&roster(&[]), &nodes, now + REAP_UNKNOWN_AFTER).len(), 1);
    }

    #[test]
    fn nodes_registered_from_outside_are_left_alone() {
        let now = Instant::now();
        let outside = CatalogNode { node: Node { node: "ext".into(), ..Node::default() }, ..CatalogNode::default() };
        let nodes = Nodes::from([("ext".to_owned(), outside)]);
        let left = roster(&[member("ext", 9, MemberStatus::Left, false)]);
        assert_eq!(leader(now).reconcile(&left, &nodes, now), []);
        assert_eq!(leader(now).reconcile(&roster(&[]), &nodes, now + Duration::from_secs(3600)), []);
    }

    #[test]
    fn a_new_address_is_told_and_what_the_node_said_of_itself_stays() {
        let now = Instant::now();
        let node = Node {
            id: NodeId::from_u128(2).to_string(),
            node: "c1".into(),
            address: "10.9.9.9".into(),
            meta: Some([("rack".to_owned(), "7".to_owned())].into()),
            tagged_addresses: Some([("lan".to_owned(), "10.9.9.9".to_owned()), ("wan".to_owned(), "9.9.9.9".to_owned())].into()),
            ..Node::default()
        };
        let known = CatalogNode { node, health: Some((CheckStatus::Passing, ALIVE.into())), consul: None };
        let alive = roster(&[member("c1", 2, MemberStatus::Alive, false)]);
        let commands = leader(now).reconcile(&alive, &Nodes::from([("c1".to_owned(), known)]), now);
        let [Command::Register(register)] = commands.as_slice() else { panic!("{commands:?}") };
        assert!(!register.skip_node_update);
        assert_eq!(register.address, "10.0.0.2");
        assert_eq!(register.node_meta.as_ref().expect("kept")["rack"], "7");
        let tagged = register.tagged_addresses.as_ref().expect("kept");
        assert_eq!((tagged["lan"].as_str(), tagged["wan"].as_str()), ("10.0.0.2", "9.9.9.9"));
    }

    #[test]
    fn a_name_passes_from_a_node_that_the_catalog_takes_for_alive_to_its_successor() {
        let now = Instant::now();
        let mut leader = leader(now);
        let before = roster(&[member("c1", 2, MemberStatus::Alive, false)]);
        let nodes = applied(Nodes::new(), &leader.reconcile(&before, &Nodes::new(), now));
        let after = roster(&[member("c1", 3, MemberStatus::Alive, false)]);
        let commands = leader.reconcile(&after, &nodes, now);
        let [Command::Register(fail), Command::Register(_)] = commands.as_slice() else { panic!("{commands:?}") };
        assert_eq!(fail.check.as_ref().map(|check| check.status), Some(CheckStatus::Critical));
        assert_eq!(fail.id, NodeId::from_u128(2).to_string());
        let nodes = applied(nodes, &commands);
        assert_eq!(nodes["c1"].node.id, NodeId::from_u128(3).to_string());
        assert_eq!(leader.reconcile(&after, &nodes, now), []);
    }

    #[test]
    fn a_server_that_came_back_as_a_client_loses_the_service_of_servers() {
        let now = Instant::now();
        let mut leader = leader(now);
        let server = roster(&[member("x", 2, MemberStatus::Alive, true)]);
        let nodes = applied(Nodes::new(), &leader.reconcile(&server, &Nodes::new(), now));
        let client = roster(&[member("x", 2, MemberStatus::Alive, false)]);
        let nodes = applied(nodes.clone(), &leader.reconcile(&client, &nodes, now));
        assert_eq!(nodes["x"].consul, None);
        assert_eq!(leader.reconcile(&client, &nodes, now), []);
    }

    #[test]
    fn the_bodies_of_the_catalog_are_read() {
        let nodes = br#"[{"ID":"i","Node":"N1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":1,"ModifyIndex":2}]"#;
        let checks =
            br#"[{"Node":"N1","CheckID":"serfHealth","Name":"x","Status":"passing","Notes":"","Output":"o","ServiceID":""},
            {"Node":"N1","CheckID":"other","Status":"critical","Output":""}]"#;
        let consul = br#"[{"Node":"N1","ServiceID":"consul","ServicePort":8300,"ServiceMeta":{"version":"1"}}]"#;
        let parsed = parse(nodes, checks, consul).expect("readable");
        assert_eq!(parsed["n1"].health, Some((CheckStatus::Passing, "o".to_owned())));
        assert_eq!(parsed["n1"].consul.as_ref().map(|consul| consul.0), Some(8300));
    }
}
