//! Services and checks of configuration files: snake_case or CamelCase, turned into the names of the HTTP API.
//!
//! Keys of free maps (`meta`, `header`, names of tagged addresses) and mesh settings pass through untouched.

use super::merge::{Definition, Setting, each, join_key, read_object};
use super::problems::Problems;
use crate::model::check::{CheckStatus, CheckType};
use crate::model::definition::ServiceDefinition;
use crate::model::{duration, mesh, rules};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The kind of a key's value. As in Consul, a duration is a text: a number would be one of nanoseconds.
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
    /// Judged elsewhere.
    Any,
}

impl Kind {
    /// The value, when it is of this kind; another value is noted under `key`.
    fn read(self, value: Value, key: &str, problems: &mut Problems) -> Option<Value> {
        match self {
            Kind::Text => String::read(value, key, problems).map(Value::from),
            Kind::Time if value.as_str() == Some("") => None,
            Kind::Time => Duration::read(value, key, problems).map(|time| Value::from(duration::format(time))),
            Kind::Flag => bool::read(value, key, problems).map(Value::from),
            Kind::Whole => i64::read(value, key, problems).map(Value::from),
            Kind::Texts => Vec::<String>::read(value, key, problems).map(Value::from),
            Kind::Map => BTreeMap::<String, String>::read(value, key, problems).map(|map| json!(map)),
            Kind::Lists => BTreeMap::<String, Vec<String>>::read(value, key, problems).map(|map| json!(map)),
            Kind::Any => Some(value),
        }
    }
}

/// Keys, as words in the spelling of the HTTP API, and the kind of their values.
pub(super) type Known = (Kind, &'static str);

const SERVICE_KEYS: [Known; 6] = [
    (Kind::Text, "Kind ID Name Address SocketPath Token"),
    (Kind::Texts, "Tags"),
    (Kind::Map, "Meta"),
    (Kind::Whole, "Port"),
    (Kind::Flag, "EnableTagOverride"),
    (Kind::Any, "TaggedAddresses Check Checks Weights Proxy Connect"),
];

const CHECK_KEYS: [Known; 6] = [
    (
        Kind::Text,
        "ID ServiceID Token CheckID Name Status Notes HTTP Method Body TCP UDP AliasNode AliasService DockerContainerID Shell \
         GRPC H2PING OSService TLSServerName",
    ),
    (Kind::Texts, "ScriptArgs Args"),
    (Kind::Lists, "Header"),
    (Kind::Flag, "DisableRedirects TCPUseTLS GRPCUseTLS H2PingUseTLS TLSSkipVerify"),
    (Kind::Time, "Interval Timeout TTL DeregisterCriticalServiceAfter"),
    (Kind::Whole, "SuccessBeforePassing FailuresBeforeWarning FailuresBeforeCritical OutputMaxSize Observers"),
];

const ADDRESS_KEYS: [Known; 2] = [(Kind::Text, "Address"), (Kind::Whole, "Port")];
const WEIGHT_KEYS: [Known; 1] = [(Kind::Whole, "Passing Warning")];

/// `check` and `checks`
impl Definition for CheckType {
    fn read_one(value: Value, key: &str, problems: &mut Problems) -> Option<CheckType> {
        let mut check: CheckType = decode(check_names(value, key, problems)?, key, problems)?;
        if check.id.is_empty() {
            check.id = std::mem::take(&mut check.check_id);
        }
        if check.id.is_empty() && check.name.is_empty() {
            problems.error(format!("{key}: a check needs a name or an id"));
        }
        if check.name.is_empty() {
            check.name.clone_from(&check.id);
        }
        verify_check(&check, key, problems);
        Some(check)
    }
}

/// `service` and `services`
impl Definition for ServiceDefinition {
    fn read_one(value: Value, key: &str, problems: &mut Problems) -> Option<ServiceDefinition> {
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
            // In files, unlike in the HTTP API, a missing weight is 1.
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
        let mut service: ServiceDefinition = decode(object, key, problems)?;
        for check in service.check.iter_mut().chain(&mut service.checks) {
            // Files say `id` where the HTTP API says `CheckID`.
            if check.check_id.is_empty() {
                check.check_id = std::mem::take(&mut check.id);
            }
        }
        for why in [rules::service(&service).err(), mesh::accept(&mut service).err()].into_iter().flatten() {
            problems.error(format!("{key}: {why}"));
        }
        for check in service.check.iter().chain(&service.checks) {
            verify_check(check, &join_key(key, "check"), problems);
        }
        Some(service)
    }
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

/// The object with its keys as `known` spells them, found without regard to case and `_`; none with a wrong kind of value.
pub(super) fn canonical(value: Value, known: &[Known], key: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    let object = read_object(value, key, problems)?;
    let (mut renamed, mut is_good) = (Map::new(), true);
    for (name, value) in object {
        let key = join_key(key, &name);
        match spelled(&name, known) {
            None => problems.unknown(&key),
            // Null is the zero value, as in the HTTP API.
            Some(_) if value.is_null() => {}
            Some((word, kind)) => {
                let errors = problems.errors.len();
                let value = kind.read(value, &key, problems);
                is_good &= problems.errors.len() == errors;
                renamed.extend(value.map(|value| (word.to_owned(), value)));
            }
        }
    }
    is_good.then_some(renamed)
}

/// The spelling and the kind of the key `name`.
fn spelled(name: &str, known: &[Known]) -> Option<(&'static str, Kind)> {
    let folded = |name: &str| name.replace('_', "").to_lowercase();
    known.iter().find_map(|(kind, words)| {
        let word = words.split_whitespace().find(|word| folded(word) == folded(name))?;
        Some((word, *kind))
    })
}

fn decode<T: DeserializeOwned>(object: Map<String, Value>, key: &str, problems: &mut Problems) -> Option<T> {
    serde_json::from_value(Value::Object(object)).map_err(|error| problems.error(format!("{key}: {error}"))).ok()
}
