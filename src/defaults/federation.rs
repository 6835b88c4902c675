//! Numbers of the federation: its configuration, the names of its static entries, removals.

use std::time::Duration;

/// Datacenters in `federation {}`: far above the largest federations.
pub const FEDERATION_MAX_DATACENTERS: usize = 256;
/// Entries of one datacenter in `federation {}`.
pub const FEDERATION_MAX_SERVERS: usize = 64;
/// Addresses that one name of a static entry may give; further ones are passed over and counted.
pub const FEDERATION_MAX_RESOLVED: usize = 32;
/// How long the resolver may take for one name: longer than its own first timeout.
pub const FEDERATION_RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Names that are looked up at a time: each keeps one thread busy.
pub const FEDERATION_LOOKUPS: usize = 8;
/// Time between lookups of a static entry's names while a link of its datacenter is down.
pub const FEDERATION_RESOLVE_RETRY: Duration = Duration::from_secs(5);
/// The same while all links stand.
pub const FEDERATION_RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// Clusters of other datacenters that the catalog remembers as removed; over it a removal is refused.
pub const FEDERATION_MAX_REMOVED: usize = 1_024;
/// Time between looks whether a started server's catalog is as new as a leader's, and between tries to write removals.
pub const FEDERATION_REMOVALS_LOOK: Duration = Duration::from_millis(250);
/// Time that a join waits for a readmission to reach this server.
pub const FEDERATION_READMIT_WAIT: Duration = Duration::from_secs(5);
/// Time between tries meanwhile.
pub const FEDERATION_READMIT_RETRY: Duration = Duration::from_millis(100);
