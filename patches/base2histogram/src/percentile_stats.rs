//! The percentiles that openraft shows.

use std::fmt;

/// Percentiles of a distribution, in the unit of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values there were; with none, all else is 0.
    pub samples: u64,
    /// What 0.1 % of the values do not exceed.
    pub p0_1: u64,
    /// What 1 % of the values do not exceed.
    pub p1: u64,
    /// What 5 % of the values do not exceed.
    pub p5: u64,
    /// What 10 % of the values do not exceed.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// What 90 % of the values do not exceed.
    pub p90: u64,
    /// What 99 % of the values do not exceed.
    pub p99: u64,
    /// What 99.9 % of the values do not exceed.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p0_1, p1, p5, p10, p50, p90, p99, p99_9 } = self;
        write!(f, "[samples: {samples}, P0.1: {p0_1}, P1: {p1}, P5: {p5}, P10: {p10}, ")?;
        write!(f, "P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {p99_9}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_all_on_one_line() {
        let stats = PercentileStats { samples: 9, p0_1: 1, p1: 2, p5: 3, p10: 4, p50: 5, p90: 6, p99: 7, p99_9: 8 };
        assert_eq!(stats.to_string(), "[samples: 9, P0.1: 1, P1: 2, P5: 3, P10: 4, P50: 5, P90: 6, P99: 7, P99.9: 8]");
    }
}
