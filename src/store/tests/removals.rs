//! Removed datacenters: remembered, called about, written out and read back.

use super::*;
use crate::defaults::FEDERATION_MAX_REMOVED;
use crate::model::fault::FaultKind;
use crate::model::ids::ClusterId;
use uuid::Uuid;

fn cluster(number: u128) -> Option<ClusterId> {
    Some(ClusterId(Uuid::from_u128(number)))
}

fn remove(dc: &str, cluster: Option<ClusterId>) -> Command {
    Command::RemoveDatacenter { datacenter: dc.to_owned(), cluster }
}

fn readmit(dc: &str) -> Command {
    Command::ReadmitDatacenter { datacenter: dc.to_owned() }
}

#[test]
fn what_is_removed_is_told_at_once_and_until_it_is_readmitted() {
    let mut catalog = Catalog::new();
    let watch = catalog.reader.watch_removals();
    catalog.apply(remove("DC2", cluster(1)));
    assert!(woken(&watch));
    assert!(catalog.reader.removals().refuses("dc2", cluster(1)));
    catalog.apply(remove("dc2", cluster(1)));
    assert!(!woken(&watch), "done already is no change");
    catalog.apply(readmit("dc2"));
    assert!(woken(&watch));
    assert!(catalog.reader.removals().is_empty());
    assert_eq!(catalog.refused(readmit("dc2")).kind, FaultKind::NotFound);
}

#[test]
fn the_own_datacenter_stays_and_the_list_is_bounded() {
    let mut catalog = Catalog::new();
    for dc in ["dc1", "DC1", ""] {
        assert_eq!(catalog.refused(remove(dc, None)).kind, FaultKind::BadRequest);
    }
    for number in 0..FEDERATION_MAX_REMOVED {
        catalog.apply(remove(&format!("x{number}"), None));
    }
    assert_eq!(catalog.refused(remove("more", None)).kind, FaultKind::Busy);
    assert_eq!(catalog.reader.removals().len(), FEDERATION_MAX_REMOVED);
    catalog.apply(remove("x0", None));
}

#[test]
fn a_snapshot_holds_them_and_moving_the_catalog_does_too() {
    let mut catalog = Catalog::new();
    catalog.apply(remove("dc2", cluster(1)));
    catalog.apply(remove("dc3", None));
    for datacenter in ["dc1", "elsewhere"] {
        let (view, _) = decode(&mut image(&catalog.store).as_slice()).expect("is read");
        let mut store = Store::new(datacenter);
        let (reader, watch) = (store.reader(), store.reader().watch_removals());
        store.restore(view);
        assert!(woken(&watch));
        assert_eq!(reader.removals(), catalog.reader.removals());
    }
}
