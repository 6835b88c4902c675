//! The commands that make the catalog agree with the members of the pool, none where it agrees. No I/O.
//!
//! It never touches nodes that were registered from outside, and never removes its own.

use crate::defaults::REAP_UNKNOWN_AFTER;
use crate::gossip::Roster;
use crate::model::check::{CheckStatus, HealthCheck, SERF_HEALTH};
use crate::model::command::{Command, Deregister, Register};
use crate::model::member::{Member, MemberStatus, tag};
use crate::model::service::{NodeService, Weights};
use crate::store::{NodeRef, View};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The id and the name of the service that servers are.
const CONSUL_SERVICE: &str = "consul";
const HEALTH_NAME: &str = "Serf Health Status";
const ALIVE: &str = "Agent alive and reachable";
const FAILED: &str = "Agent not live or unreachable";

/// Status and output of `serfHealth`; unset for nodes registered from outside.
fn health_of(known: NodeRef<'_>) -> Option<(CheckStatus, &str)> {
    known.check(SERF_HEALTH).map(|check| (check.status, check.output.as_str()))
}

/// The members that come and go, as one term of leadership has seen them.
#[derive(Debug)]
pub(super) struct Reconciler {
    node_name: String,
    datacenter: String,
    leading_since: Instant,
    /// Names that gossip has shown in this term: a name that is gone was reaped.
    seen: BTreeSet<String>,
    /// The roster that the catalog agrees with, as far as this leader knows.
    agreed: Option<Arc<Roster>>,
}

/// The extent of a comparison of members and catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// The members that changed since the catalog agreed with them.
    Changes,
}

impl Reconciler {
    pub(super) fn new(node_name: &str, datacenter: &str, now: Instant) -> Reconciler {
        let (node_name, datacenter) = (node_name.to_owned(), datacenter.to_owned());
        Reconciler { node_name, datacenter, leading_since: now, seen: BTreeSet::new(), agreed: None }
    }

    /// The commands that make `catalog` agree with `roster`; [`Reconciler::agreed`] follows their success.
    pub(super) fn reconcile(&mut self, roster: &Arc<Roster>, catalog: &View, extent: Extent, now: Instant) -> Vec<Command> {
        let before = self.agreed.take().filter(|_| extent == Extent::Changes);
        let is_as_before =
            |member: &Member| before.as_ref().is_some_and(|roster| roster.members.get(&member.name) == Some(member));
        let own = |member: &&Member| member.dc() == self.datacenter;
        let mut commands = Vec::new();
        for member in roster.members.values().filter(own).filter(|member| !is_as_before(member)) {
            commands.extend(self.agree(member, catalog.node_named(&member.name)));
        }
        let present: BTreeSet<String> = roster.members.values().filter(own).map(|member| member.name.to_lowercase()).collect();
        let gone: Vec<NodeRef<'_>> = match before {
            Some(_) => self.seen.difference(&present).filter_map(|name| catalog.node_named(name)).collect(),
            None => {
                let patient = now.saturating_duration_since(self.leading_since) < REAP_UNKNOWN_AFTER;
                let is_gone = |name: &str| {
                    let key = name.to_lowercase();
                    !present.contains(&key) && (!patient || self.seen.contains(&key))
                };
                catalog.all_nodes().filter(|known| health_of(*known).is_some() && is_gone(&known.node().node)).collect()
            }
        };
        commands.extend(gone.iter().filter_map(|known| self.left(*known)));
        self.seen = present;
        // Missing members are kept in mind until the catalog is rid of them.
        self.seen.extend(gone.iter().map(|known| known.node().node.to_lowercase()));
        commands
    }

    /// Notes that the catalog has taken the last commands: only differences from `roster` are news now.
    pub(super) fn agreed(&mut self, roster: Arc<Roster>) {
        self.agreed = Some(roster);
    }

    fn agree(&self, member: &Member, known: Option<NodeRef<'_>>) -> Vec<Command> {
        match member.status {
            MemberStatus::Alive => self.alive(member, known),
            MemberStatus::Failed => self.failed(known).into_iter().collect(),
            MemberStatus::Left => known.and_then(|known| self.left(known)).into_iter().collect(),
            // A leaving member is still there, and gossip will show its next status.
            MemberStatus::Leaving => Vec::new(),
        }
    }

    fn alive(&self, member: &Member, known: Option<NodeRef<'_>>) -> Vec<Command> {
        let (id, address) = (member.tag(tag::ID), member.addr.ip().to_string());
        let consul = if member.is_server() { consul_service(member) } else { None };
        let same_node = known.is_some_and(|known| known.node().id.eq_ignore_ascii_case(id) && known.node().address == address);
        let same_health = known.and_then(health_of) == Some((CheckStatus::Passing, ALIVE));
        let had = known.and_then(|known| known.service(CONSUL_SERVICE));
        let same_consul =
            consul.as_ref().is_none_or(|service| had.is_some_and(|had| had.port == service.port && had.meta == service.meta));
        let mut commands = Vec::new();
        // A name belongs to its node while that node passes. Gossip shows another node under it now (the agent has lost
        // its data directory), so the old one fails first.
        let old = known.filter(|known| !known.node().id.is_empty() && !known.node().id.eq_ignore_ascii_case(id));
        commands.extend(self.failed(old));
        if !(same_node && same_health && same_consul) {
            let register = Register {
                datacenter: self.datacenter.clone(),
                id: id.to_owned(),
                node: member.name.clone(),
                // The node's own fields stay; the node registers its changes itself.
                tagged_addresses: known.and_then(|known| moved(known, &address)),
                address,
                node_meta: known.and_then(|known| known.node().meta.clone()),
                service: consul.filter(|_| !same_consul),
                check: Some(health(&member.name, CheckStatus::Passing, ALIVE)),
                // A node that the catalog did not have may have registered itself since: its own fields stay.
                skip_node_update: same_node || known.is_none(),
                ..Register::default()
            };
            commands.push(Command::Register(Box::new(register)));
        }
        if let (false, Some(known), Some(_)) = (member.is_server(), known, had) {
            let service_id = CONSUL_SERVICE.to_owned();
            commands.push(Command::Deregister(Deregister { service_id, ..self.removal(&known.node().node) }));
        }
        commands
    }

    fn failed(&self, known: Option<NodeRef<'_>>) -> Option<Command> {
        let known = known?;
        if health_of(known)? == (CheckStatus::Critical, FAILED) {
            return None;
        }
        let register = Register {
            datacenter: self.datacenter.clone(),
            id: known.node().id.clone(),
            node: known.node().node.clone(),
            address: known.node().address.clone(),
            check: Some(health(&known.node().node, CheckStatus::Critical, FAILED)),
            skip_node_update: true,
            ..Register::default()
        };
        Some(Command::Register(Box::new(register)))
    }

    /// Unset for the leader itself, whose successor sees to it, and for nodes registered from outside.
    fn left(&self, known: NodeRef<'_>) -> Option<Command> {
        let name = &known.node().node;
        let ours = health_of(known).is_some() && !name.eq_ignore_ascii_case(&self.node_name);
        ours.then(|| Command::Deregister(self.removal(name)))
    }

    fn removal(&self, node: &str) -> Deregister {
        Deregister { datacenter: self.datacenter.clone(), node: node.to_owned(), ..Deregister::default() }
    }
}

/// The tagged addresses of a node, with its new address in place of the old one.
fn moved(known: NodeRef<'_>, address: &str) -> Option<BTreeMap<String, String>> {
    let mut tagged = known.node().tagged_addresses.clone()?;
    for tagged_address in tagged.values_mut().filter(|tagged_address| **tagged_address == known.node().address) {
        address.clone_into(tagged_address);
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

/// The `consul` service of a server; unset while its tags have no port.
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
    use super::super::testing;
    use super::*;
    use crate::model::ids::NodeId;
    use crate::store::Store;
    use std::time::Duration;

    fn member(name: &str, number: u8, status: MemberStatus, server: bool) -> Member {
        let role = if server { "consul" } else { "node" };
        let id = NodeId::from_u128(u128::from(number)).to_string();
        let tags = [(tag::ROLE, role), (tag::ID, &id), (tag::PORT, "8300"), (tag::BUILD, "1.9.0:abc")];
        Member { addr: ([10, 0, 0, number], 8301).into(), ..testing::member(name, status, &tags) }
    }

    fn roster(members: &[Member]) -> Arc<Roster> {
        Arc::new(testing::roster(members.iter().cloned()))
    }

    /// A catalog that takes the leader's commands.
    struct Catalog {
        store: Store,
        index: u64,
    }

    impl Catalog {
        fn new() -> Catalog {
            Catalog { store: Store::new("dc1"), index: 0 }
        }

        fn apply(&mut self, commands: &[Command]) {
            for command in commands {
                self.index += 1;
                assert!(self.store.apply(self.index, command).is_ok(), "{command:?}");
            }
        }

        fn names(&self) -> Vec<String> {
            self.store.view().all_nodes().map(|row| row.node().node.clone()).collect()
        }

        fn health(&self, name: &str) -> Option<(CheckStatus, String)> {
            let view = self.store.view();
            let check = view.node_named(name)?.check(SERF_HEALTH)?;
            Some((check.status, check.output.clone()))
        }

        fn consul(&self, name: &str) -> Option<NodeService> {
            self.store.view().node_named(name)?.service(CONSUL_SERVICE).cloned()
        }
    }

    /// The commands of `leader` for the whole, which the catalog has taken.
    fn reconciled(leader: &mut Reconciler, roster: &Arc<Roster>, catalog: &mut Catalog, now: Instant) -> Vec<Command> {
        let commands = leader.reconcile(roster, &catalog.store.view(), Extent::Whole, now);
        catalog.apply(&commands);
        commands
    }

    fn leader(now: Instant) -> Reconciler {
        Reconciler::new("s1", "dc1", now)
    }

    fn start() -> (Instant, Reconciler, Catalog) {
        let now = Instant::now();
        (now, leader(now), Catalog::new())
    }

    #[test]
    fn alive_members_are_registered_once_and_servers_with_their_service() {
        let (now, mut leader, mut catalog) = start();
        let roster = roster(&[member("s1", 1, MemberStatus::Alive, true), member("c1", 2, MemberStatus::Alive, false)]);
        reconciled(&mut leader, &roster, &mut catalog, now);
        assert_eq!(catalog.health("c1"), Some((CheckStatus::Passing, ALIVE.to_owned())));
        assert_eq!(catalog.consul("c1"), None);
        let consul = catalog.consul("s1").expect("a server");
        let meta = consul.meta.expect("told");
        assert_eq!((consul.port, meta["version"].as_str(), meta["non_voter"].as_str()), (8300, "1.9.0", "false"));
        assert_eq!(reconciled(&mut leader, &roster, &mut catalog, now), []);
    }

    #[test]
    fn a_failed_member_is_critical_and_keeps_its_node_and_comes_back() {
        let (now, mut leader, mut catalog) = start();
        let [alive, failed] = [MemberStatus::Alive, MemberStatus::Failed].map(|status| roster(&[member("c1", 2, status, false)]));
        assert_eq!(reconciled(&mut leader, &failed, &mut catalog, now), [], "the catalog does not know it");
        reconciled(&mut leader, &alive, &mut catalog, now);
        reconciled(&mut leader, &failed, &mut catalog, now);
        assert_eq!(catalog.health("c1"), Some((CheckStatus::Critical, FAILED.to_owned())));
        assert_eq!(catalog.store.view().node_named("c1").expect("kept").node().address, "10.0.0.2");
        assert_eq!(reconciled(&mut leader, &failed, &mut catalog, now), []);
        reconciled(&mut leader, &alive, &mut catalog, now);
        assert_eq!(catalog.health("c1"), Some((CheckStatus::Passing, ALIVE.to_owned())));
    }

    #[test]
    fn a_member_that_left_or_was_reaped_is_deregistered_but_never_the_leader_itself() {
        let now = Instant::now();
        let both = [member("s1", 1, MemberStatus::Alive, true), member("c1", 2, MemberStatus::Alive, false)];
        let left = both.clone().map(|member| Member { status: MemberStatus::Left, ..member });
        for after in [roster(&left), roster(&[])] {
            let (mut leader, mut catalog) = (leader(now), Catalog::new());
            reconciled(&mut leader, &roster(&both), &mut catalog, now);
            reconciled(&mut leader, &after, &mut catalog, now);
            assert_eq!(catalog.names(), ["s1"]);
        }
    }

    #[test]
    fn a_new_leader_gives_gossip_time_before_it_removes_nodes_it_has_never_seen() {
        let now = Instant::now();
        let mut catalog = Catalog::new();
        reconciled(&mut leader(now), &roster(&[member("c1", 2, MemberStatus::Alive, false)]), &mut catalog, now);
        let mut fresh = leader(now);
        assert_eq!(reconciled(&mut fresh, &roster(&[]), &mut catalog, now), []);
        assert_eq!(reconciled(&mut fresh, &roster(&[]), &mut catalog, now + REAP_UNKNOWN_AFTER).len(), 1);
    }

    #[test]
    fn nodes_registered_from_outside_are_left_alone() {
        let now = Instant::now();
        let mut catalog = Catalog::new();
        let outside = Register { node: "ext".into(), address: "10.0.0.9".into(), ..Register::default() };
        catalog.apply(&[Command::Register(Box::new(outside))]);
        let left = roster(&[member("ext", 9, MemberStatus::Left, false)]);
        assert_eq!(reconciled(&mut leader(now), &left, &mut catalog, now), []);
        assert_eq!(reconciled(&mut leader(now), &roster(&[]), &mut catalog, now + Duration::from_secs(3600)), []);
    }

    #[test]
    fn a_new_address_is_told_and_what_the_node_said_of_itself_stays() {
        let now = Instant::now();
        let said = Register {
            id: NodeId::from_u128(2).to_string(),
            node: "c1".into(),
            address: "10.9.9.9".into(),
            node_meta: Some([("rack".to_owned(), "7".to_owned())].into()),
            tagged_addresses: Some([("lan".to_owned(), "10.9.9.9".to_owned()), ("wan".to_owned(), "9.9.9.9".to_owned())].into()),
            check: Some(health("c1", CheckStatus::Passing, ALIVE)),
            ..Register::default()
        };
        let mut catalog = Catalog::new();
        catalog.apply(&[Command::Register(Box::new(said))]);
        let alive = roster(&[member("c1", 2, MemberStatus::Alive, false)]);
        let commands = reconciled(&mut leader(now), &alive, &mut catalog, now);
        let [Command::Register(register)] = commands.as_slice() else { panic!("{commands:?}") };
        assert!(!register.skip_node_update);
        assert_eq!(register.address, "10.0.0.2");
        assert_eq!(register.node_meta.as_ref().expect("kept")["rack"], "7");
        let tagged = register.tagged_addresses.as_ref().expect("kept");
        assert_eq!((tagged["lan"].as_str(), tagged["wan"].as_str()), ("10.0.0.2", "9.9.9.9"));
    }

    #[test]
    fn a_name_passes_from_a_node_that_the_catalog_takes_for_alive_to_its_successor() {
        let (now, mut leader, mut catalog) = start();
        reconciled(&mut leader, &roster(&[member("c1", 2, MemberStatus::Alive, false)]), &mut catalog, now);
        let after = roster(&[member("c1", 3, MemberStatus::Alive, false)]);
        let commands = reconciled(&mut leader, &after, &mut catalog, now);
        let [Command::Register(fail), Command::Register(_)] = commands.as_slice() else { panic!("{commands:?}") };
        assert_eq!(fail.check.as_ref().map(|check| check.status), Some(CheckStatus::Critical));
        assert_eq!(fail.id, NodeId::from_u128(2).to_string());
        assert_eq!(catalog.store.view().node_named("c1").expect("kept").node().id, NodeId::from_u128(3).to_string());
        assert_eq!(reconciled(&mut leader, &after, &mut catalog, now), []);
    }

    #[test]
    fn a_server_that_came_back_as_a_client_loses_the_service_of_servers() {
        let (now, mut leader, mut catalog) = start();
        reconciled(&mut leader, &roster(&[member("x", 2, MemberStatus::Alive, true)]), &mut catalog, now);
        let client = roster(&[member("x", 2, MemberStatus::Alive, false)]);
        reconciled(&mut leader, &client, &mut catalog, now);
        assert_eq!(catalog.consul("x"), None);
        assert_eq!(reconciled(&mut leader, &client, &mut catalog, now), []);
    }

    #[test]
    fn after_agreement_only_members_that_are_another_are_looked_at() {
        use MemberStatus::{Alive, Failed, Left};
        let (now, mut leader, mut catalog) = start();
        let first = roster(&[member("c1", 2, Alive, false), member("c2", 3, Alive, false), member("c3", 4, Alive, false)]);
        reconciled(&mut leader, &first, &mut catalog, now);
        leader.agreed(first);
        // A user takes c1 out: that is for the next look at the whole.
        catalog.apply(&[Command::Deregister(leader.removal("c1"))]);
        let second = roster(&[member("c1", 2, Alive, false), member("c2", 3, Failed, false)]);
        let changes = |leader: &mut Reconciler, catalog: &Catalog, roster| {
            leader.reconcile(roster, &catalog.store.view(), Extent::Changes, now)
        };
        let commands = changes(&mut leader, &catalog, &second);
        let [Command::Register(failed), Command::Deregister(gone)] = commands.as_slice() else { panic!("{commands:?}") };
        assert_eq!((failed.node.as_str(), gone.node.as_str()), ("c2", "c3"));
        // They could not be written: everything is looked at, and nothing forgotten.
        assert_eq!(changes(&mut leader, &catalog, &second).len(), 3);
        let left = roster(&[member("c1", 2, Alive, false), member("c2", 3, Left, false)]);
        let commands = reconciled(&mut leader, &left, &mut catalog, now);
        assert_eq!((commands.len(), catalog.names()), (3, vec!["c1".to_owned()]));
    }
}
