//! What tests of the router share.

use super::{RemoteStale, RouterSettings};
use crate::model::autopilot::AutopilotConfig;
use crate::model::ids::NodeId;
use std::time::Duration;

/// Those of a server of `dc1` with nothing but defaults.
pub(super) fn settings() -> RouterSettings {
    RouterSettings {
        accept_operator_writes: false,
        node_name: "n1".into(),
        node_id: NodeId::default(),
        datacenter: "dc1".into(),
        rpc_hold: Duration::from_secs(7),
        default_query_time: Duration::from_secs(300),
        max_query_time: Duration::from_secs(600),
        discovery_max_stale: Duration::ZERO,
        session_ttl_min: Duration::from_secs(10),
        use_cache: true,
        translate_wan_addrs: true,
        remote_stale: RemoteStale::None,
        remote_max_stale: Duration::ZERO,
        autopilot: AutopilotConfig::default(),
    }
}
