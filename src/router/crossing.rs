//! What another datacenter may do here.
//!
//! `mod` asks before anything that came over the bridge is done, and `source` before anything is pushed there. What
//! is not listed as allowed is refused, and so is all that comes to be later.

use crate::model::command::Command;
use crate::model::fault::{Fault, FaultKind};
use crate::model::query::Read;
use crate::model::request::{Ask, Write};

/// Who may ask for something from another datacenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    /// Everybody there.
    Users,
    /// Who is trusted to operate this datacenter from there.
    Operators,
    /// Nobody.
    Nobody,
}

/// Refuses what a server of `from_dc` may not have done in `own_dc`, whose operators let those of others change
/// it where `operators_may` says so.
pub(super) fn check(ask: &Ask, from_dc: &str, own_dc: &str, operators_may: bool) -> Result<(), Fault> {
    let allowed = match ask {
        Ask::Read(query) => of_read(&query.read),
        Ask::Write(request) => of_write(&request.write),
    };
    let text = match allowed {
        Allowed::Users => return Ok(()),
        Allowed::Operators if operators_may => return Ok(()),
        Allowed::Operators => format!(
            "datacenter {own_dc:?} refuses operators of {from_dc:?}: do it there, or set bridge {{ accept_operator_writes = true }} on its servers"
        ),
        Allowed::Nobody => format!("datacenter {own_dc:?} does this for its own agents alone; it came from {from_dc:?}"),
    };
    metrics::counter!("kontor.router.crossings_refused").increment(1);
    Err(Fault::new(FaultKind::Denied, text).because("refused-by-datacenter"))
}

/// Whether answers to `read` are given to other datacenters.
pub(super) fn may_read(read: &Read) -> bool {
    of_read(read) == Allowed::Users
}

fn of_read(read: &Read) -> Allowed {
    match read {
        Read::CatalogNodes
        | Read::CatalogServices
        | Read::CatalogService { .. }
        | Read::CatalogNode { .. }
        | Read::CatalogNodeServices { .. }
        | Read::CatalogGatewayServices { .. }
        | Read::HealthNode { .. }
        | Read::HealthChecks { .. }
        | Read::HealthState { .. }
        | Read::HealthService { .. }
        | Read::HealthVotes { .. }
        | Read::CoordinateNodes
        | Read::CoordinateNode { .. }
        | Read::StatusLeader
        | Read::StatusPeers
        | Read::RaftConfiguration
        | Read::AutopilotConfiguration
        | Read::AutopilotHealth
        | Read::AutopilotState
        | Read::DialBack { .. } => Allowed::Users,
        _ => Allowed::Nobody,
    }
}

fn of_write(write: &Write) -> Allowed {
    match write {
        Write::Apply(command) => of_command(command),
        Write::RemoveDatacenter(_) | Write::RemovePeer(_) | Write::TransferLeader(_) => Allowed::Operators,
        _ => Allowed::Nobody,
    }
}

fn of_command(command: &Command) -> Allowed {
    match command {
        Command::Register(_) | Command::Deregister(_) | Command::UpdateCoordinates(_) => Allowed::Users,
        Command::RemoveDatacenter { .. } | Command::ReadmitDatacenter { .. } | Command::SetAutopilot { .. } => Allowed::Operators,
        Command::Batch(commands) => strictest(commands.iter().map(of_command)),
        _ => Allowed::Nobody,
    }
}

fn strictest(all: impl Iterator<Item = Allowed>) -> Allowed {
    all.fold(Allowed::Users, |strictest, next| match (strictest, next) {
        (Allowed::Nobody, _) | (_, Allowed::Nobody) => Allowed::Nobody,
        (Allowed::Operators, _) | (_, Allowed::Operators) => Allowed::Operators,
        _ => Allowed::Users,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::Deregister;
    use crate::model::ids::Token;
    use crate::model::query::{Query, QueryOptions};
    use crate::model::request::{PeerRef, Removal, WriteRequest};
    use crate::model::vote::Ballot;

    fn write(write: Write) -> Ask {
        Ask::Write(WriteRequest { dc: None, token: Token::default(), write })
    }

    fn read(read: Read) -> Ask {
        Ask::Read(Query { read, options: QueryOptions::default() })
    }

    fn removal() -> Command {
        Command::RemoveDatacenter { datacenter: "dc3".to_owned(), cluster: None }
    }

    #[test]
    fn operators_of_elsewhere_change_nothing_unless_they_may() {
        for asked in [
            Write::RemovePeer(PeerRef::Id("x".to_owned())),
            Write::TransferLeader(None),
            Write::RemoveDatacenter(Removal::default()),
            Write::Apply(removal()),
            Write::Apply(Command::ReadmitDatacenter { datacenter: "dc3".to_owned() }),
            Write::Apply(Command::SetAutopilot { config: Box::default(), only_at: None }),
            Write::Apply(Command::Batch(vec![Command::Register(Box::default()), removal()])),
        ] {
            let fault = check(&write(asked.clone()), "dc2", "dc1", false).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Denied);
            assert!(fault.message.contains("accept_operator_writes") && fault.message.contains("\"dc1\""), "{fault}");
            assert!(check(&write(asked), "dc2", "dc1", true).is_ok());
        }
    }

    #[test]
    fn users_of_elsewhere_write_the_catalog_and_read_what_they_could() {
        let batch = Command::Batch(vec![Command::Register(Box::default()), Command::Deregister(Deregister::default())]);
        for asked in [
            write(Write::Apply(batch)),
            read(Read::CatalogNodes),
            read(Read::AutopilotState),
            read(Read::RaftConfiguration),
            read(Read::DialBack { dc: "dc2".to_owned() }),
        ] {
            assert_eq!(check(&asked, "dc2", "dc1", false), Ok(()), "{asked:?}");
        }
    }

    #[test]
    fn what_is_of_a_datacenter_s_own_agents_crosses_for_nobody() {
        let vote = Command::Vote { ballot: Ballot::default(), at: 0 };
        for asked in [
            write(Write::Vote(Ballot::default())),
            write(Write::Apply(Command::Batch(vec![removal(), vote]))),
            write(Write::Apply(Command::AssignObservers(Vec::new()))),
            read(Read::ObservedBy { node: "n".to_owned() }),
            read(Read::FederationDoctor { dc: "dc3".to_owned() }),
        ] {
            let fault = check(&asked, "dc2", "dc1", true).unwrap_err();
            assert!(fault.kind == FaultKind::Denied && !fault.message.contains("accept_operator"), "{fault}");
        }
    }
}
