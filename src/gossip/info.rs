//! A member's state outside the membership protocol: name, node id, tags, departure.
//! A member alone writes its own state; [`Stamp`] orders its versions. Small states travel as rumours, all of them in state
//! exchanges. No I/O.

use super::Pool;
use super::horizon::Horizon;
use super::identity::Identity;
use crate::defaults;
use crate::model::coordinate::Coordinate;
use crate::model::duration;
use crate::model::ids::NodeId;
use crate::model::member::tag;
use crate::model::removals::Removals;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Orders the states that one member has published; the greater is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// The generation of the identity that published it.
    pub generation: u64,
    /// Counts the changes within that generation.
    pub version: u64,
}

/// The state of a member, as it reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeInfo {
    pub name: String,
    pub node_id: NodeId,
    pub addr: SocketAddr,
    /// The place of this state among all of its member.
    pub stamp: Stamp,
    /// The member reports that it leaves.
    pub left: bool,
    pub tags: BTreeMap<String, String>,
}

impl NodeInfo {
    pub(super) fn identity(&self) -> Identity {
        Identity::new(self.addr, self.stamp.generation, self.node_id)
    }

    /// A tag, or the empty text.
    pub(super) fn tag(&self, name: &str) -> &str {
        self.tags.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Rumour {
    /// A member's state.
    Info(NodeInfo),
    /// A member's state is too large for a datagram; it is fetched over TCP.
    Newer { name: String, addr: SocketAddr, stamp: Stamp },
    /// An order that a member leaves. Holds for states up to `stamp`; the member refutes it by a newer one.
    Forced { name: String, stamp: Stamp, prune: bool },
}

impl Rumour {
    /// The member it is about, with the stamp of the state.
    pub(super) fn subject(&self) -> (&str, Stamp) {
        match self {
            Rumour::Info(info) => (&info.name, info.stamp),
            Rumour::Newer { name, stamp, .. } | Rumour::Forced { name, stamp, .. } => (name, *stamp),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub info: NodeInfo,
    /// It was made to leave.
    pub forced: bool,
    /// Its record in the membership protocol.
    pub member: foca::Member<Identity>,
    /// Milliseconds since it was found down; `None` while it is up.
    pub down_for_ms: Option<u64>,
    pub coordinate: Option<Coordinate>,
}

/// An order that a member leaves, as a state exchange carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrderNews {
    pub name: String,
    /// The order holds for states up to this one.
    pub stamp: Stamp,
    /// The member is to be forgotten as well.
    pub prune: bool,
    /// Milliseconds since the order was given.
    pub age_ms: u64,
}

/// The checks that every state passes before it is believed.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub pool: Pool,
    pub datacenter: String,
    pub allowed: Vec<IpNet>,
    /// Clusters of other datacenters that are refused.
    pub removed: Arc<ArcSwap<Removals>>,
    /// The latest beginning of a life.
    pub horizon: Arc<Horizon>,
}

impl Policy {
    pub(super) fn admits_addr(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip();
        let is_allowed = self.allowed.is_empty() || self.allowed.iter().any(|net| net.contains(&ip));
        !ip.is_unspecified() && !ip.is_multicast() && addr.port() != 0 && is_allowed
    }

    pub(super) fn admits_identity(&self, id: &Identity) -> bool {
        self.horizon.admits(id.bump) && self.admits_addr(id.addr)
    }

    /// True for a datacenter that operators here have removed.
    pub(super) fn shuns(&self, info: &NodeInfo) -> bool {
        self.pool == Pool::Wan && self.removed.load().refuses(info.tag(tag::DC), info.tag(tag::CLUSTER).parse().ok())
    }

    /// Refuses a state that no member may have; the reason is in Consul's words if it has some.
    pub(super) fn admits(&self, info: &NodeInfo) -> Result<(), Denied> {
        let NodeInfo { name, addr, .. } = info;
        let denied = |kind, reason| Err(Denied { kind, reason });
        if name.is_empty() || name.len() > defaults::GOSSIP_NAME_BYTES {
            return denied("name", format!("Member at {addr} has a name of {} bytes; expected 1 to 256", name.len()));
        }
        let dc = info.tag(tag::DC);
        if self.pool == Pool::Lan && dc != self.datacenter {
            let reason = format!("Member '{name}' part of wrong datacenter '{dc}'; expected '{}'", self.datacenter);
            return denied("datacenter", reason);
        }
        if self.pool == Pool::Wan && info.tag(tag::ROLE) != "consul" {
            return denied("role", format!("Member '{name}' is not a server"));
        }
        // A server would else be of one datacenter by its name, and of another by its tags.
        if self.pool == Pool::Wan && !name.strip_suffix(dc).is_some_and(|rest| rest.ends_with('.')) {
            let reason = format!("Member '{name}' says that it is of datacenter '{dc}'; expected a name that ends with '.{dc}'");
            return denied("datacenter", reason);
        }
        if self.shuns(info) {
            let reason = format!("Member '{name}' is of datacenter '{dc}', which was removed in '{}'", self.datacenter);
            return denied("removed", reason);
        }
        if !self.horizon.admits(info.stamp.generation) {
            return denied("clock", self.too_late(info));
        }
        if !self.admits_addr(*addr) {
            return denied(
                "address",
                format!("Member '{name}' has address {addr}, which is not an allowed one (see allowed_cidrs)"),
            );
        }
        let bytes: usize = info.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > defaults::GOSSIP_INFO_BYTES {
            return denied("size", format!("Member '{name}' has {bytes} bytes of tags; at most {}", defaults::GOSSIP_INFO_BYTES));
        }
        Ok(())
    }

    fn too_late(&self, info: &NodeInfo) -> String {
        let ahead = self.horizon.ahead_of_clock(info.stamp.generation).unwrap_or_default();
        format!(
            "Member '{}' at {} says that it began {} ahead of the clock here; clocks may differ by {}, set the wrong one",
            info.name,
            info.addr,
            duration::format(Duration::from_secs(ahead.as_secs())),
            duration::format(defaults::GOSSIP_CLOCK_SKEW)
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// The kind of reason; a counter's label.
    pub kind: &'static str,
    /// The text, for operators of both sides.
    pub reason: String,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gossip::identity::MAX_GENERATION;

    pub(crate) fn tags(dc: &str, role: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(tag::DC.to_owned(), dc.to_owned()), (tag::ROLE.to_owned(), role.to_owned())])
    }

    pub(crate) fn info(name: &str, port: u16, generation: u64) -> NodeInfo {
        NodeInfo {
            name: name.to_owned(),
            node_id: NodeId::from_u128(u128::from(port)),
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            stamp: Stamp { generation, version: 0 },
            left: false,
            tags: tags("dc1", "node"),
        }
    }

    pub(crate) fn policy(pool: Pool) -> Policy {
        Policy { pool, datacenter: "dc1".to_owned(), allowed: Vec::new(), removed: Arc::default(), horizon: Arc::default() }
    }

    #[test]
    fn a_server_s_name_and_its_datacenter_must_agree() {
        let mut server = NodeInfo { tags: tags("dc1", "consul"), ..info("s1.dc2", 1, 1) };
        let text = policy(Pool::Wan).admits(&server).unwrap_err().reason;
        assert!(text.contains("s1.dc2") && text.contains("'dc1'"), "{text}");
        server.tags = tags("dc2", "consul");
        assert_eq!(policy(Pool::Wan).admits(&server), Ok(()));
        server.tags = tags("", "consul");
        assert!(policy(Pool::Wan).admits(&server).is_err());
    }

    #[test]
    fn a_removed_cluster_is_shunned_and_another_of_its_datacenter_is_not() {
        let [old, new] = [1, 2].map(|number| crate::model::ids::ClusterId(uuid::Uuid::from_u128(number)));
        let mut server = NodeInfo { tags: tags("dc2", "consul"), ..info("s1.dc2", 1, 1) };
        let policy = policy(Pool::Wan);
        let mut removals = Removals::default();
        removals.remove("dc2", Some(old));
        policy.removed.store(Arc::new(removals));
        assert!(
            policy.admits(&server).unwrap_err().reason.contains("removed in 'dc1'"),
            "a member without a cluster could be of it"
        );
        server.tags.insert(tag::CLUSTER.to_owned(), old.to_string());
        assert!(policy.admits(&server).is_err());
        server.tags.insert(tag::CLUSTER.to_owned(), new.to_string());
        assert_eq!(policy.admits(&server), Ok(()));
    }

    #[test]
    fn addresses_outside_the_allowed_networks_are_refused() {
        let mut narrow = policy(Pool::Lan);
        narrow.allowed = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(narrow.admits(&info("x", 1, 1)).is_err());
        assert!(policy(Pool::Lan).admits(&info("x", 0, 1)).is_err(), "port 0");
        assert!(policy(Pool::Lan).admits(&info("x", 1, MAX_GENERATION)).is_err(), "a generation nobody can refute");
    }

    #[test]
    fn a_life_that_began_ahead_of_the_clock_is_refused_with_the_difference() {
        let day = u64::try_from(defaults::GOSSIP_CLOCK_SKEW.as_millis()).unwrap();
        assert_eq!(policy(Pool::Lan).admits(&info("x", 1, day - 1)), Ok(()));
        let text = policy(Pool::Lan).admits(&info("x", 1, 2 * day)).unwrap_err().reason;
        assert!(text.contains("'x'") && text.contains("48h0m0s ahead of the clock here"), "{text}");
    }
}
