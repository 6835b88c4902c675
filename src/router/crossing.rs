//! The rights of other datacenters here, by a column of the table of operations.

use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::Crosses;
use crate::model::request::Operation;

/// Refuses a request of `from_dc` that may not be done in `own_dc`. Operators of others may change it where `operators_may`.
pub(super) fn check(ask: &Operation, from_dc: &str, own_dc: &str, operators_may: bool) -> Result<(), Fault> {
    let crosses = match ask {
        Operation::Read(query) => query.identity.read.spec().crosses,
        Operation::Write(request) => request.write.spec().crosses,
    };
    let text = match crosses {
        Crosses::Users => return Ok(()),
        Crosses::Operators if operators_may => return Ok(()),
        Crosses::Operators => format!(
            "datacenter {own_dc:?} refuses operators of {from_dc:?}: do it there, or set bridge {{ accept_operator_writes = true }} on its servers"
        ),
        Crosses::Nobody => format!("datacenter {own_dc:?} does this for its own agents alone; it came from {from_dc:?}"),
    };
    metrics::counter!("kontor.router.crossings_refused").increment(1);
    Err(Fault::new(FaultKind::Denied, text).because("refused-by-datacenter"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::Deregister;
    use crate::model::coordinate::NodeCoordinate;
    use crate::model::operation::{
        CatalogRead, CatalogWrite, CoordinateWrite, FederationRead, FederationWrite, HealthRead, HealthWrite, OperatorRead,
        OperatorWrite, PeerRef, Read, Removal, Write,
    };
    use crate::model::principal::Principal;
    use crate::model::query::Query;
    use crate::model::request::WriteRequest;
    use crate::model::vote::Ballot;

    fn write(write: Write) -> Operation {
        Operation::Write(WriteRequest { dc: None, principal: Principal::anonymous(), write })
    }

    fn read(read: Read) -> Operation {
        Operation::Read(Query::new(read, Principal::anonymous()))
    }

    #[test]
    fn operators_of_elsewhere_change_nothing_unless_they_may() {
        for asked in [
            Write::Operator(OperatorWrite::RemovePeer(PeerRef::Id("x".to_owned()))),
            Write::Operator(OperatorWrite::TransferLeader(None)),
            Write::Operator(OperatorWrite::SetAutopilot { config: Box::default(), only_at: None }),
            Write::Federation(FederationWrite::Remove(Removal::default())),
            Write::Federation(FederationWrite::Readmit { dc: "dc3".to_owned() }),
        ] {
            let fault = check(&write(asked.clone()), "dc2", "dc1", false).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Denied);
            assert!(fault.message.contains("accept_operator_writes") && fault.message.contains("\"dc1\""), "{fault}");
            assert!(check(&write(asked), "dc2", "dc1", true).is_ok());
        }
    }

    #[test]
    fn users_of_elsewhere_write_the_catalog_and_read_what_they_could() {
        for asked in [
            write(Write::Catalog(CatalogWrite::Register(Box::default()))),
            write(Write::Catalog(CatalogWrite::Deregister(Deregister::default()))),
            write(Write::Coordinate(CoordinateWrite::Update(NodeCoordinate::default()))),
            read(Read::Catalog(CatalogRead::Nodes)),
            read(Read::Operator(OperatorRead::AutopilotState)),
            read(Read::Operator(OperatorRead::RaftConfiguration)),
            read(Read::Federation(FederationRead::DialBack { dc: "dc2".to_owned() })),
        ] {
            assert_eq!(check(&asked, "dc2", "dc1", false), Ok(()), "{asked:?}");
        }
    }

    #[test]
    fn what_is_of_a_datacenter_s_own_agents_crosses_for_nobody() {
        for asked in [
            write(Write::Health(HealthWrite::Vote(Ballot::default()))),
            read(Read::Health(HealthRead::ObservedBy { node: "n".to_owned() })),
            read(Read::Federation(FederationRead::Doctor { dc: "dc3".to_owned() })),
        ] {
            let fault = check(&asked, "dc2", "dc1", true).unwrap_err();
            assert!(fault.kind == FaultKind::Denied && !fault.message.contains("accept_operator"), "{fault}");
        }
    }
}
