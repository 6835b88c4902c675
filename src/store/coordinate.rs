//! The answers of `/v1/coordinate/`: where nodes lie.

use super::Rendered;
use super::rows::key_of;
use super::select::List;
use super::view::View;
use bytes::Bytes;

/// `coordinate/nodes`
pub(super) fn nodes(view: &View) -> Bytes {
    let mut list = List::new();
    for row in view.coordinates.values() {
        list.push(&[row.json()]);
    }
    list.finish()
}

/// `coordinate/node/:node`: a list of one, for there is one network segment.
pub(super) fn node(view: &View, name: &str, index: u64) -> Rendered {
    let mut list = List::new();
    let row = view.coordinates.get(&key_of(name));
    if let Some(row) = row {
        list.push(&[row.json()]);
    }
    Rendered { index, body: list.finish(), found: row.is_some(), panic: None }
}
