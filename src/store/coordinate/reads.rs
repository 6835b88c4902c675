//! Reads of coordinates: rows with their JSON, the keys that wake a reader, and the index.

use super::CoordinateRow;
use crate::model::operation::CoordinateRead;
use crate::store::json::List;
use crate::store::key::{Key, Scope, key_of};
use crate::store::select::Select;
use crate::store::view::View;
use bytes::Bytes;
use std::sync::Arc;

/// The rows of one read, by the form in which they are shown.
#[derive(Debug)]
pub enum CoordinateRows<'v> {
    Nodes(Vec<&'v Arc<CoordinateRow>>),
    Node(Option<&'v Arc<CoordinateRow>>),
}

pub(crate) fn rows<'v>(view: &'v View, read: &CoordinateRead, select: &Select<'_>) -> CoordinateRows<'v> {
    let sees = |row: &&'v Arc<CoordinateRow>| select.sees_node(&row.coordinate.node);
    match read {
        CoordinateRead::Nodes => CoordinateRows::Nodes(view.coordinates.rows.values().filter(sees).collect()),
        CoordinateRead::Node { node } => CoordinateRows::Node(view.coordinates.of(node).filter(sees)),
    }
}

impl CoordinateRows<'_> {
    /// False for an answer of 404.
    pub(crate) fn found(&self) -> bool {
        !matches!(self, CoordinateRows::Node(None))
    }

    /// The JSON; of one node a list of one, for there is one network segment.
    pub(crate) fn render(&self) -> Bytes {
        let rows = match self {
            CoordinateRows::Nodes(rows) => rows.as_slice(),
            CoordinateRows::Node(row) => row.as_slice(),
        };
        let mut list = List::new();
        rows.iter().for_each(|row| list.push(&[row.json()]));
        list.finish()
    }
}

pub(crate) fn scopes(read: &CoordinateRead) -> Vec<Scope> {
    let key = match read {
        CoordinateRead::Nodes => Key::Coordinates,
        CoordinateRead::Node { node } => Key::Coordinate(key_of(node)),
    };
    vec![Scope::Exact(key)]
}

pub(crate) fn index(view: &View, read: &CoordinateRead) -> u64 {
    match read {
        CoordinateRead::Nodes => view.coordinates.index,
        CoordinateRead::Node { node } => view.coordinates.of(node).map_or(view.catalog.indexes.node_gone, |row| row.index),
    }
}
