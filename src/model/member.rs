//! A member of a gossip pool.

use super::ids::NodeId;
use super::level;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The tags that members carry; the words are Serf's and Consul's, but for `bridge`, `cluster`, `observe`,
/// `level` and `leads`.
pub mod tag {
    /// `consul` for a server, `node` for a client.
    pub const ROLE: &str = "role";
    pub const DC: &str = "dc";
    pub const ID: &str = "id";
    /// Port of the RPC listener, and of the bridge.
    pub const PORT: &str = "port";
    /// Version and revision.
    pub const BUILD: &str = "build";
    /// Present and `1` with `-bootstrap`.
    pub const BOOTSTRAP: &str = "bootstrap";
    /// The number of `-bootstrap-expect`.
    pub const EXPECT: &str = "expect";
    /// WAN port, in the LAN pool, for the flood join.
    pub const WAN_JOIN_PORT: &str = "wan_join_port";
    /// WAN address, in the LAN pool, for the flood join; absent where it is the LAN address.
    pub const WAN_JOIN_ADDR: &str = "wan_join_addr";
    /// SHA-256 fingerprint (hex) of a server's self-made bridge certificate.
    pub const BRIDGE_PIN: &str = "bridge";
    /// RPC address when it is not the gossip address.
    pub const RPC_ADDR: &str = "rpc_addr";
    /// Cluster id, once the server is part of one.
    pub const CLUSTER: &str = "cluster";
    /// `1` for an agent that probes for others, `0` for one that does not; absent in builds without voted checks.
    pub const OBSERVE: &str = "observe";
    /// The highest [`level`](super::super::level) of Raft's log that a server reads, in the LAN pool.
    pub const LEVEL: &str = "level";
    /// The term in which this server leads, in the LAN pool, for as long as it does.
    pub const LEADS: &str = "leads";
    /// The time that the others keep this member when it has failed; absent where they decide.
    pub const RECONNECT_TIMEOUT: &str = "rc_tm";
    /// Network segment, always empty.
    pub const SEGMENT: &str = "segment";
}

/// The state of a member; the numbers are those of `/v1/agent/members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemberStatus {
    Alive = 1,
    Leaving = 2,
    /// It has left, or was made to.
    Left = 3,
    Failed = 4,
}

/// The provider that an address to join names for a cloud's API (`provider=aws …`), which is no address.
pub fn cloud_provider(address: &str) -> Option<&str> {
    address.split_whitespace().find_map(|word| word.strip_prefix("provider="))
}

impl MemberStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            MemberStatus::Alive => "alive",
            MemberStatus::Leaving => "leaving",
            MemberStatus::Left => "left",
            MemberStatus::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `<node>` in the LAN pool, `<node>.<dc>` in the WAN pool.
    pub name: String,
    pub addr: SocketAddr,
    pub tags: BTreeMap<String, String>,
    pub status: MemberStatus,
}

impl Member {
    /// A tag, or the empty text.
    pub fn tag(&self, name: &str) -> &str {
        self.tags.get(name).map_or("", String::as_str)
    }

    pub fn dc(&self) -> &str {
        self.tag(tag::DC)
    }

    /// Unset where the tag is no id.
    pub fn id(&self) -> Option<NodeId> {
        self.tag(tag::ID).parse().ok()
    }

    pub fn is_server(&self) -> bool {
        self.tag(tag::ROLE) == "consul"
    }

    /// The highest [`level`] of Raft's log that it reads. Builds without the tag read votes where they have
    /// [`tag::OBSERVE`].
    pub fn level(&self) -> u32 {
        let default_level = if self.tag(tag::OBSERVE).is_empty() { 0 } else { level::VOTES };
        self.tag(tag::LEVEL).parse().unwrap_or(default_level)
    }

    /// The address for requests: RPC over TCP in the LAN pool, the bridge over UDP in the WAN pool.
    pub fn rpc_addr(&self) -> Option<SocketAddr> {
        let ip: IpAddr = match self.tag(tag::RPC_ADDR) {
            "" => self.addr.ip(),
            text => text.parse().ok()?,
        };
        Some(SocketAddr::new(ip, self.tag(tag::PORT).parse().ok()?))
    }

    /// The node's name without the `.dc` of the WAN pool.
    pub fn node_name(&self) -> &str {
        self.name.strip_suffix(self.dc()).and_then(|name| name.strip_suffix('.')).unwrap_or(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_tell_its_level_reads_votes_where_it_knows_of_observers() {
        let of = |tags: &[(&str, &str)]| {
            let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Member { name: "s1".into(), addr: ([10, 0, 0, 1], 8301).into(), tags, status: MemberStatus::Alive }.level()
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[(tag::OBSERVE, "0")]), level::VOTES);
        assert_eq!(of(&[(tag::OBSERVE, "1"), (tag::LEVEL, "2")]), level::AUTOPILOT);
        assert_eq!(of(&[(tag::LEVEL, "x")]), 0);
    }
}
