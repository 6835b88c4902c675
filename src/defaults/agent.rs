//! Numbers of the agent itself: its start and end, its log, its addresses and certificates.

use std::time::Duration;

/// The release of Consul whose manners the API has; tools choose their behaviour by it.
pub const CONSUL_VERSION: &str = "1.21.4";
/// When that release was made, for tools that read it as a date.
pub const CONSUL_BUILD_DATE: &str = "2025-08-13T00:00:00Z";
/// Time between looks for servers of this datacenter that are missing in the WAN pool. Consul's number.
pub const FLOOD_JOIN_INTERVAL: Duration = Duration::from_secs(60);
/// The same while some are missing.
pub const FLOOD_JOIN_RETRY: Duration = Duration::from_secs(1);
/// Time between refreshes of the estimated ways to other datacenters: two rounds of the WAN pool's measurements.
pub const WAN_ESTIMATE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a graceful leave may take before the process goes anyway. Consul's number.
pub const LEAVE_LIMIT: Duration = Duration::from_secs(15);
/// How long a leaving server waits to be taken out of the Raft configuration. Consul's number.
pub const RAFT_REMOVAL_WAIT: Duration = Duration::from_secs(5);
/// How long each phase of a shutdown may take.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

// === Addresses ===

/// Time between looks at the host's addresses, for templates: a look costs less than 1 ms, and a moved container is back soon.
pub const ADDRESS_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Looks after a move that compare the catalog with this agent: the leader may first write back the old address.
pub const ADDRESS_SYNC_LOOKS: u32 = 3;

// === Certificates ===

/// Days to a certificate's end below which `federation doctor` and the log warn of it.
pub const CERTIFICATE_SOON_DAYS: i64 = 30;
/// Time between log lines about certificates that end soon.
pub const CERTIFICATE_TOLD_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between looks at certificate files. A change counts once two looks agree: certificate and key are written one by one.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

// === Log ===

/// Time that something may fail before a warning: agents that start together find a leader within it.
pub const TROUBLE_PATIENCE: Duration = Duration::from_secs(10);
/// Time between warnings of one thing that goes on failing: often enough to be seen in a log of today.
pub const TROUBLE_REPEAT: Duration = Duration::from_secs(300);
/// Time between warnings of a listener that cannot accept: it tries many times a second.
pub const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(60);
