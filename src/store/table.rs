//! The parts that every replicated kind has beside its commands and its reads.
//!
//! The module of a kind holds its rows, its commands, its reads (the keys that wake a reader, the index, the answer),
//! its records in a snapshot, and its invariants. The view lists the tables, and walks them by this trait.

use super::record::Writer;
use std::sync::Arc;

pub(super) trait Table {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()>;

    /// Becomes the table of `datacenter`, with the same indexes.
    fn move_to(&mut self, _datacenter: &Arc<str>) {}

    /// The index of the last change; 0 where the table keeps none.
    #[cfg(test)]
    fn index(&self) -> u64 {
        0
    }

    /// Panics unless the table agrees with itself and with its `view`.
    #[cfg(test)]
    fn verify(&self, view: &super::View);
}
