//! The decision where a request is answered. Pure: no I/O, no clock, and no handle of another room.

use crate::model::fault::Fault;
use crate::model::operation::Need;
use crate::model::query::{Consistency, Query};
use crate::model::request::{Hops, Operation};
use std::net::SocketAddr;

/// The servers that may answer `ask` within the datacenter.
pub(super) fn need(ask: &Operation) -> Need {
    match ask {
        Operation::Write(_) => Need::Leader,
        Operation::Read(query) if query.freshness.consistency == Consistency::Stale => query.identity.read.spec().stale,
        Operation::Read(query) => query.identity.read.spec().fresh,
    }
}

/// The datacenter that `ask` names; `None` for an operation that is never asked of another one.
pub(super) fn wanted_dc(ask: &Operation) -> Option<&str> {
    match ask {
        Operation::Read(query) if query.identity.read.spec().is_of_this_side() => None,
        Operation::Read(query) => query.identity.dc.as_deref(),
        Operation::Write(request) => request.dc.as_deref(),
    }
}

/// The name that stands for all datacenters.
pub(super) const ALL_DATACENTERS: &str = "*";

pub(super) fn is_for_all(query: &Query) -> bool {
    !query.identity.read.spec().is_of_this_side() && query.identity.dc.as_deref() == Some(ALL_DATACENTERS)
}

/// True if `dc` names a datacenter other than `own`, or all of them; names are compared without regard to case.
pub(super) fn is_elsewhere(own: &str, dc: Option<&str>) -> bool {
    dc.is_some_and(|dc| !dc.is_empty() && !dc.eq_ignore_ascii_case(own))
}

/// The place of this datacenter's leader, as far as this agent knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leader {
    Here,
    /// Another server, with this RPC address.
    At(SocketAddr),
    /// No leader or address is known, or this server has just been elected and is not ready.
    Unknown,
}

/// The facts that the decision depends on, beside the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    pub own_dc: &'a str,
    pub is_server: bool,
    pub leader: Leader,
    /// True if this server has ever had contact with a leader, so that its view has an age.
    pub has_view: bool,
}

/// The next place of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Here,
    /// The leader, which must not forward it.
    Leader(SocketAddr),
    /// Any other server of this datacenter.
    AnyServer,
    Bridge(String),
    /// None before there is a leader.
    Hold,
    /// None at all.
    Refuse(Fault),
}

/// Decides for a request that wants `dc` and has come by `hops`.
pub(super) fn route(situation: &Situation<'_>, dc: Option<&str>, hops: Hops, need: Need) -> Route {
    if let Some(dc) = dc.filter(|dc| is_elsewhere(situation.own_dc, Some(dc))) {
        return match (hops.crossed, situation.is_server) {
            (true, _) => Route::Refuse(Fault::no_path("a request that has crossed once does not cross again")),
            (false, true) => Route::Bridge(dc.to_ascii_lowercase()),
            (false, false) => Route::AnyServer,
        };
    }
    if !situation.is_server {
        return Route::AnyServer;
    }
    match (need, situation.leader) {
        (Need::AnyServer, _) | (Need::Leader, Leader::Here) => Route::Here,
        (Need::AnyView, _) if situation.has_view => Route::Here,
        _ if hops.to_leader => Route::Refuse(Fault::no_leader()),
        (Need::AnyView, _) => Route::AnyServer,
        (Need::Leader, Leader::At(addr)) => Route::Leader(addr),
        (Need::Leader, Leader::Unknown) => Route::Hold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::FaultKind;
    use crate::model::operation::{CatalogRead, FederationRead, OperatorRead, OperatorWrite, Read, StatusRead, Write};
    use crate::model::principal::Principal;
    use crate::model::query::testing::QueryOptions;
    use crate::model::request::WriteRequest;

    const FRESH: Hops = Hops { crossed: false, to_leader: false, via_peer: false };
    const CROSSED: Hops = Hops { crossed: true, to_leader: false, via_peer: false };
    const FORWARDED: Hops = Hops { crossed: false, to_leader: true, via_peer: false };

    fn addr() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 8300))
    }

    fn server(leader: Leader, has_view: bool) -> Situation<'static> {
        Situation { own_dc: "dc1", is_server: true, leader, has_view }
    }

    fn client() -> Situation<'static> {
        Situation { own_dc: "dc1", is_server: false, leader: Leader::Unknown, has_view: false }
    }

    #[test]
    fn a_server_answers_forwards_or_holds_by_need_and_leader() {
        let (here, at, unknown) = (Leader::Here, Leader::At(addr()), Leader::Unknown);
        let refused = Route::Refuse(Fault::no_leader());
        for (need, leader, has_view, hops, expected) in [
            (Need::Leader, here, true, FRESH, Route::Here),
            (Need::Leader, here, true, FORWARDED, Route::Here),
            (Need::Leader, here, true, CROSSED, Route::Here),
            (Need::Leader, at, true, FRESH, Route::Leader(addr())),
            (Need::Leader, at, true, CROSSED, Route::Leader(addr())),
            (Need::Leader, at, true, FORWARDED, refused.clone()),
            (Need::Leader, unknown, true, FRESH, Route::Hold),
            (Need::Leader, unknown, true, CROSSED, Route::Hold),
            (Need::Leader, unknown, true, FORWARDED, refused.clone()),
            (Need::AnyView, at, true, FRESH, Route::Here),
            (Need::AnyView, unknown, true, FRESH, Route::Here),
            (Need::AnyView, unknown, false, FRESH, Route::AnyServer),
            (Need::AnyView, at, false, CROSSED, Route::AnyServer),
            (Need::AnyView, at, false, FORWARDED, refused.clone()),
            (Need::AnyServer, unknown, false, FRESH, Route::Here),
            (Need::AnyServer, at, false, FORWARDED, Route::Here),
        ] {
            let found = route(&server(leader, has_view), None, hops, need);
            assert_eq!(found, expected, "{need:?} {leader:?} {has_view} {hops:?}");
        }
    }

    #[test]
    fn a_request_that_has_crossed_never_crosses_again() {
        for situation in [server(Leader::Here, true), client()] {
            let Route::Refuse(fault) = route(&situation, Some("dc3"), CROSSED, Need::AnyServer) else { panic!("it crossed") };
            assert_eq!(fault.kind, FaultKind::NoPath);
        }
    }

    #[test]
    fn another_datacenter_is_across_the_bridge_and_a_forwarded_request_is_never_forwarded_again() {
        for leader in [Leader::Here, Leader::At(addr()), Leader::Unknown] {
            for need in [Need::Leader, Need::AnyView, Need::AnyServer] {
                let found = route(&server(leader, false), Some("dc2"), FRESH, need);
                assert_eq!(found, Route::Bridge("dc2".to_owned()));
                for has_view in [true, false] {
                    let found = route(&server(leader, has_view), None, FORWARDED, need);
                    assert!(matches!(found, Route::Here | Route::Refuse(_)), "{found:?}");
                }
            }
        }
    }

    #[test]
    fn the_own_name_in_any_case_or_none_is_here() {
        for dc in [None, Some(""), Some("dc1"), Some("DC1")] {
            assert_eq!(route(&server(Leader::Here, true), dc, CROSSED, Need::Leader), Route::Here, "{dc:?}");
        }
    }

    #[test]
    fn a_client_asks_a_server_for_everything() {
        for dc in [None, Some("dc1"), Some("dc2")] {
            for need in [Need::Leader, Need::AnyView, Need::AnyServer] {
                assert_eq!(route(&client(), dc, FRESH, need), Route::AnyServer);
            }
        }
    }

    #[test]
    fn what_needs_no_leader_is_asked_of_any_server() {
        let of =
            |read: Read, consistency| need(&Operation::Read(QueryOptions { consistency, ..QueryOptions::default() }.ask(read)));
        use Consistency::{Consistent, Default, Stale};
        for (read, consistency, expected) in [
            (Read::Federation(FederationRead::Datacenters), Default, Need::AnyServer),
            (Read::Federation(FederationRead::Coordinates), Consistent, Need::AnyServer),
            (Read::Status(StatusRead::Leader), Default, Need::AnyServer),
            (Read::Status(StatusRead::Peers), Default, Need::AnyServer),
            (Read::Federation(FederationRead::Report { dc: None }), Default, Need::AnyServer),
            (Read::Federation(FederationRead::Doctor { dc: "dc2".into() }), Consistent, Need::AnyServer),
            (Read::Operator(OperatorRead::RaftConfiguration), Default, Need::Leader),
            (Read::Operator(OperatorRead::RaftConfiguration), Stale, Need::AnyServer),
            (Read::Operator(OperatorRead::AutopilotHealth), Stale, Need::Leader),
            (Read::Operator(OperatorRead::AutopilotState), Default, Need::Leader),
            (Read::Catalog(CatalogRead::Nodes), Default, Need::Leader),
            (Read::Catalog(CatalogRead::Nodes), Consistent, Need::Leader),
            (Read::Catalog(CatalogRead::Nodes), Stale, Need::AnyView),
        ] {
            assert_eq!(of(read.clone(), consistency), expected, "{read:?} {consistency:?}");
        }
        let write = Write::Operator(OperatorWrite::TransferLeader(None));
        let write = WriteRequest { dc: None, principal: Principal::anonymous(), write };
        assert_eq!(need(&Operation::Write(write)), Need::Leader);
    }

    #[test]
    fn a_list_of_datacenters_is_never_asked_of_another_one() {
        let ask = |read| Operation::Read(QueryOptions { dc: Some("dc2".into()), ..QueryOptions::default() }.ask(read));
        assert_eq!(wanted_dc(&ask(Read::Federation(FederationRead::Datacenters))), None);
        assert_eq!(wanted_dc(&ask(Read::Federation(FederationRead::Coordinates))), None);
        assert_eq!(wanted_dc(&ask(Read::Federation(FederationRead::Report { dc: Some("dc2".into()) }))), None);
        assert_eq!(wanted_dc(&ask(Read::Federation(FederationRead::Doctor { dc: "dc2".into() }))), None);
        assert_eq!(wanted_dc(&ask(Read::Status(StatusRead::Leader))), Some("dc2"));
    }
}
