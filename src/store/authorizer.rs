//! What a principal may do, by one view: asked row by row where something is read, and whole before something is
//! written.
//!
//! There are no rights in the catalog yet, so every principal may read and change everything. What only an agent, a
//! server or the leader may do is refused to all others.

use super::view::View;
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::{Access, Resource, Right};
use crate::model::principal::Principal;

/// The rights of one principal.
#[derive(Clone, Copy, Debug)]
pub struct Authorizer<'a> {
    principal: &'a Principal,
    /// Whether it has every right on everything, so that no row need be asked about.
    has_all: bool,
}

impl View {
    /// The rights of `principal` by this view.
    pub fn authorizer<'a>(&self, principal: &'a Principal) -> Authorizer<'a> {
        let has_all = match principal {
            // Tests show by it that each row is asked about.
            Principal::Token(token) if cfg!(test) && token.0 == "blind" => false,
            Principal::Token(_) | Principal::Agent(_) | Principal::Leader => true,
        };
        Authorizer { principal, has_all }
    }
}

impl Authorizer<'_> {
    /// Whether no row need be asked about.
    pub fn has_all(&self) -> bool {
        self.has_all
    }

    /// Whether the principal has `right` on the `resource` of this name.
    pub fn may(&self, _right: Right, _resource: Resource, _name: &[u8]) -> bool {
        self.has_all
    }

    /// Refuses a read of which the principal may see nothing. `name` is what is read.
    pub fn permit_read(&self, access: Access, name: &[u8]) -> Result<(), Fault> {
        match access {
            // Row by row.
            Access::Each(..) => Ok(()),
            Access::Open | Access::Whole(..) | Access::Agent | Access::Server | Access::Leader => self.permit(access, name),
        }
    }

    /// Refuses an operation that the principal may not do as a whole. `name` is what it is done to.
    pub fn permit(&self, access: Access, name: &[u8]) -> Result<(), Fault> {
        let permitted = match access {
            Access::Open => true,
            // Which rows a write hits is known only where it is applied.
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
