//! The rules for services and checks, with Consul's texts; pure, and the same for files and for the HTTP API.

use super::check::CheckType;
use super::definition::ServiceDefinition;
use super::vote::observers_fit;
use crate::defaults::{CHECK_NAME_BYTES, COMMAND_BYTES, NAME_BYTES};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Pairs of metadata that one thing may carry, and their sizes in bytes. Consul's numbers.
const META_MAX_PAIRS: usize = 64;
const META_MAX_KEY: usize = 128;
const META_MAX_VALUE: usize = 512;
const META_RESERVED_PREFIX: &str = "consul-";

/// Refuses a `text` of more than `max` bytes.
pub fn length(what: &str, text: &str, max: usize) -> Result<(), String> {
    match text.len() {
        len if len > max => Err(format!("The {what} has {len} bytes; expected at most {max}")),
        _ => Ok(()),
    }
}

/// Refuses a service that breaks a rule, its checks left aside.
pub fn service(definition: &ServiceDefinition) -> Result<(), String> {
    if definition.name.is_empty() {
        return Err("Missing service name".to_owned());
    }
    length("service name", &definition.name, NAME_BYTES)?;
    length("service ID", &definition.id, NAME_BYTES)?;
    service_address(&definition.address)?;
    if let Some(weights) = &definition.weights {
        weights.check().map_err(|why| format!("Invalid Weights: {why}"))?;
    }
    let checks = definition.checks.len() + usize::from(definition.check.is_some());
    copies(&definition.id, &definition.name, &definition.tags, checks)?;
    // Gateways and proxies carry marks of their own under the reserved prefix.
    let reserved = !definition.kind.is_empty();
    meta(&definition.meta, reserved).map_err(|why| format!("Invalid Service Meta: {why}"))
}

/// Refuses an address that means every address of a host.
pub fn service_address(address: &str) -> Result<(), &'static str> {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err("Invalid service address"),
        _ => Ok(()),
    }
}

/// Refuses more `checks` than can carry the id, name and tags of their service. Each has them all: little data with many
/// checks and many tags could make gigabytes.
pub fn copies(id: &str, name: &str, tags: &[String], checks: usize) -> Result<(), String> {
    let carried = id.len() + name.len() + bytes_of(tags);
    match checks.saturating_mul(carried) > COMMAND_BYTES {
        true => Err(format!(
            "Each of the {checks} checks carries the {carried} bytes of its service's id, name and tags, more than {COMMAND_BYTES} \
             bytes in all; register fewer checks or tags"
        )),
        false => Ok(()),
    }
}

/// Bytes of a list of tags in memory.
pub fn bytes_of(tags: &[String]) -> usize {
    tags.iter().map(|tag| tag.len() + size_of::<String>()).sum()
}

/// Refuses a check whose names are too long or whose fields do not fit together.
pub fn check(check: &CheckType) -> Result<(), String> {
    length("check name", &check.name, CHECK_NAME_BYTES)?;
    [&check.id, &check.check_id].into_iter().try_for_each(|id| length("check ID", id, CHECK_NAME_BYTES))?;
    fields(check).map_err(str::to_owned)
}

fn fields(check: &CheckType) -> Result<(), &'static str> {
    observers_fit(check)?;
    let targets = [&check.http, &check.tcp, &check.grpc, &check.udp, &check.h2ping, &check.os_service];
    let probes = !check.script_args.is_empty() || targets.iter().any(|target| !target.is_empty());
    let (interval, ttl, alias) = (!check.interval.is_zero(), !check.ttl.is_zero(), is_alias(check));
    match () {
        () if interval && ttl => Err("Interval and TTL cannot both be specified"),
        () if probes && !interval => Err("Interval must be > 0 for Script, HTTP, or TCP checks"),
        () if probes && alias => Err("Interval cannot be set for Alias checks"),
        () if alias && ttl => Err("TTL must be not be set for Alias checks"),
        () if !probes && !alias && !ttl => Err("TTL must be > 0 for TTL checks"),
        () if check.output_max_size < 0 => Err("MaxOutputMaxSize must be positive"),
        () if check.failures_before_warning > check.failures_before_critical => {
            Err("FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
        }
        () => Ok(()),
    }
}

/// The check mirrors another service or node.
pub fn is_alias(check: &CheckType) -> bool {
    !check.alias_node.is_empty() || !check.alias_service.is_empty()
}

/// Refuses metadata over Consul's limits. `reserved` allows the prefix that users may not use.
pub fn meta(meta: &BTreeMap<String, String>, reserved: bool) -> Result<(), String> {
    if meta.len() > META_MAX_PAIRS {
        return Err(format!("Node metadata cannot contain more than {META_MAX_PAIRS} key/value pairs"));
    }
    for (key, value) in meta {
        pair(key, value, reserved).map_err(|why| format!("Couldn't load metadata pair ('{key}', '{value}'): {why}"))?;
    }
    Ok(())
}

fn pair(key: &str, value: &str, reserved: bool) -> Result<(), String> {
    if key.is_empty() {
        return Err("Key cannot be blank".to_owned());
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err("Key contains invalid characters".to_owned());
    }
    if key.len() > META_MAX_KEY {
        return Err(format!("Key is too long (limit: {META_MAX_KEY} characters)"));
    }
    if !reserved && key.starts_with(META_RESERVED_PREFIX) {
        return Err(format!("Key prefix '{META_RESERVED_PREFIX}' is reserved for internal use"));
    }
    if value.len() > META_MAX_VALUE {
        return Err(format!("Value is too long (limit: {META_MAX_VALUE} characters)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_checks_of_a_service_with_long_tags_are_refused() {
        let check = CheckType { ttl: std::time::Duration::from_secs(1), ..CheckType::default() };
        let of = |checks| ServiceDefinition {
            name: "web".to_owned(),
            tags: vec!["t".repeat(500_000)],
            checks: vec![check.clone(); checks],
            ..ServiceDefinition::default()
        };
        assert_eq!(service(&of(8)), Ok(()));
        assert!(service(&of(9)).unwrap_err().contains("register fewer checks"));
    }

    #[test]
    fn names_and_ids_have_a_bound_that_what_is_made_of_them_keeps() {
        let named =
            |name: usize, id: usize| ServiceDefinition { name: "n".repeat(name), id: "i".repeat(id), ..Default::default() };
        assert_eq!(service(&named(NAME_BYTES, NAME_BYTES)), Ok(()));
        for (name, id, words) in
            [(NAME_BYTES + 1, 0, "The service name has 2049 bytes"), (1, NAME_BYTES + 1, "The service ID has")]
        {
            assert!(service(&named(name, id)).unwrap_err().starts_with(words), "{words}");
        }
        let ttl = CheckType { ttl: std::time::Duration::from_secs(1), ..CheckType::default() };
        let (longest, longer) = ("c".repeat(CHECK_NAME_BYTES), "c".repeat(CHECK_NAME_BYTES + 1));
        let fits = CheckType { id: longest.clone(), check_id: longest.clone(), name: longest, ..ttl.clone() };
        assert_eq!(check(&fits), Ok(()));
        for (of, words) in [
            (CheckType { id: longer.clone(), ..ttl.clone() }, "The check ID has 4097 bytes; expected at most 4096"),
            (CheckType { check_id: longer.clone(), ..ttl.clone() }, "The check ID has"),
            (CheckType { name: longer, ..ttl }, "The check name has"),
        ] {
            assert!(check(&of).unwrap_err().starts_with(words), "{words}");
        }
    }
}
