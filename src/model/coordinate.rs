//! Network coordinates: where a node lies in the space of round-trip times (Vivaldi).
//!
//! Source: "Vivaldi: A Decentralized Network Coordinate System" (Dabek et al., 2004) with the
//! height and adjustment terms of Serf, whose JSON form this is.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many dimensions a coordinate has.
pub const DIMENSIONS: usize = 8;
/// The least height, in seconds.
pub const MIN_HEIGHT: f64 = 1.0e-5;

/// A point in the space of round-trip times; all lengths in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Coordinate {
    /// The Euclidean part.
    pub vec: Vec<f64>,
    /// Confidence: 1.5 is none, 0 is full.
    pub error: f64,
    /// Correction learnt from past differences.
    pub adjustment: f64,
    /// The part of every path that is the node's own.
    pub height: f64,
}

impl Default for Coordinate {
    fn default() -> Coordinate {
        Coordinate { vec: vec![0.0; DIMENSIONS], error: 1.5, adjustment: 0.0, height: MIN_HEIGHT }
    }
}

impl Coordinate {
    /// Whether all parts are finite numbers and the dimensions are ours.
    pub fn is_valid(&self) -> bool {
        self.vec.len() == DIMENSIONS
            && self.vec.iter().chain([&self.error, &self.adjustment, &self.height]).all(|part| part.is_finite())
    }

    /// The estimated round-trip time to `other`.
    pub fn distance(&self, other: &Coordinate) -> Duration {
        let squares: f64 = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b)).sum();
        let raw = squares.sqrt() + self.height + other.height;
        let adjusted = raw + self.adjustment + other.adjustment;
        Duration::try_from_secs_f64(if adjusted > 0.0 { adjusted } else { raw }).unwrap_or(Duration::MAX)
    }
}

/// A node's coordinate as `/v1/coordinate/nodes` lists it and `/v1/coordinate/update` takes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeCoordinate {
    /// The node's name.
    pub node: String,
    /// Always empty: network segments are not offered.
    pub segment: String,
    /// Where it lies.
    pub coord: Coordinate,
}
