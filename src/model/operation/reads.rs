//! The table of reads.

use super::read::{
    CatalogRead, CoordinateRead, FederationRead, HealthRead, KvPage, KvRead, OperatorRead, Read, ServersRead, SessionRead,
    StatusRead, ViewRead,
};
use super::spec::{Access, Crosses, Need, Resource, Right};
use crate::model::txn::TxnGet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered<'a> {
    /// The store of a server. The answer has an index, and can be waited for.
    View(ViewRead<'a>),
    /// The knowledge of a server about the servers of its datacenter.
    Servers(ServersRead),
    /// The knowledge of the agent asked, or of a server beside it, about the datacenters. No other datacenter is asked.
    ThisSide(&'a FederationRead),
}

/// The endpoints below one part of `/v1`, as configuration names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Catalog,
    Health,
    Coordinate,
    Status,
    /// `/v1/operator` and `/v1/federation`
    Operator,
    /// `/v1/kv`
    Kv,
    /// `/v1/session`
    Session,
    /// `/v1/txn`
    Txn,
}

impl Family {
    /// All of them, by their names in configuration and paths.
    pub const ALL: [(&'static str, Family); 8] = [
        ("catalog", Family::Catalog),
        ("health", Family::Health),
        ("coordinate", Family::Coordinate),
        ("status", Family::Status),
        ("operator", Family::Operator),
        ("kv", Family::Kv),
        ("session", Family::Session),
        ("txn", Family::Txn),
    ];
}

/// The caches that may keep an answer for other users of the same query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The one of `?cached`, at the agent asked.
    pub cached: bool,
    /// The feeds between datacenters. Other answers are asked for each time.
    pub fed: bool,
}

/// The parameters that a read takes beside those of every read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Common,
    /// `tag`
    Tags,
    /// `tag` and `passing`
    TagsAndPassing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Lists whose elements name their datacenter.
    List,
    Services,
    Never,
}

/// One row: every decision by the kind of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSpec<'a> {
    /// Its name: the path below `/v1`, where it has one.
    pub path: &'static str,
    pub family: Family,
    pub answered: Answered<'a>,
    /// The server that answers in stale mode.
    pub stale: Need,
    /// The server that answers in the other modes.
    pub fresh: Need,
    pub shared: Shared,
    pub takes: Takes,
    pub merge: Merge,
    pub crosses: Crosses,
    pub access: Access,
    /// The name of what is read, where the access goes by one.
    pub name: &'a [u8],
    /// Bytes of the texts it holds, which are as long as its user likes.
    pub text_bytes: usize,
}

const NO: Shared = Shared { cached: false, fed: false };
const CACHED: Shared = Shared { cached: true, fed: false };
const FED: Shared = Shared { cached: false, fed: true };
const BOTH: Shared = Shared { cached: true, fed: true };

const NODES: Access = Access::Each(Right::Read, &[Resource::Node]);
const SERVICES: Access = Access::Each(Right::Read, &[Resource::Service]);
const INSTANCES: Access = Access::Each(Right::Read, &[Resource::Node, Resource::Service]);
const KEY: Access = Access::Whole(Right::Read, Resource::Key);
const KEYS: Access = Access::Each(Right::Read, &[Resource::Key]);
const SESSIONS: Access = Access::Each(Right::Read, &[Resource::Session]);
const OPERATOR: Access = Access::Whole(Right::Read, Resource::Operator);
const OPERATOR_WRITE: Access = Access::Whole(Right::Write, Resource::Operator);

/// The columns that differ between the rows of a family, in the order of the tables below.
type Columns<'a> = (&'static str, Shared, Takes, Merge, Crosses, Access, [&'a str; 2]);

impl Read {
    pub fn spec(&self) -> ReadSpec<'_> {
        match self {
            Read::Catalog(read) => view(Family::Catalog, ViewRead::Catalog(read), catalog(read)),
            Read::Health(read) => view(Family::Health, ViewRead::Health(read), health(read)),
            Read::Coordinate(read) => view(Family::Coordinate, ViewRead::Coordinate(read), coordinate(read)),
            Read::Status(read) => status(*read),
            Read::Operator(read) => operator(*read),
            Read::Federation(read) => federation(read),
            Read::Kv(read) => kv(read),
            Read::Session(read) => session(read),
            Read::Txn(gets) => txn(gets),
        }
    }
}

impl<'a> ReadSpec<'a> {
    /// The read for the store; unset for a read that is answered elsewhere.
    pub fn view(&self) -> Option<ViewRead<'a>> {
        match self.answered {
            Answered::View(read) => Some(read),
            Answered::Servers(_) | Answered::ThisSide(_) => None,
        }
    }

    /// The answer has an index and can be waited for.
    pub fn blocks(&self) -> bool {
        self.view().is_some()
    }

    /// The read is of the datacenters as this side sees them: no other one is asked.
    pub fn is_of_this_side(&self) -> bool {
        match self.answered {
            Answered::ThisSide(_) => true,
            Answered::View(_) | Answered::Servers(_) => false,
        }
    }
}

fn row<'a>(family: Family, answered: Answered<'a>, (stale, fresh): (Need, Need), columns: Columns<'a>) -> ReadSpec<'a> {
    let (path, shared, takes, merge, crosses, access, texts) = columns;
    let (name, text_bytes) = (texts[0].as_bytes(), texts.iter().map(|text| text.len()).sum());
    ReadSpec { path, family, answered, stale, fresh, shared, takes, merge, crosses, access, name, text_bytes }
}

fn view<'a>(family: Family, read: ViewRead<'a>, columns: Columns<'a>) -> ReadSpec<'a> {
    row(family, Answered::View(read), (Need::AnyView, Need::Leader), columns)
}

#[rustfmt::skip]
fn catalog(read: &CatalogRead) -> Columns<'_> {
    use {CatalogRead as R, Crosses::Users, Merge::{List, Never, Services}, Takes::{Common, Tags}};
    match read {
        R::Nodes                       => ("catalog/nodes",            FED,  Common,  List,     Users, NODES,     ["", ""]),
        R::Services                    => ("catalog/services",         BOTH, Common,  Services, Users, SERVICES,  ["", ""]),
        R::Service { name, lookup: _ } => ("catalog/service",          BOTH, Tags,    List,     Users, INSTANCES, [name, ""]),
        R::Node { node }               => ("catalog/node",             FED,  Common,  Never,    Users, INSTANCES, [node, ""]),
        R::NodeServices { node }       => ("catalog/node-services",    FED,  Common,  Never,    Users, INSTANCES, [node, ""]),
        R::GatewayServices { gateway } => ("catalog/gateway-services", FED,  Common,  List,     Users, SERVICES,  [gateway, ""]),
    }
}

#[rustfmt::skip]
fn health(read: &HealthRead) -> Columns<'_> {
    use {Crosses::{Nobody, Users}, HealthRead as R, Merge::{List, Never}, Takes::{Common, TagsAndPassing as Passing}};
    match read {
        R::Node { node }               => ("health/node",     FED,  Common,  List,  Users,  INSTANCES,     [node, ""]),
        R::Checks { service }          => ("health/checks",   FED,  Common,  List,  Users,  INSTANCES,     [service, ""]),
        R::State { state }             => ("health/state",    FED,  Common,  List,  Users,  INSTANCES,     [state, ""]),
        R::Service { name, lookup: _ } => ("health/service",  BOTH, Passing, List,  Users,  INSTANCES,     [name, ""]),
        R::Votes { of }                => ("health/votes",    FED,  Common,  Never, Users,  INSTANCES,
                                           [&of.check_id, of.node.as_deref().unwrap_or_default()]),
        R::ObservedBy { node }         => ("health/observed", NO,   Common,  Never, Nobody, Access::Agent, [node, ""]),
    }
}

#[rustfmt::skip]
fn coordinate(read: &CoordinateRead) -> Columns<'_> {
    use {CoordinateRead as R, Crosses::Users, Merge::Never, Takes::Common};
    match read {
        R::Nodes         => ("coordinate/nodes", FED, Common,  Never, Users, NODES, ["", ""]),
        R::Node { node } => ("coordinate/node",  FED, Common,  Never, Users, NODES, [node, ""]),
    }
}

/// Every server answers them in every mode.
#[rustfmt::skip]
fn status(read: StatusRead) -> ReadSpec<'static> {
    use {Crosses::Users, Merge::Never, StatusRead as R, Takes::Common};
    let columns = match read {
        R::Leader => ("status/leader", FED, Common,  Never, Users, Access::Open, ["", ""]),
        R::Peers  => ("status/peers",  FED, Common,  Never, Users, Access::Open, ["", ""]),
    };
    row(Family::Status, Answered::Servers(ServersRead::Status(read)), (Need::AnyServer, Need::AnyServer), columns)
}

#[rustfmt::skip]
fn operator(read: OperatorRead) -> ReadSpec<'static> {
    use {Crosses::Users, Merge::Never, OperatorRead as R, Takes::Common};
    let (need, columns) = match read {
        // The configuration is known without a leader, which is when an operator needs it.
        R::RaftConfiguration      => ((Need::AnyServer, Need::Leader),
                                      ("operator/raft/configuration",      FED, Common,  Never, Users, OPERATOR, ["", ""])),
        R::AutopilotConfiguration => ((Need::AnyView, Need::Leader),
                                      ("operator/autopilot/configuration", NO,  Common,  Never, Users, OPERATOR, ["", ""])),
        // The leader alone hears from the other servers.
        R::AutopilotHealth        => ((Need::Leader, Need::Leader),
                                      ("operator/autopilot/health",        NO,  Common,  Never, Users, OPERATOR, ["", ""])),
        R::AutopilotState         => ((Need::Leader, Need::Leader),
                                      ("operator/autopilot/state",         NO,  Common,  Never, Users, OPERATOR, ["", ""])),
    };
    row(Family::Operator, Answered::Servers(ServersRead::Operator(read)), need, columns)
}

#[rustfmt::skip]
fn federation(read: &FederationRead) -> ReadSpec<'_> {
    use {Crosses::{Nobody, Users}, Family::{Catalog, Coordinate, Operator}, FederationRead as R, Merge::Never, Takes::Common};
    let (family, columns) = match read {
        R::Datacenters     => (Catalog,    ("catalog/datacenters",    CACHED, Common,  Never, Nobody, Access::Open,   ["", ""])),
        R::Coordinates     => (Coordinate, ("coordinate/datacenters", NO,     Common,  Never, Nobody, NODES,          ["", ""])),
        R::Report { dc }   => (Operator,   ("federation",             NO,     Common,  Never, Nobody, OPERATOR,
                                            [dc.as_deref().unwrap_or_default(), ""])),
        R::Doctor { dc }   => (Operator,   ("federation/doctor",      NO,     Common,  Never, Nobody, OPERATOR_WRITE, [dc, ""])),
        R::DialBack { dc } => (Operator,   ("federation/dial-back",   NO,     Common,  Never, Users,  Access::Server, [dc, ""])),
    };
    row(family, Answered::ThisSide(read), (Need::AnyServer, Need::AnyServer), columns)
}

#[rustfmt::skip]
fn kv(read: &KvRead) -> ReadSpec<'_> {
    use {Crosses::Users, KvRead as R, Merge::Never, Takes::Common};
    let of_page = |page: &Option<Box<KvPage>>| page.as_ref().map_or(0, |page| page.after.as_bytes().len());
    let (columns, name, more) = match read {
        R::Get { key, raw: _ }                     => (("kv",         FED, Common, Never, Users, KEY,  ["", ""]), key,    0),
        R::List { prefix, page }                   => (("kv/recurse", FED, Common, Never, Users, KEYS, ["", ""]), prefix, of_page(page)),
        R::Keys { prefix, separator, page }        => (("kv/keys",    FED, Common, Never, Users, KEYS, ["", ""]), prefix,
                                                       of_page(page) + separator.as_ref().map_or(0, |text| text.as_bytes().len())),
    };
    let name = name.as_bytes();
    ReadSpec { name, text_bytes: name.len() + more, ..view(Family::Kv, ViewRead::Kv(read), columns) }
}

#[rustfmt::skip]
fn session(read: &SessionRead) -> ReadSpec<'_> {
    use {Crosses::Users, Merge::Never, SessionRead as R, Takes::Common};
    view(Family::Session, ViewRead::Session(read), match read {
        R::List          => ("session/list", FED, Common, Never, Users, SESSIONS, ["", ""]),
        R::Node { node } => ("session/node", FED, Common, Never, Users, SESSIONS, [node, ""]),
        R::Info { id: _ } => ("session/info", FED, Common, Never, Users, SESSIONS, ["", ""]),
    })
}

/// Each look is judged for itself. The answer is not kept for others: it is of many things at once.
fn txn(gets: &[TxnGet]) -> ReadSpec<'_> {
    let columns = ("txn", NO, Takes::Common, Merge::Never, Crosses::Users, KEYS, ["", ""]);
    let text_bytes = gets.iter().map(TxnGet::text_bytes).sum();
    ReadSpec { text_bytes, ..view(Family::Txn, ViewRead::Txn(gets), columns) }
}

#[cfg(test)]
mod tests {
    use super::super::read::CheckRef;
    use super::*;

    #[test]
    fn families_are_told_apart() {
        let state = Read::Health(HealthRead::State { state: "any".into() });
        assert_eq!((state.spec().family, Read::Catalog(CatalogRead::Nodes).spec().family), (Family::Health, Family::Catalog));
        assert_eq!(Read::Federation(FederationRead::Datacenters).spec().family, Family::Catalog, "by its path");
    }

    #[test]
    fn a_read_that_is_fed_may_cross_and_one_that_blocks_is_of_the_store() {
        let of = Box::new(CheckRef { check_id: "c".into(), node: Some("n".into()) });
        let votes = Read::Health(HealthRead::Votes { of });
        assert_eq!((votes.spec().name, votes.spec().text_bytes, votes.spec().blocks()), (&b"c"[..], 2, true));
        let observed = Read::Health(HealthRead::ObservedBy { node: "n".into() });
        assert_eq!((observed.spec().crosses, observed.spec().shared), (Crosses::Nobody, NO));
        let peers = Read::Status(StatusRead::Peers);
        assert!(peers.spec().shared.fed && !peers.spec().blocks());
        let of_others = [FederationRead::Datacenters, FederationRead::Coordinates].map(Read::Federation);
        assert!(of_others.iter().chain([&peers]).all(|read| read.spec().view().is_none()), "the store never gets them");
    }
}
