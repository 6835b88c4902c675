//! This agent's network coordinate, learnt from round-trip times. `core` feeds it; no I/O.
//! The algorithm is Vivaldi (Dabek et al., 2004) with the latency filter, adjustment, gravity and constants of Serf.

use crate::defaults;
use crate::model::coordinate::{Coordinate, DIMENSIONS, MIN_HEIGHT};
use rand::RngExt;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

const MAX_ERROR: f64 = 1.5;
/// The weight of one sample for the error, and the position.
const TUNING: f64 = 0.25;
/// The number of past differences in the adjustment.
const ADJUSTMENT_WINDOW: usize = 20;
/// The number of kept samples of one peer; their median counts.
const LATENCY_FILTER: usize = 3;
/// Distance, in seconds, at which the pull to the origin is one second.
const GRAVITY: f64 = 150.0;
/// Lengths below this are no direction.
const ZERO: f64 = 1.0e-6;

#[derive(Debug, Default)]
pub(super) struct Vivaldi {
    coordinate: Coordinate,
    differences: VecDeque<f64>,
    latencies: HashMap<String, VecDeque<f64>>,
    resets: u64,
}

impl Vivaldi {
    pub(super) fn coordinate(&self) -> &Coordinate {
        &self.coordinate
    }

    /// The number of times that the coordinate became impossible and began anew.
    pub(super) fn resets(&self) -> u64 {
        self.resets
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.latencies.remove(name);
    }

    /// Takes a round trip to `name` of `rtt`; the peer lies at `other`.
    pub(super) fn observe(&mut self, name: &str, other: &Coordinate, rtt: Duration, rng: &mut impl RngExt) {
        if !is_plausible(other) || rtt > defaults::GOSSIP_MAX_RTT {
            return;
        }
        let rtt = self.filtered(name, rtt.as_secs_f64()).max(ZERO);
        self.move_towards(other, rtt, rng);
        self.adjust(other, rtt);
        self.fall(rng);
        if !is_plausible(&self.coordinate) {
            self.coordinate = Coordinate::default();
            self.differences.clear();
            self.resets += 1;
        }
    }

    fn filtered(&mut self, name: &str, rtt: f64) -> f64 {
        if !self.latencies.contains_key(name) && self.latencies.len() >= defaults::GOSSIP_MAX_MEMBERS {
            return rtt;
        }
        let samples = self.latencies.entry(name.to_owned()).or_default();
        samples.push_back(rtt);
        if samples.len() > LATENCY_FILTER {
            samples.pop_front();
        }
        let mut sorted: Vec<f64> = samples.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn move_towards(&mut self, other: &Coordinate, rtt: f64, rng: &mut impl RngExt) {
        let distance = self.coordinate.distance(other).as_secs_f64();
        let wrongness = (distance - rtt).abs() / rtt;
        let weight = self.coordinate.error / (self.coordinate.error + other.error).max(ZERO);
        let error = TUNING * weight * wrongness + self.coordinate.error * (1.0 - TUNING * weight);
        self.coordinate.error = error.min(MAX_ERROR);
        self.push(TUNING * weight * (rtt - distance), other, rng);
    }

    fn adjust(&mut self, other: &Coordinate, rtt: f64) {
        let raw = length(&difference(&self.coordinate, other)) + self.coordinate.height + other.height;
        self.differences.push_back(rtt - raw);
        if self.differences.len() > ADJUSTMENT_WINDOW {
            self.differences.pop_front();
        }
        self.coordinate.adjustment = self.differences.iter().sum::<f64>() / (2.0 * ADJUSTMENT_WINDOW as f64);
    }

    /// Keeps the whole pool from drifting: a weak pull to the origin.
    fn fall(&mut self, rng: &mut impl RngExt) {
        let origin = Coordinate::default();
        let distance = origin.distance(&self.coordinate).as_secs_f64();
        self.push(-(distance / GRAVITY).powi(2), &origin, rng);
    }

    /// Moves by `force` seconds away from `other`.
    fn push(&mut self, force: f64, other: &Coordinate, rng: &mut impl RngExt) {
        let apart = difference(&self.coordinate, other);
        let magnitude = length(&apart);
        let direction = if magnitude > ZERO { scaled(&apart, 1.0 / magnitude) } else { random_direction(rng) };
        for (part, step) in self.coordinate.vec.iter_mut().zip(direction) {
            *part += step * force;
        }
        if magnitude > ZERO {
            let height = (self.coordinate.height + other.height) * force / magnitude + self.coordinate.height;
            self.coordinate.height = height.max(MIN_HEIGHT);
        }
    }
}

/// True for a coordinate that the algorithm can come to on this planet; others would move those that measure against them.
pub(super) fn is_plausible(coordinate: &Coordinate) -> bool {
    let lengths = coordinate.vec.iter().chain([&coordinate.adjustment, &coordinate.height]);
    let bound = defaults::GOSSIP_MAX_RTT.as_secs_f64();
    let is_near = lengths.into_iter().all(|length| length.abs() <= bound);
    coordinate.is_valid() && is_near && coordinate.height >= 0.0 && (0.0..=MAX_ERROR).contains(&coordinate.error)
}

fn difference(a: &Coordinate, b: &Coordinate) -> Vec<f64> {
    a.vec.iter().zip(&b.vec).map(|(a, b)| a - b).collect()
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|part| part * part).sum::<f64>().sqrt()
}

fn scaled(vector: &[f64], factor: f64) -> Vec<f64> {
    vector.iter().map(|part| part * factor).collect()
}

fn random_direction(rng: &mut impl RngExt) -> Vec<f64> {
    let vector: Vec<f64> = (0..DIMENSIONS).map(|_| rng.random_range(-0.5..0.5)).collect();
    let magnitude = length(&vector);
    if magnitude > ZERO {
        return scaled(&vector, 1.0 / magnitude);
    }
    let mut first_axis = vec![0.0; DIMENSIONS];
    first_axis[0] = 1.0;
    first_axis
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn two_nodes_learn_their_distance() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut a, mut b) = (Vivaldi::default(), Vivaldi::default());
        let rtt = Duration::from_millis(40);
        for _ in 0..300 {
            let (at_a, at_b) = (a.coordinate().clone(), b.coordinate().clone());
            a.observe("b", &at_b, rtt, &mut rng);
            b.observe("a", &at_a, rtt, &mut rng);
        }
        let learnt = a.coordinate().distance(b.coordinate()).as_secs_f64();
        assert!((learnt - 0.040).abs() < 0.004, "{learnt}");
    }

    #[test]
    fn impossible_samples_change_nothing() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut a = Vivaldi::default();
        let broken = Coordinate { error: f64::NAN, ..Coordinate::default() };
        a.observe("b", &broken, Duration::from_millis(1), &mut rng);
        a.observe("b", &Coordinate::default(), Duration::from_secs(11), &mut rng);
        for forged in [
            Coordinate { vec: vec![1e9; DIMENSIONS], ..Coordinate::default() },
            Coordinate { height: 1e9, ..Coordinate::default() },
            Coordinate { height: -1.0, ..Coordinate::default() },
            Coordinate { adjustment: -1e9, ..Coordinate::default() },
            Coordinate { error: -1.0, ..Coordinate::default() },
            Coordinate { error: 1e9, ..Coordinate::default() },
        ] {
            a.observe("b", &forged, Duration::from_millis(1), &mut rng);
        }
        assert_eq!(*a.coordinate(), Coordinate::default());
    }
}
