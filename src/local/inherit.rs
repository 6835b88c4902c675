//! Registrations that Consul kept in the data directory, taken over at the start. Its files stay under another name.

use super::definition;
use super::kept::{self, Kept, KeptCheck, KeptService, KeptTtl};
use super::maintenance;
use crate::model::check::{CheckStatus, CheckType, HealthCheck, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};
use crate::model::ids::Token;
use crate::model::service::NodeService;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;
use tracing::{error, info, warn};

/// The extension of one of Consul's files once it is taken over.
const TAKEN: &str = "taken";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    token: String,
    service: NodeService,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    check: HealthCheck,
    chk_type: Option<CheckType>,
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(rename = "CheckID")]
    check_id: String,
    #[serde(default)]
    output: String,
    status: CheckStatus,
    /// Seconds since the Unix epoch.
    expires: u64,
}

/// Takes over Consul's files of these folders. A file that cannot be understood is set aside and logged.
pub(super) fn take(services: &Path, checks: &Path, states: &Path) -> io::Result<()> {
    take_all(services, "service", |bytes| parse(bytes).and_then(service))?;
    take_all(checks, "check", |bytes| parse(bytes).and_then(check))?;
    take_all(states, "state of a TTL check", |bytes| parse(bytes).map(state))
}

fn service(Service { token, mut service }: Service) -> Result<KeptService, String> {
    if service.id.is_empty() || service.service.is_empty() {
        return Err("expected a service with ID and name, got none".to_owned());
    }
    (service.create_index, service.modify_index) = (0, 0);
    service.meta.get_or_insert_default();
    service.weights.get_or_insert_default();
    Ok(KeptService { service, token: Token(token) })
}

fn check(Check { mut check, chk_type, token }: Check) -> Result<KeptCheck, String> {
    let id = &check.check_id;
    if id.is_empty() {
        return Err("expected a check with CheckID, got none".to_owned());
    }
    check.kind = match &chk_type {
        Some(own) => definition::kind(own).to_owned(),
        None if id == NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE_PREFIX) => maintenance::KIND.to_owned(),
        None => return Err("expected a check with ChkType, got none".to_owned()),
    };
    check.definition = chk_type.as_ref().map(definition::of).unwrap_or_default();
    (check.create_index, check.modify_index) = (0, 0);
    Ok(KeptCheck { check, definition: chk_type, token: Token(token) })
}

fn state(State { check_id, output, status, expires }: State) -> KeptTtl {
    KeptTtl { check_id, status, output, expires: Duration::from_secs(expires) }
}

/// Takes over Consul's files of one folder, each by `convert`; the log names them by `kind`.
fn take_all<K: Kept>(folder: &Path, kind: &str, convert: fn(&[u8]) -> Result<K, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_of_consul(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
            take_one(folder, &entry.path(), kind, convert)?;
        }
    }
    Ok(())
}

/// True if a file is named as Consul does: by the MD5 or, later, the SHA-256 of an id.
fn is_of_consul(name: &str) -> bool {
    matches!(name.len(), 32 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn take_one<K: Kept>(folder: &Path, path: &Path, kind: &str, convert: fn(&[u8]) -> Result<K, String>) -> io::Result<()> {
    let bytes = match kept::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            error!(file = %path.display(), %error, "a registration that Consul kept cannot be read and is not used");
            return Ok(());
        }
    };
    match kept::bounded(&bytes).and_then(|()| convert(&bytes)) {
        Ok(ours) if folder.join(kept::file_name(ours.id())).exists() => {
            warn!(file = %path.display(), id = %ours.id(), "a {kind} that Consul kept is registered here already; it is not used");
        }
        Ok(ours) => {
            kept::write(folder, &ours, true)?;
            info!(file = %path.display(), id = %ours.id(), "a {kind} that Consul kept was taken over");
        }
        Err(why) => {
            kept::set_aside(path, &why);
            return Ok(());
        }
    }
    fs::rename(path, path.with_extension(TAKEN))
}

/// Go writes null for an absent value; serde expects no member at all.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Drops every null; the parser bounds the depth.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::registry::tests::{ids, kept, open_in, start, status, web};
    use super::*;
    use serde_json::json;

    fn write(path: std::path::PathBuf, value: &Value) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, value.to_string()).expect("written");
    }

    /// A file name in Consul's form.
    fn name(letter: &str, length: usize) -> String {
        letter.repeat(length)
    }

    fn service() -> Value {
        json!({
            "Token": "s3cret",
            "Service": {
                "ID": "web1", "Service": "web", "Tags": ["a"], "Address": "", "TaggedAddresses": null, "Meta": null, "Port": 80,
                "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Proxy": {"MeshGateway": {}, "Expose": {}},
                "Connect": {}, "CreateIndex": 7, "ModifyIndex": 7, "Locality": null,
            },
            "Source": "remote", "LocallyRegisteredAsSidecar": false,
        })
    }

    fn check(id: &str, how: Value) -> Value {
        json!({
            "Check": {
                "Node": "old", "CheckID": id, "Name": "well?", "Status": "passing", "Notes": "", "Output": "", "ServiceID": "web1",
                "ServiceName": "web", "ServiceTags": null, "Type": "", "Interval": "10s", "Timeout": "", "ExposedPort": 0,
                "Definition": {}, "CreateIndex": 0, "ModifyIndex": 0,
            },
            "ChkType": how, "Token": "s3cret", "Source": "remote",
        })
    }

    #[test]
    fn what_consul_kept_is_registered_and_goes_for_good_when_it_is_deregistered() {
        let home = tempfile::tempdir().expect("a directory");
        let folder = |name: &str| home.path().join(name);
        let http = json!({
            "CheckID": "", "Name": "", "ScriptArgs": null, "HTTP": "http://h/", "Header": null, "Interval": 10_000_000_000_u64,
            "Timeout": 0, "TTL": 0, "DeregisterCriticalServiceAfter": 90_000_000_000_u64, "OutputMaxSize": 4096, "ProxyHTTP": "",
        });
        write(folder("services").join(name("a", 64)), &service());
        write(folder("services/configs").join(name("a", 64)), &json!({}));
        write(folder("checks").join(name("b", 32)), &check("http", http));
        write(folder("checks").join(name("c", 64)), &check("ttl", json!({"TTL": 15_000_000_000_u64})));
        let expires = start().unix.as_secs() + 10;
        let state = json!({"CheckID": "ttl", "Output": "all well", "Status": "passing", "Expires": expires});
        write(folder("checks/state").join(name("c", 64)), &state);
        write(folder("services").join(name("d", 64)), &json!({"Service": "no object"}));

        let mut registry = open_in(&home, start());
        assert_eq!(ids(&registry), ["http", "ttl"]);
        let row = registry.state.service("web1").expect("taken");
        assert_eq!((row.row.port, row.token.0.as_str(), row.row.modify_index), (80, "s3cret", 0));
        let http = &registry.state.check("http").expect("taken").row;
        assert_eq!((http.node.as_str(), http.kind.as_str(), http.status), ("n1", "http", CheckStatus::Critical));
        assert_eq!(http.definition.deregister_critical_service_after, Duration::from_secs(90));
        assert_eq!(status(&registry, "ttl"), (CheckStatus::Passing, "all well".to_owned()));
        assert!(folder("services").join(format!("{}.damaged", name("d", 64))).exists(), "named and set aside");
        assert!(folder("services/configs").join(name("a", 64)).exists(), "nobody's registration");

        registry.remove_service("web1").expect("known");
        let again = open_in(&home, start());
        assert!(again.state.registered().services.is_empty() && ids(&again).is_empty());
    }

    #[test]
    fn what_is_registered_here_already_wins() {
        let (home, now, mut registry) = kept();
        registry.add_service(web(Vec::new()), Source::Api, false, now).expect("good");
        write(home.path().join("services").join(name("a", 32)), &service());
        let again = open_in(&home, start());
        assert_eq!(again.state.service("web1").expect("there").row.port, 0);
        assert!(home.path().join("services").join(format!("{}.taken", name("a", 32))).exists());
    }
}
