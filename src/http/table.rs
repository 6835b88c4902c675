//! The one table of what is served: method and path to endpoint.
//!
//! `dispatch` leads to it. A path that ends in `/` is a subtree: what follows is the
//! endpoint's argument and may hold further slashes. The longest path that fits wins. What Consul
//! serves and this agent does not is in `absent`.

use super::absent::ABSENT;
use super::ask::{Call, Endpoint, Pending, ready};
use super::error::Refusal;
use super::{HttpParts, agent, catalog, coordinate, federation, health, operator, removal, status};
use crate::model::part::Part;
use hyper::Method;
use std::sync::Arc;

/// A path with its methods.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: &'static str,
    methods: Vec<(Method, Served)>,
}

/// What answers a method of a path.
#[derive(Clone, Copy, Debug)]
enum Served {
    By(Endpoint),
    NotYet(Part),
}

impl Route {
    /// The subtree's path without its closing slash; nothing for a path that is no subtree.
    pub(super) fn subtree(&self) -> Option<&'static str> {
        self.path.strip_suffix('/')
    }

    /// The endpoint for `method`, or why there is none.
    pub(super) fn endpoint(&self, method: &Method) -> Result<Endpoint, Refusal> {
        match self.methods.iter().find(|(known, _)| known == method) {
            Some((_, Served::By(endpoint))) => Ok(*endpoint),
            Some((_, Served::NotYet(part))) => Err(Refusal::not_offered(*part)),
            None => Err(Refusal::method_not_allowed(method, self.allow())),
        }
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

fn get(path: &'static str, endpoint: Endpoint) -> Route {
    by([Method::GET], path, endpoint)
}

fn put(path: &'static str, endpoint: Endpoint) -> Route {
    by([Method::PUT], path, endpoint)
}

fn post(path: &'static str, endpoint: Endpoint) -> Route {
    by([Method::POST], path, endpoint)
}

fn delete(path: &'static str, endpoint: Endpoint) -> Route {
    by([Method::DELETE], path, endpoint)
}

/// A thing that is read, written and removed.
fn object(path: &'static str, endpoint: Endpoint) -> Route {
    by([Method::GET, Method::PUT, Method::DELETE], path, endpoint)
}

fn by<const N: usize>(methods: [Method; N], path: &'static str, endpoint: Endpoint) -> Route {
    Route { path, methods: methods.map(|method| (method, Served::By(endpoint))).into() }
}

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    let absent = ABSENT.iter().map(|(path, methods, part)| {
        let methods = methods.iter().map(|method| (method.clone(), Served::NotYet(*part))).collect();
        Route { path, methods }
    });
    offered().into_iter().chain(acl()).chain(absent).collect()
}

/// Everything about tokens: while access control is off, Consul says that it is.
#[rustfmt::skip]
fn acl() -> Vec<Route> {
    vec![
        put("/v1/acl/bootstrap", acl_disabled),
        post("/v1/acl/login", acl_disabled),
        post("/v1/acl/logout", acl_disabled),
        get("/v1/acl/replication", acl_disabled),
        get("/v1/acl/policies", acl_disabled),
        put("/v1/acl/policy", acl_disabled),
        object("/v1/acl/policy/", acl_disabled),
        get("/v1/acl/policy/name/", acl_disabled),
        get("/v1/acl/roles", acl_disabled),
        put("/v1/acl/role", acl_disabled),
        object("/v1/acl/role/", acl_disabled),
        get("/v1/acl/role/name/", acl_disabled),
        get("/v1/acl/binding-rules", acl_disabled),
        put("/v1/acl/binding-rule", acl_disabled),
        object("/v1/acl/binding-rule/", acl_disabled),
        get("/v1/acl/auth-methods", acl_disabled),
        put("/v1/acl/auth-method", acl_disabled),
        object("/v1/acl/auth-method/", acl_disabled),
        get("/v1/acl/tokens", acl_disabled),
        put("/v1/acl/token", acl_disabled),
        get("/v1/acl/token/self", acl_disabled),
        object("/v1/acl/token/", acl_disabled),
        post("/v1/acl/rules/translate", acl_disabled),
        get("/v1/acl/rules/translate/", acl_disabled),
        get("/v1/acl/templated-policies", acl_disabled),
        get("/v1/acl/templated-policy/name/", acl_disabled),
        post("/v1/acl/templated-policy/preview/", acl_disabled),
        put("/v1/agent/token/", acl_disabled),
        post("/v1/internal/acl/authorize", acl_disabled),
    ]
}

/// What is served here.
#[rustfmt::skip]
fn offered() -> Vec<Route> {
    vec![
        get("/v1/agent/self", agent::identity::identity),
        get("/v1/agent/version", agent::identity::version),
        get("/v1/agent/host", agent::host::host),
        get("/v1/agent/members", agent::members::members),
        get("/v1/agent/metrics", agent::metrics::metrics),
        put("/v1/agent/join/", agent::members::join),
        put("/v1/agent/leave", agent::members::leave),
        put("/v1/agent/force-leave/", agent::members::force_leave),
        put("/v1/agent/reload", agent::identity::reload),
        put("/v1/agent/maintenance", agent::maintenance::node),
        get("/v1/agent/services", agent::services::services),
        get("/v1/agent/service/", agent::services::service),
        put("/v1/agent/service/register", agent::services::register),
        put("/v1/agent/service/deregister/", agent::services::deregister),
        put("/v1/agent/service/maintenance/", agent::maintenance::service),
        get("/v1/agent/checks", agent::checks::checks),
        put("/v1/agent/check/register", agent::checks::register),
        put("/v1/agent/check/deregister/", agent::checks::deregister),
        put("/v1/agent/check/pass/", agent::checks::pass),
        put("/v1/agent/check/warn/", agent::checks::warn),
        put("/v1/agent/check/fail/", agent::checks::fail),
        put("/v1/agent/check/update/", agent::checks::update),
        get("/v1/agent/health/service/id/", agent::health::by_id),
        get("/v1/agent/health/service/name/", agent::health::by_name),

        put("/v1/catalog/register", catalog::register),
        put("/v1/catalog/deregister", catalog::deregister),
        get("/v1/catalog/datacenters", catalog::datacenters),
        get("/v1/catalog/nodes", catalog::nodes),
        get("/v1/catalog/services", catalog::services),
        get("/v1/catalog/service/", catalog::service),
        get("/v1/catalog/connect/", catalog::connect),
        get("/v1/catalog/node/", catalog::node),
        get("/v1/catalog/node-services/", catalog::node_services),
        get("/v1/catalog/gateway-services/", catalog::gateway_services),

        get("/v1/coordinate/datacenters", coordinate::datacenters),
        get("/v1/coordinate/nodes", coordinate::nodes),
        get("/v1/coordinate/node/", coordinate::node),
        put("/v1/coordinate/update", coordinate::update),

        get("/v1/federation", federation::all),
        get("/v1/federation/", federation::one),
        put("/v1/federation/doctor/", federation::doctor),
        put("/v1/federation/remove/", removal::remove),
        put("/v1/federation/readmit/", removal::readmit),

        get("/v1/health/node/", health::node),
        get("/v1/health/checks/", health::checks),
        get("/v1/health/state/", health::state),
        get("/v1/health/service/", health::service),
        get("/v1/health/connect/", health::connect),
        get("/v1/health/ingress/", health::ingress),
        get("/v1/health/votes/", health::votes),

        get("/v1/operator/raft/configuration", operator::raft_configuration),
        delete("/v1/operator/raft/peer", operator::remove_peer),
        post("/v1/operator/raft/transfer-leader", operator::transfer_leader),
        get("/v1/operator/autopilot/configuration", operator::autopilot_configuration)
            .and(put("/v1/operator/autopilot/configuration", operator::set_autopilot_configuration)),
        get("/v1/operator/autopilot/health", operator::autopilot_health),
        get("/v1/operator/autopilot/state", operator::autopilot_state),

        get("/v1/status/leader", status::leader),
        get("/v1/status/peers", status::peers),
    ]
}

/// What Consul answers for everything about tokens while access control is off.
fn acl_disabled(_api: &Arc<HttpParts>, _call: Call) -> Pending {
    ready(Err(Refusal::acl_disabled()))
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
        let refusal = Refusal::method_not_allowed(&Method::HEAD, "OPTIONS,DELETE".to_owned());
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
