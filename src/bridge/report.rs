//! The present state of the other datacenters, for operators. It looks and changes nothing; no call waits for it.

use super::answers::FeedReport;
use super::datacenter::Datacenter;
use super::link::{Link, State, utc};
use super::{Bridge, RemoteServer, UnresolvedName};
use crate::defaults;
use crate::model::federation::{
    CertificateReport, DatacenterReport, DatacenterState, FeedCounts, LinkRole, LinkState, ServerReport, Traffic, Voucher,
};
use crate::tls::{ShownCertificate, Trust, days_between};
use quinn::Connection;
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

impl Bridge {
    /// Every other datacenter that is or was known, by name.
    pub(super) fn report_all(&self) -> Vec<DatacenterReport> {
        let known = self.links.known();
        let mut reports: BTreeMap<String, DatacenterReport> =
            known.iter().map(|(name, datacenter)| (name.clone(), self.report_on(name, datacenter))).collect();
        for UnresolvedName { dc, name, cause } in self.unresolved.load().iter() {
            let report = DatacenterReport {
                name: dc.clone(),
                state: DatacenterState::Unreachable,
                cause: Some(format!("unreachable: {name} cannot be resolved: {cause}")),
                ..DatacenterReport::default()
            };
            reports.entry(dc.clone()).or_insert(report);
        }
        let gone = self.links.removed().into_iter().map(|name| (name, "removed"));
        for (name, cause) in self.links.refused().into_iter().chain(gone) {
            let state = if cause == "disabled" { DatacenterState::Disabled } else { DatacenterState::Removed };
            let (feeds, inbound, cause) = (self.feed_counts(&name), self.inbound.count(&name), Some(cause.to_owned()));
            let report = DatacenterReport { name: name.clone(), state, cause, feeds, inbound, ..DatacenterReport::default() };
            reports.entry(name).or_insert(report);
        }
        reports.into_values().collect()
    }

    /// The feeds of `dc` in numbers.
    fn feed_counts(&self, dc: &str) -> FeedCounts {
        let FeedReport { standing, held, bytes, oldest } = self.answers.report(dc);
        // Rounded up: a reported age is never below the true one.
        let oldest_age_millis = oldest.map(|age| u64::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX));
        FeedCounts { standing, held, bytes, oldest_age_millis }
    }

    fn report_on(&self, name: &str, datacenter: &Datacenter) -> DatacenterReport {
        let links = datacenter.links();
        let roles = roles(&links);
        let feeds = self.feed_counts(name);
        let outage = datacenter.outage().filter(|_| roles.is_empty());
        let refusal = self.links.refusal(name);
        let state = match (&outage, feeds.held) {
            _ if refusal == Some("disabled") => DatacenterState::Disabled,
            _ if refusal.is_some() => DatacenterState::Removed,
            _ if !roles.is_empty() => DatacenterState::Alive,
            (_, 1..) => DatacenterState::Stale,
            (Some(_), 0) => DatacenterState::Unreachable,
            (None, 0) => DatacenterState::Trying,
        };
        let listed = Arc::clone(&self.servers.borrow());
        let link_to = |server: &RemoteServer| links.iter().find(|link| link.server.name == server.name);
        let servers = listed.iter().filter(|server| server.dc == name);
        let mut servers: Vec<ServerReport> = servers.map(|server| self.server_report(server, link_to(server), &roles)).collect();
        servers.sort_by(|one, other| one.name.cmp(&other.name));
        DatacenterReport {
            name: name.to_owned(),
            state,
            since: outage.as_ref().map(|outage| utc(outage.since)),
            cause: refusal.map(str::to_owned).or_else(|| outage.as_ref().map(|outage| outage.reason())),
            feeds,
            inbound: self.inbound.count(name),
            servers,
        }
    }

    fn server_report(&self, server: &RemoteServer, link: Option<&Arc<Link>>, roles: &BTreeMap<String, LinkRole>) -> ServerReport {
        let mut report = ServerReport {
            name: server.name.clone(),
            address: server.addr.to_string(),
            alive: server.alive,
            ..ServerReport::default()
        };
        let Some(link) = link else { return report };
        report.parked = defaults::BRIDGE_MAX_PARKED.saturating_sub(link.parking.available_permits());
        match link.state() {
            State::Trying | State::Greeting(_) => report.link = LinkState::Trying,
            State::Down(outage) => {
                report.link = LinkState::Down;
                report.since = Some(utc(outage.since));
                report.cause = Some(outage.reason());
            }
            State::Up(connection, _) => {
                report.link = if connection.close_reason().is_none() { LinkState::Up } else { LinkState::Down };
                report.role = roles.get(&server.name).copied();
                report.since = link.up_since().map(utc);
                report.rtt_millis = Some(millis(connection.rtt()));
                report.traffic = Some(traffic(&connection));
                let endpoint = self.endpoint().ok();
                report.certificate = endpoint.and_then(|endpoint| certificate(&connection, &server.dc, &endpoint.trust()));
            }
        }
        report
    }
}

/// The roles of the servers whose links are asked first and next.
fn roles(links: &[Arc<Link>]) -> BTreeMap<String, LinkRole> {
    let up = links.iter().filter(|link| link.connection().is_some());
    up.zip([LinkRole::Live, LinkRole::Standby]).map(|(link, role)| (link.server.name.clone(), role)).collect()
}

/// Milliseconds, with microseconds behind the point.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn traffic(connection: &Connection) -> Traffic {
    let stats = connection.stats();
    Traffic {
        bytes_in: stats.udp_rx.bytes,
        bytes_out: stats.udp_tx.bytes,
        datagrams_in: stats.udp_rx.datagrams,
        datagrams_out: stats.udp_tx.datagrams,
        packets_lost: stats.path.lost_packets,
    }
}

/// The certificate that the other end of `connection`, a server of `dc`, has shown.
pub(super) fn certificate(connection: &Connection, dc: &str, trust: &Arc<Trust>) -> Option<CertificateReport> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let shown = ShownCertificate::read(&chain, dc, trust).ok()?;
    Some(CertificateReport {
        voucher: if shown.from_ca { Voucher::Ca } else { Voucher::Pin },
        fingerprint: shown.fingerprint,
        expires: utc(shown.expires),
        days_left: days_between(SystemTime::now(), shown.expires),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_have_microseconds() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.235);
    }
}
