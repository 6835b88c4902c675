//! Snapshots: read back to the byte, or refused whole.

use super::*;
use proptest::prelude::*;
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

/// A snapshot of these records.
fn framed(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"KONTORSS\x01\0\0\0".to_vec();
    for (kind, body) in records.iter().chain([&(8, Vec::new())]) {
        bytes.push(*kind);
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
    }
    bytes.extend(Sha256::digest(&bytes));
    bytes
}

#[test]
fn what_is_read_back_is_the_same_to_the_byte_and_goes_on_the_same_way() {
    let mut catalog = filled();
    let mut restored = catalog.restored("dc1");
    assert_eq!((image(&restored.store), restored.index), (image(&catalog.store), catalog.index));
    for read in [
        health("web"),
        service("gone"),
        Read::Health(HealthRead::Service { name: "web".to_owned(), lookup: Lookup::Connect }),
        of_node("n1"),
        checks_of("n3"),
        in_state("passing"),
        Read::Coordinate(CoordinateRead::Nodes),
        Read::Catalog(CatalogRead::Services),
    ] {
        assert_eq!(catalog.get(read.clone()), restored.get(read.clone()), "{read:?}");
        assert_eq!(catalog.index_of(read.clone()), restored.index_of(read.clone()), "{read:?}");
    }
    for catalog in [&mut catalog, &mut restored] {
        catalog.register(Register { id: ID_1.to_owned(), ..node("renamed") });
    }
    assert_eq!(image(&catalog.store), image(&restored.store));
}

#[test]
fn every_byte_that_is_another_is_noticed() {
    let written = image(&filled().store);
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
    let written = image(&filled().store);
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
    assert!(Catalog::new().restored("dc1").store.view().catalog.nodes.is_empty());
}

/// Servers of all builds send each other snapshots: the record has the fields that it had before each table
/// kept its own index.
#[test]
fn the_indexes_of_all_lists_stand_in_the_record_of_the_catalog() {
    let record = json!({"datacenter": "dc1", "indexes": {
        "nodes": 1, "services": 2, "checks": 3, "coordinates": 4, "observers": 5, "states": [6, 7, 8],
        "service_gone": 9, "node_gone": 10,
    }});
    let body = rmp_serde::to_vec_named(&record).expect("is written");
    let image = framed(&[(1, b"raft's own".to_vec()), (2, body)]);
    let read = Catalog::of(read_back(&image, "dc1"));
    assert_eq!(read.index_of(Read::Catalog(CatalogRead::Nodes)), 1);
    assert_eq!(read.index_of(Read::Coordinate(CoordinateRead::Nodes)), 4);
    assert_eq!(read.index_of(in_state("critical")), 8);
    assert_eq!(read.index_of(health("web")), 9);
}

proptest! {
    #[test]
    fn records_of_any_content_never_make_it_panic(
        records in prop::collection::vec((1..=12u8, prop::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        let _ = decode(&mut framed(&records).as_slice());
    }
}
