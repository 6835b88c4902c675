//! `agent/health/service/…`: the health of local instances as a status code, for load balancers.

use super::services::AgentService;
use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, ready};
use crate::http::error::{ErrorResponse, header_text};
use crate::http::respond::Reply;
use crate::local::Registered;
use crate::model::check::{CheckStatus, HealthCheck, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};
use crate::model::service::NodeService;
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderName};
use serde::Serialize;
use std::sync::Arc;

const REASON: HeaderName = HeaderName::from_static("x-consul-reason");

/// The worst of an instance's checks, ordered by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Aggregate {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Aggregate {
    fn of<'a>(checks: impl Iterator<Item = &'a HealthCheck>) -> Aggregate {
        let one = |check: &HealthCheck| {
            if check.check_id == NODE_MAINTENANCE || check.check_id.starts_with(SERVICE_MAINTENANCE_PREFIX) {
                return Aggregate::Maintenance;
            }
            match check.status {
                CheckStatus::Passing => Aggregate::Passing,
                CheckStatus::Warning => Aggregate::Warning,
                CheckStatus::Critical => Aggregate::Critical,
            }
        };
        checks.map(one).max().unwrap_or(Aggregate::Passing)
    }

    fn as_str(self) -> &'static str {
        match self {
            Aggregate::Passing => "passing",
            Aggregate::Warning => "warning",
            Aggregate::Critical => "critical",
            Aggregate::Maintenance => "maintenance",
        }
    }

    fn code(self) -> StatusCode {
        match self {
            Aggregate::Passing => StatusCode::OK,
            Aggregate::Warning => StatusCode::TOO_MANY_REQUESTS,
            Aggregate::Critical | Aggregate::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// One instance with its checks and those of the node.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceHealth<'a> {
    aggregated_status: &'static str,
    service: Option<AgentService<'a>>,
    checks: Option<Vec<HealthCheck>>,
}

/// `GET agent/health/service/id/:id`
pub(in crate::http) fn by_id(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let text = wants_text(&call);
    let id = call.named("Bad request: Missing serviceID");
    ready(id.and_then(|id| of_instance(&api.local.registered(), &id, &api.settings.datacenter, text)))
}

/// `GET agent/health/service/name/:name`
pub(in crate::http) fn by_name(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let text = wants_text(&call);
    let name = call.named("Bad request: Missing service Name");
    ready(name.and_then(|name| of_service(&api.local.registered(), &name, &api.settings.datacenter, text)))
}

fn wants_text(call: &Call) -> bool {
    let accepts = |value: &hyper::header::HeaderValue| value.to_str().is_ok_and(|text| text.starts_with("text/plain"));
    call.parameters.first("format") == Some("text") || call.headers.get(ACCEPT).is_some_and(accepts)
}

fn of_instance(registered: &Registered, id: &str, dc: &str, text: bool) -> Result<Reply, ErrorResponse> {
    let Some(service) = registered.services.get(id) else {
        let nothing = ServiceHealth { aggregated_status: "critical", ..ServiceHealth::default() };
        return answer(&nothing, StatusCode::NOT_FOUND, &format!("ServiceId {id} not found"), text);
    };
    let (aggregate, health) = health_of(registered, service, dc);
    answer(&health, aggregate.code(), aggregate.as_str(), text)
}

fn of_service(registered: &Registered, name: &str, dc: &str, text: bool) -> Result<Reply, ErrorResponse> {
    let instances = registered.services.values().filter(|service| service.service == name);
    let (aggregates, healths): (Vec<Aggregate>, Vec<ServiceHealth<'_>>) =
        instances.map(|service| health_of(registered, service, dc)).unzip();
    // The worst instance speaks for all.
    match aggregates.into_iter().max() {
        Some(worst) => answer(&healths, worst.code(), worst.as_str(), text),
        None => answer(&healths, StatusCode::NOT_FOUND, &format!("ServiceName {name} Not Found"), text),
    }
}

fn health_of<'a>(registered: &'a Registered, service: &'a NodeService, dc: &'a str) -> (Aggregate, ServiceHealth<'a>) {
    let belongs = |check: &&HealthCheck| check.service_id.is_empty() || check.service_id == service.id;
    let checks: Vec<&HealthCheck> = registered.checks.values().map(AsRef::as_ref).filter(belongs).collect();
    let aggregate = Aggregate::of(checks.iter().copied());
    let checks = checks.into_iter().map(HealthCheck::masked).collect();
    let service = Some(AgentService::of(service, dc));
    (aggregate, ServiceHealth { aggregated_status: aggregate.as_str(), service, checks: Some(checks) })
}

fn answer<T: Serialize>(health: &T, code: StatusCode, reason: &str, text: bool) -> Result<Reply, ErrorResponse> {
    let reply = if text { Reply::text(reason) } else { super::json(health)? };
    Ok(reply.with_status(code).with_header(REASON, header_text(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn registered(checks: &[(&str, &str, CheckStatus)]) -> Registered {
        let service = |id: &str| NodeService { id: id.to_owned(), service: "web".to_owned(), ..NodeService::default() };
        let check = |(id, service, status): &(&str, &str, CheckStatus)| {
            let (check_id, service_id) = ((*id).to_owned(), (*service).to_owned());
            let check = HealthCheck { check_id, service_id, status: *status, ..HealthCheck::default() };
            ((*id).to_owned(), Arc::new(check))
        };
        Registered {
            services: BTreeMap::from(["a", "b"].map(|id| (id.to_owned(), Arc::new(service(id))))),
            checks: checks.iter().map(check).collect(),
        }
    }

    fn codes(checks: &[(&str, &str, CheckStatus)]) -> (u16, u16, u16) {
        let registered = registered(checks);
        let code = |reply: Result<Reply, ErrorResponse>| reply.unwrap().status().as_u16();
        let one = |id| code(of_instance(&registered, id, "dc1", false));
        (one("a"), one("b"), code(of_service(&registered, "web", "dc1", false)))
    }

    #[test]
    fn the_worst_check_decides_and_the_worst_instance_speaks_for_the_name() {
        use CheckStatus::{Critical, Passing, Warning};
        assert_eq!(codes(&[]), (200, 200, 200));
        assert_eq!(codes(&[("1", "a", Warning), ("2", "a", Passing)]), (429, 200, 429));
        assert_eq!(codes(&[("1", "a", Warning), ("2", "b", Critical)]), (429, 503, 503));
        assert_eq!(codes(&[("1", "", Warning)]), (429, 429, 429));
        assert_eq!(codes(&[("_service_maintenance:a", "a", Passing)]), (503, 200, 503));
        assert_eq!(codes(&[(NODE_MAINTENANCE, "", Critical)]), (503, 503, 503));
    }

    #[test]
    fn maintenance_is_worse_than_critical() {
        let checks = ["1", "_service_maintenance:a"].map(|id| (id, "a", CheckStatus::Critical));
        let registered = registered(&checks);
        let (aggregate, health) = health_of(&registered, &registered.services["a"], "dc1");
        assert_eq!((aggregate.as_str(), health.checks.map(|checks| checks.len())), ("maintenance", Some(2)));
    }

    #[test]
    fn what_is_not_registered_is_404() {
        let registered = registered(&[]);
        let code = |reply: Result<Reply, ErrorResponse>| reply.unwrap().status();
        assert_eq!(code(of_instance(&registered, "x", "dc1", true)), StatusCode::NOT_FOUND);
        assert_eq!(code(of_service(&registered, "x", "dc1", false)), StatusCode::NOT_FOUND);
        let nothing = ServiceHealth { aggregated_status: "critical", ..ServiceHealth::default() };
        let text = serde_json::to_string(&nothing).unwrap();
        assert_eq!(text, r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#);
    }
}
