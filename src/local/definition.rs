//! Definitions of services and checks: examined as Consul does, with its texts, and made into rows.

use crate::model::check::{CheckDefinition, CheckStatus, CheckType, HealthCheck, VotedDefinition};
use crate::model::definition::ServiceDefinition;
use crate::model::fault::Fault;
use crate::model::ids::Token;
use crate::model::service::{NodeService, ServiceAddress, empty_object, empty_proxy};
use crate::model::{mesh, rules};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A check that has been found good.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewCheck {
    /// Its row, with the initial status; the service's name and tags are not filled yet.
    pub(super) row: HealthCheck,
    /// Its definition; `None` for a maintenance check.
    pub(super) check: Option<CheckType>,
    pub(super) token: Token,
}

/// A service that has been found good.
#[derive(Clone, Debug)]
pub(super) struct NewService {
    pub(super) row: NodeService,
    pub(super) checks: Vec<NewCheck>,
    pub(super) token: Token,
}

/// Checks a service definition. Every fault is the user's (400).
pub(super) fn service(mut definition: ServiceDefinition, node: &str) -> Result<NewService, Fault> {
    rules::service(&definition).map_err(Fault::bad_request)?;
    mesh::accept(&mut definition).map_err(Fault::bad_request)?;
    let ip: Option<IpAddr> = definition.address.parse().ok();
    if definition.id.is_empty() {
        definition.id.clone_from(&definition.name);
    }
    let checks = service_checks(&mut definition, node)?;
    let mut tagged_addresses = definition.tagged_addresses;
    if let Some(ip) = ip {
        fill_tagged(&mut tagged_addresses, ip, &definition.address, definition.port);
    }
    let row = NodeService {
        kind: definition.kind,
        id: definition.id,
        service: definition.name,
        tags: definition.tags,
        address: definition.address,
        tagged_addresses,
        meta: Some(definition.meta),
        port: definition.port,
        socket_path: definition.socket_path,
        weights: Some(definition.weights.unwrap_or_default()),
        enable_tag_override: definition.enable_tag_override,
        proxy: definition.proxy.unwrap_or_else(empty_proxy),
        connect: definition.connect.unwrap_or_else(empty_object),
        create_index: 0,
        modify_index: 0,
    };
    Ok(NewService { row, checks, token: definition.token })
}

/// Checks a check that is registered by itself. Every fault is the user's (400).
pub(super) fn check(check: CheckType, node: &str) -> Result<NewCheck, Fault> {
    if check.name.is_empty() {
        return Err(Fault::bad_request("Missing check name"));
    }
    let status = initial_status(&check).ok_or_else(|| Fault::bad_request("Bad check status"))?;
    rules::check(&check).map_err(|why| Fault::bad_request(format!("Invalid check: {why}")))?;
    let id = id_alone(&check).to_owned();
    let (name, service_id, token) = (check.name.clone(), check.service_id.clone(), check.token.clone());
    Ok(NewCheck { row: row(&check, node, id, name, service_id, status), check: Some(check), token })
}

/// The id of a check that is registered by itself.
pub(super) fn id_alone(check: &CheckType) -> &str {
    [&check.id, &check.check_id, &check.name].into_iter().find(|id| !id.is_empty()).map_or("", String::as_str)
}

/// Consul's name for the kind of a check, in its order of precedence; empty for none.
pub(super) fn kind(check: &CheckType) -> &'static str {
    let script = !check.script_args.is_empty();
    let kinds = [
        (!check.grpc.is_empty(), "grpc"),
        (!check.http.is_empty(), "http"),
        (!check.ttl.is_zero(), "ttl"),
        (!check.tcp.is_empty(), "tcp"),
        (rules::is_alias(check), "alias"),
        (script && !check.docker_container_id.is_empty(), "docker"),
        (script, "script"),
        (!check.udp.is_empty(), "udp"),
        (!check.h2ping.is_empty(), "h2ping"),
        (!check.os_service.is_empty(), "os_service"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map_or("", |(_, kind)| kind)
}

fn initial_status(check: &CheckType) -> Option<CheckStatus> {
    if check.status.is_empty() { Some(CheckStatus::Critical) } else { check.status.parse().ok() }
}

/// The checks of a service with their ids and names, taken out of its definition.
fn service_checks(definition: &mut ServiceDefinition, node: &str) -> Result<Vec<NewCheck>, Fault> {
    // Clients send an empty `Check` for none; an empty element of `Checks` is a mistake.
    let single = definition.check.take().filter(|check| *check != CheckType::default());
    let checks: Vec<CheckType> = single.into_iter().chain(std::mem::take(&mut definition.checks)).collect();
    let ServiceDefinition { id: service_id, name: service_name, token, .. } = definition;
    for check in &checks {
        rules::check(check).map_err(|why| Fault::bad_request(format!("Invalid check: {why}")))?;
    }
    let alone = checks.len() == 1;
    let number = |(at, check): (usize, CheckType)| {
        let status = initial_status(&check)
            .ok_or_else(|| Fault::bad_request("Status for checks must 'passing', 'warning', 'critical'"))?;
        let given = [&check.check_id, &check.id].into_iter().find(|id| !id.is_empty()).cloned();
        let id = given.unwrap_or_else(|| match alone {
            true => format!("service:{service_id}"),
            false => format!("service:{service_id}:{}", at + 1),
        });
        let name = if check.name.is_empty() { format!("Service '{service_name}' check") } else { check.name.clone() };
        let row = row(&check, node, id, name, service_id.clone(), status);
        Ok(NewCheck { row, check: Some(check), token: token.clone() })
    };
    checks.into_iter().enumerate().map(number).collect()
}

fn row(check: &CheckType, node: &str, id: String, name: String, service_id: String, status: CheckStatus) -> HealthCheck {
    HealthCheck {
        node: node.to_owned(),
        check_id: id,
        name,
        status,
        notes: check.notes.clone(),
        service_id,
        kind: kind(check).to_owned(),
        definition: of(check),
        ..HealthCheck::default()
    }
}

/// The definition of a check as its row shows it.
pub(super) fn of(check: &CheckType) -> CheckDefinition {
    CheckDefinition {
        http: check.http.clone(),
        tls_server_name: check.tls_server_name.clone(),
        tls_skip_verify: check.tls_skip_verify,
        header: check.header.clone(),
        method: check.method.clone(),
        body: check.body.clone(),
        tcp: check.tcp.clone(),
        udp: check.udp.clone(),
        grpc: check.grpc.clone(),
        interval: check.interval,
        timeout: check.timeout,
        deregister_critical_service_after: check.deregister_critical_service_after,
        voted: VotedDefinition::of(check),
        ..CheckDefinition::default()
    }
}

/// Adds the address under the names of its family, unless the user has.
fn fill_tagged(tagged: &mut BTreeMap<String, ServiceAddress>, ip: IpAddr, address: &str, port: u16) {
    let names = if ip.is_ipv4() { ["lan_ipv4", "wan_ipv4"] } else { ["lan_ipv6", "wan_ipv6"] };
    for name in names {
        tagged.entry(name.to_owned()).or_insert_with(|| ServiceAddress { address: address.to_owned(), port });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::Weights;
    use std::time::Duration;

    fn ttl() -> CheckType {
        CheckType { ttl: Duration::from_secs(10), ..CheckType::default() }
    }

    fn web() -> ServiceDefinition {
        ServiceDefinition { name: "web".to_owned(), ..ServiceDefinition::default() }
    }

    fn refused(definition: ServiceDefinition) -> String {
        service(definition, "n1").expect_err("a refusal").message
    }

    #[test]
    fn what_consul_refuses_is_refused_with_its_text() {
        let meta = |key: &str, value: &str| ServiceDefinition { meta: [(key.to_owned(), value.to_owned())].into(), ..web() };
        let weights = |passing, warning| ServiceDefinition { weights: Some(Weights { passing, warning }), ..web() };
        let checked = |check| ServiceDefinition { checks: vec![check], ..web() };
        let second = Duration::from_secs(1);
        let cases = [
            (ServiceDefinition::default(), "Missing service name"),
            (ServiceDefinition { address: "0.0.0.0".into(), ..web() }, "Invalid service address"),
            (ServiceDefinition { address: "::".into(), ..web() }, "Invalid service address"),
            (ServiceDefinition { address: "[::]".into(), ..web() }, "Invalid service address"),
            (weights(0, 1), "Invalid Weights: Passing must be greater than 0"),
            (weights(65_536, 1), "Invalid Weights: DNS Weight must be between 0 and 65535"),
            (meta("a b", ""), "Invalid Service Meta: Couldn't load metadata pair ('a b', ''): Key contains invalid characters"),
            (
                meta("consul-x", ""),
                "Invalid Service Meta: Couldn't load metadata pair ('consul-x', ''): Key prefix 'consul-' is reserved for internal use",
            ),
            (checked(CheckType::default()), "Invalid check: TTL must be > 0 for TTL checks"),
            (checked(CheckType { interval: second, ..ttl() }), "Invalid check: Interval and TTL cannot both be specified"),
            (
                checked(CheckType { http: "http://x".into(), ..CheckType::default() }),
                "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
            ),
            (checked(CheckType { alias_service: "a".into(), ..ttl() }), "Invalid check: TTL must be not be set for Alias checks"),
            (
                checked(CheckType { alias_service: "a".into(), tcp: "h:1".into(), interval: second, ..CheckType::default() }),
                "Invalid check: Interval cannot be set for Alias checks",
            ),
            (checked(CheckType { output_max_size: -1, ..ttl() }), "Invalid check: MaxOutputMaxSize must be positive"),
            (checked(CheckType { status: "fine".into(), ..ttl() }), "Status for checks must 'passing', 'warning', 'critical'"),
        ];
        for (definition, text) in cases {
            assert_eq!(refused(definition), text);
        }
        let alone = |check| super::check(check, "n1").expect_err("a refusal").message;
        assert_eq!(alone(ttl()), "Missing check name");
        assert_eq!(alone(CheckType { name: "c".into(), status: "fine".into(), ..ttl() }), "Bad check status");
        let sidecar = ServiceDefinition { connect: Some(serde_json::json!({"sidecar_service": {}})), ..web() };
        assert!(refused(sidecar).starts_with("Connect.SidecarService "));
        assert_eq!(
            alone(CheckType { name: "c".into(), ..CheckType::default() }),
            "Invalid check: TTL must be > 0 for TTL checks"
        );
    }

    #[test]
    fn weights_are_one_where_none_are_given_and_as_given_otherwise() {
        let weights = |given: serde_json::Value| {
            let definition = serde_json::from_value(given).expect("reads");
            service(definition, "n1").expect("valid").row.weights.map(|weights| (weights.passing, weights.warning))
        };
        assert_eq!(weights(serde_json::json!({"Name": "web"})), Some((1, 1)));
        assert_eq!(weights(serde_json::json!({"Name": "web", "Weights": {"Passing": 1}})), Some((1, 0)));
        assert_eq!(
            refused(ServiceDefinition { weights: serde_json::from_str("{}").ok(), ..web() }),
            "Invalid Weights: Passing must be greater than 0"
        );
    }

    #[test]
    fn checks_get_the_ids_and_names_of_consul() {
        let ids = |definition| -> Vec<String> {
            let service = service(definition, "n1").expect("valid");
            service.checks.into_iter().map(|check| check.row.check_id).collect()
        };
        let one = ServiceDefinition { check: Some(ttl()), id: "web1".into(), ..web() };
        assert_eq!(ids(one.clone()), ["service:web1"]);
        assert_eq!(ids(ServiceDefinition { checks: vec![ttl()], ..one.clone() }), ["service:web1:1", "service:web1:2"]);
        let named = CheckType { check_id: "mine".into(), ..ttl() };
        assert_eq!(ids(ServiceDefinition { checks: vec![named], ..one.clone() }), ["service:web1:1", "mine"]);
        assert_eq!(ids(ServiceDefinition { check: Some(CheckType::default()), ..one.clone() }), Vec::<String>::new());
        let service = service(one, "n1").expect("valid");
        assert_eq!(service.checks[0].row.name, "Service 'web' check");
        assert_eq!(service.checks[0].row.status, CheckStatus::Critical);
        let alone = check(CheckType { name: "disk".into(), status: "passing".into(), ..ttl() }, "n1").expect("valid");
        assert_eq!((alone.row.check_id.as_str(), alone.row.status), ("disk", CheckStatus::Passing));
    }

    #[test]
    fn an_ip_address_is_told_under_its_family_and_the_users_own_entry_stays() {
        let own = ServiceAddress { address: "198.51.100.1".into(), port: 1 };
        let definition = ServiceDefinition {
            address: "10.0.0.1".into(),
            port: 80,
            tagged_addresses: [("wan_ipv4".to_owned(), own.clone())].into(),
            ..web()
        };
        let tagged = service(definition, "n1").expect("valid").row.tagged_addresses;
        assert_eq!(tagged["lan_ipv4"], ServiceAddress { address: "10.0.0.1".into(), port: 80 });
        assert_eq!(tagged["wan_ipv4"], own);
        let named = ServiceDefinition { address: "web.example".into(), ..web() };
        assert!(service(named, "n1").expect("valid").row.tagged_addresses.is_empty());
    }

    #[test]
    fn the_kind_follows_consuls_precedence() {
        let second = Duration::from_secs(1);
        let probe = CheckType { interval: second, tcp: "h:1".into(), http: "http://x".into(), ..CheckType::default() };
        assert_eq!(kind(&probe), "http");
        assert_eq!(kind(&ttl()), "ttl");
        assert_eq!(
            kind(&CheckType { script_args: vec!["x".into()], docker_container_id: "c".into(), ..CheckType::default() }),
            "docker"
        );
    }
}
