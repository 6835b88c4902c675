//! Services and checks as configuration files define them: snake_case or CamelCase, turned into
//! the names of the HTTP API and read as the same types.
//!
//! Used by `file`, and by `cli` for `services register`. Keys of free maps (`meta`, `header`,
//! names of tagged addresses) and mesh settings pass through untouched.

use super::merge::{Problems, Setting, join_key};
use crate::model::check::{CheckStatus, CheckType};
use crate::model::definition::ServiceDefinition;
use crate::model::mesh;
use crate::model::vote::observers_fit;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

const SERVICE_KEYS: [&str; 16] = [
    "Kind",
    "ID",
    "Name",
    "Tags",
    "Address",
    "TaggedAddresses",
    "Meta",
    "Port",
    "SocketPath",
    "Check",
    "Checks",
    "Weights",
    "Token",
    "EnableTagOverride",
    "Proxy",
    "Connect",
];

const CHECK_KEYS: [&str; 37] = [
    "ID",
    "ServiceID",
    "Token",
    "CheckID",
    "Name",
    "Status",
    "Notes",
    "ScriptArgs",
    "Args",
    "HTTP",
    "Header",
    "Method",
    "Body",
    "DisableRedirects",
    "TCP",
    "TCPUseTLS",
    "UDP",
    "Interval",
    "AliasNode",
    "AliasService",
    "DockerContainerID",
    "Shell",
    "GRPC",
    "GRPCUseTLS",
    "H2PING",
    "H2PingUseTLS",
    "OSService",
    "TLSServerName",
    "TLSSkipVerify",
    "Timeout",
    "TTL",
    "SuccessBeforePassing",
    "FailuresBeforeWarning",
    "FailuresBeforeCritical",
    "DeregisterCriticalServiceAfter",
    "OutputMaxSize",
    "Observers",
];

/// `service` and `services`: one definition or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServiceDefinitions(pub(super) Vec<ServiceDefinition>);

/// `check` and `checks`: one definition or several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CheckDefinitions(pub(super) Vec<CheckType>);

impl Setting for ServiceDefinitions {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<ServiceDefinitions> {
        let read = |(key, value): (String, Value)| read_service(value, &key, problems);
        Some(ServiceDefinitions(each(value, key).into_iter().filter_map(read).collect()))
    }

    fn merge(&mut self, later: ServiceDefinitions) {
        self.0.extend(later.0);
    }
}

impl Setting for CheckDefinitions {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<CheckDefinitions> {
        let read = |(key, value): (String, Value)| {
            let mut check: CheckType = decode(Value::Object(check_names(value, &key, problems)?), &key, problems)?;
            if check.id.is_empty() {
                check.id = std::mem::take(&mut check.check_id);
            }
            if check.id.is_empty() && check.name.is_empty() {
                problems.error(format!("{key}: a check needs a name or an id"));
            }
            verify_check(&check, &key, problems);
            Some(check)
        };
        Some(CheckDefinitions(each(value, key).into_iter().filter_map(read).collect()))
    }

    fn merge(&mut self, later: CheckDefinitions) {
        self.0.extend(later.0);
    }
}

/// One service definition; what is wrong with it is noted under `key`.
fn read_service(value: Value, key: &str, problems: &mut Problems) -> Option<ServiceDefinition> {
    let mut object = canonical(value, &SERVICE_KEYS, key, problems)?;
    if let Some(Value::Object(places)) = object.get_mut("TaggedAddresses") {
        for (place, address) in places.iter_mut() {
            let key = format!("{key}.tagged_addresses.{place}");
            *address = Value::Object(canonical(address.take(), &["Address", "Port"], &key, problems)?);
        }
    }
    if let Some(weights) = object.get_mut("Weights") {
        let mut given = canonical(weights.take(), &["Passing", "Warning"], &join_key(key, "weights"), problems)?;
        // In files, unlike in the HTTP API, one that is left out is 1.
        ["Passing", "Warning"].into_iter().for_each(|name| _ = given.entry(name).or_insert_with(|| 1.into()));
        *weights = Value::Object(given);
    }
    let mut checks = Vec::new();
    for name in ["Check", "Checks"] {
        if let Some(value) = object.remove(name).filter(|value| !value.is_null()) {
            for (key, value) in each(value, &join_key(key, &name.to_lowercase())) {
                checks.push(Value::Object(check_names(value, &key, problems)?));
            }
        }
    }
    let alone = if checks.len() == 1 { checks.pop() } else { None };
    object.insert("Check".to_owned(), alone.unwrap_or(Value::Null));
    object.insert("Checks".to_owned(), Value::Array(checks));
    let mut service: ServiceDefinition = decode(Value::Object(object), key, problems)?;
    for check in service.check.iter_mut().chain(&mut service.checks) {
        // Files say `id` where the HTTP API says `CheckID`.
        if check.check_id.is_empty() {
            check.check_id = std::mem::take(&mut check.id);
        }
    }
    if service.name.is_empty() {
        problems.error(format!("{key}: Missing service name"));
    }
    if let Err(why) = mesh::accept(&mut service) {
        problems.error(format!("{key}: {why}"));
    }
    for check in service.check.iter().chain(&service.checks) {
        verify_check(check, &join_key(key, "check"), problems);
    }
    Some(service)
}

fn check_names(value: Value, key: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    let mut check = canonical(value, &CHECK_KEYS, key, problems)?;
    if let Some(args) = check.remove("Args") {
        check.insert("ScriptArgs".to_owned(), args);
    }
    Some(check)
}

fn verify_check(check: &CheckType, key: &str, problems: &mut Problems) {
    if !check.status.is_empty() && check.status.parse::<CheckStatus>().is_err() {
        problems.error(format!("{key}: Status for checks must 'passing', 'warning', 'critical'"));
    }
    if !check.interval.is_zero() && !check.ttl.is_zero() {
        problems.error(format!("{key}: Interval and TTL cannot both be specified"));
    }
    let probes = [&check.http, &check.tcp, &check.udp, &check.grpc, &check.h2ping, &check.os_service];
    let probing = probes.iter().any(|target| !target.is_empty()) || !check.script_args.is_empty();
    if probing && check.interval == Duration::ZERO {
        problems.error(format!("{key}: Interval must be > 0 for Script, HTTP, or TCP checks"));
    }
    if let Err(why) = observers_fit(check) {
        problems.error(format!("{key}: {why}"));
    }
    let known = probing || !check.ttl.is_zero() || !check.alias_service.is_empty() || !check.alias_node.is_empty();
    if !known {
        problems.error(format!("{key}: expected one of ttl, http, tcp, grpc, args, alias_service; got none"));
    }
}

/// The values with their keys: one alone, or the elements of a list.
pub(super) fn each(value: Value, key: &str) -> Vec<(String, Value)> {
    match value {
        Value::Array(items) => items.into_iter().enumerate().map(|(n, item)| (format!("{key}[{n}]"), item)).collect(),
        one => vec![(key.to_owned(), one)],
    }
}

/// The object with its keys in the spelling of `names`, found without regard to case and `_`.
pub(super) fn canonical(value: Value, names: &[&str], key: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    let object = super::merge::read_object(value, key, problems)?;
    let folded = |name: &str| name.replace('_', "").to_lowercase();
    let mut renamed = Map::new();
    for (name, value) in object {
        match names.iter().find(|known| folded(known) == folded(&name)) {
            Some(known) => _ = renamed.insert((*known).to_owned(), value),
            None => problems.error(format!("invalid config key {}", join_key(key, &name))),
        }
    }
    // Null is the zero value, as in the HTTP API.
    renamed.retain(|_, value| !value.is_null());
    Some(renamed)
}

fn decode<T: DeserializeOwned>(value: Value, key: &str, problems: &mut Problems) -> Option<T> {
    serde_json::from_value(value).map_err(|error| problems.error(format!("{key}: {error}"))).ok()
}
