//! The federation as operators see it: the other datacenters as one server sees them, and the findings of an examination.
//!
//! Made by `bridge` and `router`, shown by `http` and `cli`. The words of states are those of the JSON.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `GET federation`, `GET federation/<dc>`: other datacenters, as one server sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Federation {
    pub datacenter: String,
    pub server: String,
    /// By name.
    pub datacenters: Vec<DatacenterReport>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatacenterState {
    Alive,
    /// No link stands, and answers that were given before are held.
    Stale,
    #[default]
    Trying,
    /// No link stands and nothing is held.
    Unreachable,
    Left,
    /// It had servers once and has none any more, or an operator has removed it.
    Removed,
    Disabled,
}

impl DatacenterState {
    pub fn has_a_way(self) -> bool {
        !matches!(self, DatacenterState::Left | DatacenterState::Removed | DatacenterState::Disabled)
    }
}

impl fmt::Display for DatacenterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DatacenterReport {
    pub name: String,
    pub state: DatacenterState,
    /// Time since which no link stands, RFC 3339.
    pub since: Option<String>,
    /// The reason, as in `X-Kontor-Reason`.
    pub cause: Option<String>,
    pub feeds: FeedCounts,
    pub inbound: usize,
    /// By name.
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
    pub standing: usize,
    /// Answers held, of feeds that stand and of those that broke.
    pub held: usize,
    /// Bytes of the held answers.
    pub bytes: u64,
    /// Age of the oldest, in milliseconds.
    pub oldest_age_millis: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// None is wanted: two others stand.
    #[default]
    None,
    Trying,
    Up,
    /// It failed and is dialled again and again.
    Down,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkRole {
    /// It is asked first.
    Live,
    /// It is asked when the other is late or fails.
    Standby,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServerReport {
    pub name: String,
    /// Address of its bridge.
    pub address: String,
    /// Gossip takes it for alive.
    pub alive: bool,
    pub link: LinkState,
    pub role: Option<LinkRole>,
    /// Round-trip time as QUIC measures it, in milliseconds.
    pub rtt_millis: Option<f64>,
    /// Time since which the link is up or down, RFC 3339.
    pub since: Option<String>,
    pub cause: Option<String>,
    pub certificate: Option<CertificateReport>,
    pub traffic: Option<Traffic>,
    pub parked: usize,
}

/// The ground on which a certificate is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voucher {
    Ca,
    /// Its fingerprint, as the server's datacenter announces it.
    Pin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CertificateReport {
    pub voucher: Voucher,
    /// SHA-256 in hex.
    pub fingerprint: String,
    /// End of its validity, RFC 3339.
    pub expires: String,
    /// Whole days until then, negative afterwards.
    pub days_left: i64,
}

impl CertificateReport {
    /// True for a certificate that a server has made itself, which is trusted by its fingerprint and not by a date.
    pub fn is_for_ever(&self) -> bool {
        self.days_left > 36_500
    }
}

/// The traffic of a link, in UDP datagrams, since it is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Traffic {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub datagrams_in: u64,
    pub datagrams_out: u64,
    pub packets_lost: u64,
}

/// `PUT federation/doctor/<dc>`: the faults on the way to a datacenter and back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Examination {
    pub datacenter: String,
    pub server: String,
    pub examined: String,
    /// In the order of the examination.
    pub findings: Vec<Finding>,
}

impl Examination {
    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(|finding| finding.level == Level::Ok)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works now, but not for ever or not under all circumstances.
    Warning,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    Servers,
    Name,
    Address,
    Port,
    Protocol,
    Certificate,
    Clock,
    /// The agreement of gossip with the link.
    Gossip,
    WayBack,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Finding {
    pub level: Level,
    pub check: Check,
    /// The server or the datacenter it is about, as `<node>.<dc>` or `<dc>`; of the way back, both ends.
    pub about: String,
    pub expected: String,
    pub came: String,
    /// Unset when all is well.
    pub advice: Option<String>,
}
