//! The table of writes.

use super::spec::{Access, Crosses, Resource, Right};
use super::write::{CatalogWrite, CoordinateWrite, FederationWrite, HealthWrite, OperatorWrite, SessionWrite, Write};
use crate::model::kv::KvChange;

/// One row: every decision by the kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSpec<'a> {
    pub crosses: Crosses,
    pub access: Access,
    /// The name of what is changed, where the access goes by it.
    pub name: &'a [u8],
}

const CATALOG: Access = Access::Each(Right::Write, &[Resource::Node, Resource::Service]);
const NODES: Access = Access::Each(Right::Write, &[Resource::Node]);
const KEY: Access = Access::Whole(Right::Write, Resource::Key);
const KEYS: Access = Access::Each(Right::Write, &[Resource::Key]);
const SESSION: Access = Access::Whole(Right::Write, Resource::Session);
const SESSIONS: Access = Access::Each(Right::Write, &[Resource::Session]);
const OPERATOR: Access = Access::Whole(Right::Write, Resource::Operator);

impl Write {
    #[rustfmt::skip]
    pub fn spec(&self) -> WriteSpec<'_> {
        match self {
            Write::Catalog(CatalogWrite::Register(_))            => row(Crosses::Users,     CATALOG, ""),
            Write::Catalog(CatalogWrite::Deregister(_))          => row(Crosses::Users,     CATALOG, ""),
            Write::Health(HealthWrite::Vote(ballot))             => row(Crosses::Nobody,    Access::Agent, &ballot.observer),
            Write::Coordinate(CoordinateWrite::Update(_))        => row(Crosses::Users,     NODES, ""),
            Write::Operator(OperatorWrite::SetAutopilot { .. })  => row(Crosses::Operators, OPERATOR, ""),
            Write::Operator(OperatorWrite::RemovePeer(_))        => row(Crosses::Operators, OPERATOR, ""),
            Write::Operator(OperatorWrite::TransferLeader(_))    => row(Crosses::Operators, OPERATOR, ""),
            Write::Federation(FederationWrite::Remove(_))        => row(Crosses::Operators, OPERATOR, ""),
            Write::Federation(FederationWrite::Readmit { .. })   => row(Crosses::Operators, OPERATOR, ""),
            Write::Kv(change)                                    => of_key(change),
            Write::Session(SessionWrite::Create(session))        => row(Crosses::Users,     SESSION, &session.node),
            // The node of a session that exists is known only where it is looked up.
            Write::Session(SessionWrite::Destroy(_))             => row(Crosses::Users,     SESSIONS, ""),
            Write::Session(SessionWrite::Renew(_))               => row(Crosses::Users,     SESSIONS, ""),
            Write::Txn(_)                                        => row(Crosses::Users,     KEYS, ""),
        }
    }
}

fn row(crosses: Crosses, access: Access, name: &str) -> WriteSpec<'_> {
    WriteSpec { crosses, access, name: name.as_bytes() }
}

/// One key, or each of a tree.
fn of_key(change: &KvChange) -> WriteSpec<'_> {
    let access = match change {
        KvChange::DeleteTree(_) => KEYS,
        KvChange::Set(_)
        | KvChange::Cas(..)
        | KvChange::Lock(..)
        | KvChange::Unlock(..)
        | KvChange::Delete(_)
        | KvChange::DeleteCas(..) => KEY,
    };
    WriteSpec { crosses: Crosses::Users, access, name: change.key().as_bytes() }
}
