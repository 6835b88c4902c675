//! A snapshot of this format level is read for ever.

use super::snapshots::filled;
use super::*;
use crate::model::check::VotedDefinition;
use crate::model::golden;
use crate::model::vote::{Assign, Ballot, Vote};

/// A row of each kind.
fn whole() -> Catalog {
    let mut catalog = filled();
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
    let catalog = whole();
    golden::check("snapshot/catalog", &indexes(&catalog), &image(&catalog.store), |bytes| {
        indexes(&Catalog::of(read_back(bytes, "dc1")))
    });
}
