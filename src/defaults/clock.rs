//! Numbers of the clock that goes on while the host sleeps.

use std::time::Duration;

/// The shortest sleep of the host that counts: two clocks read in a row differ by less, and a lease's margin is far more.
pub const CLOCK_SLEEP_LEAST: Duration = Duration::from_millis(5);
/// Time between the moments that looks from time to time share: an idle process wakes once for all that are due, and
/// no look comes earlier than it must by as much as this.
pub const CLOCK_SHARED: Duration = Duration::from_millis(500);
