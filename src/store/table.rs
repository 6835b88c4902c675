//! The parts that every replicated kind has beside its commands and its reads.
//!
//! A kind has a module of its own, and in it: its rows, its commands, its reads (the keys that wake a
//! reader, the index, the answer), its records in a snapshot, and its invariants. [`View`] lists the
//! tables, and walks them by this trait.

use super::snapshot::Writer;
use std::sync::Arc;

/// A replicated kind of data.
pub(super) trait Table {
    /// Writes its records.
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()>;

    /// Becomes the table of `datacenter`, with the same indexes.
    fn move_to(&mut self, datacenter: &Arc<str>);

    /// The index of its last change; 0 where it keeps none.
    #[cfg(test)]
    fn index(&self) -> u64;

    /// Panics unless all that the table says agrees with itself and with `view`, to which it belongs.
    #[cfg(test)]
    fn verify(&self, view: &super::View);
}
