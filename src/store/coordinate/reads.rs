//! The answers of `/v1/coordinate/`: where nodes lie.

use crate::store::Rendered;
use crate::store::json::List;
use crate::store::view::View;
use bytes::Bytes;

/// `coordinate/nodes`
pub(crate) fn nodes(view: &View) -> Bytes {
    let mut list = List::new();
    for row in view.coordinates.rows.values() {
        list.push(&[row.json()]);
    }
    list.finish()
}

/// `coordinate/node/:node`: a list of one, for there is one network segment.
pub(crate) fn node(view: &View, name: &str, index: u64) -> Rendered {
    let mut list = List::new();
    let row = view.coordinates.of(name);
    if let Some(row) = row {
        list.push(&[row.json()]);
    }
    Rendered { index, body: list.finish(), found: row.is_some(), panic: None }
}
