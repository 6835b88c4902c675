//! A command on its whole way (body, request, entry, snapshot) stays the same, or is refused before it is in the log.

use super::openraft_types::LoggedCommand;
use crate::defaults::{COMMAND_BYTES, JSON_DEPTH, SNAPSHOT_RECORD_BYTES};
use crate::model::check::HealthCheck;
use crate::model::command::{Command, Effect, Register, Written};
use crate::model::coordinate::{Coordinate, NodeCoordinate};
use crate::model::fault::FaultKind;
use crate::model::operation::{CatalogRead, CatalogWrite, Read, Write};
use crate::model::principal::Principal;
use crate::model::query::Query;
use crate::model::request::{Hops, Operation, Request, WriteRequest};
use crate::model::{json, packed};
use crate::store::{Store, snapshot};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Keys that mean something to some parser or other.
const HOSTILE: [&str; 10] = [
    "$serde_json::private::RawValue",
    "$serde_json::private::Number",
    "_ExtStruct",
    "$__serde_private",
    "",
    "null",
    "ID",
    "\u{0}",
    "\u{fffd}\u{10ffff}",
    "a\"\\",
];

fn hostile_key() -> impl Strategy<Value = String> {
    prop_oneof![prop::sample::select(&HOSTILE[..]).prop_map(str::to_owned), ".{0,3}"]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec![
            json!(u64::MAX),
            json!(i64::MIN),
            json!(-0.0),
            json!(1.0),
            json!(5e-324),
            json!(1.7976931348623157e308)
        ]),
        any::<f64>().prop_filter("a number", |number| number.is_finite()).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        // The content of a raw value, and texts that are none.
        prop::sample::select(vec![json!("[1,2"), json!("{}"), json!("1e999")]),
    ]
}

/// Opaque JSON with hostile keys at all depths.
fn opaque() -> impl Strategy<Value = Value> {
    let tree = scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(hostile_key(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    // A body and its service are two levels of the depth, and a tree has four of its own.
    (tree, prop::collection::vec(hostile_key(), 0..JSON_DEPTH - 7)).prop_map(|(tree, keys)| {
        let wrap = |inner, key| Value::Object(Map::from_iter([(key, inner)]));
        let inner = keys.into_iter().fold(tree, wrap);
        if inner.is_null() { json!({}) } else { inner }
    })
}

fn body(proxy: &Value, key: &str, text: &str, interval: u64) -> Value {
    json!({
        "Node": "n", "Address": "10.0.0.1",
        "Service": {"Service": "web", "Tags": [text], "Proxy": proxy, "Connect": {key: proxy}},
        "Checks": [{"Name": "c", "Notes": text, "Definition": {"Interval": interval, "Header": {key: [text]}}}],
    })
}

/// Sends `register` the whole way: to a server, into the log, into a snapshot. Returns the catalog at the end.
fn travelled(register: Register) -> Store {
    let write = Write::Catalog(CatalogWrite::Register(Box::new(register)));
    let write = WriteRequest { dc: None, principal: Principal::anonymous(), write };
    let request = Request { operation: Operation::Write(write), hops: Hops::default() };
    let bytes = packed::encode(&request).unwrap();
    packed::check(&bytes, packed::MESSAGE).unwrap();
    // As `rpc` reads it, and the frames of the bridge.
    assert_eq!(packed::decode::<Request>(&bytes).unwrap(), request);
    let Operation::Write(WriteRequest { write: Write::Catalog(CatalogWrite::Register(register)), .. }) = request.operation else {
        unreachable!()
    };
    let command = Command::Register(register);
    let logged = LoggedCommand::encode(&command).unwrap();
    let again = logged.decode().unwrap();
    assert_eq!(again, command);
    let mut store = Store::new("dc1");
    assert_eq!(store.apply(5, &again), Ok(Written { index: 5, effect: Effect::Done }));
    store.publish();
    let mut image = Vec::new();
    snapshot::encode(&store.view(), b"meta", &mut image).unwrap();
    let (view, _meta) = snapshot::decode(&mut image.as_slice()).unwrap();
    let mut second = Vec::new();
    snapshot::encode(&view, b"meta", &mut second).unwrap();
    assert_eq!(second, image, "a snapshot of a snapshot is the same");
    let mut restored = Store::new("dc1");
    restored.restore(view);
    restored
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn opaque_json_is_the_same_after_every_hop(proxy in opaque(), key in hostile_key(), text in ".{0,8}", interval: u64) {
        let text = body(&proxy, &key, &text, interval).to_string();
        let register: Register = json::decode(text.as_bytes()).unwrap();
        prop_assert_eq!(&register.service.as_ref().unwrap().proxy, &proxy);
        let store = travelled(register);
        let read = Query::new(Read::Catalog(CatalogRead::NodeServices { node: "n".to_owned() }), Principal::anonymous());
        let rendered: Value = serde_json::from_slice(&store.reader().read(read.identity.of_view().unwrap()).unwrap().body).unwrap();
        prop_assert_eq!(&rendered["Services"][0]["Proxy"], &proxy);
        prop_assert_eq!(&rendered["Services"][0]["Connect"][&key], &proxy);
    }

    /// Any body is refused, or goes all the way.
    #[test]
    fn a_body_that_is_taken_is_taken_everywhere(text in r#"[\[\]{}",:0-9eE.+a\\u-]{0,24}"#) {
        let body = format!(r#"{{"Node":"n","Address":"a","Service":{{"Service":"web","Proxy":{text}}}}}"#);
        if let Ok(register) = json::decode::<Register>(body.as_bytes()) {
            travelled(register);
        }
    }
}

#[test]
fn the_deepest_body_goes_all_the_way_and_one_level_more_is_refused_at_the_door() {
    let nested = |depth: usize| {
        let proxy = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        json::decode::<Register>(
            format!(r#"{{"Node":"n","Address":"a","Service":{{"Service":"w","Proxy":{proxy}}}}}"#).as_bytes(),
        )
    };
    travelled(nested(JSON_DEPTH - 2).unwrap());
    assert!(nested(JSON_DEPTH - 1).unwrap_err().contains("nested deeper than 64 levels"));
}

fn refusal(command: &Command) -> String {
    let fault = LoggedCommand::encode(command).err().expect("is refused");
    assert_eq!(fault.kind, FaultKind::BadRequest, "{fault}");
    fault.message
}

#[test]
fn what_the_log_could_not_pass_on_or_give_back_is_refused_before_it_is_there() {
    // Small as it was sent, and ten times so large with all fields.
    let points = vec![NodeCoordinate::default(); 40_000];
    assert!(refusal(&Command::UpdateCoordinates(points)).contains("larger than the 4194304 bytes"));
    let checks = vec![HealthCheck { name: "c".to_owned(), ..HealthCheck::default() }; 10_000];
    let many = Register { node: "n".to_owned(), address: "a".to_owned(), checks, ..Register::default() };
    assert!(refusal(&Command::Register(Box::new(many))).contains("holds more than 131072 values"));
    let deep = (0..200).fold(Command::Batch(Vec::new()), |inner, _| Command::Batch(vec![inner]));
    assert!(refusal(&deep).contains("nests deeper"));
    let nowhere = Coordinate { height: f64::NAN, ..Coordinate::default() };
    let unlike = Command::UpdateCoordinates(vec![NodeCoordinate { coord: nowhere, ..NodeCoordinate::default() }]);
    assert!(refusal(&unlike).contains("cannot be kept as it is"));
}

/// A check has the tags of its instance: each may come with a command of its own.
const _: () = assert!(4 * COMMAND_BYTES <= SNAPSHOT_RECORD_BYTES as usize);
