//! The format level in force, and the indexes that go by it.

use super::*;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Effect;
use proptest::prelude::*;

fn raise(number: u32) -> Command {
    Command::RaiseLevel(Level::by_this_build(number))
}

fn registration(name: &str) -> Command {
    Command::Register(Box::new(node(name)))
}

fn set(only_at: Option<u64>) -> Command {
    Command::SetAutopilot { config: Box::default(), only_at }
}

#[test]
fn the_count_begins_where_the_level_rises_and_goes_on_over_a_restore() {
    let mut store = Store::new("dc1");
    let apply = |store: &mut Store, log_index, command| store.apply(log_index, &command).expect("is done").index;
    let before = ["a", "b"].map(|name| apply(&mut store, 7, registration(name)));
    assert_eq!(before, [7, 7], "as the servers of the level before have it");
    let raised = [raise(level::OWN), registration("c"), registration("d")].map(|command| apply(&mut store, 9, command));
    assert_eq!(raised, [9, 10, 11]);
    let mut other = restored(&store, "dc1");
    for store in [&mut store, &mut other] {
        assert_eq!(store.level(), level::OWN);
        assert!(store.apply(10, &registration("")).is_err(), "a refused command takes its index");
        let batch = Command::Batch(vec![registration("e"), registration("f")]);
        assert_eq!([apply(store, 10, batch), apply(store, 11, registration("g"))], [14, 15]);
        assert_eq!(apply(store, 40, raise(1)), 16, "the log's own entries are not counted");
    }
    assert_eq!((store.level(), image(&store)), (level::OWN, image(&other)));
}

#[test]
fn a_snapshot_of_a_level_below_says_what_builds_of_it_read_and_one_above_is_refused() {
    let kinds = |store: &Store| {
        let image = image(store);
        let mut kinds = Vec::new();
        let mut at = 12;
        while let Some([kind, length @ ..]) = image.get(at..at + 5) {
            kinds.push(*kind);
            let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
            at += 5 + length;
            if *kind == 8 {
                break;
            }
        }
        kinds
    };
    let mut store = Store::new("dc1");
    assert!(store.apply(1, &set(None)).is_ok());
    assert_eq!((store.level(), restored(&store, "dc1").level()), (level::AUTOPILOT, level::AUTOPILOT));
    assert_eq!(kinds(&store), [1, 2, 11, 8], "as builds of that level have it");
    assert!(store.apply(2, &raise(level::OWN + 1)).is_ok());
    assert_eq!(kinds(&store), [1, 2, 12, 11, 8]);
    let error = decode(&mut image(&store).as_slice()).expect_err("must be refused");
    assert!(error.contains(&format!("format level {}", level::OWN + 1)) && error.contains("start Kontor"), "{error}");
}

/// Servers of earlier levels judge the same entries by their own rules.
#[test]
fn registrations_go_by_the_rules_of_the_level_in_force() {
    let mut store = Store::new("dc1");
    let tried = |store: &mut Store, at, request: &Register| store.apply(at, &Command::Register(Box::new(request.clone())));
    let homeless = Register { address: String::new(), skip_node_update: true, ..node("n1") };
    let labelled = Register { node_meta: pairs(&[("kubernetes.io/hostname", "v")]), ..node("n2") };
    let mut odd = instance("n3", "web", "web", &[]);
    if let Some(service) = &mut odd.service {
        service.weights = Some(Weights { passing: 0, warning: 7 });
    }
    let mut unset = odd.clone();
    if let Some(service) = &mut unset.service {
        service.weights = Some(Weights::UNSET);
    }
    let tcp = CheckDefinition { tcp: "10.0.0.1:80".to_owned(), tcp_use_tls: true, ..CheckDefinition::default() };
    unset.check =
        Some(HealthCheck { name: "c".to_owned(), definition: tcp, interval: "10s".to_owned(), ..HealthCheck::default() });

    let texts = [&homeless, &labelled].map(|request| tried(&mut store, 1, request).expect_err("is refused").message);
    assert_eq!(texts[0], "Missing node registration");
    assert!(texts[1].starts_with("Invalid Node Meta: Couldn't load metadata pair"), "{}", texts[1]);
    assert!(tried(&mut store, 2, &odd).is_ok() && tried(&mut store, 3, &unset).is_ok());
    let row = |store: &Store| {
        let view = store.view();
        let node = view.node_named("n3").expect("is there");
        let (service, check) = (node.service("web").expect("is there").clone(), node.check("c").expect("is there").clone());
        (service.weights, check.kind, check.interval, check.definition.tcp_use_tls)
    };
    assert_eq!(row(&store), (Some(Weights::UNSET), String::new(), String::new(), false));

    assert!(store.apply(4, &raise(level::OWN)).is_ok());
    for request in [&homeless, &labelled, &unset] {
        assert!(tried(&mut store, 5, request).is_ok());
    }
    assert!(tried(&mut store, 5, &odd).expect_err("is refused").message.starts_with("Invalid Weights"));
    assert_eq!(row(&store), (Some(Weights::default()), "tcp".to_owned(), "10s".to_owned(), true));
}

/// One command of an entry: an index to compare with, by how many changes ago it was true; or none.
fn step() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.7, 0..3_usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Compare-and-set sees the commands before it in the same entry, and no change hides behind another one's index.
    #[test]
    fn commands_of_one_entry_have_indexes_of_their_own_and_compare_with_each_other(
        entries in prop::collection::vec(prop::collection::vec(step(), 1..16), 1..12),
    ) {
        let mut store = Store::new("dc1");
        prop_assert!(store.apply(3, &raise(level::OWN)).is_ok());
        let (mut last, mut changes) = (3, vec![0]);
        for (at, entry) in entries.iter().enumerate() {
            for ago in entry {
                // The configuration that the proposer knew may have been replaced, also by another of the same entry.
                let expected = ago.map(|ago| changes[changes.len().saturating_sub(1 + ago)]);
                let true_now = expected.is_none_or(|expected| expected == changes[changes.len() - 1]);
                let written = store.apply(4 + at as u64, &set(expected)).expect("is done");
                prop_assert_eq!(written.clone(), Written { index: last + 1, effect: Effect::Set(true_now) });
                last = written.index;
                if true_now {
                    changes.push(last);
                }
            }
            store.publish();
            let config: Option<u64> = store.reader().autopilot().map(|config: std::sync::Arc<AutopilotConfig>| config.modify_index);
            prop_assert_eq!(config.unwrap_or_default(), changes[changes.len() - 1]);
            store = restored(&store, "dc1");
        }
    }
}
