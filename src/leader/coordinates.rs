//! Which coordinates of members are worth a write. Pure; `duties` asks every few seconds.

use super::batches::batches;
use crate::config::defaults::{COORDINATE_BATCH, COORDINATE_MOVED};
use crate::model::command::Command;
use crate::model::coordinate::{Coordinate, NodeCoordinate};
use std::collections::BTreeMap;

/// The commands that write those of `told` that have moved noticeably from what is `stored`.
pub(super) fn updates(stored: &[NodeCoordinate], told: BTreeMap<String, Coordinate>) -> Vec<Command> {
    let stored: BTreeMap<&str, &Coordinate> = stored.iter().map(|row| (row.node.as_str(), &row.coord)).collect();
    let moved: Vec<NodeCoordinate> = told
        .into_iter()
        .filter(|(_, coord)| coord.is_valid())
        .filter(|(node, coord)| stored.get(node.as_str()).is_none_or(|old| has_moved(old, coord)))
        .map(|(node, coord)| NodeCoordinate { node, segment: String::new(), coord })
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

    fn written(stored: &[(&str, f64)], told: &[(&str, f64)]) -> Vec<String> {
        let row =
            |(node, height): &(&str, f64)| NodeCoordinate { node: (*node).into(), coord: at(*height), ..Default::default() };
        let stored: Vec<NodeCoordinate> = stored.iter().map(row).collect();
        let told = told.iter().map(|(node, height)| ((*node).to_owned(), at(*height))).collect();
        let names = |command| match command {
            Command::UpdateCoordinates(rows) => rows.into_iter().map(|row| row.node),
            other => panic!("unexpected {other:?}"),
        };
        updates(&stored, told).into_iter().flat_map(names).collect()
    }

    #[test]
    fn only_new_and_moved_coordinates_are_written() {
        let stored = [("still", 0.01), ("moved", 0.01)];
        assert_eq!(written(&stored, &[("still", 0.01005), ("moved", 0.011), ("new", 0.01)]), ["moved", "new"]);
    }

    #[test]
    fn numbers_that_are_none_are_never_written() {
        assert_eq!(written(&[], &[("a", f64::NAN), ("b", f64::INFINITY)]), Vec::<String>::new());
    }

    #[test]
    fn many_go_in_bounded_batches() {
        let told = (0..300).map(|number| (format!("n{number}"), at(0.01))).collect();
        assert_eq!(updates(&[], told).len(), 3);
    }
}
