//! The rules for commands. The texts are Consul's: clients look for them.
//!
//! The leader validates before it proposes: a command that every state refuses costs no log entry. `apply` validates
//! again, so that no log entry can make an impossible row.

use crate::defaults::{CHECK_NAME_BYTES, KV_KEY_BYTES, NAME_BYTES};
use crate::model::check::HealthCheck;
use crate::model::command::{Command, Deregister, Register};
use crate::model::fault::Fault;
use crate::model::ids::NodeId;
use crate::model::kv::KvChange;
use crate::model::rules;
use crate::model::service::{NodeService, Weights};

/// Refuses a command that every state refuses. A batch passes with one command that can be done.
pub fn command(command: &Command) -> Result<(), Fault> {
    match command {
        Command::Register(request) => register(request).and_then(|()| tags_of_checks(request)),
        Command::Deregister(request) => deregister(request),
        Command::Batch(commands) => {
            let mut refusals = commands.iter().map(single);
            let Some(first) = refusals.next() else { return Ok(()) };
            first.or_else(|fault| if refusals.any(|refusal| refusal.is_ok()) { Ok(()) } else { Err(fault) })
        }
        Command::UpdateCoordinates(_)
        | Command::RemoveDatacenter { .. }
        | Command::ReadmitDatacenter { .. }
        | Command::AssignObservers(_)
        | Command::Vote { .. }
        | Command::SetAutopilot { .. }
        | Command::RaiseLevel(_)
        | Command::CreateSession(_)
        | Command::EndSessions(_)
        | Command::Txn(_)
        | Command::ExpireKeys(_)
        | Command::EndLockDelays(_)
        | Command::ReapTombstones(_) => Ok(()),
        Command::Kv(change) => key(change),
    }
}

fn single(one: &Command) -> Result<(), Fault> {
    if let Command::Batch(_) = one { Err(nested()) } else { command(one) }
}

/// A batch in a batch would let the depth of a log entry set the depth of the stack that applies it.
pub(super) fn nested() -> Fault {
    Fault::failed("A batch cannot hold another batch")
}

/// Refuses a key that is too long, or none where there must be one.
pub(super) fn key(change: &KvChange) -> Result<(), Fault> {
    let (key, is_tree) = (change.key().as_bytes(), matches!(change, KvChange::DeleteTree(_)));
    if key.is_empty() && !is_tree {
        return Err(Fault::bad_request("Missing key name"));
    }
    if key.len() > KV_KEY_BYTES {
        return Err(Fault::bad_request(format!("A key of {} bytes is too long, expected at most {KV_KEY_BYTES}", key.len())));
    }
    Ok(())
}

/// Refuses a deregistration without a node.
pub(super) fn deregister(request: &Deregister) -> Result<(), Fault> {
    named(&request.node)
}

fn named(node: &str) -> Result<(), Fault> {
    if node.is_empty() { Err(Fault::failed("Must provide node")) } else { Ok(()) }
}

/// Refuses more checks of the instance registered with them than any state takes.
fn tags_of_checks(request: &Register) -> Result<(), Fault> {
    let Some(service) = &request.service else { return Ok(()) };
    let id = if service.id.is_empty() { &service.service } else { &service.id };
    let checks = request.check.iter().chain(&request.checks).filter(|check| check.service_id == *id).count();
    copies(service, checks)
}

/// Refuses an instance whose `checks` copies of its tags are too large.
pub(super) fn copies(service: &NodeService, checks: usize) -> Result<(), Fault> {
    rules::copies(&service.id, &service.service, &service.tags, checks).map_err(Fault::bad_request)
}

/// Refuses an impossible registration. Metadata is free here: the agents limit it.
pub fn register(request: &Register) -> Result<(), Fault> {
    basics(request)?;
    lengths(request)?;
    weights(request)
}

/// Refuses weights that DNS cannot carry.
pub(super) fn weights(request: &Register) -> Result<(), Fault> {
    let weights = request.service.as_ref().and_then(|service| service.weights);
    let refused = |why| Fault::bad_request(format!("Invalid Weights: {why}"));
    weights.filter(|weights| *weights != Weights::UNSET).map_or(Ok(()), Weights::check).map_err(refused)
}

/// Refuses the name of a node that is too long.
pub(super) fn node_lengths(request: &Register) -> Result<(), Fault> {
    rules::length("node name", &request.node, NAME_BYTES).map_err(Fault::bad_request)
}

/// Refuses names and ids that are too long.
fn lengths(request: &Register) -> Result<(), Fault> {
    let length = |what, text: &str, max| rules::length(what, text, max).map_err(Fault::bad_request);
    node_lengths(request)?;
    if let Some(service) = &request.service {
        length("service name", &service.service, NAME_BYTES)?;
        length("service ID", &service.id, NAME_BYTES)?;
    }
    request.check.iter().chain(&request.checks).try_for_each(|check| {
        length("check ID", &check.check_id, CHECK_NAME_BYTES)?;
        length("check name", &check.name, CHECK_NAME_BYTES)
    })
}

/// Refuses a registration that is impossible at every level.
pub(super) fn basics(request: &Register) -> Result<(), Fault> {
    named(&request.node)?;
    if request.address.is_empty() && !request.skip_node_update {
        return Err(Fault::failed("Must provide address if SkipNodeUpdate is not set"));
    }
    if !request.id.is_empty() {
        request.id.parse::<NodeId>().map_err(|error| Fault::failed(format!("Bad node ID: {error}")))?;
    }
    request.service.as_ref().map_or(Ok(()), service)?;
    request.check.iter().chain(&request.checks).try_for_each(|of| check(of, &request.node))
}

fn check(check: &HealthCheck, node: &str) -> Result<(), Fault> {
    if !check.node.is_empty() && !check.node.eq_ignore_ascii_case(node) {
        return Err(Fault::failed(format!("check node {:?} does not match node {node:?}", check.node)));
    }
    if check.check_id.is_empty() && check.name.is_empty() {
        return Err(Fault::failed("Must provide a CheckID or a Name for each check"));
    }
    Ok(())
}

fn service(service: &NodeService) -> Result<(), Fault> {
    if service.service.is_empty() {
        return Err(Fault::failed("Must provide service name with ID"));
    }
    rules::service_address(&service.address).map_err(Fault::failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::COMMAND_BYTES;
    use std::collections::BTreeMap;

    fn request() -> Register {
        Register { node: "n1".to_owned(), address: "10.0.0.1".to_owned(), ..Register::default() }
    }

    fn text(request: &Register) -> String {
        register(request).expect_err("must be refused").message
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_text_that_clients_look_for() {
        assert_eq!(text(&Register { node: String::new(), ..request() }), "Must provide node");
        assert_eq!(text(&Register { address: String::new(), ..request() }), "Must provide address if SkipNodeUpdate is not set");
        assert!(text(&Register { id: "nope".to_owned(), ..request() }).starts_with("Bad node ID: "));
        let nameless = NodeService { id: "web1".to_owned(), ..NodeService::default() };
        assert_eq!(text(&Register { service: Some(nameless), ..request() }), "Must provide service name with ID");
        for any in ["0.0.0.0", "::", "[::]"] {
            let bound_to_all = NodeService { service: "web".to_owned(), address: any.to_owned(), ..NodeService::default() };
            assert_eq!(text(&Register { service: Some(bound_to_all), ..request() }), "Invalid service address");
        }
        assert!(register(&request()).is_ok());
    }

    #[test]
    fn a_check_without_a_name_or_of_another_node_is_refused_before_it_is_proposed() {
        let with = |check| Register { checks: vec![check], ..request() };
        assert_eq!(text(&with(HealthCheck::default())), "Must provide a CheckID or a Name for each check");
        let strange = HealthCheck { node: "n2".to_owned(), name: "c".to_owned(), ..HealthCheck::default() };
        assert_eq!(text(&with(strange)), r#"check node "n2" does not match node "n1""#);
        let named = HealthCheck { node: "N1".to_owned(), name: "c".to_owned(), ..HealthCheck::default() };
        assert!(register(&with(named)).is_ok());
    }

    #[test]
    fn names_and_ids_are_bounded_before_they_are_proposed() {
        let long = |max: usize| "x".repeat(max + 1);
        let with_service = |service| Register { service: Some(service), ..request() };
        let with_check = |check| Register { checks: vec![check], ..request() };
        let (name, check) = (|| long(NAME_BYTES), || long(CHECK_NAME_BYTES));
        let of = |service: String, id: String| with_service(NodeService { service, id, ..NodeService::default() });
        for (request, what) in [
            (Register { node: name(), ..request() }, "node name"),
            (of(name(), String::new()), "service name"),
            (of("web".to_owned(), name()), "service ID"),
            (with_check(HealthCheck { check_id: check(), ..HealthCheck::default() }), "check ID"),
            (with_check(HealthCheck { name: check(), ..HealthCheck::default() }), "check name"),
        ] {
            let fault = command(&Command::Register(Box::new(request))).unwrap_err();
            assert!(fault.kind == crate::model::fault::FaultKind::BadRequest && fault.message.contains(what), "{fault}");
        }
        assert!(register(&of("x".repeat(NAME_BYTES), "x".repeat(NAME_BYTES))).is_ok());
    }

    #[test]
    fn of_several_commands_one_that_can_be_is_enough_and_none_is_too_few() {
        let (good, bad) = (Command::Register(Box::new(request())), Command::Register(Box::default()));
        let of = |commands: &[&Command]| command(&Command::Batch(commands.iter().copied().cloned().collect()));
        assert_eq!(of(&[]), Ok(()));
        assert_eq!(of(&[&bad, &good, &bad]), Ok(()));
        assert_eq!(of(&[&bad, &bad]).unwrap_err().message, "Must provide node");
        assert_eq!(of(&[&Command::Batch(vec![good])]).unwrap_err().message, "A batch cannot hold another batch");
    }

    #[test]
    fn many_checks_of_a_service_with_many_tags_are_refused() {
        let service = NodeService { service: "web".to_owned(), tags: vec!["t".repeat(500); 100], ..NodeService::default() };
        let check =
            |number: usize| HealthCheck { name: number.to_string(), service_id: "web".to_owned(), ..HealthCheck::default() };
        let of = |count| {
            let checks = (0..count).map(check).collect();
            command(&Command::Register(Box::new(Register { service: Some(service.clone()), checks, ..request() })))
        };
        assert_eq!(of(COMMAND_BYTES / (100 * 524 + 3)), Ok(()));
        assert!(of(COMMAND_BYTES / (100 * 524 + 3) + 1).unwrap_err().message.contains("register fewer checks or tags"));
    }

    #[test]
    fn metadata_is_taken_as_it_comes() {
        let meta = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        for (key, value) in [("kubernetes.io/hostname", "v"), ("", ""), ("a b", "é"), (&"k".repeat(129), &"v".repeat(513))] {
            let service = NodeService { service: "web".to_owned(), meta: meta(key, value), ..NodeService::default() };
            assert_eq!(register(&Register { node_meta: meta(key, value), service: Some(service), ..request() }), Ok(()), "{key}");
        }
        let many = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(register(&Register { node_meta: Some(many), ..request() }), Ok(()));
    }

    #[test]
    fn weights_are_what_dns_can_carry_or_not_set() {
        let weighed = |passing, warning| {
            let weights = Some(Weights { passing, warning });
            Register { service: Some(NodeService { service: "web".to_owned(), weights, ..NodeService::default() }), ..request() }
        };
        for (passing, warning) in [(0, 0), (1, 0), (65_535, 65_535)] {
            assert_eq!(register(&weighed(passing, warning)), Ok(()), "{passing}/{warning}");
        }
        assert_eq!(text(&weighed(0, 1)), "Invalid Weights: Passing must be greater than 0");
        for (passing, warning) in [(65_536, 1), (1, 65_536)] {
            assert_eq!(text(&weighed(passing, warning)), "Invalid Weights: DNS Weight must be between 0 and 65535");
        }
    }
}
