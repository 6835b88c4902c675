//! The table of writes.

use super::spec::{Access, Crosses, Resource, Right};
use super::write::{CatalogWrite, CoordinateWrite, FederationWrite, HealthWrite, OperatorWrite, Write};

/// One row: every decision by the kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSpec<'a> {
    pub crosses: Crosses,
    pub access: Access,
    /// The name of the changed thing, where the access goes by it.
    pub name: &'a str,
}

const CATALOG: Access = Access::Each(Right::Write, &[Resource::Node, Resource::Service]);
const NODES: Access = Access::Each(Right::Write, &[Resource::Node]);
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
        }
    }
}

fn row(crosses: Crosses, access: Access, name: &str) -> WriteSpec<'_> {
    WriteSpec { crosses, access, name }
}
