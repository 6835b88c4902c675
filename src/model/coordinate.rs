//! Network coordinates: where a node lies in the space of round-trip times (Vivaldi).
//!
//! Source: "Vivaldi: A Decentralized Network Coordinate System" (Dabek et al., 2004) with the
//! height and adjustment terms of Serf, whose JSON form this is.

use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

pub const DIMENSIONS: usize = 8;
/// The least height, in seconds.
pub const MIN_HEIGHT: f64 = 1.0e-5;

/// A point in the space of round-trip times; all lengths in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Coordinate {
    #[serde(serialize_with = "go_numbers")]
    pub vec: Vec<f64>,
    /// Confidence: 1.5 is none, 0 is full.
    #[serde(serialize_with = "go_number")]
    pub error: f64,
    /// Correction learnt from past differences.
    #[serde(serialize_with = "go_number")]
    pub adjustment: f64,
    /// The node's own part of every path.
    #[serde(serialize_with = "go_number")]
    pub height: f64,
}

/// A number as Go's JSON has it: `0` and not `0.0`.
struct GoNumber(f64);

impl Serialize for GoNumber {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Below this, the number as an integer is the same number.
        let is_whole = self.0.fract() == 0.0 && self.0.abs() < 1.0e15;
        if to.is_human_readable() && is_whole { to.serialize_i64(self.0 as i64) } else { to.serialize_f64(self.0) }
    }
}

fn go_number<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    GoNumber(*number).serialize(to)
}

fn go_numbers<S: Serializer>(numbers: &[f64], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(numbers.iter().copied().map(GoNumber))
}

impl Default for Coordinate {
    fn default() -> Coordinate {
        Coordinate { vec: vec![0.0; DIMENSIONS], error: 1.5, adjustment: 0.0, height: MIN_HEIGHT }
    }
}

impl Coordinate {
    /// True when all parts are finite numbers and there are [`DIMENSIONS`].
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
    pub node: String,
    /// Always empty: network segments are not offered.
    pub segment: String,
    pub coord: Coordinate,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_as_go_writes_them_and_read_back() {
        let here = Coordinate { vec: vec![0.0, -2.0, 0.25], error: 1.5, adjustment: 0.0, height: MIN_HEIGHT };
        let text = serde_json::to_string(&here).unwrap();
        assert_eq!(text, r#"{"Vec":[0,-2,0.25],"Error":1.5,"Adjustment":0,"Height":0.00001}"#);
        assert_eq!(serde_json::from_str::<Coordinate>(&text).unwrap(), here);
        let packed = rmp_serde::to_vec_named(&here).unwrap();
        assert_eq!(rmp_serde::from_slice::<Coordinate>(&packed).unwrap(), here);
    }
}
