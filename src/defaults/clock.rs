//! Numbers of the clock that goes on while the host sleeps.

use std::time::Duration;

/// The shortest sleep of the host that counts: clocks that are read one after the other are apart by less, and
/// the margin of a leader's lease is far more.
pub const CLOCK_SLEEP_LEAST: Duration = Duration::from_millis(5);
