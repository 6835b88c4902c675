//! The format level in force, and the count of commands.

use super::record::{Kind, Writer};
use super::table::Table;
use crate::model::level::{self, Level};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The level and the count; one row. A level below [`level::COMMAND_INDEXES`] has no record, so that builds of that level
/// read the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Format {
    level: Arc<Level>,
    index: u64,
}

impl Format {
    pub(super) fn level(&self) -> u32 {
        self.level.number
    }

    /// The index that a reader of the log entry at `log_index` waits for, also of one without a command. Below
    /// [`level::COMMAND_INDEXES`] no snapshot holds the count.
    pub(super) fn last(&self, log_index: u64) -> u64 {
        if self.is_of(level::COMMAND_INDEXES) { self.index } else { log_index }
    }

    /// The level in force is at least `level`.
    pub(super) fn is_of(&self, level: u32) -> bool {
        self.level.number >= level
    }

    /// Counts a command of the log entry at `log_index`, and returns its index. Below [`level::COMMAND_INDEXES`] that is
    /// the index of the entry: the count begins at the same place of the log on every server, above all indexes before.
    pub(super) fn count(&mut self, log_index: u64) -> u64 {
        self.index = if self.is_of(level::COMMAND_INDEXES) { self.index + 1 } else { log_index };
        self.index
    }

    pub(super) fn raise(&mut self, to: Level) {
        if self.level.number < to.number {
            self.level = Arc::new(to);
        }
    }

    /// Raises the level because autopilot's configuration is there: every server read it when it was written, and it
    /// stays. A snapshot with it needs no record of this level.
    pub(super) fn raise_to_autopilot(&mut self) {
        self.raise(Level { number: level::AUTOPILOT, version: String::new() });
    }

    pub(super) fn load(&mut self, read: Format) -> Result<(), String> {
        read.level.check()?;
        *self = read;
        Ok(())
    }
}

impl Table for Format {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        if self.is_of(level::COMMAND_INDEXES) { to.value(Kind::Format, self) } else { Ok(()) }
    }

    #[cfg(test)]
    fn index(&self) -> u64 {
        self.index
    }

    #[cfg(test)]
    fn verify(&self, view: &super::View) {
        let counted = view.tables().iter().all(|table| table.index() <= self.index);
        assert!(!self.is_of(level::COMMAND_INDEXES) || counted, "{self:?}");
    }
}
