//! The coordinates of members that are worth a write. Pure.

use super::batches::batches;
use crate::defaults::{COORDINATE_BATCH, COORDINATE_MOVED};
use crate::model::command::Command;
use crate::model::coordinate::{Coordinate, NodeCoordinate};

/// The commands that write moved coordinates. `measured` has each node's name, its coordinate in the catalog, in the pool.
pub(super) fn updates<'a>(measured: impl Iterator<Item = (&'a str, Option<&'a Coordinate>, Coordinate)>) -> Vec<Command> {
    let moved: Vec<NodeCoordinate> = measured
        .filter(|(_, _, coord)| coord.is_valid())
        .filter(|(_, stored, coord)| stored.is_none_or(|old| has_moved(old, coord)))
        .map(|(node, _, coord)| NodeCoordinate { node: node.to_owned(), segment: String::new(), coord })
        .collect();
    batches(&moved, COORDINATE_BATCH).into_iter().map(|batch| Command::UpdateCoordinates(batch.to_vec())).collect()
}

fn has_moved(old: &Coordinate, new: &Coordinate) -> bool {
    let squares: f64 = old.vec.iter().zip(&new.vec).map(|(a, b)| (a - b) * (a - b)).sum();
    let moved = squares.sqrt() + (old.height - new.height).abs() + (old.adjustment - new.adjustment).abs();
    !old.is_valid() || moved >= COORDINATE_MOVED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(height: f64) -> Coordinate {
        Coordinate { height, ..Coordinate::default() }
    }

    fn written(measured: &[(&str, Option<f64>, f64)]) -> Vec<String> {
        let stored: Vec<Option<Coordinate>> = measured.iter().map(|(_, stored, _)| stored.map(at)).collect();
        let measured = measured.iter().zip(&stored).map(|((node, _, now), stored)| (*node, stored.as_ref(), at(*now)));
        let names = |command| match command {
            Command::UpdateCoordinates(rows) => rows.into_iter().map(|row| row.node),
            other => panic!("unexpected {other:?}"),
        };
        updates(measured).into_iter().flat_map(names).collect()
    }

    #[test]
    fn only_new_and_moved_coordinates_are_written_and_only_numbers() {
        let measured = [("still", Some(0.01), 0.01005), ("moved", Some(0.01), 0.011), ("new", None, 0.01)];
        let numberless = [("a", None, f64::NAN), ("b", None, f64::INFINITY)];
        assert_eq!(written(&[&measured[..], &numberless].concat()), ["moved", "new"]);
    }

    #[test]
    fn many_go_in_bounded_batches() {
        assert_eq!(updates((0..300).map(|_| ("n", None, at(0.01)))).len(), 3);
    }
}
