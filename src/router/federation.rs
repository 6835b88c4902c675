//! The other datacenters as this server sees them: the bridge's report, and those that have left the WAN roster.

use super::Core;
use super::datacenters::Site;
use super::freshness::crosses;
use crate::bridge::Datacenters;
use crate::model::fault::Fault;
use crate::model::federation::{DatacenterReport, DatacenterState, Examination, Federation, ServerReport};
use crate::model::member::{MemberStatus, tag};
use crate::model::operation::{FederationRead, FederationWrite, Read, Removal, Write};
use crate::model::request::{Operation, Phase, Progress, WriteRequest};
use bytes::Bytes;

impl Core {
    /// All other datacenters, or the one named.
    pub(super) fn federation(&self, dc: Option<&str>) -> Result<Federation, Fault> {
        let mut datacenters = self.bridge()?.report();
        self.with_sites(|sites| add_left(&mut datacenters, &self.settings.datacenter, sites));
        if let Some(dc) = dc {
            datacenters.retain(|datacenter| datacenter.name.eq_ignore_ascii_case(dc));
            if datacenters.is_empty() {
                return Err(self.not_known(dc));
            }
        }
        let (datacenter, server) = (self.settings.datacenter.clone(), self.settings.node_name.clone());
        Ok(Federation { datacenter, server, datacenters })
    }

    pub(super) async fn examine(&self, dc: &str) -> Result<Examination, Fault> {
        let known = self.federation(Some(dc))?;
        if let Some(DatacenterReport { name, state, .. }) = known.datacenters.first()
            && !state.has_a_way()
        {
            let why = format!("Datacenter {name:?} has no way to look at: its state here is {state}");
            return Err(Fault::not_found(why));
        }
        self.bridge()?.examine(dc).await
    }

    pub(super) async fn dial_back(&self, dc: &str, progress: &Progress) -> Result<Bytes, Fault> {
        // A dial without an answer takes nearly as long as its asker waits for a sign of progress.
        progress.set(Phase::Parked);
        self.bridge()?.dial_back(dc).await
    }

    /// Adds to a removal within this datacenter the clusters that this server knows by the name.
    pub(super) fn add_what_is_known(&self, ask: &mut Operation) {
        if crosses(&self.settings.datacenter, ask) {
            return;
        }
        let Operation::Write(WriteRequest { write: Write::Federation(FederationWrite::Remove(removal)), .. }) = ask else {
            return;
        };
        let (dc, bridge) = (removal.dc.to_lowercase(), self.paths.datacenters.as_ref());
        let roster = self.paths.members.wan();
        let members = || roster.iter().flat_map(|roster| roster.members.values()).filter(|member| member.dc() == dc);
        removal.is_known |= members().next().is_some() || bridge.is_some_and(|bridge| bridge.knows(&dc));
        let reported = members().filter_map(|member| member.tag(tag::CLUSTER).parse().ok());
        removal.clusters.extend(reported.chain(bridge.and_then(|bridge| bridge.cluster_of(&dc))));
    }

    fn bridge(&self) -> Result<&dyn Datacenters, Fault> {
        self.paths.datacenters.as_deref().ok_or_else(|| Fault::failed("this agent has no bridge to other datacenters"))
    }

    fn not_known(&self, dc: &str) -> Fault {
        let own = &self.settings.datacenter;
        if dc.eq_ignore_ascii_case(own) {
            return Fault::not_found(format!("{own:?} is the datacenter of the agent asked; expected the name of another one"));
        }
        let how = "a server of it joins with `kontor join -wan <an address of a server there>`";
        Fault::not_found(format!("No datacenter {dc:?} is known in {own:?}; {how}"))
    }
}

/// Has a server of `from_dc` dial only its own datacenter, and drops the clusters that it knows of a third one.
pub(super) fn restrict(ask: &mut Operation, from_dc: &str) {
    if let Operation::Read(query) = ask
        && let Read::Federation(FederationRead::DialBack { dc }) = &mut query.identity_mut().read
    {
        from_dc.clone_into(dc);
    } else if let Operation::Write(WriteRequest { write: Write::Federation(FederationWrite::Remove(removal)), .. }) = ask {
        *removal = Removal { dc: std::mem::take(&mut removal.dc), ..Removal::default() };
    }
}

/// Adds the datacenters all of whose servers have left. One that the bridge has lost for that reason counts as left.
fn add_left(reports: &mut Vec<DatacenterReport>, own_dc: &str, sites: &[Site<'_>]) {
    let members = || sites.iter().map(|(member, _)| *member).filter(|member| member.is_server());
    for member in members().filter(|member| member.status == MemberStatus::Left && member.dc() != own_dc) {
        let dc = member.dc();
        if dc.is_empty() || members().any(|other| other.dc() == dc && other.status != MemberStatus::Left) {
            continue;
        }
        let at = reports.iter().position(|report| report.name == dc).unwrap_or_else(|| {
            reports.push(DatacenterReport { name: dc.to_owned(), ..DatacenterReport::default() });
            reports.len() - 1
        });
        let report = &mut reports[at];
        if !matches!(report.state, DatacenterState::Removed | DatacenterState::Trying | DatacenterState::Left) {
            continue;
        }
        report.state = DatacenterState::Left;
        report.cause = Some("all its servers have left".to_owned());
        let (name, address) = (member.node_name().to_owned(), member.rpc_addr().unwrap_or(member.addr).to_string());
        report.servers.push(ServerReport { name, address, ..ServerReport::default() });
    }
    reports.sort_by(|one, other| one.name.cmp(&other.name));
}

#[cfg(test)]
mod tests {
    use super::super::testing::wan_server as server;
    use super::*;
    use crate::model::operation::CatalogRead;
    use crate::model::principal::Principal;
    use crate::model::query::Query;

    fn report(name: &str, state: DatacenterState) -> DatacenterReport {
        DatacenterReport { name: name.to_owned(), state, ..DatacenterReport::default() }
    }

    #[test]
    fn a_datacenter_whose_servers_all_left_is_told_as_left() {
        use MemberStatus::{Alive, Failed, Left};
        let members = [
            server("s1", "dc1", Left),
            server("s1", "gone", Left),
            server("s2", "gone", Left),
            server("s1", "before", Left),
            server("s1", "half", Left),
            server("s2", "half", Failed),
            server("s1", "here", Alive),
        ];
        let sites: Vec<Site<'_>> = members.iter().map(|member| (member, None)).collect();
        let mut reports = vec![
            report("cut", DatacenterState::Removed),
            report("gone", DatacenterState::Removed),
            report("half", DatacenterState::Unreachable),
        ];
        add_left(&mut reports, "dc1", &sites);
        let reported: Vec<(&str, DatacenterState, usize)> =
            reports.iter().map(|report| (report.name.as_str(), report.state, report.servers.len())).collect();
        use DatacenterState as State;
        let expected =
            [("before", State::Left, 1), ("cut", State::Removed, 0), ("gone", State::Left, 2), ("half", State::Unreachable, 0)];
        assert_eq!(reported, expected);
        assert_eq!(reports[0].servers[0].address, "10.0.0.1:8300");
    }

    #[test]
    fn another_datacenter_has_none_but_its_own_servers_dialled() {
        let read = |read| Operation::Read(Query::new(read, Principal::anonymous()));
        let mut operation = read(Read::Federation(FederationRead::DialBack { dc: "dc3".to_owned() }));
        restrict(&mut operation, "dc2");
        assert_eq!(operation, read(Read::Federation(FederationRead::DialBack { dc: "dc2".to_owned() })));
        let mut other = read(Read::Catalog(CatalogRead::Nodes));
        restrict(&mut other, "dc2");
        assert_eq!(other, read(Read::Catalog(CatalogRead::Nodes)));
    }
}
