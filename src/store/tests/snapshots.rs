//! Snapshots: read back to the byte, or refused whole.

use super::*;
use crate::store::snapshot::{decode, encode};
use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

fn filled() -> Catalog {
    filled_of(level::OWN)
}

pub(super) fn filled_of(level: u32) -> Catalog {
    let mut catalog = Catalog::of_level(level);
    catalog.register(Register {
        id: ID_1.to_owned(),
        node_meta: pairs(&[("rack", "r1")]),
        ..instance("n1", "a", "web", &["v1"])
    });
    let mut sidecar = instance("n2", "b", "web-proxy", &[]);
    if let Some(service) = &mut sidecar.service {
        service.kind = "connect-proxy".to_owned();
        service.proxy = json!({"DestinationServiceName": "web", "Config": {"deep": [1, -2.5, null, {"x": true}]}});
    }
    catalog.register(sidecar);
    let mut check = checked("n1", "c", "a", CheckStatus::Warning);
    if let Some(check) = &mut check.check {
        check.definition.interval = std::time::Duration::from_secs(10);
        check.definition.header.insert("X".to_owned(), vec!["y".to_owned()]);
    }
    catalog.register(check);
    catalog.register(checked("n2", "serfHealth", "", CheckStatus::Passing));
    catalog.coordinate("n1", 0.25);
    catalog.register(instance("n3", "gone", "gone", &[]));
    catalog.deregister("n3", "", "");
    catalog.apply(Command::SetAutopilot { config: Box::default(), only_at: None });
    catalog
}

fn bytes(catalog: &Catalog) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&catalog.store.view(), b"raft's own", &mut bytes).expect("is written");
    bytes
}

#[test]
fn what_is_read_back_is_the_same_to_the_byte_and_goes_on_the_same_way() {
    let mut catalog = filled();
    let written = bytes(&catalog);
    let (view, meta) = decode(&mut written.as_slice()).expect("is read");
    assert_eq!(meta, b"raft's own");
    let mut store = Store::new("dc1");
    store.restore(view);
    let mut restored = Catalog { reader: store.reader(), store, index: catalog.index };
    assert_eq!(bytes(&restored), written);
    for read in [
        health("web"),
        service("gone"),
        Read::Health(HealthRead::Service { name: "web".to_owned(), lookup: Lookup::Connect }),
        Read::Catalog(CatalogRead::Node { node: "n1".to_owned() }),
        Read::Health(HealthRead::Node { node: "n3".to_owned() }),
        Read::Health(HealthRead::State { state: "passing".to_owned() }),
        Read::Coordinate(CoordinateRead::Nodes),
        Read::Catalog(CatalogRead::Services),
    ] {
        assert_eq!(catalog.get(read.clone()), restored.get(read.clone()), "{read:?}");
        assert_eq!(catalog.index_of(read.clone()), restored.index_of(read.clone()), "{read:?}");
    }
    for catalog in [&mut catalog, &mut restored] {
        catalog.register(Register { id: ID_1.to_owned(), ..node("renamed") });
    }
    assert_eq!(bytes(&catalog), bytes(&restored));
}

#[test]
fn every_byte_that_is_another_is_noticed() {
    let written = bytes(&filled());
    for at in 0..written.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = written.clone();
            damaged[at] ^= flip;
            assert!(decode(&mut damaged.as_slice()).is_err(), "byte {at} ^ {flip:#x}");
        }
    }
}

#[test]
fn every_byte_that_is_missing_or_too_many_is_noticed() {
    let written = bytes(&filled());
    for length in 0..written.len() {
        assert!(decode(&mut &written[..length]).is_err(), "{length} bytes");
    }
    let mut longer = written;
    longer.push(0);
    assert!(decode(&mut longer.as_slice()).is_err());
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_memory_is_taken_for_it() {
    let mut bytes = b"KONTORSS\x01\0\0\0\x01".to_vec();
    bytes.extend(u32::MAX.to_le_bytes());
    let error = decode(&mut bytes.as_slice()).expect_err("must be refused");
    assert!(error.contains("over the bound"), "{error}");
}

#[test]
fn another_version_and_another_file_are_told_apart() {
    let error = decode(&mut b"KONTORSS\x02\0\0\0".as_slice()).expect_err("must be refused");
    assert!(error.contains("version 2"), "{error}");
    let error = decode(&mut b"something else".as_slice()).expect_err("must be refused");
    assert!(error.contains("begins with"), "{error}");
}

#[test]
fn an_empty_catalog_is_a_snapshot_too() {
    let written = bytes(&Catalog::new());
    let (view, meta) = decode(&mut written.as_slice()).expect("is read");
    assert_eq!(meta, b"raft's own");
    assert!(view.catalog.nodes.is_empty());
}

/// Servers of all builds send each other snapshots: the record has the fields that it had before each table
/// kept its own index.
#[test]
fn the_indexes_of_all_lists_stand_in_the_record_of_the_catalog() {
    let record = serde_json::json!({"datacenter": "dc1", "indexes": {
        "nodes": 1, "services": 2, "checks": 3, "coordinates": 4, "observers": 5, "states": [6, 7, 8],
        "service_gone": 9, "node_gone": 10,
    }});
    let body = rmp_serde::to_vec_named(&record).expect("is written");
    let mut bytes = b"KONTORSS\x01\0\0\0".to_vec();
    for (kind, body) in [(1, Vec::new()), (2, body), (8, Vec::new())] {
        bytes.push(kind);
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
    }
    bytes.extend(Sha256::digest(&bytes));
    let (view, _) = decode(&mut bytes.as_slice()).expect("is read");
    let mut store = Store::new("dc1");
    store.restore(view);
    let read = Catalog { reader: store.reader(), store, index: 10 };
    assert_eq!(read.index_of(Read::Catalog(CatalogRead::Nodes)), 1);
    assert_eq!(read.index_of(Read::Coordinate(CoordinateRead::Nodes)), 4);
    assert_eq!(read.index_of(Read::Health(HealthRead::State { state: "critical".to_owned() })), 8);
    assert_eq!(read.index_of(health("web")), 9);
}

proptest! {
    #[test]
    fn records_of_any_content_never_make_it_panic(
        records in prop::collection::vec((1..=12u8, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        let mut bytes = b"KONTORSS\x01\0\0\0".to_vec();
        for (kind, body) in records.iter().chain([&(8, Vec::new())]) {
            bytes.push(*kind);
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(body);
        }
        let sum = Sha256::digest(&bytes);
        bytes.extend(sum);
        let _ = decode(&mut bytes.as_slice());
    }
}
