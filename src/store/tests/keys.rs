//! Keys, sessions and transactions.

use super::*;
use crate::model::command::Effect;
use crate::model::ids::SessionId;
use crate::model::kv::{KvChange, KvKey, KvPut};
use crate::model::operation::{KvPage, KvRead, SessionRead};
use crate::model::session::{Session, SessionBehavior};
use crate::model::txn::{TxnGet, TxnOp, TxnOutcome, TxnResult};
use std::time::Duration;

fn put(key: &str, value: &str) -> KvPut {
    KvPut { key: key.into(), value: value.to_owned().into(), ..KvPut::default() }
}

fn set(key: &str, value: &str) -> KvChange {
    KvChange::Set(put(key, value))
}

fn number(id: u128) -> SessionId {
    SessionId(uuid::Uuid::from_u128(id))
}

impl Catalog {
    fn change(&mut self, change: KvChange) -> bool {
        let written = self.try_apply(Command::Kv(Box::new(change))).expect("is done");
        written.effect == Effect::Set(true)
    }

    fn session(&mut self, id: u128, session: Session) -> Result<Written, Fault> {
        self.try_apply(Command::CreateSession(Box::new(Session { id: number(id), ..session })))
    }

    fn txn(&mut self, ops: Vec<TxnOp>) -> TxnOutcome {
        match self.try_apply(Command::Txn(ops)).expect("is done").effect {
            Effect::Txn(outcome) => *outcome,
            other => panic!("{other:?}"),
        }
    }

    fn keys(&self, prefix: &str, separator: &str, page: Option<KvPage>) -> Vec<String> {
        let separator = Some(separator).filter(|text| !text.is_empty()).map(|text| Box::new(text.into()));
        let keys = self.get(Read::Kv(KvRead::Keys { prefix: prefix.into(), separator, page: page.map(Box::new) }));
        keys.as_array().expect("is a list").iter().map(|key| key.as_str().expect("is text").to_owned()).collect()
    }

    fn entry(&self, key: &str) -> Value {
        self.get(key_read(key))[0].clone()
    }
}

fn key_read(key: &str) -> Read {
    Read::Kv(KvRead::Get { key: key.into(), raw: false })
}

fn tree(prefix: &str) -> Read {
    Read::Kv(KvRead::List { prefix: prefix.into(), page: None })
}

/// A catalog with a node that can have sessions.
fn with_node() -> Catalog {
    let mut catalog = Catalog::new();
    catalog.register(node("n1"));
    catalog.register(checked("n1", "serfHealth", "", CheckStatus::Passing));
    catalog
}

fn of_node() -> Session {
    Session { node: "n1".to_owned(), node_checks: vec!["serfHealth".to_owned()], ..Session::default() }
}

#[test]
fn a_compare_and_set_writes_at_the_index_it_names_and_nowhere_else() {
    let mut catalog = Catalog::new();
    assert!(catalog.change(KvChange::Cas(put("a", "1"), 0)) && !catalog.change(KvChange::Cas(put("a", "2"), 0)));
    let index = catalog.index_of(key_read("a"));
    assert!(!catalog.change(KvChange::DeleteCas("a".into(), index + 1)) && catalog.change(KvChange::Cas(put("a", "3"), index)));
    assert_eq!(catalog.entry("a")["Value"], "Mw==");
    let index = catalog.index_of(key_read("a"));
    assert!(catalog.change(set("a", "3")));
    assert_eq!(catalog.index_of(key_read("a")), index, "the same value again is no change");
    assert!(catalog.change(KvChange::DeleteCas("gone".into(), 7)), "it is not there, as wanted");
}

#[test]
fn the_index_of_a_prefix_never_goes_back() {
    let mut catalog = Catalog::new();
    for key in ["t/a", "t/b", "other"] {
        assert!(catalog.change(set(key, "x")));
    }
    let before = catalog.index_of(tree("t/"));
    assert!(catalog.change(KvChange::Delete("t/b".into())));
    let deleted = catalog.index_of(tree("t/"));
    assert!(deleted > before);
    assert!(catalog.change(set("other", "y")));
    assert_eq!(catalog.index_of(tree("t/")), deleted, "another key moves it not");
    catalog.apply(Command::ReapTombstones(deleted));
    assert_eq!(catalog.index_of(tree("t/")), deleted);
    assert!(catalog.index_of(tree("none/")) > deleted, "of the table");
}

#[test]
fn keys_are_cut_at_the_separator_and_come_page_by_page() {
    let mut catalog = Catalog::new();
    for key in ["top", "web/a", "web/b", "web/b/c", "web/b/d", "web/\u{ff}", "webs/x"] {
        assert!(catalog.change(set(key, "x")));
    }
    assert_eq!(catalog.keys("", "/", None), ["top", "web/", "webs/"]);
    assert_eq!(catalog.keys("web/", "/", None), ["web/a", "web/b", "web/b/", "web/\u{ff}"]);
    assert_eq!(catalog.keys("web/b", "", None), ["web/b", "web/b/c", "web/b/d"]);
    let mut walked = Vec::new();
    let mut after = KvKey::default();
    loop {
        let page = catalog.keys("", "/", Some(KvPage { after: after.clone(), limit: 1 }));
        let Some(last) = page.last() else { break };
        after = last.as_str().into();
        walked.extend(page);
    }
    assert_eq!(walked, ["top", "web/", "webs/"]);
    assert!(catalog.change(set("web/", "a folder")));
    let page = KvPage { after: "web/".into(), limit: 1 };
    assert_eq!(catalog.keys("web/", "/", Some(page)), ["web/a"], "the key of the prefix itself is cut nowhere");
}

#[test]
fn a_lock_has_one_holder_and_a_count() {
    let mut catalog = with_node();
    for id in [1, 2] {
        assert!(catalog.session(id, of_node()).is_ok());
    }
    let (one, other) = (number(1).to_string(), number(2).to_string());
    assert!(catalog.change(KvChange::Lock(put("l", "1"), one.clone())));
    assert!(!catalog.change(KvChange::Lock(put("l", "2"), other.clone())));
    assert!(catalog.change(KvChange::Lock(put("l", "3"), one.clone())), "the holder writes by it");
    assert_eq!((&catalog.entry("l")["LockIndex"], catalog.entry("l")["Session"].as_str()), (&1.into(), Some(one.as_str())));
    assert!(!catalog.change(KvChange::Unlock(put("l", "4"), other.clone())));
    assert!(catalog.change(KvChange::Unlock(put("l", "5"), one)) && catalog.change(KvChange::Lock(put("l", "6"), other)));
    assert_eq!(catalog.entry("l")["LockIndex"], 2);
    for (session, text) in [("", "missing session"), ("x", "failed session lookup: index error: UUID must be 36 characters")] {
        let fault = catalog.try_apply(Command::Kv(Box::new(KvChange::Lock(put("l", ""), session.to_owned())))).unwrap_err();
        assert_eq!(fault.message, text);
    }
}

#[test]
fn the_end_of_a_session_frees_its_locks_and_delays_the_next() {
    let mut catalog = with_node();
    let delay = Session { lock_delay: 5_000_000_000, ..of_node() };
    for (id, behavior) in [(1, SessionBehavior::Release), (2, SessionBehavior::Delete), (3, SessionBehavior::Release)] {
        assert!(catalog.session(id, Session { behavior, ..delay.clone() }).is_ok());
    }
    for (key, id) in [("released", 1), ("deleted", 2)] {
        assert!(catalog.change(KvChange::Lock(put(key, "x"), number(id).to_string())));
    }
    catalog.apply(Command::EndSessions(vec![number(1), number(2), number(9)]));
    assert_eq!(catalog.entry("released")["Session"], Value::Null);
    assert_eq!(catalog.try_read(key_read("deleted"), QueryOptions::default()).unwrap().found, Found::No);
    let lock = || KvChange::Lock(put("released", "y"), number(3).to_string());
    assert!(!catalog.change(lock()));
    let (key, delay) = catalog.store.view().lock_delays().map(|(key, delay)| (key.clone(), *delay)).last().unwrap();
    assert_eq!((key.text().as_ref(), delay.length), ("released", Duration::from_secs(5)));
    catalog.apply(Command::EndLockDelays(vec![(key.clone(), delay.index + 1)]));
    assert!(!catalog.change(lock()), "of another delay");
    catalog.apply(Command::EndLockDelays(vec![(key, delay.index)]));
    assert!(catalog.change(lock()));
}

#[test]
fn a_session_ends_with_its_node_and_with_its_checks() {
    let mut catalog = with_node();
    assert_eq!(
        catalog.session(9, Session { node: "none".to_owned(), ..of_node() }).unwrap_err().message,
        "Missing node registration"
    );
    let nope = Session { node_checks: vec!["nope".to_owned()], ..of_node() };
    assert_eq!(catalog.session(9, nope).unwrap_err().message, "Missing check 'nope' registration");
    let ends: [fn(&mut Catalog); 3] = [
        |catalog| _ = catalog.register(checked("n1", "serfHealth", "", CheckStatus::Critical)),
        |catalog| _ = catalog.deregister("n1", "", "serfHealth"),
        |catalog| _ = catalog.deregister("n1", "", ""),
    ];
    for end in ends {
        catalog.register(node("n1"));
        catalog.register(checked("n1", "serfHealth", "", CheckStatus::Passing));
        assert!(catalog.session(1, of_node()).is_ok());
        assert!(catalog.change(KvChange::Lock(put("l", "1"), number(1).to_string())));
        catalog.register(checked("n1", "serfHealth", "", CheckStatus::Warning));
        assert_eq!(catalog.get(Read::Session(SessionRead::List)).as_array().unwrap().len(), 1, "warning is not down");
        end(&mut catalog);
        assert_eq!(catalog.get(Read::Session(SessionRead::List)), serde_json::json!([]));
        assert_eq!(catalog.entry("l")["Session"], Value::Null);
    }
    catalog.register(checked("n1", "serfHealth", "", CheckStatus::Critical));
    assert_eq!(catalog.session(1, of_node()).unwrap_err().message, "Check 'serfHealth' is in critical state");
}

#[test]
fn a_key_ends_with_its_time_unless_it_was_written_again() {
    let mut catalog = Catalog::new();
    let with_ttl = || KvChange::Set(KvPut { ttl_ms: 1_000, ..put("a", "x") });
    assert!(catalog.change(with_ttl()));
    let first = catalog.index_of(key_read("a"));
    assert!(catalog.change(with_ttl()));
    let second = catalog.index_of(key_read("a"));
    assert!(second > first, "the same again begins its time anew");
    catalog.apply(Command::ExpireKeys(vec![("a".into(), first)]));
    assert_eq!(catalog.entry("a")["TTL"], "1s");
    catalog.apply(Command::ExpireKeys(vec![("a".into(), second)]));
    assert_eq!(catalog.entry("a"), Value::Null);
}

#[test]
fn a_transaction_does_all_or_nothing_and_tells_every_failure() {
    let mut catalog = Catalog::new();
    let outcome = catalog.txn(vec![
        TxnOp::Kv(set("a", "1")),
        TxnOp::Get(TxnGet::Key("a".into())),
        TxnOp::Get(TxnGet::KeyOrEmpty("none".into())),
    ]);
    let values: Vec<&[u8]> = outcome
        .results
        .iter()
        .map(|result| match result {
            TxnResult::Read(entry) | TxnResult::Written(entry) => entry.value.as_ref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((values, outcome.errors.len()), (vec![&b""[..], b"1", b""], 0));
    let index = catalog.index_of(tree(""));
    let outcome = catalog.txn(vec![
        TxnOp::Kv(set("b", "1")),
        TxnOp::Kv(KvChange::Cas(put("a", "2"), 0)),
        TxnOp::Get(TxnGet::CheckNotExists("a".into())),
        TxnOp::Kv(set("", "x")),
    ]);
    let told: Vec<(usize, &str)> = outcome.errors.iter().map(|error| (error.op_index, error.what.as_str())).collect();
    let expected = [(1, "failed to set key \"a\", index is stale"), (2, "key \"a\" exists"), (3, "Must provide key")];
    assert_eq!((told, outcome.results.len()), (expected.to_vec(), 0));
    assert_eq!((catalog.index_of(tree("")), catalog.keys("", "", None)), (index, vec!["a".to_owned()]));
}

#[test]
fn the_results_of_a_transaction_are_bounded() {
    let mut catalog = Catalog::new();
    let value = "x".repeat(512 << 10);
    for number in 0..9 {
        assert!(catalog.change(set(&format!("big/{number}"), &value)));
    }
    let tree = || TxnOp::Get(TxnGet::Tree("big/".into()));
    assert_eq!(catalog.txn(vec![tree()]).results.len(), 9);
    let outcome = catalog.txn(vec![TxnOp::Kv(set("a", "1")), tree(), tree()]);
    assert_eq!(outcome.errors.len(), 1);
    assert!(outcome.errors[0].op_index == 2 && outcome.errors[0].what.contains("in parts"), "{outcome:?}");
    assert_eq!(catalog.keys("a", "", None), Vec::<String>::new());
}

#[test]
fn what_ends_with_time_is_told_whenever_it_changes() {
    use futures_util::FutureExt;
    let mut catalog = with_node();
    assert!(catalog.session(1, Session { lock_delay: 5_000_000_000, ..of_node() }).is_ok());
    let timed = KvPut { ttl_ms: 1_000, ..put("a", "x") };
    assert!(catalog.change(KvChange::Set(timed.clone())));
    assert!(catalog.change(KvChange::Lock(put("l", "x"), number(1).to_string())));
    catalog.apply(Command::EndSessions(vec![number(1)]));
    let index = catalog.store.view().lock_delays().map(|(_, delay)| delay.index).last().unwrap();
    let steps = [
        Command::Kv(Box::new(KvChange::Set(put("a", "without a TTL")))),
        Command::Kv(Box::new(KvChange::Set(timed))),
        Command::Kv(Box::new(KvChange::Delete("a".into()))),
        Command::EndLockDelays(vec![("l".into(), index)]),
    ];
    for step in steps {
        let watch = catalog.reader.watch_expiry();
        catalog.apply(step.clone());
        assert!(watch.changed().now_or_never().is_some(), "{step:?}");
    }
}

#[test]
fn a_transaction_makes_no_node_without_a_name_and_no_key_that_is_too_long() {
    use crate::model::node::Node;
    use crate::model::txn::CatalogVerb;
    let mut catalog = Catalog::new();
    catalog.register(Register { id: ID_1.to_owned(), ..node("n1") });
    let of_node = |id: &str, name: &str| {
        TxnOp::Node(CatalogVerb::Set, Box::new(Node { id: id.to_owned(), node: name.to_owned(), ..Node::default() }))
    };
    let long = "k".repeat(crate::defaults::KV_KEY_BYTES + 1);
    for (op, text) in [
        (of_node(ID_1, ""), "Must provide node"),
        (of_node("no id", "n2"), "Bad node ID"),
        (TxnOp::Kv(set(&long, "x")), "is too long"),
        (TxnOp::Get(TxnGet::Tree(long.as_str().into())), "is too long"),
    ] {
        let outcome = catalog.txn(vec![op]);
        assert!(outcome.errors.len() == 1 && outcome.errors[0].what.contains(text), "{outcome:?}");
    }
    assert_eq!(column(&catalog.get(Read::Catalog(CatalogRead::Nodes)), "/Node"), ["n1"]);
}
