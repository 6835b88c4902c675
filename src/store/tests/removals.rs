//! Removed datacenters: remembered, called about, written out and read back.

use super::*;
use crate::defaults::FEDERATION_MAX_REMOVED;
use crate::model::fault::FaultKind;
use crate::model::ids::ClusterId;
use crate::store::snapshot::{decode, encode};
use futures_util::FutureExt;
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
    assert!(watch.changed().now_or_never().is_some());
    assert!(catalog.reader.removals().refuses("dc2", cluster(1)));
    catalog.apply(remove("dc2", cluster(1)));
    assert!(watch.changed().now_or_never().is_none(), "done already is no change");
    catalog.apply(readmit("dc2"));
    assert!(watch.changed().now_or_never().is_some());
    assert!(catalog.reader.removals().is_empty());
    let Err(fault) = catalog.try_apply(readmit("dc2")) else { panic!("must be refused") };
    assert_eq!(fault.kind, FaultKind::NotFound);
}

#[test]
fn the_own_datacenter_stays_and_the_list_is_bounded() {
    let mut catalog = Catalog::new();
    for dc in ["dc1", "DC1", ""] {
        let Err(fault) = catalog.try_apply(remove(dc, None)) else { panic!("must be refused") };
        assert_eq!(fault.kind, FaultKind::BadRequest);
    }
    for number in 0..FEDERATION_MAX_REMOVED {
        catalog.apply(remove(&format!("x{number}"), None));
    }
    let Err(fault) = catalog.try_apply(remove("more", None)) else { panic!("must be refused") };
    assert_eq!((fault.kind, catalog.reader.removals().len()), (FaultKind::Busy, FEDERATION_MAX_REMOVED));
    catalog.apply(remove("x0", None));
}

#[test]
fn a_snapshot_holds_them_and_moving_the_catalog_does_too() {
    let mut catalog = Catalog::new();
    catalog.apply(remove("dc2", cluster(1)));
    catalog.apply(remove("dc3", None));
    let mut bytes = Vec::new();
    encode(&catalog.store.view(), b"", &mut bytes).expect("is written");
    for datacenter in ["dc1", "elsewhere"] {
        let (view, _) = decode(&mut bytes.as_slice()).expect("is read");
        let mut store = Store::new(datacenter);
        let (reader, watch) = (store.reader(), store.reader().watch_removals());
        store.restore(view);
        assert!(watch.changed().now_or_never().is_some());
        assert_eq!(reader.removals(), catalog.reader.removals());
    }
}
