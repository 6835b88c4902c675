//! Counts by bucket, and what they tell.

use crate::bucket::Bucket;
use crate::percentile_stats::PercentileStats;
use std::marker::PhantomData;

/// How often values of each size were seen. Counts that would overflow stay at `u64::MAX`.
///
/// The type parameter is part of the interface this crate stands in for, where it is the type of labels for
/// periods of time. openraft keeps no periods and names it `()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: Box<[u64; Bucket::COUNT]>,
    total: u64,
    label: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self { counts: Box::new([0; Bucket::COUNT]), total: 0, label: PhantomData }
    }

    /// Counts `value` once.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `value` `times` times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let count = &mut self.counts[Bucket::of(value).index()];
        *count = count.saturating_add(times);
        self.total = self.total.saturating_add(times);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The value that a share `p` (0 to 1) of those counted do not exceed, as near as the buckets tell: exact
    /// below 8, else off by less than a bucket, which is at most a quarter of the value. 0 if nothing was counted.
    pub fn percentile(&self, p: f64) -> u64 {
        let mut rank = ((self.total as f64 * p).ceil() as u64).clamp(1, self.total.max(1));
        for bucket in Bucket::all() {
            let count = self.count(bucket);
            if rank <= count {
                return self.value_at(bucket, rank);
            }
            rank -= count;
        }
        0
    }

    /// The percentiles that openraft shows.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.10),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }

    /// How many values were counted in `bucket`.
    pub(crate) fn count(&self, bucket: Bucket) -> u64 {
        self.counts[bucket.index()]
    }

    /// Where the `rank`th value of `bucket` (from 1) lies if their density changes linearly across it.
    ///
    /// With the density `start + slope·x` at `x` from the left, `start·x + slope·x²/2` values lie before `x`;
    /// this solves for where they are `rank`.
    fn value_at(&self, bucket: Bucket, rank: u64) -> u64 {
        if self.count(bucket) <= 1 || bucket.width() == 1 {
            return bucket.midpoint();
        }
        let (rank, width, mean) = (rank as f64, bucket.width() as f64, self.density(bucket));
        let slope = self.slope(bucket);
        let start = mean - slope * width / 2.0;
        let discriminant = start * start + 2.0 * slope * rank;
        // A slope that hardly differs from none would be divided by; rounding may put the far end out of reach.
        let even = (slope * width).abs() < mean * 1e-9;
        let offset = if even || discriminant < 0.0 { rank / mean } else { (discriminant.sqrt() - start) / slope };
        bucket.left().saturating_add(offset.clamp(0.0, width) as u64)
    }

    /// How the density changes per value across `bucket`, by its neighbours, and no steeper than keeps it from
    /// being negative at an end of the bucket.
    fn slope(&self, bucket: Bucket) -> f64 {
        let (before, after) = (bucket.before(), bucket.after());
        let rise = self.density(after) - self.density(before);
        let slope = rise / (after.midpoint() as f64 - before.midpoint() as f64);
        let steepest = self.density(bucket) / (bucket.width() as f64 / 2.0);
        slope.clamp(-steepest, steepest)
    }

    /// How many values were counted for each that `bucket` holds.
    fn density(&self, bucket: Bucket) -> f64 {
        self.count(bucket) as f64 / bucket.width() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        histogram
    }

    /// Numbers of all sizes without a pattern, the same in each run.
    fn numbers(count: usize) -> Vec<u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..count).map(|_| next() >> (next() % 64)).collect()
    }

    #[test]
    fn nothing_counted_gives_zeros() {
        let empty = Histogram::<()>::default();
        assert_eq!((empty.total(), empty.percentile(0.0), empty.percentile(1.0)), (0, 0, 0));
        assert_eq!((empty.percentile_stats().samples, empty.percentile_stats().p99_9), (0, 0));
    }

    #[test]
    fn total_counts_each_time() {
        let mut histogram = histogram(&[3, 3, 70]);
        histogram.record_n(1 << 40, 5);
        histogram.record_n(9, 0);
        assert_eq!(histogram.total(), 8);
    }

    #[test]
    fn counts_stay_at_their_greatest() {
        let mut histogram = histogram(&[u64::MAX, 0]);
        histogram.record_n(5, u64::MAX);
        histogram.record_n(5, u64::MAX);
        assert_eq!(histogram.total(), u64::MAX);
        assert_eq!(histogram.percentile(0.5), 5);
    }

    #[test]
    fn percentiles_of_small_values_are_exact() {
        let histogram = histogram(&[0, 1, 1, 2, 4, 5, 5, 6, 7, 7]);
        let at = |p| histogram.percentile(p);
        assert_eq!([at(0.0), at(0.1), at(0.2), at(0.5), at(0.51), at(0.8), at(0.9), at(1.0)], [0, 0, 1, 4, 5, 6, 7, 7]);
    }

    #[test]
    fn percentiles_are_in_the_bucket_of_the_sorted_list() {
        for count in [1, 2, 10, 999, 20_000] {
            let mut values = numbers(count);
            let histogram = histogram(&values);
            values.sort_unstable();
            // Parts of a power of two, so that a share is no less exact than its rank.
            for part in 1..=1024 {
                let exact = values[(count * part).div_ceil(1024) - 1];
                let bucket = Bucket::of(exact);
                let estimate = histogram.percentile(part as f64 / 1024.0);
                assert!(
                    (bucket.left()..=bucket.right()).contains(&estimate),
                    "{part}/1024 of {count}: {estimate}, but {exact} in {bucket:?}"
                );
            }
        }
    }

    #[test]
    fn percentiles_lean_to_the_denser_neighbour() {
        let mut histogram = histogram(&[]);
        for (value, times) in [(16 << 10, 10), (20 << 10, 20), (24 << 10, 30), (1 << 20, 20)] {
            histogram.record_n(value, times);
        }
        // In units of 1024, 4 wide from 20: 3.75·x + 0.3125·x² = 10 for the tenth of its twenty values.
        assert_eq!(histogram.percentile(0.25), (20 << 10) + 2300);
    }

    #[test]
    fn stats_are_the_percentiles() {
        let histogram = histogram(&numbers(5000));
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 5000);
        assert_eq!([stats.p0_1, stats.p1, stats.p5, stats.p10], [0.001, 0.01, 0.05, 0.1].map(|p| histogram.percentile(p)));
        assert_eq!([stats.p50, stats.p90, stats.p99, stats.p99_9], [0.5, 0.9, 0.99, 0.999].map(|p| histogram.percentile(p)));
    }

    #[test]
    fn histograms_of_the_same_values_are_equal() {
        let (one, other) = (histogram(&[1, 9]), histogram(&[9, 1]));
        assert_eq!(one, other);
        assert_eq!(one, one.clone());
        assert_ne!(one, histogram(&[1, 10]));
    }

    #[test]
    fn a_histogram_takes_two_kibibytes() {
        let histogram = Histogram::<()>::new();
        assert!(size_of_val(&histogram) + size_of_val(histogram.counts.as_ref()) <= 2048);
    }
}
