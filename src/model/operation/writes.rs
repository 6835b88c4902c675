//! The table of writes, and of the commands of the log.

use super::spec::{Access, Crosses, Resource, Right};
use crate::model::command::Command;
use crate::model::member::level;
use crate::model::request::Write;

/// One row: all that is decided by the kind of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSpec<'a> {
    /// Who may ask for it from another datacenter.
    pub crosses: Crosses,
    /// The [`level`] that every server must have to read it from the log.
    pub level: u32,
    /// What the asker must be, or have.
    pub access: Access,
    /// The name of what is changed, where the access goes by it.
    pub name: &'a str,
}

const CATALOG: Access = Access::Each(Right::Write, &[Resource::Node, Resource::Service]);
const NODES: Access = Access::Each(Right::Write, &[Resource::Node]);
const OPERATOR: Access = Access::Whole(Right::Write, Resource::Operator);

impl Write {
    /// Its row, or those of all its commands where it has several.
    #[rustfmt::skip]
    pub fn specs(&self) -> Vec<WriteSpec<'_>> {
        match self {
            Write::Apply(command)      => command.specs(),
            Write::Vote(ballot)        => row(Crosses::Nobody,    level::VOTES, Access::Agent, &ballot.observer),
            Write::RemoveDatacenter(_) => row(Crosses::Operators, level::BASE,  OPERATOR, ""),
            Write::RemovePeer(_)       => row(Crosses::Operators, level::BASE,  OPERATOR, ""),
            Write::TransferLeader(_)   => row(Crosses::Operators, level::BASE,  OPERATOR, ""),
        }
    }
}

impl Command {
    /// Its row; those of all its parts, for a batch is no more than they are.
    #[rustfmt::skip]
    pub fn specs(&self) -> Vec<WriteSpec<'_>> {
        match self {
            Command::Batch(commands)          => commands.iter().flat_map(Command::specs).collect(),
            Command::Register(_)              => row(Crosses::Users,     level::BASE,      CATALOG, ""),
            Command::Deregister(_)            => row(Crosses::Users,     level::BASE,      CATALOG, ""),
            Command::UpdateCoordinates(_)     => row(Crosses::Users,     level::BASE,      NODES, ""),
            Command::RemoveDatacenter { .. }  => row(Crosses::Operators, level::BASE,      OPERATOR, ""),
            Command::ReadmitDatacenter { .. } => row(Crosses::Operators, level::BASE,      OPERATOR, ""),
            Command::SetAutopilot { .. }      => row(Crosses::Operators, level::AUTOPILOT, OPERATOR, ""),
            Command::AssignObservers(_)       => row(Crosses::Nobody,    level::VOTES,     Access::Leader, ""),
            Command::Vote { .. }              => row(Crosses::Nobody,    level::VOTES,     Access::Leader, ""),
        }
    }
}

fn row(crosses: Crosses, level: u32, access: Access, name: &str) -> Vec<WriteSpec<'_>> {
    vec![WriteSpec { crosses, level, access, name }]
}
