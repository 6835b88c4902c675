//! Distributions of `u64` values in 2 KiB each: counts in logarithmic buckets, percentiles by interpolation.
//!
//! This stands in for the crate of the same name and version that openraft keeps its runtime statistics
//! with. It has the part of that crate's interface that openraft uses and gives the same results, but the
//! bounds of a bucket are computed when they are asked for; there are no tables, so nothing is shared
//! between histograms and nothing is paid for at the first use.

#![forbid(unsafe_code)]

mod ascii_chart;
mod bucket;
mod histogram;
mod percentile_stats;

pub use ascii_chart::AsciiChart;
pub use histogram::Histogram;
pub use percentile_stats::PercentileStats;
