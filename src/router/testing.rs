//! The settings and members that tests of the router share.

use super::{RemoteStale, RouterSettings};
use crate::gossip::Roster;
use crate::model::autopilot::AutopilotConfig;
use crate::model::ids::NodeId;
use crate::model::member::{Member, MemberStatus, tag};
use std::net::SocketAddr;
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

pub(super) fn id(number: u8) -> NodeId {
    NodeId::from_u128(u128::from(number))
}

/// The member `name` at 10.0.0.`last`.
pub(super) fn member<'a>(
    name: &str,
    last: u8,
    status: MemberStatus,
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Member {
    let addr = SocketAddr::from(([10, 0, 0, last], 8301));
    let tags = tags.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Member { name: name.to_owned(), addr, tags, status }
}

/// The server or client `s<number>` of this datacenter, with the id and the address of its number.
pub(super) fn agent(number: u8, role: &str, status: MemberStatus) -> Member {
    let id = id(number).to_string();
    let tags = [(tag::ROLE, role), (tag::ID, &id), (tag::PORT, "8300"), (tag::BUILD, "1.9.0:abc")];
    member(&format!("s{number}"), number, status, tags)
}

pub(super) fn wan_server(node: &str, dc: &str, status: MemberStatus) -> Member {
    member(&format!("{node}.{dc}"), 1, status, [(tag::ROLE, "consul"), (tag::DC, dc), (tag::PORT, "8300")])
}

pub(super) fn roster(members: impl IntoIterator<Item = Member>) -> Roster {
    Roster { members: members.into_iter().map(|member| (member.name.clone(), member)).collect() }
}
