//! What differs between this agent and the catalog, and the commands that make it agree. Pure.
//!
//! `sync` reads the catalog, has it compared, sends the updates and tells what came of them. What
//! is registered here is the truth; only the leader's own entries and overridden tags are not.

use super::Source;
use super::state::{CheckEntry, Mark, State};
use crate::model::check::{HealthCheck, SERF_HEALTH};
use crate::model::command::{Command, Deregister, Register};
use crate::model::ids::Token;
use crate::model::node::Node;
use crate::model::service::NodeService;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The service that the leader keeps for servers.
const CONSUL_SERVICE: &str = "consul";

/// What the catalog has of this node.
#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    pub(super) node: Option<Node>,
    pub(super) services: BTreeMap<String, NodeService>,
    pub(super) checks: BTreeMap<String, HealthCheck>,
}

impl Remote {
    /// Reads the bodies of `catalog/node-services/:node` and `health/node/:node`.
    pub(super) fn parse(node_services: &[u8], checks: &[u8]) -> Result<Remote, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct NodeServices {
            node: Option<Node>,
            services: Option<Vec<NodeService>>,
        }
        let listed: Option<NodeServices> = serde_json::from_slice(node_services)?;
        let (node, services) = listed.map_or((None, None), |listed| (listed.node, listed.services));
        let checks: Option<Vec<HealthCheck>> = serde_json::from_slice(checks)?;
        Ok(Remote {
            node,
            services: services.into_iter().flatten().map(|service| (service.id.clone(), service)).collect(),
            checks: checks.into_iter().flatten().map(|check| (check.check_id.clone(), check)).collect(),
        })
    }
}

/// A thing that an update brings to the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Node,
    Service(String),
    Check(String),
}

/// One write to the catalog.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) command: Command,
    pub(super) token: Token,
    /// What it brings, each with the revision that it carries.
    covers: Vec<(Thing, u64)>,
}

impl State {
    /// Marks everything by what the catalog has, and takes over tags that win there. Whether
    /// anything of what is registered has changed.
    pub(super) fn compare(&mut self, remote: &Remote) -> bool {
        self.node_mark.in_sync = remote.node.as_ref().is_some_and(|node| self.same_node(node));
        self.compare_services(remote);
        let changed = self.take_overridden_tags(remote);
        self.compare_checks(remote);
        changed
    }

    /// The writes that bring the catalog what it lacks: the node, removals, services with those of
    /// their checks that have the same token, other checks.
    pub(super) fn updates(&self) -> Vec<Update> {
        let mut updates = Vec::new();
        if !self.node_mark.in_sync {
            updates.push(self.node_update());
        }
        let mut covered = BTreeSet::new();
        let is_due = |mark: &Mark| mark.deleted && !mark.in_sync;
        for (id, entry) in self.services.iter().filter(|(_, entry)| is_due(&entry.mark)) {
            // The catalog removes a service with its checks.
            let mut covers = vec![(Thing::Service(id.clone()), entry.mark.revision)];
            for (check, gone) in self.checks.iter().filter(|(_, check)| check.mark.deleted && check.row.service_id == *id) {
                covers.push((Thing::Check(check.clone()), gone.mark.revision));
                covered.insert(check.as_str());
            }
            updates.push(self.removal(id, "", &entry.token, covers));
        }
        for (id, entry) in self.checks.iter().filter(|(id, entry)| is_due(&entry.mark) && !covered.contains(id.as_str())) {
            updates.push(self.removal("", id, &entry.token, vec![(Thing::Check(id.clone()), entry.mark.revision)]));
        }
        self.push_registrations(&mut updates);
        updates
    }

    /// The catalog has taken `update`.
    pub(super) fn settle(&mut self, update: &Update) {
        for (thing, revision) in &update.covers {
            match thing {
                Thing::Node => settle_mark(&mut self.node_mark, *revision),
                Thing::Service(id) => {
                    if self.services.get(id).is_some_and(|entry| gone(entry.mark, *revision)) {
                        self.services.remove(id);
                    } else if let Some(entry) = self.services.get_mut(id) {
                        settle_mark(&mut entry.mark, *revision);
                    }
                }
                Thing::Check(id) => {
                    if self.checks.get(id).is_some_and(|entry| gone(entry.mark, *revision)) {
                        self.checks.remove(id);
                    } else if let Some(entry) = self.checks.get_mut(id) {
                        settle_mark(&mut entry.mark, *revision);
                        entry.defined |= entry.mark.revision == *revision;
                    }
                }
            }
        }
    }

    /// The token of `update` does not allow it: it counts as done until the next comparison, which
    /// has it tried again with the same token.
    pub(super) fn put_off(&mut self, update: &Update) {
        for (thing, revision) in &update.covers {
            let mark = match thing {
                Thing::Node => Some(&mut self.node_mark),
                Thing::Service(id) => self.services.get_mut(id).map(|entry| &mut entry.mark),
                Thing::Check(id) => self.checks.get_mut(id).map(|entry| &mut entry.mark),
            };
            if let Some(mark) = mark {
                settle_mark(mark, *revision);
            }
        }
    }

    fn compare_services(&mut self, remote: &Remote) {
        self.services.retain(|id, entry| !entry.mark.deleted || remote.services.contains_key(id));
        for (id, entry) in &mut self.services {
            let same = |row: &NodeService| same_service(&entry.row, row);
            entry.mark.in_sync = !entry.mark.deleted && remote.services.get(id).is_some_and(same);
        }
        for (id, row) in &remote.services {
            if id != CONSUL_SERVICE && !self.services.contains_key(id) {
                self.put_service(row.clone(), Token::default(), Source::Api);
                self.remove_service(id);
            }
        }
    }

    /// Where a service lets tags in the catalog win, they are what is registered here from now on.
    fn take_overridden_tags(&mut self, remote: &Remote) -> bool {
        let mut changed = Vec::new();
        for (id, entry) in self.services.iter_mut().filter(|(_, entry)| !entry.mark.deleted && entry.row.enable_tag_override) {
            let Some(row) = remote.services.get(id).filter(|row| row.tags != entry.row.tags) else { continue };
            Arc::make_mut(&mut entry.row).tags.clone_from(&row.tags);
            entry.mark.in_sync = same_service(&entry.row, row);
            changed.push(id.clone());
        }
        for id in &changed {
            self.refresh_checks_of(id);
        }
        !changed.is_empty()
    }

    fn compare_checks(&mut self, remote: &Remote) {
        self.checks.retain(|id, entry| !entry.mark.deleted || remote.checks.contains_key(id));
        for (id, entry) in &mut self.checks {
            let same = |row: &HealthCheck| same_check(entry, row);
            entry.mark.in_sync = !entry.mark.deleted && remote.checks.get(id).is_some_and(same);
            if !entry.mark.in_sync {
                entry.deferred = None;
            }
        }
        for (id, row) in &remote.checks {
            if id != SERF_HEALTH && row.service_id != CONSUL_SERVICE && !self.checks.contains_key(id) {
                let mark = self.dirty(true);
                let (token, source) = (Token::default(), Source::Api);
                let row = Arc::new(row.clone());
                self.checks.insert(
                    id.clone(),
                    CheckEntry { row, token, source, mark, deferred: None, critical_since: None, probed: false, defined: false },
                );
            }
        }
    }

    fn same_node(&self, remote: &Node) -> bool {
        remote.id.eq_ignore_ascii_case(&self.node.id)
            && remote.address == self.node.address
            && remote.tagged_addresses.clone().unwrap_or_default() == self.node.tagged_addresses
            && remote.meta.clone().unwrap_or_default() == self.node.meta
    }

    fn register(&self) -> Register {
        Register {
            datacenter: self.node.datacenter.clone(),
            id: self.node.id.clone(),
            node: self.node.name.clone(),
            address: self.node.address.clone(),
            tagged_addresses: Some(self.node.tagged_addresses.clone()),
            node_meta: Some(self.node.meta.clone()),
            skip_node_update: true,
            ..Register::default()
        }
    }

    fn node_update(&self) -> Update {
        let register = Register { skip_node_update: false, ..self.register() };
        let covers = vec![(Thing::Node, self.node_mark.revision)];
        Update { command: Command::Register(Box::new(register)), token: Token::default(), covers }
    }

    fn removal(&self, service_id: &str, check_id: &str, token: &Token, covers: Vec<(Thing, u64)>) -> Update {
        let deregister = Deregister {
            datacenter: self.node.datacenter.clone(),
            node: self.node.name.clone(),
            service_id: service_id.to_owned(),
            check_id: check_id.to_owned(),
            ..Deregister::default()
        };
        Update { command: Command::Deregister(deregister), token: token.clone(), covers }
    }

    fn push_registrations(&self, updates: &mut Vec<Update>) {
        let mut waiting: BTreeMap<&str, Vec<(&String, &CheckEntry)>> = BTreeMap::new();
        for (id, entry) in self.checks.iter().filter(|(_, entry)| !entry.mark.deleted && !entry.mark.in_sync) {
            waiting.entry(&entry.row.service_id).or_default().push((id, entry));
        }
        for (id, entry) in self.services.iter().filter(|(_, entry)| !entry.mark.deleted && !entry.mark.in_sync) {
            let checks = waiting.remove(id.as_str()).unwrap_or_default();
            let (with, apart): (Vec<_>, Vec<_>) = checks.into_iter().partition(|(_, check)| check.token == entry.token);
            if !apart.is_empty() {
                waiting.insert(id, apart);
            }
            let mut covers = vec![(Thing::Service(id.clone()), entry.mark.revision)];
            covers.extend(with.iter().map(|(id, check)| (Thing::Check((*id).clone()), check.mark.revision)));
            let checks = with.iter().map(|(_, check)| check.told()).collect();
            let register = Register { service: Some((*entry.row).clone()), checks, ..self.register() };
            updates.push(Update { command: Command::Register(Box::new(register)), token: entry.token.clone(), covers });
        }
        for (id, entry) in waiting.into_values().flatten() {
            let register = Register { check: Some(entry.told()), ..self.register() };
            let covers = vec![(Thing::Check(id.clone()), entry.mark.revision)];
            updates.push(Update { command: Command::Register(Box::new(register)), token: entry.token.clone(), covers });
        }
    }
}

fn gone(mark: Mark, revision: u64) -> bool {
    mark.deleted && mark.revision == revision
}

fn settle_mark(mark: &mut Mark, revision: u64) {
    if mark.revision == revision {
        mark.in_sync = true;
    }
}

/// Whether the catalog has the service as it is here; indexes are the catalog's own.
fn same_service(local: &NodeService, remote: &NodeService) -> bool {
    let remote = NodeService {
        meta: Some(remote.meta.clone().unwrap_or_default()),
        weights: Some(remote.weights.unwrap_or_default()),
        create_index: 0,
        modify_index: 0,
        ..remote.clone()
    };
    *local == remote
}

/// The same for a check; output that is deferred does not count, nor what others have voted on. Of the
/// definition of a voted check the catalog shows little; whether it has it is known otherwise.
fn same_check(local: &CheckEntry, remote: &HealthCheck) -> bool {
    let mut ours = local.told();
    if remote.definition.voted.is_none() {
        ours.definition = ours.definition.shown();
    }
    let mut remote = HealthCheck { node: ours.node.clone(), create_index: 0, modify_index: 0, ..remote.clone() };
    if local.is_voted() {
        remote.status = ours.status;
    }
    if local.deferred.is_some() || local.is_voted() {
        remote.output.clone_from(&ours.output);
    }
    ours == remote && (local.defined || !local.is_voted())
}

#[cfg(test)]
mod tests {
    use super::super::definition::NewCheck;
    use super::super::state::NodeInfo;
    use super::*;
    use crate::model::check::{CheckDefinition, CheckStatus};
    use crate::model::service::Weights;
    use crate::model::vote::{VotedCheck, VotedDefinition};
    use std::time::{Duration, Instant};

    fn state() -> State {
        let node = NodeInfo { id: "id".into(), name: "n1".into(), address: "10.0.0.1".into(), ..NodeInfo::default() };
        State::new(node)
    }

    fn node() -> Option<Node> {
        Some(Node { id: "ID".into(), node: "n1".into(), address: "10.0.0.1".into(), ..Node::default() })
    }

    fn service(id: &str, port: u16) -> NodeService {
        let (meta, weights) = (Some(BTreeMap::new()), Some(Weights::default()));
        NodeService { id: id.into(), service: "web".into(), port, meta, weights, ..NodeService::default() }
    }

    fn check(id: &str, service: &str, token: &str) -> NewCheck {
        let row = HealthCheck { check_id: id.into(), service_id: service.into(), node: "n1".into(), ..HealthCheck::default() };
        NewCheck { row, check: None, token: Token(token.into()) }
    }

    /// What `updates` say, short.
    fn told(state: &State) -> Vec<String> {
        let tell = |update: Update| match update.command {
            Command::Register(register) => {
                let service = register.service.map_or(String::new(), |service| format!(" {}", service.id));
                let checks = register.check.into_iter().chain(register.checks);
                let checks: String = checks.map(|check| format!(" {}", check.check_id)).collect();
                format!("+{}{service}{checks}", if register.skip_node_update { "" } else { "node" })
            }
            Command::Deregister(gone) => format!("- {}{}", gone.service_id, gone.check_id),
            other => panic!("unexpected {other:?}"),
        };
        state.updates().into_iter().map(tell).collect()
    }

    fn settle_all(state: &mut State) {
        for update in state.updates() {
            state.settle(&update);
        }
    }

    /// A state with service `web1` and its check, known to the catalog, and that catalog.
    fn agreed() -> (State, Remote) {
        let mut state = state();
        state.put_service(service("web1", 80), Token::default(), Source::Api);
        state.put_check(check("c1", "web1", ""), Source::Api);
        settle_all(&mut state);
        let row = (*state.checks["c1"].row).clone();
        let remote = Remote {
            node: node(),
            services: [("web1".to_owned(), NodeService { modify_index: 9, ..service("web1", 80) })].into(),
            checks: [("c1".to_owned(), HealthCheck { create_index: 3, ..row })].into(),
        };
        (state, remote)
    }

    #[test]
    fn everything_is_registered_in_an_empty_catalog_a_service_together_with_its_checks() {
        let mut state = state();
        state.put_service(service("web1", 80), Token::default(), Source::Api);
        state.put_check(check("c1", "web1", ""), Source::Api);
        state.put_check(check("c2", "web1", "another"), Source::Api);
        state.put_check(check("disk", "", ""), Source::Api);
        state.compare(&Remote::default());
        assert_eq!(told(&state), ["+node", "+ web1 c1", "+ disk", "+ c2"]);
        settle_all(&mut state);
        assert_eq!(told(&state), Vec::<String>::new());
    }

    #[test]
    fn a_catalog_that_agrees_gets_no_write() {
        let (mut state, remote) = agreed();
        assert!(!state.compare(&remote));
        assert_eq!(told(&state), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_pushed() {
        let (mut state, mut remote) = agreed();
        remote.services.get_mut("web1").expect("there").port = 81;
        state.compare(&remote);
        assert_eq!(told(&state), ["+ web1"]);

        let (mut state, mut remote) = agreed();
        remote.checks.get_mut("c1").expect("there").status = CheckStatus::Passing;
        state.compare(&remote);
        assert_eq!(told(&state), ["+ c1"]);

        let (mut state, mut remote) = agreed();
        remote.node.as_mut().expect("there").meta = Some([("rack".to_owned(), "7".to_owned())].into());
        state.compare(&remote);
        assert_eq!(told(&state), ["+node"]);
    }

    #[test]
    fn what_this_agent_does_not_know_is_removed_but_for_the_leaders_own() {
        let mut state = state();
        let checks = ["serfHealth", "stray", "of-ghost"].map(|id| {
            let service_id = if id == "of-ghost" { "ghost" } else { "" }.to_owned();
            (id.to_owned(), HealthCheck { check_id: id.into(), service_id, ..HealthCheck::default() })
        });
        let services = ["consul", "ghost"].map(|id| (id.to_owned(), service(id, 1)));
        let remote = Remote { node: node(), services: services.into(), checks: checks.into() };
        assert!(!state.compare(&remote), "nothing that is registered has changed");
        assert_eq!(told(&state), ["- ghost", "- stray"]);
        assert!(state.registered().services.is_empty());
        settle_all(&mut state);
        assert!(state.services.is_empty() && state.checks.is_empty());
    }

    #[test]
    fn a_removal_is_remembered_until_the_catalog_has_done_it() {
        let (mut state, remote) = agreed();
        state.remove_check("c1");
        state.remove_service("web1");
        assert_eq!(told(&state), ["- web1"]);
        state.compare(&remote);
        assert_eq!(told(&state), ["- web1"]);
        state.compare(&Remote { node: node(), ..Remote::default() });
        assert_eq!(told(&state), Vec::<String>::new());
        assert!(state.services.is_empty() && state.checks.is_empty());
    }

    #[test]
    fn a_removal_that_is_not_allowed_is_tried_again_after_the_next_comparison_with_the_same_token() {
        let (mut state, remote) = agreed();
        state.put_service(service("web1", 80), Token("mine".into()), Source::Api);
        settle_all(&mut state);
        state.remove_check("c1");
        state.remove_service("web1");
        let refused = state.updates();
        refused.iter().for_each(|update| state.put_off(update));
        assert_eq!(told(&state), Vec::<String>::new());
        assert!(state.registered().services.is_empty());
        state.compare(&remote);
        assert_eq!(told(&state), ["- web1"]);
        assert_eq!(state.updates()[0].token, Token("mine".into()));
    }

    #[test]
    fn a_change_during_a_push_is_not_taken_for_pushed() {
        let (mut state, _) = agreed();
        state.put_service(service("web1", 81), Token::default(), Source::Api);
        let pushed = state.updates();
        state.put_service(service("web1", 82), Token::default(), Source::Api);
        pushed.iter().for_each(|update| state.settle(update));
        assert_eq!(told(&state), ["+ web1"]);

        state.remove_service("web1");
        let pushed = state.updates();
        state.put_service(service("web1", 83), Token::default(), Source::Api);
        pushed.iter().for_each(|update| state.settle(update));
        assert_eq!(told(&state), ["+ web1"], "registered anew while its removal was on its way");
    }

    #[test]
    fn overridden_tags_are_taken_over_and_other_fields_are_not() {
        let (mut state, mut remote) = agreed();
        let local = NodeService { enable_tag_override: true, ..service("web1", 80) };
        state.put_service(local.clone(), Token::default(), Source::Api);
        let theirs = NodeService { tags: vec!["blue".into()], port: 99, ..local };
        remote.services.insert("web1".into(), theirs);
        assert!(state.compare(&remote));
        let row = &state.registered().services["web1"];
        assert_eq!((row.tags.as_slice(), row.port), (["blue".to_owned()].as_slice(), 80));
        assert_eq!(state.registered().checks["c1"].service_tags, ["blue"]);
        assert_eq!(told(&state), ["+ web1 c1"]);
    }

    #[test]
    fn output_alone_waits_and_a_new_status_does_not() {
        let (mut state, remote) = agreed();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(300));
        state.set_status("c1", CheckStatus::Critical, "still broken", Some(later), later);
        state.compare(&remote);
        assert_eq!(told(&state), Vec::<String>::new());
        assert!(!state.undefer(now));
        assert!(state.undefer(later));
        assert_eq!(told(&state), ["+ c1"]);

        let (mut state, _) = agreed();
        state.set_status("c1", CheckStatus::Critical, "still broken", Some(later), later);
        state.set_status("c1", CheckStatus::Passing, "well", Some(later), later);
        assert_eq!(told(&state), ["+ c1"]);
        assert_eq!(state.next_deferred(), None);
    }

    #[test]
    fn of_a_voted_check_the_definition_alone_is_compared_and_nothing_it_finds_is_pushed() {
        let (mut state, mut remote) = agreed();
        let mut voted = check("c1", "web1", "");
        voted.row.definition.voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
        state.put_check(voted, Source::Api);
        state.updates().iter().for_each(|update| state.settle(update));
        let now = Instant::now();
        assert!(state.probed().is_empty(), "it has not run yet");
        state.set_status("c1", CheckStatus::Critical, "I see nothing", None, now);
        assert_eq!((told(&state), state.probed().len(), state.own_votes()), (Vec::new(), 1, 1));
        let ours = state.registered().checks["c1"].clone();
        let theirs = HealthCheck { status: CheckStatus::Passing, output: "by vote".into(), ..(*ours).clone() };
        remote.checks.insert("c1".into(), theirs.clone());
        state.compare(&remote);
        assert_eq!(told(&state), Vec::<String>::new());
        assert_eq!(state.registered().checks["c1"].status, CheckStatus::Critical, "its own view");
        state.heed_votes(&remote, now);
        assert_eq!(state.checks["c1"].critical_since, None, "it alone deregisters nothing");
        let mut other = theirs;
        other.definition.interval = Duration::from_secs(9);
        remote.checks.insert("c1".into(), other);
        state.compare(&remote);
        assert_eq!(told(&state), ["+ c1"]);
    }

    #[test]
    fn how_a_check_is_defined_stays_here_but_for_a_voted_one_whose_observers_tell_what_the_catalog_has() {
        let (mut state, mut remote) = agreed();
        let secret = CheckDefinition {
            http: "http://h/".into(),
            header: [("Authorization".to_owned(), vec!["Bearer s3cret".to_owned()])].into(),
            ..CheckDefinition::default()
        };
        let mut ordinary = check("c1", "web1", "");
        ordinary.row.definition = secret.clone();
        state.put_check(ordinary.clone(), Source::Api);
        let pushed = state.updates();
        assert!(!format!("{pushed:?}").contains("s3cret"));
        pushed.iter().for_each(|update| state.settle(update));
        remote.checks.insert("c1".into(), state.checks["c1"].told());
        state.compare(&remote);
        assert_eq!(told(&state), Vec::<String>::new());
        assert_eq!(state.registered().checks["c1"].definition, secret);
        // What an earlier version has told is taken back.
        remote.checks.insert("c1".into(), (*state.registered().checks["c1"]).clone());
        state.compare(&remote);
        assert_eq!(told(&state), ["+ c1"]);

        let mut voted = ordinary;
        voted.row.definition.voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
        state.put_check(voted, Source::Api);
        let definition = state.registered().checks["c1"].definition.clone();
        let shown = HealthCheck { definition: definition.shown(), ..state.checks["c1"].told() };
        remote.checks.insert("c1".into(), shown);
        state.compare(&remote);
        assert_eq!(told(&state), ["+ c1"], "not known to be there");
        assert!(format!("{:?}", state.updates()).contains("s3cret"));
        settle_all(&mut state);
        state.compare(&remote);
        assert_eq!(told(&state), Vec::<String>::new());
        let observed = |definition: CheckDefinition| VotedCheck {
            node: "N1".into(),
            check_id: "c1".into(),
            definition,
            ..VotedCheck::default()
        };
        state.heed_observed(&[observed(definition.clone())]);
        assert_eq!(told(&state), Vec::<String>::new());
        state.heed_observed(&[observed(CheckDefinition { interval: Duration::from_secs(9), ..definition.clone() })]);
        assert_eq!(told(&state), ["+ c1"]);
        settle_all(&mut state);
        state.heed_observed(&[observed(definition)]);
        state.compare(&remote);
        assert_eq!(told(&state), Vec::<String>::new());
        state.heed_observed(&[]);
        state.compare(&remote);
        assert_eq!(told(&state), ["+ c1"]);
        settle_all(&mut state);
    }

    #[test]
    fn the_bodies_of_the_catalog_are_read_null_included() {
        let remote = Remote::parse(br#"{"Node":null,"Services":null}"#, b"[]").expect("readable");
        assert!(remote.node.is_none() && remote.services.is_empty());
        let body = br#"{"Node":{"ID":"i","Node":"n1","Address":"a"},"Services":[{"ID":"web1","Service":"web","Tags":[]}]}"#;
        let remote = Remote::parse(body, br#"[{"Node":"n1","CheckID":"c","Status":"passing"}]"#).expect("readable");
        assert_eq!(remote.services["web1"].service, "web");
        assert_eq!(remote.checks["c"].status, CheckStatus::Passing);
    }
}
