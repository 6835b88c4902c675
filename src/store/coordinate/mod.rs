//! Where nodes lie: coordinates by the key of their node's name.

mod commands;
pub(super) mod reads;

pub(super) use commands::{forget, put};
pub use reads::CoordinateRows;

use super::json::{Fragment, fragment};
use super::key::key_of;
use super::snapshot::{Kind, Writer, parse};
use super::table::Table;
use crate::model::coordinate::NodeCoordinate;
use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a node lies.
#[derive(Debug)]
pub struct CoordinateRow {
    /// The row itself.
    pub coordinate: NodeCoordinate,
    /// Index of its last change.
    pub(crate) index: u64,
    json: Fragment,
}

impl CoordinateRow {
    pub(crate) fn new(coordinate: NodeCoordinate, index: u64) -> CoordinateRow {
        CoordinateRow { coordinate, index, json: Fragment::default() }
    }

    /// `{"Node":…}`
    pub(crate) fn json(&self) -> &Bytes {
        self.json.get(|| fragment(&self.coordinate))
    }
}

/// The coordinates of the nodes that have told one.
#[derive(Clone, Debug, Default)]
pub(super) struct Coordinates {
    rows: OrdMap<Arc<str>, Arc<CoordinateRow>>,
    /// Index of the last change of one.
    pub(super) index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    coordinate: NodeCoordinate,
    index: u64,
}

impl Coordinates {
    /// Where the node of that name lies.
    pub(super) fn of(&self, node: &str) -> Option<&Arc<CoordinateRow>> {
        self.rows.get(&key_of(node))
    }

    /// Takes in a record of a snapshot.
    pub(super) fn load(&mut self, body: &[u8]) -> Result<(), String> {
        let Record { coordinate, index } = parse(body)?;
        self.rows.insert(key_of(&coordinate.node), Arc::new(CoordinateRow::new(coordinate, index)));
        Ok(())
    }
}

impl Table for Coordinates {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        let mut records = self.rows.values().map(|row| Record { coordinate: row.coordinate.clone(), index: row.index });
        records.try_for_each(|record| to.value(Kind::Coordinate, &record))
    }

    fn move_to(&mut self, _datacenter: &Arc<str>) {}

    #[cfg(test)]
    fn index(&self) -> u64 {
        self.index
    }

    #[cfg(test)]
    fn verify(&self, view: &super::View) {
        for (key, row) in &self.rows {
            assert!(view.catalog.nodes.contains_key(key), "a coordinate of no node: {row:?}");
            assert!(*key == key_of(&row.coordinate.node) && row.index <= self.index, "{row:?}");
        }
    }
}
