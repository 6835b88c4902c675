//! How the log is applied: the format level in force, and how many commands there were.

use super::snapshot::{Kind, Writer};
use super::table::Table;
use crate::model::level::{self, Level};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The level and the count; one row. A level below the one that counts has no record, so that servers of such a
/// build read the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Format {
    level: Arc<Level>,
    /// The index of the last command.
    index: u64,
}

impl Format {
    /// The level in force.
    pub(super) fn level(&self) -> u32 {
        self.level.number
    }

    /// The index of the last command.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Whether the level in force is at least `level`.
    pub(super) fn is_of(&self, level: u32) -> bool {
        self.level.number >= level
    }

    /// Counts a command of the log entry at `log_index`, and returns its index. Below the level at which each has
    /// one of its own, it is that of the entry: so the count begins at the same place of the log on every server, and
    /// above all indexes before it.
    pub(super) fn count(&mut self, log_index: u64) -> u64 {
        self.index = if self.is_of(level::COMMAND_INDEXES) { self.index + 1 } else { log_index };
        self.index
    }

    /// Raises the level in force, where it is lower.
    pub(super) fn raise(&mut self, to: Level) {
        if self.level.number < to.number {
            self.level = Arc::new(to);
        }
    }

    /// Autopilot's configuration is there: every server read it when it was written, and it stays. A snapshot tells
    /// the same without a record.
    pub(super) fn raise_to_autopilot(&mut self) {
        self.raise(Level { number: level::AUTOPILOT, version: String::new() });
    }

    /// Takes a record in.
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

    fn move_to(&mut self, _datacenter: &Arc<str>) {}

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
