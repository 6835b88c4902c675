//! How servers are treated: one row, which replaces itself. `apply` calls it.

use super::change::Change;
use super::watch::Key;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Effect;
use crate::model::level::{self, Level};
use std::sync::Arc;

/// Puts `config` in force; with `only_at`, only where the one in force was changed at that index last.
pub(super) fn set(change: &mut Change<'_>, config: &AutopilotConfig, only_at: Option<u64>) -> Effect {
    let known = change.view.autopilot.as_deref();
    let changed_at = known.map_or(0, |known| known.modify_index);
    if only_at.is_some_and(|expected| expected != changed_at) {
        return Effect::Set(false);
    }
    let create_index = known.map_or(change.index, |known| known.create_index);
    let row = AutopilotConfig { create_index, modify_index: change.index, ..config.clone() };
    change.view.autopilot = Some(Arc::new(row));
    // Proposed where every server reads it, and the row stays: a snapshot tells the same.
    change.view.raise_level(Level { number: level::AUTOPILOT, version: String::new() });
    change.touched.insert(Key::Autopilot);
    Effect::Set(true)
}
