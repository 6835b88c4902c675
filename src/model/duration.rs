//! Durations as Go and Consul's users write them (`1m30s`, `250ms`).
//!
//! Source: the grammar of Go's `time.ParseDuration` and the output of `Duration.String`.

use serde::{Deserializer, Serializer};
use std::time::Duration;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Parses a non-negative Go duration. A bare number is refused (but for `0`), a sign of minus too.
pub fn parse(text: &str) -> Result<Duration, String> {
    // Go's text first, because tools look for it.
    let wrong = || format!("time: invalid duration {text:?}, expected a number with a unit such as 300ms, 10s or 1m30s");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        total = scaled(number, scale).and_then(|nanos| total.checked_add(nanos)).ok_or_else(wrong)?;
        rest = next;
    }
    Ok(Duration::from_nanos(total))
}

/// `number` (digits with at most one point) times `scale`, or nothing when that is no number.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(nanos)
}

/// The duration as Go prints it: `1h0m0s`, `1m30s`, `1.5s`, `200ms`, `0s`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let trimmed = |value: u128, scale: u128| {
        let fraction = format!("{:0width$}", value % scale, width = scale.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { format!("{}", value / scale) } else { format!("{}.{fraction}", value / scale) }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", trimmed(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", trimmed(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = trimmed(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// The longest duration of Go, in nanoseconds.
const MAX_NANOS: f64 = i64::MAX as f64;

/// For `#[serde(with = "duration::text")]`: written as Go text, read from Go text, from a JSON
/// number of nanoseconds, or from an empty string (zero).
pub mod text {
    use super::{Deserializer, Duration, MAX_NANOS, Serializer};
    use serde::de::{Error, Visitor};
    use std::fmt;

    /// Writes Go text; zero is the empty string, which the callers leave out.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if duration.is_zero() { serializer.serialize_str("") } else { serializer.serialize_str(&super::format(*duration)) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Either)
    }

    struct Either;

    impl Either {
        fn wrong<E: Error>(got: impl fmt::Display) -> E {
            E::custom(format_args!("time: invalid duration {got}, expected text such as \"10s\" or nanoseconds from 0 on"))
        }
    }

    impl Visitor<'_> for Either {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration: text such as \"10s\", or nanoseconds")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            if text.is_empty() { Ok(Duration::ZERO) } else { super::parse(text).map_err(E::custom) }
        }

        fn visit_u64<E: Error>(self, nanos: u64) -> Result<Duration, E> {
            Ok(Duration::from_nanos(nanos))
        }

        fn visit_i64<E: Error>(self, nanos: i64) -> Result<Duration, E> {
            u64::try_from(nanos).map(Duration::from_nanos).map_err(|_negative| Either::wrong(nanos))
        }

        /// As some clients write large numbers: `3e10`. A part of a nanosecond is dropped, as by Go.
        fn visit_f64<E: Error>(self, nanos: f64) -> Result<Duration, E> {
            let is_one = (0.0..=MAX_NANOS).contains(&nanos);
            if is_one { Ok(Duration::from_nanos(nanos as u64)) } else { Err(Either::wrong(nanos)) }
        }

        fn visit_unit<E: Error>(self) -> Result<Duration, E> {
            Ok(Duration::ZERO)
        }
    }
}

/// For `#[serde(with = "duration::printed")]`: written as Go text, zero too, and read as [`text`] reads.
pub mod printed {
    pub use super::text::deserialize;
    use super::{Duration, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_prints_is_read_back_to_the_nanosecond() {
        for nanos in [0, 1, 999, 1_500, 200_000_000, 1_500_000_000, 90_000_000_000, 259_200_000_000_000, 3_600_000_000_001] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&format(duration)), Ok(duration), "{}", format(duration));
        }
    }

    #[test]
    fn the_forms_of_go_are_read() {
        for (text, millis) in [
            ("300ms", 300),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("72h", 259_200_000),
            ("9.98s", 9_980),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("+1s", 1_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in ["", "10", "s", "1d", "1.2.3s", "-1s", "1 s", "99999999999h", "."] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("time: invalid duration {text:?}")), "{error}");
        }
    }

    #[test]
    fn the_printed_form_is_go_s() {
        assert_eq!(format(Duration::from_secs(3600)), "1h0m0s");
        assert_eq!(format(Duration::from_millis(1500)), "1.5s");
        assert_eq!(format(Duration::from_micros(1500)), "1.5ms");
    }

    #[test]
    fn numbers_of_nanoseconds_are_read_in_every_way_json_writes_them() {
        #[derive(Debug, serde::Deserialize)]
        struct Timed(#[serde(with = "text")] Duration);
        let read = |json: &str| serde_json::from_str::<Timed>(json).map(|timed| timed.0.as_nanos()).ok();
        for (json, nanos) in
            [("30000000000", 30_000_000_000), ("3e10", 30_000_000_000), ("1.9", 1), ("0.0", 0), ("\"30s\"", 30_000_000_000)]
        {
            assert_eq!(read(json), Some(nanos), "{json}");
        }
        for wrong in ["-1", "-1.5", "1e19", "1e300", "true"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for (json, nanos) in [("\"\"", 0), ("null", 0)] {
            assert_eq!(read(json), Some(nanos), "{json}");
        }
        for wrong in ["-1", "1e300", "\"10\"", "\"soon\""] {
            let error = serde_json::from_str::<Timed>(wrong).unwrap_err().to_string();
            assert!(error.contains("time: invalid duration"), "{error}");
        }
    }
}
