//! The rights of a principal by one view. The catalog holds no rights yet: every principal may read and change everything,
//! but for the operations of an agent, a server or the leader.

use super::view::View;
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::{Access, Resource, Right};
use crate::model::principal::Principal;

/// The rights of one principal.
#[derive(Clone, Copy, Debug)]
pub struct Authorizer<'a> {
    principal: &'a Principal,
    /// Every right on everything: no row need be asked about.
    has_all: bool,
}

impl View {
    /// The rights of `principal` by this view.
    pub fn authorizer<'a>(&self, principal: &'a Principal) -> Authorizer<'a> {
        let has_all = match principal {
            Principal::Token(_) | Principal::Agent(_) | Principal::Leader => true,
        };
        Authorizer { principal, has_all }
    }
}

impl<'a> Authorizer<'a> {
    /// An authorizer without any right.
    #[cfg(test)]
    pub(super) fn without_rights(principal: &'a Principal) -> Authorizer<'a> {
        Authorizer { principal, has_all: false }
    }

    pub(super) fn has_all(&self) -> bool {
        self.has_all
    }

    pub(super) fn may(&self, _right: Right, _resource: Resource, _name: &[u8]) -> bool {
        self.has_all
    }

    /// Refuses a read of which the principal may see nothing. `name` is that of the thing read.
    pub fn permit_read(&self, access: Access, name: &[u8]) -> Result<(), Fault> {
        match access {
            // The store leaves out rows one by one.
            Access::Each(..) => Ok(()),
            Access::Open | Access::Whole(..) | Access::Agent | Access::Server | Access::Leader => self.permit(access, name),
        }
    }

    /// Refuses an operation that the principal may not do as a whole. `name` is that of the thing it is done to.
    pub fn permit(&self, access: Access, name: &[u8]) -> Result<(), Fault> {
        let permitted = match access {
            Access::Open => true,
            // The rows that a write hits are known only where it is applied.
            Access::Each(..) => self.has_all,
            Access::Whole(right, resource) => self.may(right, resource, name),
            Access::Agent => std::str::from_utf8(name).is_ok_and(|name| self.principal.is_agent(name)),
            Access::Server => match self.principal {
                Principal::Agent(_) => true,
                Principal::Token(_) | Principal::Leader => false,
            },
            Access::Leader => *self.principal == Principal::Leader,
        };
        permitted.then_some(()).ok_or_else(|| Fault::new(FaultKind::Denied, refusal(access)))
    }
}

fn refusal(access: Access) -> &'static str {
    match access {
        Access::Open | Access::Each(..) | Access::Whole(..) => "Permission denied",
        Access::Agent => "Permission denied: an agent asks this for itself alone",
        Access::Server => "Permission denied: only servers ask this",
        Access::Leader => "Permission denied: only the leader does this, of itself",
    }
}
