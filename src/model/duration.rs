//! Durations as Go writes them (`1m30s`, `250ms`), which is how Consul's users write them.
//!
//! Source: the grammar of Go's `time.ParseDuration` and the output of `Duration.String`.

use serde::{Deserialize, Deserializer, Serializer};
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
    let wrong = || format!("expected a duration with a unit such as 300ms, 10s or 1m30s, got {text:?}");
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
    use super::{Deserialize, Deserializer, Duration, MAX_NANOS, Serializer};

    /// Writes Go text; zero is the empty string, which the callers leave out.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if duration.is_zero() { serializer.serialize_str("") } else { serializer.serialize_str(&super::format(*duration)) }
    }

    /// Reads either form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Nanos(u64),
            /// As some clients write large numbers: `3e10`.
            Float(f64),
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) if text.is_empty() => Ok(Duration::ZERO),
            Form::Text(text) => super::parse(&text).map_err(serde::de::Error::custom),
            Form::Nanos(nanos) => Ok(Duration::from_nanos(nanos)),
            // A part of a nanosecond is dropped, as by Go.
            Form::Float(nanos) if (0.0..=MAX_NANOS).contains(&nanos) => Ok(Duration::from_nanos(nanos as u64)),
            Form::Float(nanos) => {
                Err(serde::de::Error::custom(format!("expected 0 to {MAX_NANOS:e} nanoseconds, got {nanos:e}")))
            }
        }
    }
}

/// For `#[serde(with = "duration::printed")]`: written as Go text, zero too, and read as [`text`] reads.
pub mod printed {
    use super::{Deserializer, Duration, Serializer};

    /// Writes Go text.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*duration))
    }

    /// Reads either form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::text::deserialize(deserializer)
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
            assert!(parse(text).is_err(), "{text:?}");
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
        #[derive(Deserialize)]
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
    }
}
