//! Histograms as text, for openraft's display of its statistics to people.

use crate::bucket::Bucket;
use crate::histogram::Histogram;
use std::fmt;

/// Characters that a bar is drawn with, for one histogram each, from the first again after the last.
const INKS: [&str; 8] = ["█", "▒", "░", "▓", "▞", "▚", "▖", "▘"];

/// Characters of the longest bar.
const BAR_WIDTH: f64 = 40.0;

/// A bar chart of named histograms, stacked on each other.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    series: Vec<(String, Histogram)>,
}

impl AsciiChart {
    /// One without histograms, which is drawn as nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The chart with one more histogram.
    #[must_use]
    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        self.series.push((name.to_owned(), histogram));
        self
    }

    /// The chart as text: a line for each bucket that has counts, between a heading and the histograms' percentiles.
    /// Empty if nothing was counted.
    pub fn detailed(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| self.draw(f))
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets: Vec<Bucket> = Bucket::all().filter(|&bucket| self.stacked(bucket) > 0).collect();
        // The last has the widest bounds.
        let Some(last) = buckets.last() else { return Ok(()) };
        let (left_width, right_width) = (last.left().to_string().len(), last.right().to_string().len());

        write!(f, "{:>width$} |", "range", width = left_width + right_width + 4)?;
        for (ink, name, _) in self.inked() {
            write!(f, " {ink} {name}")?;
        }
        let longest = buckets.iter().map(|&bucket| self.stacked(bucket)).max().unwrap_or(1);
        for &bucket in &buckets {
            let (left, right, end) = (bucket.left(), bucket.right(), if bucket.is_last() { ']' } else { ')' });
            write!(f, "\n[{left:>left_width$}, {right:>right_width$}{end} | ")?;
            self.draw_bar(f, bucket, longest)?;
        }
        self.draw_percentiles(f)
    }

    fn draw_bar(&self, f: &mut fmt::Formatter<'_>, bucket: Bucket, longest: u64) -> fmt::Result {
        for (ink, _, histogram) in self.inked() {
            let count = histogram.count(bucket);
            // What is there is seen, however little it is.
            let length = (count as f64 / longest as f64 * BAR_WIDTH).round().max(f64::from(count > 0));
            f.write_str(&ink.repeat(length as usize))?;
        }
        let counts: Vec<String> = self.series.iter().map(|(_, histogram)| histogram.count(bucket).to_string()).collect();
        write!(f, "  {}", counts.join(" + "))
    }

    fn draw_percentiles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name_width = self.series.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (ink, name, histogram) in self.inked() {
            let stats = histogram.percentile_stats();
            write!(f, "\n{ink} {name:>name_width$}  total: {}", stats.samples)?;
            write!(f, "  P50: {}  P90: {}  P99: {}", stats.p50, stats.p90, stats.p99)?;
        }
        Ok(())
    }

    /// How many values were counted in `bucket` by all histograms.
    fn stacked(&self, bucket: Bucket) -> u64 {
        self.series.iter().fold(0, |sum: u64, (_, histogram)| sum.saturating_add(histogram.count(bucket)))
    }

    fn inked(&self) -> impl Iterator<Item = (&'static str, &str, &Histogram)> {
        let inks = INKS.into_iter().cycle();
        inks.zip(&self.series).map(|(ink, (name, histogram))| (ink, name.as_str(), histogram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counted_is_drawn_as_nothing() {
        assert_eq!(AsciiChart::new().detailed().to_string(), "");
        assert_eq!(AsciiChart::new().add("idle", Histogram::new()).detailed().to_string(), "");
    }

    #[test]
    fn histograms_are_stacked() {
        let (mut read, mut write) = (Histogram::new(), Histogram::new());
        read.record_n(5, 30);
        write.record_n(5, 10);
        write.record_n(100, 20);
        read.record(1000);
        let chart = AsciiChart::new().add("read", read).add("write", write);
        let expected = [
            "      range | █ read ▒ write",
            "[  5,    6) | ██████████████████████████████▒▒▒▒▒▒▒▒▒▒  30 + 10",
            "[ 96,  112) | ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒  0 + 20",
            "[896, 1024) | █  1 + 0",
            "█  read  total: 31  P50: 5  P90: 5  P99: 960",
            "▒ write  total: 30  P50: 100  P90: 109  P99: 112",
        ];
        assert_eq!(chart.detailed().to_string(), expected.join("\n"));
    }
}
