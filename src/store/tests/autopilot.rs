//! How servers are treated: written once, changed by index, called about, and kept by snapshots.

use super::*;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Effect;
use crate::store::snapshot::{decode, encode};
use futures_util::FutureExt;

fn set(max_trailing_logs: u64, only_at: Option<u64>) -> Command {
    let config = AutopilotConfig { max_trailing_logs, ..AutopilotConfig::default() };
    Command::SetAutopilot { config: Box::new(config), only_at }
}

fn in_force(catalog: &Catalog) -> (u64, u64, u64) {
    let config = catalog.reader.autopilot().expect("is set");
    (config.max_trailing_logs, config.create_index, config.modify_index)
}

#[test]
fn it_is_written_whole_and_with_an_index_only_over_what_was_read() {
    let mut catalog = Catalog::new();
    assert_eq!(catalog.reader.autopilot(), None);
    let watch = catalog.reader.watch_autopilot();
    let created = catalog.apply(set(1, Some(0)));
    assert!(watch.changed().now_or_never().is_some());
    assert_eq!(in_force(&catalog), (1, created, created));
    for stale in [0, created + 7] {
        assert_eq!(catalog.try_apply(set(2, Some(stale))).map(|written| written.effect), Ok(Effect::Set(false)));
    }
    assert_eq!(in_force(&catalog), (1, created, created));
    let changed = catalog.apply(set(3, Some(created)));
    assert_eq!(in_force(&catalog), (3, created, changed));
    let changed = catalog.apply(set(4, None));
    assert_eq!(in_force(&catalog), (4, created, changed));
}

#[test]
fn a_snapshot_keeps_it_under_another_name_of_the_datacenter_too() {
    let mut catalog = Catalog::new();
    catalog.apply(set(5, None));
    let mut bytes = Vec::new();
    encode(&catalog.store.view(), b"", &mut bytes).expect("is written");
    for datacenter in ["dc1", "dc9"] {
        let (view, _) = decode(&mut bytes.as_slice()).expect("is read");
        let mut store = Store::new(datacenter);
        store.restore(view);
        assert_eq!(store.reader().autopilot(), catalog.reader.autopilot());
    }
}
