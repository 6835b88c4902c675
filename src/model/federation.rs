//! What operators see of the federation: the other datacenters as one server sees them, and what a
//! look for faults has found.
//!
//! Made by `bridge` and `router`, shown by `http` and `cli`.

use serde::{Deserialize, Serialize};

/// `GET federation`, `GET federation/<dc>`: other datacenters, as one server sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Federation {
    /// The datacenter of the server that was asked.
    pub datacenter: String,
    /// Its node name.
    pub server: String,
    /// The other datacenters, by name.
    pub datacenters: Vec<DatacenterReport>,
}

/// How another datacenter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatacenterState {
    /// A link stands.
    Alive,
    /// No link stands, and answers that were given before are held.
    Stale,
    /// The first dials are under way.
    #[default]
    Trying,
    /// No link stands and nothing is held.
    Unreachable,
    /// All its servers have left.
    Left,
    /// It had servers once and has none any more, or an operator has removed it.
    Removed,
    /// It is switched off by configuration.
    Disabled,
}

impl DatacenterState {
    /// Whether there is a way to it, open or not.
    pub fn has_a_way(self) -> bool {
        !matches!(self, DatacenterState::Left | DatacenterState::Removed | DatacenterState::Disabled)
    }

    /// The word for it, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DatacenterState::Alive => "alive",
            DatacenterState::Stale => "stale",
            DatacenterState::Trying => "trying",
            DatacenterState::Unreachable => "unreachable",
            DatacenterState::Left => "left",
            DatacenterState::Removed => "removed",
            DatacenterState::Disabled => "disabled",
        }
    }
}

/// Another datacenter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DatacenterReport {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: DatacenterState,
    /// Since when no link stands, RFC 3339.
    pub since: Option<String>,
    /// Why no link stands, as `X-Kontor-Reason` tells it.
    pub cause: Option<String>,
    /// What is held of it.
    pub feeds: FeedCounts,
    /// Connections that its servers hold to this one.
    pub inbound: usize,
    /// Its servers, by name.
    pub servers: Vec<ServerReport>,
}

impl DatacenterReport {
    /// The server whose link is asked first.
    pub fn live(&self) -> Option<&ServerReport> {
        self.servers.iter().find(|server| server.role == Some(LinkRole::Live))
    }
}

/// The feeds of a datacenter and the answers held of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FeedCounts {
    /// Feeds that stand.
    pub standing: usize,
    /// Answers held, of feeds that stand and of those that broke.
    pub held: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Age of the oldest, in milliseconds.
    pub oldest_age_millis: Option<u64>,
}

/// How the link to one server stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// None is wanted: two others stand.
    #[default]
    None,
    /// The first dial is under way.
    Trying,
    /// It stands.
    Up,
    /// It failed and is dialled again and again.
    Down,
}

impl LinkState {
    /// The word for it, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::None => "none",
            LinkState::Trying => "trying",
            LinkState::Up => "up",
            LinkState::Down => "down",
        }
    }
}

/// What a link that stands is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkRole {
    /// It is asked first.
    Live,
    /// It is asked when the other is late or fails.
    Standby,
}

/// One server of another datacenter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerReport {
    /// Its node name.
    pub name: String,
    /// Where its bridge listens.
    pub address: String,
    /// Whether gossip takes it for alive.
    pub alive: bool,
    /// How the link to it stands.
    pub link: LinkState,
    /// What the link is used for.
    pub role: Option<LinkRole>,
    /// Round-trip time as QUIC measures it, in milliseconds.
    pub rtt_millis: Option<f64>,
    /// Since when the link is up or down, RFC 3339.
    pub since: Option<String>,
    /// Why it is down.
    pub cause: Option<String>,
    /// The certificate it shows on the link.
    pub certificate: Option<CertificateReport>,
    /// What has gone over the link since it is up.
    pub traffic: Option<Traffic>,
    /// Blocking queries parked on the link.
    pub parked: usize,
}

/// What vouches for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voucher {
    /// The CA configured here.
    Ca,
    /// Its fingerprint, which the server's datacenter has told.
    Pin,
}

/// A certificate that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CertificateReport {
    /// What vouches for it.
    pub voucher: Voucher,
    /// SHA-256 in hex.
    pub fingerprint: String,
    /// Until when it is valid, RFC 3339.
    pub expires: String,
    /// Whole days until then, negative after it.
    pub days_left: i64,
}

impl CertificateReport {
    /// Whether its end is no date to remember: a certificate that a server has made itself is trusted
    /// by its fingerprint and not by a date.
    pub fn is_for_ever(&self) -> bool {
        self.days_left > 36_500
    }
}

/// What has gone over a link, in UDP datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Traffic {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Datagrams sent.
    pub datagrams_out: u64,
    /// Packets sent that were lost on the way.
    pub packets_lost: u64,
}

/// `PUT federation/doctor/<dc>`: what is wrong on the way to a datacenter and back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Examination {
    /// The datacenter of the server that looked.
    pub datacenter: String,
    /// Its node name.
    pub server: String,
    /// The datacenter that was looked at.
    pub examined: String,
    /// What was found, in the order of the looking.
    pub findings: Vec<Finding>,
}

impl Examination {
    /// Whether nothing is wrong.
    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(|finding| finding.level == Level::Ok)
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and will not for ever or not under all circumstances.
    Warning,
    /// It does not work.
    Error,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Whether servers are known at all.
    Servers,
    /// Whether a configured name can be resolved.
    Name,
    /// The address that a server tells of itself.
    Address,
    /// Whether it answers on its UDP port.
    Port,
    /// Whether the two speak the same protocol.
    Protocol,
    /// Whether the certificates are accepted.
    Certificate,
    /// How far the clocks are apart.
    Clock,
    /// What gossip says against what the link shows.
    Gossip,
    /// Whether the other side reaches this one.
    WayBack,
}

impl Check {
    /// The word for it, as in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Servers => "servers",
            Check::Name => "name",
            Check::Address => "address",
            Check::Port => "port",
            Check::Protocol => "protocol",
            Check::Certificate => "certificate",
            Check::Clock => "clock",
            Check::Gossip => "gossip",
            Check::WayBack => "way-back",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub check: Check,
    /// The server or the datacenter it is about, as `<node>.<dc>` or `<dc>`; of the way back, both ends.
    pub about: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub came: String,
    /// What to do; nothing when all is well.
    pub advice: Option<String>,
}
