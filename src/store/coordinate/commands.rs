//! The commands that change coordinates.

use super::CoordinateRow;
use crate::model::coordinate::NodeCoordinate;
use crate::store::change::Change;
use crate::store::key::{Key, key_of};
use std::sync::Arc;

/// Sets the coordinate of a node; an unknown node and an invalid coordinate are passed over.
pub(crate) fn put(change: &mut Change<'_>, coordinate: &NodeCoordinate) {
    let Some(state) = change.view.catalog.node(&coordinate.node) else { return };
    let name = state.row.node.node.clone();
    let key = key_of(&name);
    let same = |row: &Arc<CoordinateRow>| row.coordinate.coord == coordinate.coord;
    if !coordinate.coord.is_valid() || change.view.coordinates.rows.get(&key).is_some_and(same) {
        return;
    }
    let coordinate = NodeCoordinate { node: name, segment: String::new(), coord: coordinate.coord.clone() };
    change.view.coordinates.rows.insert(key.clone(), Arc::new(CoordinateRow::new(coordinate, change.index)));
    moved(change, key);
}

pub(crate) fn forget(change: &mut Change<'_>, node: &Arc<str>) {
    if change.view.coordinates.rows.remove(node).is_some() {
        moved(change, Arc::clone(node));
    }
}

fn moved(change: &mut Change<'_>, node: Arc<str>) {
    change.view.coordinates.index = change.index;
    change.touched.extend([Key::Coordinates, Key::Coordinate(node)]);
}
