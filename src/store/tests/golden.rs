//! A snapshot of this format level is read for ever.

use super::snapshots::filled_of;
use super::*;
use crate::model::check::VotedDefinition;
use crate::model::golden;
use crate::model::ids::SessionId;
use crate::model::kv::{KvChange, KvKey, KvPut};
use crate::model::operation::{KvRead, SessionRead};
use crate::model::session::Session;
use crate::model::vote::{Assign, Ballot, Vote};

/// A row of each kind.
fn whole(level: u32) -> Catalog {
    let mut catalog = filled_of(level);
    let mut voted = checked("n1", "v", "a", CheckStatus::Passing);
    if let Some(check) = &mut voted.check {
        check.definition.voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
    }
    catalog.register(voted);
    let observers = vec!["n1".to_owned(), "n2".to_owned()];
    let assign = Assign { node: "n1".to_owned(), check_id: "v".to_owned(), replaces: 0, observers };
    let epoch = catalog.apply(Command::AssignObservers(vec![assign]));
    let vote = Vote { node: "n1".into(), check_id: "v".into(), epoch, status: CheckStatus::Warning, output: "slow".into() };
    catalog.apply(Command::Vote { ballot: Ballot { observer: "n2".to_owned(), votes: vec![vote] }, at: 1_700_000_000_000 });
    catalog.apply(Command::RemoveDatacenter { datacenter: "dc2".to_owned(), cluster: None });
    catalog
}

/// The answers of all kinds of reads, and the indexes.
fn indexes(catalog: &Catalog) -> Vec<(String, u64)> {
    let reads = [
        Read::Catalog(CatalogRead::Nodes),
        Read::Catalog(CatalogRead::Services),
        services_of("n1"),
        of_node("gone"),
        Read::Health(HealthRead::Service { name: "web".to_owned(), lookup: Lookup::Connect }),
        in_state("any"),
        votes_on("v", None),
        observed_by("n2"),
        Read::Coordinate(CoordinateRead::Nodes),
        health("web"),
        service("gone"),
    ];
    let answers = reads.into_iter().map(|read| {
        let rendered = catalog.try_read(read, QueryOptions::default()).expect("is answered");
        (String::from_utf8_lossy(&rendered.body).into_owned(), rendered.index)
    });
    let rest = format!("{:?} {:?} {:?}", catalog.reader.autopilot(), catalog.reader.removals(), catalog.store.view().format);
    answers.chain([(rest, catalog.index)]).collect()
}

#[test]
fn a_snapshot_with_a_row_of_each_kind() {
    let catalog = whole(level::COMMAND_INDEXES);
    golden::check("snapshot/catalog", &indexes(&catalog), &image(&catalog.store), |bytes| {
        indexes(&Catalog::of(read_back(bytes, "dc1")))
    });
}

/// The same with what came with keys.
fn with_keys() -> Catalog {
    let mut catalog = whole(level::KV);
    let put = |key: &str| KvPut { key: key.into(), value: "x".into(), flags: 7, ttl_ms: 1_500 };
    let session = |number, lock_delay| Session {
        id: SessionId(uuid::Uuid::from_u128(number)),
        node: "n2".to_owned(),
        lock_delay,
        node_checks: vec!["serfHealth".to_owned()],
        ..Session::default()
    };
    for (number, key) in [(1, "held"), (2, "freed")] {
        let session = session(number, 5_000_000_000);
        catalog.apply(Command::CreateSession(Box::new(session.clone())));
        catalog.apply(Command::Kv(Box::new(KvChange::Lock(put(key), session.id.to_string()))));
    }
    catalog.apply(Command::EndSessions(vec![session(2, 0).id]));
    for key in ["forgotten", "gone"] {
        catalog.apply(Command::Kv(Box::new(KvChange::Set(put(key)))));
        let index = catalog.apply(Command::Kv(Box::new(KvChange::Delete(key.into()))));
        if key == "forgotten" {
            catalog.apply(Command::ReapTombstones(index));
        }
    }
    catalog
}

/// Answers about keys, beside the others.
fn indexes_with_keys(catalog: &Catalog) -> Vec<(String, u64)> {
    let reads = [
        Read::Kv(KvRead::List { prefix: KvKey::default(), page: None }),
        Read::Kv(KvRead::List { prefix: "g".into(), page: None }),
        Read::Kv(KvRead::List { prefix: "h".into(), page: None }),
        Read::Session(SessionRead::List),
    ];
    let answers = reads.into_iter().map(|read| {
        let rendered = catalog.try_read(read, QueryOptions::default()).expect("is answered");
        (String::from_utf8_lossy(&rendered.body).into_owned(), rendered.index)
    });
    let delays = format!("{:?}", catalog.store.view().lock_delays().collect::<Vec<_>>());
    indexes(catalog).into_iter().chain(answers).chain([(delays, 0)]).collect()
}

#[test]
fn a_snapshot_with_keys_of_each_kind() {
    let catalog = with_keys();
    golden::check_of(level::KV, "snapshot/keys", &indexes_with_keys(&catalog), &image(&catalog.store), |bytes| {
        indexes_with_keys(&Catalog::of(read_back(bytes, "dc1")))
    });
}
