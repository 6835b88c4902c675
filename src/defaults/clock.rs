//! Numbers of the clock that goes on while the host sleeps.

use std::time::Duration;

/// The shortest sleep of the host that counts: two clocks read in a row differ by less, and a lease's margin is far more.
pub const CLOCK_SLEEP_LEAST: Duration = Duration::from_millis(5);
