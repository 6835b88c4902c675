//! Bytes that servers of this format level have on disk and send to each other are read for ever.

use super::bootstrap::{Grant, GrantAnswer};
use super::journal;
use super::message::{self, Counts, Echo, Envelope, Message, Moment, Reply, SnapshotPart};
use super::openraft_types::{
    AppendRequest, AppendResponse, Entry, LogId, LoggedCommand, LoggedGroup, Membership, SnapshotMeta, SnapshotResponse,
    TransferRequest, TransferResponse, TypeConfig, Vote, VoteRequest, VoteResponse,
};
use super::state_machine::{decode_meta, encode_meta};
use super::testing::id;
use crate::model::autopilot::AutopilotConfig;
use crate::model::check::{CheckDefinition, CheckStatus, HealthCheck, VotedDefinition};
use crate::model::command::{Command, Deregister, Register};
use crate::model::coordinate::{Coordinate, NodeCoordinate};
use crate::model::golden;
use crate::model::ids::{ClusterId, SessionId};
use crate::model::kv::{KvChange, KvPut};
use crate::model::level::{self, Level};
use crate::model::node::Node;
use crate::model::service::{NodeService, Weights};
use crate::model::session::{ServiceCheck, Session, SessionBehavior, TtlMode};
use crate::model::txn::{CatalogVerb, TxnGet, TxnOp};
use crate::model::vote::{Assign, Ballot};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::alias::LeaderIdOf;
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderId;
use serde_json::json;
use std::collections::BTreeMap;

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderIdOf::<TypeConfig>::new(3, 1).to_committed(), index)
}

fn cluster() -> ClusterId {
    ClusterId(uuid::Uuid::from_u128(7))
}

fn register() -> Register {
    let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let definition = CheckDefinition {
        http: "http://10.0.0.1/".to_owned(),
        header: BTreeMap::from([("X".to_owned(), vec!["y".to_owned()])]),
        voted: Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() })),
        ..CheckDefinition::default()
    };
    let check = HealthCheck {
        check_id: "c".to_owned(),
        name: "alive".to_owned(),
        status: CheckStatus::Warning,
        service_id: "web1".to_owned(),
        definition,
        ..HealthCheck::default()
    };
    let service = NodeService {
        id: "web1".to_owned(),
        service: "web".to_owned(),
        tags: vec!["v1".to_owned()],
        meta: Some(texts(&[("k", "v")])),
        port: 80,
        weights: Some(Weights { passing: 2, warning: 1 }),
        proxy: json!({"Config": {"deep": [1, -2.5, null, {"x": true}]}}),
        ..NodeService::default()
    };
    Register {
        id: "40e4a748-2192-161a-0510-9bf59fe950b5".to_owned(),
        node: "n1".to_owned(),
        address: "10.0.0.1".to_owned(),
        tagged_addresses: Some(texts(&[("wan", "192.0.2.1")])),
        node_meta: Some(texts(&[("rack", "r1")])),
        service: Some(service),
        check: Some(check.clone()),
        checks: vec![HealthCheck { service_id: String::new(), ..check }],
        skip_node_update: true,
        ..Register::default()
    }
}

fn ballot() -> Ballot {
    let status = CheckStatus::Critical;
    let vote = crate::model::vote::Vote { node: "n1".into(), check_id: "c".into(), epoch: 9, status, output: "gone".into() };
    Ballot { observer: "n2".to_owned(), votes: vec![vote] }
}

fn commands() -> Vec<Command> {
    let coord = Coordinate { height: 0.25, ..Coordinate::default() };
    let assign = Assign { node: "n1".into(), check_id: "c".into(), replaces: 4, observers: vec!["n2".to_owned()] };
    let singles = vec![
        Command::Register(Box::new(register())),
        Command::Deregister(Deregister { node: "n1".into(), check_id: "c".into(), ..Deregister::default() }),
        Command::UpdateCoordinates(vec![NodeCoordinate { node: "n1".into(), segment: String::new(), coord }]),
        Command::RemoveDatacenter { datacenter: "dc2".to_owned(), cluster: Some(cluster()) },
        Command::ReadmitDatacenter { datacenter: "dc2".to_owned() },
        Command::AssignObservers(vec![assign]),
        Command::Vote { ballot: ballot(), at: 1_700_000_000_000 },
        Command::SetAutopilot {
            config: Box::new(AutopilotConfig { min_quorum: 3, ..AutopilotConfig::default() }),
            only_at: Some(5),
        },
        Command::RaiseLevel(Level { number: level::COMMAND_INDEXES, version: "0.1.0".to_owned() }),
    ];
    singles.iter().cloned().chain([Command::Batch(singles.clone())]).chain(commands_of_keys()).collect()
}

/// One of each that came with keys.
fn commands_of_keys() -> Vec<Command> {
    let put = KvPut { key: b"a/\xff".to_vec().into(), value: "x".into(), flags: 7, ttl_ms: 1_500 };
    let session = Session {
        id: SessionId(uuid::Uuid::from_u128(9)),
        node: "n1".to_owned(),
        ttl: "15s".to_owned(),
        ttl_mode: TtlMode::Exact,
        lock_delay: 5_000_000_000,
        behavior: SessionBehavior::Delete,
        node_checks: vec!["serfHealth".to_owned()],
        service_checks: Some(vec![ServiceCheck { id: "web".to_owned(), namespace: String::new() }]),
        ..Session::default()
    };
    let text = || session.id.to_string();
    let changes = vec![
        KvChange::Set(put.clone()),
        KvChange::Cas(put.clone(), 4),
        KvChange::Lock(put.clone(), text()),
        KvChange::Unlock(put.clone(), text()),
        KvChange::Delete("a".into()),
        KvChange::DeleteCas("a".into(), 4),
        KvChange::DeleteTree("a".into()),
    ];
    let gets = [
        TxnGet::Key("a".into()),
        TxnGet::KeyOrEmpty("a".into()),
        TxnGet::Tree("a".into()),
        TxnGet::CheckIndex("a".into(), 4),
        TxnGet::CheckSession("a".into(), text()),
        TxnGet::CheckNotExists("a".into()),
        TxnGet::Node { id: String::new(), name: "n1".to_owned() },
        TxnGet::Service { node: "n1".to_owned(), id: "web1".to_owned() },
        TxnGet::Check { node: "n1".to_owned(), id: "c".to_owned() },
        TxnGet::Nothing,
        TxnGet::Refused("no verb".to_owned()),
    ];
    let Register { service, check, .. } = register();
    let of_catalog = [
        TxnOp::Node(CatalogVerb::Cas, Box::new(Node { node: "n1".to_owned(), ..Node::default() })),
        TxnOp::Service(CatalogVerb::Set, "n1".to_owned(), Box::new(service.unwrap())),
        TxnOp::Check(CatalogVerb::DeleteCas, Box::new(check.unwrap())),
        TxnOp::Refused("no verb".to_owned()),
    ];
    let ops = changes.iter().cloned().map(TxnOp::Kv).chain(gets.map(TxnOp::Get)).chain(of_catalog).collect();
    let keys = vec![("a".into(), 4)];
    changes
        .into_iter()
        .map(|change| Command::Kv(Box::new(change)))
        .chain([
            Command::CreateSession(Box::new(session.clone())),
            Command::EndSessions(vec![session.id]),
            Command::Txn(ops),
            Command::ExpireKeys(keys.clone()),
            Command::EndLockDelays(keys),
            Command::ReapTombstones(4),
        ])
        .collect()
}

fn file(command: &Command) -> &'static str {
    match command {
        Command::Register(_) => "log/register",
        Command::Deregister(_) => "log/deregister",
        Command::UpdateCoordinates(_) => "log/update-coordinates",
        Command::RemoveDatacenter { .. } => "log/remove-datacenter",
        Command::ReadmitDatacenter { .. } => "log/readmit-datacenter",
        Command::AssignObservers(_) => "log/assign-observers",
        Command::Vote { .. } => "log/vote",
        Command::SetAutopilot { .. } => "log/set-autopilot",
        Command::RaiseLevel(_) => "log/raise-level",
        Command::Batch(_) => "log/batch",
        Command::Kv(change) => match **change {
            KvChange::Set(_) => "log/kv-set",
            KvChange::Cas(..) => "log/kv-cas",
            KvChange::Lock(..) => "log/kv-lock",
            KvChange::Unlock(..) => "log/kv-unlock",
            KvChange::Delete(_) => "log/kv-delete",
            KvChange::DeleteCas(..) => "log/kv-delete-cas",
            KvChange::DeleteTree(_) => "log/kv-delete-tree",
        },
        Command::CreateSession(_) => "log/create-session",
        Command::EndSessions(_) => "log/end-sessions",
        Command::Txn(_) => "log/txn",
        Command::ExpireKeys(_) => "log/expire-keys",
        Command::EndLockDelays(_) => "log/end-lock-delays",
        Command::ReapTombstones(_) => "log/reap-tombstones",
    }
}

fn membership() -> openraft::Membership<u128, openraft::EmptyNode> {
    openraft::Membership::new_with_defaults(vec![[1, 2, 3].into()], [4])
}

#[test]
fn entries_of_the_log() {
    for command in commands() {
        let entry = |command: &Command| {
            let group = LoggedGroup(vec![LoggedCommand::encode(command).unwrap()]);
            journal::encode(&Entry::new(log_id(8), EntryPayload::Normal(group))).unwrap()
        };
        let level = command.level().max(level::COMMAND_INDEXES);
        golden::check_of(level, file(&command), &(log_id(8), command.clone()), &entry(&command), |bytes| {
            let entry: Entry = journal::decode(bytes).unwrap();
            let EntryPayload::Normal(LoggedGroup(group)) = &entry.payload else { panic!("it holds commands") };
            (entry.log_id(), group[0].decode().unwrap())
        });
    }
    for (name, payload) in [("log/blank", EntryPayload::Blank), ("log/membership", EntryPayload::Membership(membership()))] {
        let entry = Entry::new(log_id(8), payload);
        golden::check(name, &entry, &journal::encode(&entry).unwrap(), |bytes| journal::decode(bytes).unwrap());
    }
    let vote = Vote::new_committed(3, 1);
    golden::check("log/ballot-of-raft", &vote, &journal::encode(&vote).unwrap(), |bytes| journal::decode(bytes).unwrap());
    let meta = SnapshotMeta { last_log_id: Some(log_id(8)), last_membership: Membership::new(Some(log_id(2)), membership()) };
    golden::check("snapshot/meta", &meta, &encode_meta(&meta).unwrap(), |bytes| decode_meta(bytes).unwrap());
}

#[test]
fn every_command_comes_back_from_the_log_as_it_was() {
    let empty = [Command::Register(Box::default()), Command::UpdateCoordinates(Vec::new())];
    for command in commands().into_iter().chain(empty) {
        assert_eq!(LoggedCommand::encode(&command).unwrap().decode().unwrap(), command);
    }
}

#[test]
fn messages_of_raft() {
    let vote = Vote::new_committed(3, 1);
    let group = LoggedGroup(vec![LoggedCommand::encode(&commands()[0]).unwrap()]);
    let append = AppendRequest {
        vote,
        prev_log_id: Some(log_id(7)),
        entries: vec![Entry::new(log_id(8), EntryPayload::Normal(group)), Entry::new(log_id(9), EntryPayload::Blank)],
        leader_commit: Some(log_id(6)),
    };
    let moment = Moment { run: 5, at: 1_000 };
    let part = SnapshotPart { sending: 2, vote, offset: 64, bytes: Bytes::from_static(b"part"), last: true };
    let grant = Grant { cluster: cluster(), proposer: id(1), members: [id(1), id(2), id(3)].into() };
    let asks = [
        ("append", Message::Append(append)),
        ("vote", Message::Vote(VoteRequest::new(Vote::new(4, 2), Some(log_id(8))))),
        ("pre-vote", Message::PreVote(VoteRequest::new(Vote::new(4, 2), None))),
        ("transfer", Message::Transfer(TransferRequest::new(vote, 2, Some(log_id(8))))),
        ("snapshot", Message::Snapshot(part)),
        ("echo", Message::Echo),
        ("grant", Message::Grant(grant)),
        ("grant-status", Message::GrantStatus),
    ];
    for (name, ask) in asks {
        let is_append = name == "append";
        let counts = is_append.then_some(Counts { voter: true, matched: Some(7) });
        let echo = is_append.then_some(Echo { after: Some(moment), index: 6 });
        let envelope = Envelope { cluster: cluster(), from: id(1), to: id(2), ask, counts, echo };
        let bytes = message::encode(&envelope).unwrap();
        golden::check(&format!("raft/{name}"), &envelope, &bytes, |bytes| message::decode(bytes).unwrap());
    }
    let replies = [
        ("append", Reply::Append(AppendResponse::PartialSuccess(Some(log_id(8))))),
        ("append-at", Reply::AppendAt(AppendResponse::Success, moment)),
        ("append-conflict", Reply::Append(AppendResponse::Conflict)),
        ("append-higher-vote", Reply::Append(AppendResponse::HigherVote(Vote::new(4, 2)))),
        ("vote", Reply::Vote(VoteResponse::new(Vote::new(4, 2), Some(log_id(8)), true))),
        ("transfer", Reply::Transfer(TransferResponse::Ok(()))),
        ("snapshot-part", Reply::SnapshotPart),
        ("snapshot", Reply::Snapshot(SnapshotResponse::new(vote))),
        ("echo", Reply::Echo(6)),
        ("grant", Reply::Grant(GrantAnswer::Granted)),
        ("grant-status", Reply::GrantStatus(true)),
        ("refused", Reply::Refused("why".to_owned())),
    ];
    for (name, reply) in replies {
        let bytes = message::encode(&reply).unwrap();
        golden::check(&format!("raft/reply-{name}"), &reply, &bytes, |bytes| message::decode(bytes).unwrap());
    }
}
