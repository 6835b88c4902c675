//! The one table of what is served: method and path to endpoint.
//!
//! `dispatch` leads to it. A path that ends in `/` is a subtree: what follows is the
//! endpoint's argument and may hold further slashes. The longest path that fits wins. What Consul
//! serves and this agent does not is in `absent`.

use super::absent::ABSENT;
use super::ask::{Call, Endpoint, Pending, ready};
use super::error::ErrorResponse;
use super::{HttpParts, agent, catalog, coordinate, federation, health, kv, operator, removal, session, status, txn};
use crate::model::operation::{Access, Resource, Right};
use crate::model::part::Part;
use crate::model::principal::Principal;
use hyper::Method;
use std::sync::Arc;

/// A path with its methods.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: &'static str,
    /// Whether the rest of the path is a key: any bytes, of which none is cleaned away.
    pub(super) takes_key: bool,
    methods: Vec<(Method, Served)>,
}

/// What answers a method of a path.
#[derive(Clone, Copy, Debug)]
enum Served {
    By(Needs, Endpoint),
    NotYet(Part),
}

/// What an endpoint needs of who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    /// What the operation does that it has the router answer or do: the table of operations says it.
    Operation,
    /// This, of what the agent itself has and does. There are no rights yet, so everybody has it.
    Here(Access),
}

use Needs::{Here, Operation};

impl Needs {
    /// Refuses the request of who does not have it.
    pub(super) fn permit(self, principal: &Principal) -> Result<(), ErrorResponse> {
        match (self, principal) {
            (Operation | Here(Access::Open), _) => Ok(()),
            (Here(Access::Each(..) | Access::Whole(..)), Principal::Token(_) | Principal::Agent(_) | Principal::Leader) => Ok(()),
            (Here(Access::Agent | Access::Server | Access::Leader), _) => Err(ErrorResponse::restricted()),
        }
    }
}

const OPEN: Needs = Here(Access::Open);
const AGENT_READ: Needs = Here(Access::Whole(Right::Read, Resource::Agent));
const AGENT_WRITE: Needs = Here(Access::Whole(Right::Write, Resource::Agent));
const OPERATOR_READ: Needs = Here(Access::Whole(Right::Read, Resource::Operator));
const OPERATOR_WRITE: Needs = Here(Access::Whole(Right::Write, Resource::Operator));
const NODES_READ: Needs = Here(Access::Each(Right::Read, &[Resource::Node]));
const NODE_WRITE: Needs = Here(Access::Whole(Right::Write, Resource::Node));
const SERVICES_READ: Needs = Here(Access::Each(Right::Read, &[Resource::Service]));
const SERVICE_READ: Needs = Here(Access::Whole(Right::Read, Resource::Service));
const SERVICE_WRITE: Needs = Here(Access::Whole(Right::Write, Resource::Service));
const CHECKS_READ: Needs = Here(Access::Each(Right::Read, &[Resource::Node, Resource::Service]));
const CHECK_WRITE: Needs = Here(Access::Each(Right::Write, &[Resource::Node, Resource::Service]));

impl Route {
    /// The subtree's path without its closing slash; nothing for a path that is no subtree.
    pub(super) fn subtree(&self) -> Option<&'static str> {
        self.path.strip_suffix('/')
    }

    /// The endpoint for `method` with what it needs, or why there is none.
    pub(super) fn endpoint(&self, method: &Method) -> Result<(Needs, Endpoint), ErrorResponse> {
        match self.methods.iter().find(|(known, _)| known == method) {
            Some((_, Served::By(needs, endpoint))) => Ok((*needs, *endpoint)),
            Some((_, Served::NotYet(part))) => Err(ErrorResponse::not_offered(*part)),
            None => Err(ErrorResponse::method_not_allowed(method, self.allow())),
        }
    }

    /// The same, with a key for the rest of the path.
    fn with_key(self) -> Route {
        Route { takes_key: true, ..self }
    }

    /// The same path with the methods of `other` beside its own.
    fn and(mut self, other: Route) -> Route {
        self.methods.extend(other.methods);
        self
    }

    /// The methods as the `Allow` header lists them.
    pub(super) fn allow(&self) -> String {
        self.methods.iter().fold("OPTIONS".to_owned(), |list, (method, _)| list + "," + method.as_str())
    }
}

fn get(path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    by([Method::GET], path, needs, endpoint)
}

fn put(path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    by([Method::PUT], path, needs, endpoint)
}

fn post(path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    by([Method::POST], path, needs, endpoint)
}

fn delete(path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    by([Method::DELETE], path, needs, endpoint)
}

/// A thing that is read, written and removed.
fn object(path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    by([Method::GET, Method::PUT, Method::DELETE], path, needs, endpoint)
}

fn by<const N: usize>(methods: [Method; N], path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    Route { path, takes_key: false, methods: methods.map(|method| (method, Served::By(needs, endpoint))).into() }
}

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    let absent = ABSENT.iter().map(|(path, methods, part)| {
        let methods = methods.iter().map(|method| (method.clone(), Served::NotYet(*part))).collect();
        Route { path, takes_key: false, methods }
    });
    offered().into_iter().chain(acl()).chain(absent).collect()
}

/// Everything about tokens: while access control is off, Consul says that it is.
#[rustfmt::skip]
fn acl() -> Vec<Route> {
    vec![
        put("/v1/acl/bootstrap", OPEN, acl_disabled),
        post("/v1/acl/login", OPEN, acl_disabled),
        post("/v1/acl/logout", OPEN, acl_disabled),
        get("/v1/acl/replication", OPEN, acl_disabled),
        get("/v1/acl/policies", OPEN, acl_disabled),
        put("/v1/acl/policy", OPEN, acl_disabled),
        object("/v1/acl/policy/", OPEN, acl_disabled),
        get("/v1/acl/policy/name/", OPEN, acl_disabled),
        get("/v1/acl/roles", OPEN, acl_disabled),
        put("/v1/acl/role", OPEN, acl_disabled),
        object("/v1/acl/role/", OPEN, acl_disabled),
        get("/v1/acl/role/name/", OPEN, acl_disabled),
        get("/v1/acl/binding-rules", OPEN, acl_disabled),
        put("/v1/acl/binding-rule", OPEN, acl_disabled),
        object("/v1/acl/binding-rule/", OPEN, acl_disabled),
        get("/v1/acl/auth-methods", OPEN, acl_disabled),
        put("/v1/acl/auth-method", OPEN, acl_disabled),
        object("/v1/acl/auth-method/", OPEN, acl_disabled),
        get("/v1/acl/tokens", OPEN, acl_disabled),
        put("/v1/acl/token", OPEN, acl_disabled),
        get("/v1/acl/token/self", OPEN, acl_disabled),
        object("/v1/acl/token/", OPEN, acl_disabled),
        post("/v1/acl/rules/translate", OPEN, acl_disabled),
        get("/v1/acl/rules/translate/", OPEN, acl_disabled),
        get("/v1/acl/templated-policies", OPEN, acl_disabled),
        get("/v1/acl/templated-policy/name/", OPEN, acl_disabled),
        post("/v1/acl/templated-policy/preview/", OPEN, acl_disabled),
        put("/v1/agent/token/", OPEN, acl_disabled),
        post("/v1/internal/acl/authorize", OPEN, acl_disabled),
    ]
}

/// What is served here.
#[rustfmt::skip]
fn offered() -> Vec<Route> {
    vec![
        get("/v1/agent/self", AGENT_READ, agent::identity::identity),
        get("/v1/agent/version", OPEN, agent::identity::version),
        get("/v1/agent/host", OPERATOR_READ, agent::host::host),
        get("/v1/agent/members", NODES_READ, agent::members::members),
        get("/v1/agent/metrics", AGENT_READ, agent::metrics::metrics),
        put("/v1/agent/join/", AGENT_WRITE, agent::members::join),
        put("/v1/agent/leave", AGENT_WRITE, agent::members::leave),
        put("/v1/agent/force-leave/", OPERATOR_WRITE, agent::members::force_leave),
        put("/v1/agent/reload", AGENT_WRITE, agent::identity::reload),
        put("/v1/agent/maintenance", NODE_WRITE, agent::maintenance::node),
        get("/v1/agent/services", SERVICES_READ, agent::services::services),
        get("/v1/agent/service/", SERVICE_READ, agent::services::service),
        put("/v1/agent/service/register", SERVICE_WRITE, agent::services::register),
        put("/v1/agent/service/deregister/", SERVICE_WRITE, agent::services::deregister),
        put("/v1/agent/service/maintenance/", SERVICE_WRITE, agent::maintenance::service),
        get("/v1/agent/checks", CHECKS_READ, agent::checks::checks),
        put("/v1/agent/check/register", CHECK_WRITE, agent::checks::register),
        put("/v1/agent/check/deregister/", CHECK_WRITE, agent::checks::deregister),
        put("/v1/agent/check/pass/", CHECK_WRITE, agent::checks::pass),
        put("/v1/agent/check/warn/", CHECK_WRITE, agent::checks::warn),
        put("/v1/agent/check/fail/", CHECK_WRITE, agent::checks::fail),
        put("/v1/agent/check/update/", CHECK_WRITE, agent::checks::update),
        get("/v1/agent/health/service/id/", SERVICE_READ, agent::health::by_id),
        get("/v1/agent/health/service/name/", SERVICE_READ, agent::health::by_name),

        put("/v1/catalog/register", Operation, catalog::register),
        put("/v1/catalog/deregister", Operation, catalog::deregister),
        get("/v1/catalog/datacenters", Operation, catalog::datacenters),
        get("/v1/catalog/nodes", Operation, catalog::nodes),
        get("/v1/catalog/services", Operation, catalog::services),
        get("/v1/catalog/service/", Operation, catalog::service),
        get("/v1/catalog/connect/", Operation, catalog::connect),
        get("/v1/catalog/node/", Operation, catalog::node),
        get("/v1/catalog/node-services/", Operation, catalog::node_services),
        get("/v1/catalog/gateway-services/", Operation, catalog::gateway_services),

        get("/v1/coordinate/datacenters", Operation, coordinate::datacenters),
        get("/v1/coordinate/nodes", Operation, coordinate::nodes),
        get("/v1/coordinate/node/", Operation, coordinate::node),
        put("/v1/coordinate/update", Operation, coordinate::update),

        get("/v1/federation", Operation, federation::all),
        get("/v1/federation/", Operation, federation::one),
        put("/v1/federation/doctor/", Operation, federation::doctor),
        put("/v1/federation/remove/", Operation, removal::remove),
        put("/v1/federation/readmit/", Operation, removal::readmit),

        get("/v1/health/node/", Operation, health::node),
        get("/v1/health/checks/", Operation, health::checks),
        get("/v1/health/state/", Operation, health::state),
        get("/v1/health/service/", Operation, health::service),
        get("/v1/health/connect/", Operation, health::connect),
        get("/v1/health/ingress/", Operation, health::ingress),
        get("/v1/health/votes/", Operation, health::votes),

        get("/v1/kv/", Operation, kv::get)
            .and(put("/v1/kv/", Operation, kv::put))
            .and(delete("/v1/kv/", Operation, kv::delete))
            .with_key(),
        put("/v1/session/create", Operation, session::create),
        put("/v1/session/destroy/", Operation, session::destroy),
        get("/v1/session/info/", Operation, session::info),
        get("/v1/session/list", Operation, session::list),
        get("/v1/session/node/", Operation, session::node),
        put("/v1/session/renew/", Operation, session::renew),
        put("/v1/txn", Operation, txn::put),
        get("/v1/operator/raft/configuration", Operation, operator::raft_configuration),
        delete("/v1/operator/raft/peer", Operation, operator::remove_peer),
        post("/v1/operator/raft/transfer-leader", Operation, operator::transfer_leader),
        get("/v1/operator/autopilot/configuration", Operation, operator::autopilot_configuration)
            .and(put("/v1/operator/autopilot/configuration", Operation, operator::set_autopilot_configuration)),
        get("/v1/operator/autopilot/health", Operation, operator::autopilot_health),
        get("/v1/operator/autopilot/state", Operation, operator::autopilot_state),

        get("/v1/status/leader", Operation, status::leader),
        get("/v1/status/peers", Operation, status::peers),
    ]
}

/// What Consul answers for everything about tokens while access control is off.
fn acl_disabled(_api: &Arc<HttpParts>, _call: Call) -> Pending {
    ready(Err(ErrorResponse::acl_disabled()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_listed_as_consul_lists_them() {
        let routes = routes();
        let route = routes.iter().find(|route| route.path == "/v1/operator/raft/peer").unwrap();
        assert_eq!(route.allow(), "OPTIONS,DELETE");
        assert!(route.endpoint(&Method::DELETE).is_ok());
        let refusal = ErrorResponse::method_not_allowed(&Method::HEAD, "OPTIONS,DELETE".to_owned());
        assert_eq!(route.endpoint(&Method::HEAD).err(), Some(refusal));
    }

    #[test]
    fn no_path_is_listed_twice() {
        let mut paths: Vec<&str> = routes().iter().map(|route| route.path).collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), count);
    }
}
