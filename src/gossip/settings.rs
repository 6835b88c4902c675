//! The timings of a pool: the membership library's profiles for LAN and WAN with the floors that small pools need.

use super::Pool;
use crate::defaults;
use foca::PeriodicParams;
use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Timings {
    /// State exchange with a random member.
    pub push_pull: Duration,
    /// Retry of a failed member.
    pub reconnect: Duration,
}

impl Timings {
    pub(super) fn of(fast: bool) -> Timings {
        if fast {
            return Timings { push_pull: defaults::GOSSIP_FAST_PUSH_PULL, reconnect: defaults::GOSSIP_FAST_RECONNECT };
        }
        Timings { push_pull: defaults::GOSSIP_PUSH_PULL, reconnect: defaults::GOSSIP_RECONNECT }
    }
}

/// The size that a pool of `members` is tuned for: a power of two, so that it seldom changes.
pub(super) fn tuned_size(members: usize) -> u32 {
    let bounded = u32::try_from(members.min(defaults::GOSSIP_MAX_MEMBERS)).unwrap_or(u32::MAX / 2);
    bounded.next_power_of_two().max(defaults::GOSSIP_MIN_POOL)
}

pub(super) fn protocol(pool: Pool, fast: bool, size: u32, keep_down: Duration) -> foca::Config {
    let size = NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN);
    let mut config = match pool {
        Pool::Lan => foca::Config::new_lan(size),
        Pool::Wan => foca::Config::new_wan(size),
    };
    if fast {
        config.probe_period = Duration::from_millis(200);
        config.probe_rtt = Duration::from_millis(80);
        config.suspect_to_down_after = Duration::from_millis(800);
        config.periodic_gossip = periodic(Duration::from_millis(50), 3);
        config.periodic_announce = periodic(Duration::from_secs(5), 1);
        config.periodic_announce_to_down_members = periodic(Duration::from_secs(1), 2);
    }
    let floor = NonZeroU8::new(defaults::GOSSIP_MIN_TRANSMISSIONS).unwrap_or(NonZeroU8::MIN);
    config.max_transmissions = config.max_transmissions.max(floor);
    config.remove_down_after = Some(keep_down);
    config.notify_down_members = true;
    // The same number with and without encryption: the protocol refuses larger packets on receipt.
    let packet = defaults::GOSSIP_DATAGRAM_BYTES - defaults::GOSSIP_ENVELOPE_BYTES;
    config.max_packet_size = NonZeroUsize::new(packet).unwrap_or(NonZeroUsize::MIN);
    config
}

fn periodic(frequency: Duration, members: usize) -> Option<PeriodicParams> {
    Some(PeriodicParams { frequency, num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rumour_is_sent_five_times_at_least() {
        for members in [0, 1, 2, 3, 100] {
            for pool in [Pool::Lan, Pool::Wan] {
                let config = protocol(pool, false, tuned_size(members), Duration::from_secs(1));
                assert!(config.max_transmissions.get() >= 5, "{pool:?} {members}");
            }
        }
    }

    #[test]
    fn a_broadcast_always_fits_beside_the_largest_header() {
        let packet = protocol(Pool::Lan, false, 10, Duration::from_secs(1)).max_packet_size.get();
        assert!(defaults::GOSSIP_BROADCAST_BYTES + 160 <= packet);
    }
}
