//! Services and checks as configuration files define them: snake_case or CamelCase, turned into
//! the names of the HTTP API and read as the same types.
//!
//! Used by `file`, and by `cli` for `services register`. Keys of free maps (`meta`, `header`,
//! names of tagged addresses) and mesh settings pass through untouched.

use super::merge::{Setting, join_key, read_object};
use super::problems::Problems;
use crate::model::check::{CheckStatus, CheckType};
use crate::model::definition::ServiceDefinition;
use crate::model::{duration, mesh, rules};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the value of a key must be. In files a duration is a text, as in Consul: a number without a unit would
/// be one of nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Time,
    Flag,
    Whole,
    Texts,
    /// Texts by name.
    Map,
    /// Lists of texts by name.
    Lists,
    /// It is judged elsewhere.
    Any,
}

impl Kind {
    /// The value, when it is of this kind; another one is noted under `key`.
    fn read(self, value: Value, key: &str, problems: &mut Problems) -> Option<Value> {
        match self {
            Kind::Text => String::read(value, key, problems).map(Value::from),
            Kind::Time if value.as_str() == Some("") => None,
            Kind::Time => Duration::read(value, key, problems).map(|time| Value::from(duration::format(time))),
            Kind::Flag => bool::read(value, key, problems).map(Value::from),
            Kind::Whole => i64::read(value, key, problems).map(Value::from),
            Kind::Texts => Vec::<String>::read(value, key, problems).map(Value::from),
            Kind::Map => {
                let texts = BTreeMap::<String, String>::read(value, key, problems)?;
                Some(texts.into_iter().map(|(name, text)| (name, Value::from(text))).collect())
            }
            Kind::Lists => {
                let mut lists = read_object(value, key, problems)?;
                for (name, list) in &mut lists {
                    *list = Kind::Texts.read(list.take(), &join_key(key, name), problems)?;
                }
                Some(Value::Object(lists))
            }
            Kind::Any => Some(value),
        }
    }
}

/// A key in the spelling of the HTTP API, and what its value must be.
pub(super) type Known = (&'static str, Kind);

const SERVICE_KEYS: [Known; 16] = [
    ("Kind", Kind::Text),
    ("ID", Kind::Text),
    ("Name", Kind::Text),
    ("Tags", Kind::Texts),
    ("Address", Kind::Text),
    ("TaggedAddresses", Kind::Any),
    ("Meta", Kind::Map),
    ("Port", Kind::Whole),
    ("SocketPath", Kind::Text),
    ("Check", Kind::Any),
    ("Checks", Kind::Any),
    ("Weights", Kind::Any),
    ("Token", Kind::Text),
    ("EnableTagOverride", Kind::Flag),
    ("Proxy", Kind::Any),
    ("Connect", Kind::Any),
];

const CHECK_KEYS: [Known; 37] = [
    ("ID", Kind::Text),
    ("ServiceID", Kind::Text),
    ("Token", Kind::Text),
    ("CheckID", Kind::Text),
    ("Name", Kind::Text),
    ("Status", Kind::Text),
    ("Notes", Kind::Text),
    ("ScriptArgs", Kind::Texts),
    ("Args", Kind::Texts),
    ("HTTP", Kind::Text),
    ("Header", Kind::Lists),
    ("Method", Kind::Text),
    ("Body", Kind::Text),
    ("DisableRedirects", Kind::Flag),
    ("TCP", Kind::Text),
    ("TCPUseTLS", Kind::Flag),
    ("UDP", Kind::Text),
    ("Interval", Kind::Time),
    ("AliasNode", Kind::Text),
    ("AliasService", Kind::Text),
    ("DockerContainerID", Kind::Text),
    ("Shell", Kind::Text),
    ("GRPC", Kind::Text),
    ("GRPCUseTLS", Kind::Flag),
    ("H2PING", Kind::Text),
    ("H2PingUseTLS", Kind::Flag),
    ("OSService", Kind::Text),
    ("TLSServerName", Kind::Text),
    ("TLSSkipVerify", Kind::Flag),
    ("Timeout", Kind::Time),
    ("TTL", Kind::Time),
    ("SuccessBeforePassing", Kind::Whole),
    ("FailuresBeforeWarning", Kind::Whole),
    ("FailuresBeforeCritical", Kind::Whole),
    ("DeregisterCriticalServiceAfter", Kind::Time),
    ("OutputMaxSize", Kind::Whole),
    ("Observers", Kind::Whole),
];

const ADDRESS_KEYS: [Known; 2] = [("Address", Kind::Text), ("Port", Kind::Whole)];
const WEIGHT_KEYS: [Known; 2] = [("Passing", Kind::Whole), ("Warning", Kind::Whole)];

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
            if check.name.is_empty() {
                check.name.clone_from(&check.id);
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
    if let Some(places) = object.remove("TaggedAddresses") {
        let key = join_key(key, "tagged_addresses");
        let mut places = read_object(places, &key, problems)?;
        for (place, address) in &mut places {
            *address = Value::Object(canonical(address.take(), &ADDRESS_KEYS, &join_key(&key, place), problems)?);
        }
        object.insert("TaggedAddresses".to_owned(), Value::Object(places));
    }
    if let Some(weights) = object.get_mut("Weights") {
        let mut given = canonical(weights.take(), &WEIGHT_KEYS, &join_key(key, "weights"), problems)?;
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
    if let Err(why) = rules::service(&service) {
        problems.error(format!("{key}: {why}"));
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
    let probes = [&check.http, &check.tcp, &check.udp, &check.grpc, &check.h2ping, &check.os_service];
    let probing = probes.iter().any(|target| !target.is_empty()) || !check.script_args.is_empty();
    if !probing && check.ttl.is_zero() && !rules::is_alias(check) {
        problems.error(format!("{key}: expected one of ttl, http, tcp, grpc, args, alias_service; got none"));
    } else if let Err(why) = rules::check(check) {
        problems.error(format!("{key}: {why}"));
    }
}

/// The values with their keys: one alone, or the elements of a list.
pub(super) fn each(value: Value, key: &str) -> Vec<(String, Value)> {
    match value {
        Value::Array(items) => items.into_iter().enumerate().map(|(n, item)| (format!("{key}[{n}]"), item)).collect(),
        one => vec![(key.to_owned(), one)],
    }
}

/// The object with its keys in the spelling of `known`, found without regard to case and `_`. Nothing when
/// a value is of another kind than is due, each of which is noted.
pub(super) fn canonical(value: Value, known: &[Known], key: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    let object = read_object(value, key, problems)?;
    let folded = |name: &str| name.replace('_', "").to_lowercase();
    let (mut renamed, mut is_good) = (Map::new(), true);
    for (name, value) in object {
        let key = join_key(key, &name);
        match known.iter().find(|(known, _)| folded(known) == folded(&name)) {
            None => problems.unknown(&key),
            // Null is the zero value, as in the HTTP API.
            Some(_) if value.is_null() => {}
            Some((known, kind)) => {
                let errors = problems.errors.len();
                let value = kind.read(value, &key, problems);
                is_good &= problems.errors.len() == errors;
                renamed.extend(value.map(|value| ((*known).to_owned(), value)));
            }
        }
    }
    is_good.then_some(renamed)
}

fn decode<T: DeserializeOwned>(value: Value, key: &str, problems: &mut Problems) -> Option<T> {
    serde_json::from_value(value).map_err(|error| problems.error(format!("{key}: {error}"))).ok()
}
