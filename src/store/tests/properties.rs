//! Properties of every log.

use super::*;
use crate::model::check::VotedDefinition;
use crate::model::ids::SessionId;
use crate::model::kv::{KvChange, KvPut};
use crate::model::node::Node;
use crate::model::operation::{KvRead, SessionRead};
use crate::model::session::{Session, SessionBehavior};
use crate::model::txn::{CatalogVerb, TxnGet, TxnOp};
use crate::model::vote::{Assign, Ballot, Vote};
use proptest::prelude::*;

const NODES: [&str; 4] = ["n1", "N1", "n2", "n3"];
const NAMES: [&str; 3] = ["web", "Web", "db"];
const IDS: [&str; 3] = ["", ID_1, ID_2];

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(from).prop_map(str::to_owned)
}

fn status() -> impl Strategy<Value = CheckStatus> {
    prop::sample::select(&[CheckStatus::Passing, CheckStatus::Warning, CheckStatus::Critical][..])
}

fn check() -> impl Strategy<Value = HealthCheck> {
    (pick(&["serfHealth", "c1", "c2", ""]), pick(&["", "a", "b"]), status(), 0..3_u32).prop_map(
        |(check_id, service_id, status, kind)| {
            let mut check = HealthCheck { check_id, service_id, status, ..HealthCheck::default() };
            if kind > 0 {
                check.definition.voted =
                    Some(Box::new(VotedDefinition { observers: kind * 2 + 1, ..VotedDefinition::default() }));
            }
            check
        },
    )
}

fn instance() -> impl Strategy<Value = NodeService> {
    let tags = prop::collection::vec(pick(&["v1", "v2"]), 0..2);
    (pick(&["a", "b", ""]), pick(&NAMES), tags, any::<bool>()).prop_map(|(id, service, tags, native)| NodeService {
        id,
        service,
        tags,
        connect: serde_json::json!({"Native": native}),
        ..NodeService::default()
    })
}

fn registration() -> impl Strategy<Value = Command> {
    let node = (pick(&NODES), pick(&IDS), pick(&["10.0.0.1", "10.0.0.2", ""]), any::<bool>());
    (node, prop::option::of(instance()), prop::collection::vec(check(), 0..3)).prop_map(
        |((node, id, address, skip_node_update), service, checks)| {
            Command::Register(Box::new(Register { node, id, address, skip_node_update, service, checks, ..Register::default() }))
        },
    )
}

/// Epochs are indexes of the log, which a random log meets now and then.
fn epoch() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 3 => 1..12_u64]
}

fn voting() -> impl Strategy<Value = Command> {
    let assign = (pick(&NODES), epoch(), prop::collection::vec(pick(&NODES), 0..4)).prop_map(|(node, replaces, observers)| {
        Command::AssignObservers(vec![Assign { node, check_id: "c1".to_owned(), replaces, observers }])
    });
    let vote = (pick(&NODES), pick(&NODES), epoch(), status()).prop_map(|(observer, node, epoch, status)| {
        let vote = Vote { node, check_id: "c1".to_owned(), epoch, status, output: String::new() };
        Command::Vote { ballot: Ballot { observer, votes: vec![vote] }, at: epoch }
    });
    prop_oneof![assign, vote]
}

const KEYS: [&str; 6] = ["a", "a/", "a/b", "a/b/c", "b", "\u{7f}"];
const SESSIONS: [u128; 3] = [1, 2, 3];

fn session_id() -> impl Strategy<Value = SessionId> {
    prop::sample::select(&SESSIONS[..]).prop_map(|number| SessionId(uuid::Uuid::from_u128(number)))
}

fn change_of_key() -> impl Strategy<Value = KvChange> {
    let put = (pick(&KEYS), pick(&["", "x", "y"]), 0..2_u64).prop_map(|(key, value, ttl_ms)| KvPut {
        key: key.into(),
        value: value.into(),
        flags: 0,
        ttl_ms,
    });
    (put, session_id(), epoch(), 0..8).prop_map(|(put, session, index, kind)| match kind {
        0 | 1 => KvChange::Set(put),
        2 => KvChange::Cas(put, index),
        3 | 4 => KvChange::Lock(put, session.to_string()),
        5 => KvChange::Unlock(put, session.to_string()),
        6 => KvChange::DeleteCas(put.key, index),
        _ => KvChange::DeleteTree(put.key),
    })
}

fn of_keys() -> impl Strategy<Value = Command> {
    let change = change_of_key().prop_map(|change| Command::Kv(Box::new(change)));
    let session = (session_id(), pick(&NODES), pick(&["serfHealth", "c1"]), any::<bool>(), 0..2_u64).prop_map(
        |(id, node, check, deletes, lock_delay)| {
            let behavior = if deletes { SessionBehavior::Delete } else { SessionBehavior::Release };
            let session = Session { id, node, behavior, lock_delay, node_checks: vec![check], ..Session::default() };
            Command::CreateSession(Box::new(session))
        },
    );
    let end = session_id().prop_map(|id| Command::EndSessions(vec![id]));
    let due = (pick(&KEYS), epoch()).prop_map(|(key, index)| vec![(key.into(), index)]);
    let rest = (due, 0..3).prop_map(|(due, kind)| match kind {
        0 => Command::ExpireKeys(due),
        1 => Command::EndLockDelays(due),
        _ => Command::ReapTombstones(due[0].1),
    });
    let ops = prop_oneof![
        2 => change_of_key().prop_map(TxnOp::Kv),
        1 => pick(&KEYS).prop_map(|key| TxnOp::Get(TxnGet::Key(key.into()))),
        1 => pick(&NODES).prop_map(|node| TxnOp::Node(CatalogVerb::Delete, Box::new(Node { node, ..Node::default() }))),
    ];
    let txn = prop::collection::vec(ops, 0..4).prop_map(Command::Txn);
    prop_oneof![4 => change, 2 => session, 1 => end, 1 => rest, 1 => txn]
}

fn command() -> impl Strategy<Value = Command> {
    let deregistration = (pick(&NODES), pick(&["", "", "a", "b"]), pick(&["", "c1"])).prop_map(|(node, service_id, check_id)| {
        Command::Deregister(Deregister { node, service_id, check_id, ..Deregister::default() })
    });
    let coordinates = (pick(&NODES), 0..3).prop_map(|(node, at)| {
        let mut coord = Coordinate::default();
        coord.vec[0] = f64::from(at);
        Command::UpdateCoordinates(vec![NodeCoordinate { node, segment: String::new(), coord }])
    });
    let single = prop_oneof![6 => registration(), 2 => deregistration, 1 => coordinates, 3 => voting(), 6 => of_keys()];
    let raise = Just(Command::RaiseLevel(Level::by_this_build(level::OWN)));
    prop_oneof![8 => single.clone(), 1 => prop::collection::vec(single, 0..4).prop_map(Command::Batch), 1 => raise]
}

fn log() -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(command(), 0..40)
}

fn reads() -> Vec<Query> {
    let lookups = [Lookup::Plain, Lookup::Connect];
    let of_names = NAMES.iter().flat_map(|name| {
        lookups
            .map(|lookup| Read::Health(HealthRead::Service { name: (*name).to_owned(), lookup }))
            .into_iter()
            .chain([service(name)])
    });
    let of_nodes = NODES
        .iter()
        .flat_map(|node| [of_node(node), checks_of(node), coordinate_of(node), observed_by(node), votes_on("c1", Some(node))]);
    let of_states = ["any", "passing", "warning", "critical"].map(in_state);
    let tables = [
        Read::Catalog(CatalogRead::Nodes),
        Read::Catalog(CatalogRead::Services),
        Read::Coordinate(CoordinateRead::Nodes),
        Read::Session(SessionRead::List),
        votes_on("c1", None),
    ];
    let of_keys = KEYS.iter().flat_map(|key| {
        [
            Read::Kv(KvRead::Get { key: (*key).into(), raw: false }),
            Read::Kv(KvRead::List { prefix: (*key).into(), page: None }),
            Read::Kv(KvRead::Keys { prefix: (*key).into(), separator: Some(Box::new("/".into())), page: None }),
        ]
    });
    let tables = tables.into_iter().chain(of_keys);
    let all = of_names.chain(of_nodes).chain(of_states).chain(tables);
    all.map(|read| Query::new(read, Principal::anonymous())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_the_same_snapshot_to_the_byte_however_it_is_published(log in log()) {
        let (mut often, mut once) = (Store::new("dc1"), Store::new("dc1"));
        for (at, command) in log.iter().enumerate() {
            let index = at as u64 + 1;
            prop_assert_eq!(often.apply(index, command), once.apply(index, command));
            often.publish();
        }
        once.publish();
        prop_assert_eq!(image(&often), image(&once));
    }

    #[test]
    fn a_snapshot_in_the_middle_of_a_log_changes_nothing(log in log(), cut in 0..40usize) {
        let cut = cut.min(log.len());
        let mut whole = Store::new("dc1");
        let mut resumed = Store::new("dc1");
        for (at, command) in log.iter().enumerate() {
            if at == cut {
                resumed = restored(&whole, "dc1");
            }
            let outcome = whole.apply(at as u64 + 1, command);
            if at >= cut {
                prop_assert_eq!(resumed.apply(at as u64 + 1, command), outcome);
            }
        }
        if cut < log.len() {
            prop_assert_eq!(image(&whole), image(&resumed));
        }
    }

    #[test]
    fn whatever_changes_an_answer_raises_its_index_and_wakes_its_watch(log in log()) {
        let mut catalog = Catalog::new();
        let mut waits: Vec<_> = reads().into_iter().map(|query| (catalog.reader.watch(of_view(&query)), query)).collect();
        for command in log {
            let before: Vec<Rendered> = waits.iter().map(|(_, query)| catalog.reader.read(of_view(query)).expect("answers")).collect();
            let first = catalog.index == 0;
            let outcome = catalog.try_apply(command.clone());
            for ((watch, query), before) in waits.iter_mut().zip(before) {
                let after = catalog.reader.read(of_view(query)).expect("answers");
                let woken = woken(watch);
                prop_assert!(after.index >= before.index, "{:?} went back", query.identity.read);
                let changed = after.body != before.body || after.found != before.found;
                prop_assert!(!changed || (woken && (first || after.index > before.index)), "{:?} after {command:?}", query.identity.read);
                prop_assert!(!(woken && matches!((&outcome, &command), (Err(_), Command::Register(_)))), "woken by a refusal");
                *watch = catalog.reader.watch(of_view(query));
            }
        }
    }

    #[test]
    fn groups_say_the_same_as_the_nodes_they_are_made_of(log in log()) {
        let mut catalog = Catalog::new();
        for command in log {
            let _refused_or_done = catalog.try_apply(command);
        }
        let (view, made) = (catalog.store.view(), catalog.restored("dc1").reader);
        for query in reads() {
            let (kept, made) = (catalog.reader.read(of_view(&query)), made.read(of_view(&query)));
            prop_assert_eq!(kept.expect("answers").body, made.expect("answers").body);
        }
        for (id, key) in &view.catalog.ids {
            prop_assert_eq!(view.catalog.nodes.get(key).map(|state| state.row.node.id.to_lowercase()), Some(id.to_string()));
        }
    }
}
