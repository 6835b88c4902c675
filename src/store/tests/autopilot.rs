//! Autopilot's configuration: written once, changed by index, called about, and kept by snapshots.

use super::*;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Effect;

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
    assert!(woken(&watch));
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
    for datacenter in ["dc1", "dc9"] {
        assert_eq!(catalog.restored(datacenter).reader.autopilot(), catalog.reader.autopilot());
    }
}
