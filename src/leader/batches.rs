//! The leader's own work cut into commands that the log takes, by number and by bytes. Pure.

use crate::defaults::{COMMAND_BYTES, COMMAND_VALUES};
use crate::model::packed;
use serde::Serialize;

/// Bytes of the items of one batch: half of a command, which leaves room for the rest of it.
const BYTES: usize = COMMAND_BYTES / 2;
/// Bytes that stand for one value at least, so that many small ones stay within the log's bound of values.
const VALUE_BYTES: usize = COMMAND_BYTES / COMMAND_VALUES;

/// Cuts `items` into runs of at most `most` that the log takes. An item that is too large alone is a run of its own.
pub(super) fn batches<T: Serialize>(items: &[T], most: usize) -> Vec<&[T]> {
    let (mut runs, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, item) in items.iter().enumerate() {
        let size = packed::encode(item).map_or(BYTES, |encoded| encoded.len().max(VALUE_BYTES));
        if at > start && (at - start == most || bytes + size > BYTES) {
            runs.push(&items[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < items.len() {
        runs.push(&items[start..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lengths: &[usize], most: usize) -> Vec<usize> {
        let items: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        batches(&items, most).into_iter().map(<[String]>::len).collect()
    }

    #[test]
    fn runs_are_bounded_in_number_and_in_bytes_and_lose_nothing() {
        assert_eq!(cut(&[], 3), [0; 0]);
        assert_eq!(cut(&[1; 7], 3), [3, 3, 1]);
        assert_eq!(cut(&[1, BYTES / 2, BYTES / 2, 1], 64), [2, 2]);
        assert_eq!(cut(&[1, BYTES * 3, 1], 64), [1, 1, 1], "an item that is too large keeps no other back");
    }
}
