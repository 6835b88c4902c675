//! The one table of endpoints, by method and path; the longest path that fits wins. A path that ends in `/` is a subtree,
//! whose endpoint has the rest of the path as its argument.

use super::absent::ABSENT;
use super::ask::{Call, Endpoint, Pending, Work, ready};
use super::error::ErrorResponse;
use super::{HttpParts, agent, catalog, coordinate, federation, health, kv, operator, session, txn};
use crate::model::check::CheckStatus;
use crate::model::operation::{
    Access, CatalogRead, FederationRead, HealthRead, Lookup, OperatorRead, Read, Resource, Right, SessionRead, StatusRead,
};
use crate::model::part::Part;
use crate::model::principal::Principal;
use hyper::Method;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: &'static str,
    /// True if the rest of the path is a key: any bytes, of which none is cleaned away.
    pub(super) takes_key: bool,
    methods: Vec<(Method, Served)>,
}

/// The answer to a method of a path.
#[derive(Clone, Copy, Debug)]
enum Served {
    By(Needs, Endpoint),
    NotYet(Part),
}

/// The access that an endpoint needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    /// That of the operation that it hands to the router, by the table of operations.
    Operation,
    /// This access to the agent itself. There are no rights yet, so every user has it.
    Here(Access),
}

use Needs::{Here, Operation};

impl Needs {
    /// Refuses the request of a principal without the access.
    pub(super) fn permit(self, principal: &Principal) -> Result<(), ErrorResponse> {
        match (self, principal) {
            (Operation | Here(Access::Open), _) => Ok(()),
            (Here(Access::Each(..) | Access::Whole(..)), Principal::Token(_) | Principal::Agent(_) | Principal::Leader) => Ok(()),
            (Here(Access::Agent | Access::Server | Access::Leader), _) => Err(ErrorResponse::RESTRICTED),
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
    /// The subtree's path without its closing slash; `None` for a path that is no subtree.
    pub(super) fn subtree(&self) -> Option<&'static str> {
        self.path.strip_suffix('/')
    }

    /// The endpoint for `method` with the access that it needs.
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

fn get(path: &'static str, needs: Needs, work: Work) -> Route {
    by([Method::GET], path, needs, Endpoint::By(work))
}

fn put(path: &'static str, needs: Needs, work: Work) -> Route {
    by([Method::PUT], path, needs, Endpoint::By(work))
}

fn post(path: &'static str, needs: Needs, work: Work) -> Route {
    by([Method::POST], path, needs, Endpoint::By(work))
}

fn delete(path: &'static str, needs: Needs, work: Work) -> Route {
    by([Method::DELETE], path, needs, Endpoint::By(work))
}

/// An object that is read, written and removed.
fn object(path: &'static str, needs: Needs, work: Work) -> Route {
    by([Method::GET, Method::PUT, Method::DELETE], path, needs, Endpoint::By(work))
}

/// GET as a read of the router.
fn read(path: &'static str, read: fn() -> Read) -> Route {
    by([Method::GET], path, Operation, Endpoint::Read(read))
}

/// GET as a read of the path's argument by the router. A request without one is refused with `missing`.
fn read_of(path: &'static str, read: fn(String) -> Read, missing: &'static str) -> Route {
    by([Method::GET], path, Operation, Endpoint::ReadOf(read, missing))
}

fn by<const N: usize>(methods: [Method; N], path: &'static str, needs: Needs, endpoint: Endpoint) -> Route {
    Route { path, takes_key: false, methods: methods.map(|method| (method, Served::By(needs, endpoint))).into() }
}

pub(super) fn routes() -> Vec<Route> {
    let absent = ABSENT.iter().map(|(path, methods, part)| {
        let methods = methods.iter().map(|method| (method.clone(), Served::NotYet(*part))).collect();
        Route { path, takes_key: false, methods }
    });
    offered().into_iter().chain(acl()).chain(absent).collect()
}

/// The endpoints of tokens. Consul answers all of them with an error while access control is off.
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
        put("/v1/agent/check/pass/", CHECK_WRITE, |api, call| agent::checks::set(api, call, CheckStatus::Passing)),
        put("/v1/agent/check/warn/", CHECK_WRITE, |api, call| agent::checks::set(api, call, CheckStatus::Warning)),
        put("/v1/agent/check/fail/", CHECK_WRITE, |api, call| agent::checks::set(api, call, CheckStatus::Critical)),
        put("/v1/agent/check/update/", CHECK_WRITE, agent::checks::update),
        get("/v1/agent/health/service/id/", SERVICE_READ, agent::health::by_id),
        get("/v1/agent/health/service/name/", SERVICE_READ, agent::health::by_name),

        put("/v1/catalog/register", Operation, catalog::register),
        put("/v1/catalog/deregister", Operation, catalog::deregister),
        read("/v1/catalog/datacenters", || Read::Federation(FederationRead::Datacenters)),
        read("/v1/catalog/nodes", || Read::Catalog(CatalogRead::Nodes)),
        read("/v1/catalog/services", || Read::Catalog(CatalogRead::Services)),
        read_of("/v1/catalog/service/", |name| instances(name, Lookup::Plain), "Missing service name"),
        read_of("/v1/catalog/connect/", |name| instances(name, Lookup::Connect), "Missing service name"),
        read_of("/v1/catalog/node/", |node| Read::Catalog(CatalogRead::Node { node }), "Missing node name"),
        read_of("/v1/catalog/node-services/", |node| Read::Catalog(CatalogRead::NodeServices { node }), "Missing node name"),
        read_of("/v1/catalog/gateway-services/", |gateway| Read::Catalog(CatalogRead::GatewayServices { gateway }), "Missing gateway name"),

        read("/v1/coordinate/datacenters", || Read::Federation(FederationRead::Coordinates)),
        get("/v1/coordinate/nodes", Operation, coordinate::nodes),
        get("/v1/coordinate/node/", Operation, coordinate::node),
        put("/v1/coordinate/update", Operation, coordinate::update),

        read("/v1/federation", || Read::Federation(FederationRead::Report { dc: None })),
        read_of("/v1/federation/", |dc| Read::Federation(FederationRead::Report { dc: Some(dc) }), "Missing datacenter"),
        put("/v1/federation/doctor/", Operation, federation::doctor),
        put("/v1/federation/remove/", Operation, federation::remove),
        put("/v1/federation/readmit/", Operation, federation::readmit),

        read_of("/v1/health/node/", |node| Read::Health(HealthRead::Node { node }), "Missing node name"),
        read_of("/v1/health/checks/", |service| Read::Health(HealthRead::Checks { service }), "Missing service name"),
        // Some clients send the state in capitals.
        read_of("/v1/health/state/", |state| Read::Health(HealthRead::State { state: state.to_ascii_lowercase() }), "Missing check state"),
        read_of("/v1/health/service/", |name| healthy(name, Lookup::Plain), "Missing service name"),
        read_of("/v1/health/connect/", |name| healthy(name, Lookup::Connect), "Missing service name"),
        read_of("/v1/health/ingress/", |name| healthy(name, Lookup::Ingress), "Missing service name"),
        get("/v1/health/votes/", Operation, health::votes),

        get("/v1/kv/", Operation, kv::get)
            .and(put("/v1/kv/", Operation, kv::put))
            .and(delete("/v1/kv/", Operation, kv::delete))
            .with_key(),

        put("/v1/session/create", Operation, session::create),
        put("/v1/session/destroy/", Operation, session::destroy),
        get("/v1/session/info/", Operation, session::info),
        read("/v1/session/list", || Read::Session(SessionRead::List)),
        read_of("/v1/session/node/", |node| Read::Session(SessionRead::Node { node }), "Missing node name"),
        put("/v1/session/renew/", Operation, session::renew),

        put("/v1/txn", Operation, txn::put),

        read("/v1/operator/raft/configuration", || Read::Operator(OperatorRead::RaftConfiguration)),
        delete("/v1/operator/raft/peer", Operation, operator::remove_peer),
        post("/v1/operator/raft/transfer-leader", Operation, operator::transfer_leader),
        read("/v1/operator/autopilot/configuration", || Read::Operator(OperatorRead::AutopilotConfiguration))
            .and(put("/v1/operator/autopilot/configuration", Operation, operator::set_autopilot_configuration)),
        read("/v1/operator/autopilot/health", || Read::Operator(OperatorRead::AutopilotHealth)),
        read("/v1/operator/autopilot/state", || Read::Operator(OperatorRead::AutopilotState)),

        read("/v1/status/leader", || Read::Status(StatusRead::Leader)),
        read("/v1/status/peers", || Read::Status(StatusRead::Peers)),
    ]
}

fn instances(name: String, lookup: Lookup) -> Read {
    Read::Catalog(CatalogRead::Service { name, lookup })
}

/// Instances with their checks.
fn healthy(name: String, lookup: Lookup) -> Read {
    Read::Health(HealthRead::Service { name, lookup })
}

/// Consul's answer while access control is off.
fn acl_disabled(_api: &Arc<HttpParts>, _call: Call) -> Pending {
    ready(Err(ErrorResponse::ACL_DISABLED))
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
