//! Checks that are voted on, and services of which too few instances pass.

use super::*;
use crate::model::check::VotedDefinition;
use crate::model::vote::{Assign, Ballot, Vote};

fn voted(node: &str, http: &str, status: CheckStatus) -> Register {
    let mut request = checked(node, "c", "a", status);
    if let Some(check) = &mut request.check {
        check.definition.http = http.to_owned();
        check.definition.voted = Some(Box::new(VotedDefinition { observers: 3, ..VotedDefinition::default() }));
    }
    request
}

fn assign(replaces: u64, observers: &[&str]) -> Command {
    let observers = observers.iter().map(|name| (*name).to_owned()).collect();
    Command::AssignObservers(vec![Assign { node: "n1".into(), check_id: "c".into(), replaces, observers }])
}

fn ballot(observer: &str, epoch: u64, status: CheckStatus) -> Ballot {
    let vote = Vote { node: "n1".into(), check_id: "c".into(), epoch, status, output: format!("{status} it is") };
    Ballot { observer: observer.to_owned(), votes: vec![vote] }
}

impl Catalog {
    /// A voted check of `n1`'s instance of `web`, observed by `n1`, `n2` and `n3`; the epoch.
    fn observed() -> (Catalog, u64) {
        let mut catalog = Catalog::new();
        catalog.register(instance("n1", "a", "web", &[]));
        catalog.register(voted("n1", "http://a", CheckStatus::Passing));
        let epoch = catalog.apply(assign(0, &["n1", "n2", "n3"]));
        (catalog, epoch)
    }

    fn vote(&mut self, observer: &str, epoch: u64, status: CheckStatus) -> u64 {
        self.apply(Command::Vote { ballot: ballot(observer, epoch, status), at: 1_000 })
    }

    fn check(&self) -> Value {
        self.get(checks_of("n1"))[0].clone()
    }

    fn status(&self) -> String {
        self.check()["Status"].as_str().expect("has one").to_owned()
    }

    fn votes(&self) -> Value {
        self.get(votes_on("c", None))
    }

    fn passing(&self) -> usize {
        let options = QueryOptions { passing: true, ..QueryOptions::default() };
        self.json(health("web"), options).as_array().expect("a list").len()
    }
}

#[test]
fn more_than_half_decide_and_one_that_says_otherwise_changes_nothing() {
    let (mut catalog, epoch) = Catalog::observed();
    assert_eq!(catalog.status(), "passing");
    catalog.vote("n2", epoch, CheckStatus::Critical);
    catalog.vote("n1", epoch, CheckStatus::Passing);
    assert_eq!((catalog.status().as_str(), catalog.passing()), ("passing", 1), "two of three disagree: it stays");
    catalog.vote("n3", epoch, CheckStatus::Passing);
    assert_eq!(catalog.status(), "passing");
    catalog.vote("N1", epoch, CheckStatus::Critical);
    assert_eq!((catalog.status().as_str(), catalog.passing()), ("critical", 0));
    let output = catalog.check()["Output"].as_str().expect("has one").to_owned();
    assert!(output.starts_with("critical by vote: 1 passing, 0 warning, 2 critical of 3 observers\n"), "{output}");
    assert!(output.ends_with("n3: passing: passing it is"), "{output}");
    catalog.vote("n2", epoch, CheckStatus::Passing);
    assert_eq!((catalog.status().as_str(), catalog.passing()), ("passing", 1), "back as soon as the vote turns");
}

#[test]
fn votes_of_other_epochs_and_of_others_are_passed_over_without_a_trace() {
    let (mut catalog, epoch) = Catalog::observed();
    catalog.vote("n1", epoch, CheckStatus::Passing);
    let (before, index) = (catalog.votes(), catalog.index_of(checks_of("n1")));
    catalog.vote("n2", epoch - 1, CheckStatus::Critical);
    catalog.vote("n4", epoch, CheckStatus::Critical);
    catalog.vote("n1", epoch, CheckStatus::Passing);
    let stray = Vote { node: "n9".into(), check_id: "c".into(), epoch, ..Vote::default() };
    catalog.apply(Command::Vote { ballot: Ballot { observer: "n1".into(), votes: vec![stray] }, at: 0 });
    assert_eq!((catalog.votes(), catalog.index_of(checks_of("n1"))), (before, index));
    assert_eq!(catalog.reader.countable(&ballot("n2", epoch - 1, CheckStatus::Passing)).votes, []);
    assert_eq!(catalog.reader.countable(&ballot("n4", epoch, CheckStatus::Passing)).votes, []);
    assert_eq!(catalog.reader.countable(&ballot("n2", epoch, CheckStatus::Passing)).votes.len(), 1);
}

#[test]
fn new_observers_vote_anew_and_until_then_the_status_stays() {
    let (mut catalog, first) = Catalog::observed();
    catalog.vote("n1", first, CheckStatus::Critical);
    catalog.vote("n2", first, CheckStatus::Critical);
    assert_eq!(catalog.apply(assign(first - 1, &["n9"])), catalog.index, "of a leader that has missed one");
    assert_eq!(catalog.votes()["Epoch"], first);
    let second = catalog.apply(assign(first, &["n1", "n2", "n4"]));
    assert_eq!(catalog.votes()["Epoch"], second);
    assert_eq!((catalog.status().as_str(), catalog.votes()["Votes"].clone()), ("critical", json!([])));
    catalog.vote("n1", first, CheckStatus::Passing);
    catalog.vote("n4", second, CheckStatus::Passing);
    assert_eq!(catalog.status(), "critical");
    catalog.vote("n1", second, CheckStatus::Passing);
    assert_eq!(catalog.status(), "passing");
}

#[test]
fn a_registration_changes_the_definition_of_a_voted_check_and_never_its_status() {
    let (mut catalog, epoch) = Catalog::observed();
    catalog.vote("n1", epoch, CheckStatus::Critical);
    catalog.vote("n2", epoch, CheckStatus::Critical);
    let before = catalog.check();
    catalog.register(voted("n1", "http://a", CheckStatus::Passing));
    assert_eq!(catalog.check(), before, "the same definition: nothing");
    catalog.register(instance("n1", "a", "web", &["v2"]));
    assert_eq!(catalog.votes()["Votes"].as_array().map(Vec::len), Some(2), "other tags: the votes stay");
    catalog.register(voted("n1", "http://b", CheckStatus::Passing));
    assert_eq!((catalog.status().as_str(), catalog.votes()["Epoch"].clone()), ("critical", json!(0)));
    catalog.register(checked("n1", "c", "a", CheckStatus::Passing));
    assert_eq!(catalog.status(), "passing", "no longer voted on");
    assert_eq!(catalog.try_read(votes_on("c", Some("n1")), QueryOptions::default()).expect("answers").found, Found::No);
    assert!(catalog.reader.observed().is_empty());
}

#[test]
fn how_a_voted_check_is_probed_is_shown_to_its_observers_alone_and_what_is_shown_changes_nothing_of_it() {
    let (mut catalog, epoch) = Catalog::observed();
    catalog.vote("n1", epoch, CheckStatus::Critical);
    catalog.vote("n2", epoch, CheckStatus::Critical);
    let (row, votes) = (catalog.check(), catalog.votes());
    assert_eq!((&row["Definition"], &votes["Definition"]), (&json!({"Observers": 3}), &json!({"Observers": 3})));
    let mut told_back = checked("n1", "c", "a", CheckStatus::Passing);
    told_back.check.iter_mut().for_each(|check| check.definition.observers = 3);
    catalog.register(told_back.clone());
    assert_eq!((catalog.check(), catalog.votes()), (row, votes));
    assert_eq!(catalog.get(observed_by("n2"))[0]["Definition"]["HTTP"], "http://a");
    // It makes nothing voted that is not.
    told_back.check.iter_mut().for_each(|check| check.check_id = "d".to_owned());
    catalog.register(told_back);
    assert_eq!(catalog.reader.observed().len(), 1);
}

#[test]
fn an_observer_is_called_for_what_it_is_to_do_and_for_no_vote() {
    let (mut catalog, epoch) = Catalog::observed();
    let votes = catalog.get(observed_by("N2"));
    assert_eq!((votes[0]["Node"].clone(), votes[0]["Epoch"].clone()), (json!("n1"), json!(epoch)));
    assert_eq!(votes[0]["Definition"]["HTTP"], "http://a");
    assert_eq!(catalog.get(observed_by("n4")), json!([]));
    let watches = ["n2", "n4"].map(|node| catalog.watch(observed_by(node)));
    let leader = catalog.reader.watch_observed();
    catalog.vote("n1", epoch, CheckStatus::Critical);
    catalog.vote("n2", epoch, CheckStatus::Critical);
    let mut moved = voted("n1", "http://a", CheckStatus::Passing);
    moved.service = instance("n1", "b", "web", &[]).service;
    moved.check.iter_mut().for_each(|check| check.service_id = "b".to_owned());
    catalog.register(moved);
    assert_eq!(catalog.votes()["ServiceID"], "b");
    assert_eq!(catalog.get(observed_by("N2")), votes, "the owner says nothing of the definition");
    assert!(!watches.iter().any(woken) && !woken(&leader));
    let index = catalog.index_of(observed_by("n2"));
    let second = catalog.apply(assign(epoch, &["n1", "n3", "n4"]));
    assert!(watches.iter().all(woken) && woken(&leader));
    assert!(second > index && catalog.index_of(observed_by("n2")) == second);
    assert_eq!(catalog.get(observed_by("n2")), json!([]));
    catalog.deregister("n1", "b", "");
    assert_eq!((woken(&watches[1]), catalog.get(observed_by("n4"))), (true, json!([])));
}

#[test]
fn a_snapshot_holds_the_votes() {
    let (mut catalog, epoch) = Catalog::observed();
    catalog.vote("n1", epoch, CheckStatus::Critical);
    catalog.register(instance("n2", "a", "web", &[]));
    let mut restored = catalog.restored("dc2");
    assert_eq!(restored.votes(), catalog.votes());
    assert_eq!(restored.reader.observed(), catalog.reader.observed());
    restored.vote("n3", epoch, CheckStatus::Critical);
    assert_eq!(restored.status(), "critical");
}

#[test]
fn ordinary_checks_show_nothing_of_votes() {
    let mut catalog = Catalog::new();
    catalog.register(checked("n1", "c", "", CheckStatus::Passing));
    assert_eq!(catalog.check()["Definition"], json!({}));
}

#[test]
fn where_too_few_pass_all_are_listed_and_it_is_said() {
    let mut catalog = Catalog::new();
    for (node, status) in [("n1", CheckStatus::Passing), ("n2", CheckStatus::Critical), ("n3", CheckStatus::Critical)] {
        catalog.register(instance(node, "a", "Web", &[]));
        catalog.register(checked(node, "c", "a", status));
    }
    let listed = |threshold: u8, passing: bool, filter: Option<&str>| {
        let reader = catalog.reader.clone().with_panic_threshold(threshold);
        let options = QueryOptions { passing, filter: filter.map(str::to_owned), ..QueryOptions::default() };
        let rendered = reader.read(of_view(&options.ask(health("web")))).expect("answers");
        let rows: Value = serde_json::from_slice(&rendered.body).expect("is JSON");
        (rows.as_array().expect("a list").len(), rendered.panic.is_some())
    };
    assert_eq!(listed(0, true, None), (1, false), "off");
    assert_eq!(listed(33, true, None), (1, false), "a third passes");
    assert_eq!(listed(34, true, None), (3, true));
    assert_eq!(listed(34, false, None), (3, false), "a read of all instances has no panic");
    assert_eq!(listed(34, true, Some("Node.Node == \"n2\"")), (1, true), "other choices stay");
}
