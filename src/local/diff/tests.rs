//! The comparison of an agent and the catalog, and what it has pushed.

use super::super::state::NodeInfo;
use super::*;
use crate::model::check::{CheckDefinition, CheckStatus, VotedDefinition};
use crate::model::service::Weights;
use crate::model::vote::VotedCheck;
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

/// A short form of `updates`.
fn changes(state: &State) -> Vec<String> {
    let tell = |update: Update| match update.write {
        CatalogWrite::Register(register) => {
            let service = register.service.map_or(String::new(), |service| format!(" {}", service.id));
            let checks = register.check.into_iter().chain(register.checks);
            let checks: String = checks.map(|check| format!(" {}", check.check_id)).collect();
            format!("+{}{service}{checks}", if register.skip_node_update { "" } else { "node" })
        }
        CatalogWrite::Deregister(gone) => format!("- {}{}", gone.service_id, gone.check_id),
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
    assert_eq!(changes(&state), ["+node", "+ web1 c1", "+ disk", "+ c2"]);
    settle_all(&mut state);
    assert_eq!(changes(&state), Vec::<String>::new());
}

#[test]
fn each_difference_is_pushed_and_a_catalog_that_agrees_gets_no_write() {
    let (mut state, remote) = agreed();
    assert!(!state.compare(&remote));
    assert_eq!(changes(&state), Vec::<String>::new());
    type Differ = fn(&mut Remote);
    let differences: [(Differ, &str); 3] = [
        (|remote| remote.services.get_mut("web1").expect("there").port = 81, "+ web1"),
        (|remote| remote.checks.get_mut("c1").expect("there").status = CheckStatus::Passing, "+ c1"),
        (|remote| remote.node.as_mut().expect("there").meta = Some([("rack".to_owned(), "7".to_owned())].into()), "+node"),
    ];
    for (differ, pushed) in differences {
        let (mut state, mut remote) = agreed();
        differ(&mut remote);
        state.compare(&remote);
        assert_eq!(changes(&state), [pushed]);
    }
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
    assert_eq!(changes(&state), ["- ghost", "- stray"]);
    assert!(state.registered().services.is_empty());
    settle_all(&mut state);
    assert!(state.services.is_empty() && state.checks.is_empty());
}

#[test]
fn a_removal_is_remembered_until_the_catalog_has_done_it() {
    let (mut state, remote) = agreed();
    state.remove_check("c1");
    state.remove_service("web1");
    assert_eq!(changes(&state), ["- web1"]);
    state.compare(&remote);
    assert_eq!(changes(&state), ["- web1"]);
    state.compare(&Remote { node: node(), ..Remote::default() });
    assert_eq!(changes(&state), Vec::<String>::new());
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
    assert_eq!(changes(&state), Vec::<String>::new());
    assert!(state.registered().services.is_empty());
    state.compare(&remote);
    assert_eq!(changes(&state), ["- web1"]);
    assert_eq!(state.updates()[0].token, Token("mine".into()));
}

#[test]
fn a_change_during_a_push_is_not_taken_for_pushed() {
    let (mut state, _) = agreed();
    state.put_service(service("web1", 81), Token::default(), Source::Api);
    let pushed = state.updates();
    state.put_service(service("web1", 82), Token::default(), Source::Api);
    pushed.iter().for_each(|update| state.settle(update));
    assert_eq!(changes(&state), ["+ web1"]);

    state.remove_service("web1");
    let pushed = state.updates();
    state.put_service(service("web1", 83), Token::default(), Source::Api);
    pushed.iter().for_each(|update| state.settle(update));
    assert_eq!(changes(&state), ["+ web1"], "registered anew while its removal was on its way");
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
    assert_eq!(changes(&state), ["+ web1 c1"]);
}

#[test]
fn output_alone_waits_and_a_new_status_does_not() {
    let (mut state, remote) = agreed();
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(300));
    state.set_status("c1", CheckStatus::Critical, "still broken", Some(later), later);
    state.compare(&remote);
    assert_eq!(changes(&state), Vec::<String>::new());
    assert!(!state.undefer(now));
    assert!(state.undefer(later));
    assert_eq!(changes(&state), ["+ c1"]);

    let (mut state, _) = agreed();
    state.set_status("c1", CheckStatus::Critical, "still broken", Some(later), later);
    state.set_status("c1", CheckStatus::Passing, "well", Some(later), later);
    assert_eq!(changes(&state), ["+ c1"]);
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
    assert_eq!((changes(&state), state.probed().len(), state.own_votes), (Vec::new(), 1, 1));
    let ours = state.registered().checks["c1"].clone();
    let theirs = HealthCheck { status: CheckStatus::Passing, output: "by vote".into(), ..(*ours).clone() };
    remote.checks.insert("c1".into(), theirs.clone());
    state.compare(&remote);
    assert_eq!(changes(&state), Vec::<String>::new());
    assert_eq!(state.registered().checks["c1"].status, CheckStatus::Critical, "its own view");
    state.heed_votes(&remote, now);
    assert_eq!(state.checks["c1"].critical_since, None, "it alone deregisters nothing");
    let mut other = theirs;
    other.definition.interval = Duration::from_secs(9);
    remote.checks.insert("c1".into(), other);
    state.compare(&remote);
    assert_eq!(changes(&state), ["+ c1"]);
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
    remote.checks.insert("c1".into(), state.checks["c1"].reported());
    state.compare(&remote);
    assert_eq!(changes(&state), Vec::<String>::new());
    assert_eq!(state.registered().checks["c1"].definition, secret);
    // A definition that an earlier version pushed is taken back.
    remote.checks.insert("c1".into(), (*state.registered().checks["c1"]).clone());
    state.compare(&remote);
    assert_eq!(changes(&state), ["+ c1"]);

    let mut voted = ordinary;
    voted.row.definition.voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
    state.put_check(voted, Source::Api);
    let definition = state.registered().checks["c1"].definition.clone();
    let shown = HealthCheck { definition: definition.shown(), ..state.checks["c1"].reported() };
    remote.checks.insert("c1".into(), shown);
    state.compare(&remote);
    assert_eq!(changes(&state), ["+ c1"], "not known to be there");
    assert!(format!("{:?}", state.updates()).contains("s3cret"));
    settle_all(&mut state);
    state.compare(&remote);
    assert_eq!(changes(&state), Vec::<String>::new());
    let (node, check_id) = ("N1".to_owned(), "c1".to_owned());
    let of = VotedCheck { node, check_id, ..VotedCheck::default() };
    let observed = |definition| VotedCheck { definition, ..of.clone() };
    state.heed_observed(&[observed(definition.clone())]);
    assert_eq!(changes(&state), Vec::<String>::new());
    state.heed_observed(&[observed(CheckDefinition { interval: Duration::from_secs(9), ..definition.clone() })]);
    assert_eq!(changes(&state), ["+ c1"]);
    settle_all(&mut state);
    state.heed_observed(&[observed(definition)]);
    state.compare(&remote);
    assert_eq!(changes(&state), Vec::<String>::new());
    state.heed_observed(&[]);
    state.compare(&remote);
    assert_eq!(changes(&state), ["+ c1"]);
    settle_all(&mut state);
}
