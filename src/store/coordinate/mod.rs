//! Network coordinates by the key of their node's name.

pub(super) mod commands;
pub(super) mod reads;

use super::json::{Fragment, fragment};
use super::key::key_of;
use super::record::{Kind, Writer, parse};
use super::table::Table;
use crate::model::coordinate::NodeCoordinate;
use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug)]
pub struct CoordinateRow {
    pub coordinate: NodeCoordinate,
    pub(crate) index: u64,
    json: Fragment,
}

impl CoordinateRow {
    pub(crate) fn new(coordinate: NodeCoordinate, index: u64) -> CoordinateRow {
        CoordinateRow { coordinate, index, json: Fragment::default() }
    }

    pub(crate) fn json(&self) -> &Bytes {
        self.json.get_or_init(|| fragment(&self.coordinate))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Coordinates {
    rows: OrdMap<Arc<str>, Arc<CoordinateRow>>,
    pub(super) index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    coordinate: NodeCoordinate,
    index: u64,
}

impl Coordinates {
    pub(super) fn of(&self, node: &str) -> Option<&Arc<CoordinateRow>> {
        self.rows.get(&key_of(node))
    }

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
