//! Autopilot's configuration: one row, which replaces itself.

use super::change::Change;
use super::key::Key;
use super::record::{Kind, Writer};
use super::table::Table;
use crate::model::autopilot::AutopilotConfig;
use crate::model::command::Effect;
use std::sync::Arc;

/// Puts `config` in force; with `only_at`, only where the configuration in force was changed at that index last.
pub(super) fn set(change: &mut Change<'_>, config: &AutopilotConfig, only_at: Option<u64>) -> Effect {
    let known = change.view.autopilot.as_deref();
    let changed_at = known.map_or(0, |known| known.modify_index);
    if only_at.is_some_and(|expected| expected != changed_at) {
        return Effect::Set(false);
    }
    let create_index = known.map_or(change.index, |known| known.create_index);
    let row = AutopilotConfig { create_index, modify_index: change.index, ..config.clone() };
    change.view.autopilot = Some(Arc::new(row));
    change.view.format.raise_to_autopilot();
    change.touched.insert(Key::Autopilot);
    Effect::Set(true)
}

impl Table for Option<Arc<AutopilotConfig>> {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        self.iter().try_for_each(|config| to.value(Kind::Autopilot, &**config))
    }

    #[cfg(test)]
    fn index(&self) -> u64 {
        self.as_ref().map_or(0, |config| config.modify_index)
    }

    #[cfg(test)]
    fn verify(&self, _view: &super::View) {
        assert!(self.iter().all(|config| config.create_index <= config.modify_index), "{self:?}");
    }
}
