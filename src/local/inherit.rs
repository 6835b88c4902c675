//! Registrations that Consul kept in the data directory: read at the start and kept in our way from then on.
//!
//! `persist` calls it before it looks for its own files. Consul's lie in the same folders, each named by
//! the hash of an id without an ending. One that is taken stays beside ours under another name.

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

/// What a file of Consul's is called once it is taken.
const TAKEN: &str = "taken";

/// One of Consul's files, as what it is here.
trait OfConsul: DeserializeOwned {
    type Ours: Kept;
    /// What it is called in the log.
    const WHAT: &'static str;
    fn ours(self) -> Result<Self::Ours, String>;
}

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

impl OfConsul for Service {
    type Ours = KeptService;
    const WHAT: &'static str = "service";

    fn ours(self) -> Result<KeptService, String> {
        let Service { token, mut service } = self;
        if service.id.is_empty() || service.service.is_empty() {
            return Err("expected a service with ID and name, got none".to_owned());
        }
        (service.create_index, service.modify_index) = (0, 0);
        service.meta.get_or_insert_default();
        service.weights.get_or_insert_default();
        Ok(KeptService { service, token: Token(token) })
    }
}

impl OfConsul for Check {
    type Ours = KeptCheck;
    const WHAT: &'static str = "check";

    fn ours(self) -> Result<KeptCheck, String> {
        let Check { mut check, chk_type, token } = self;
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
}

impl OfConsul for State {
    type Ours = KeptTtl;
    const WHAT: &'static str = "state of a TTL check";

    fn ours(self) -> Result<KeptTtl, String> {
        let State { check_id, output, status, expires } = self;
        Ok(KeptTtl { check_id, status, output, expires: Duration::from_secs(expires) })
    }
}

/// Takes over what Consul kept in these folders. What cannot be read is set aside and named.
pub(super) fn take(services: &Path, checks: &Path, states: &Path) -> io::Result<()> {
    take_all::<Service>(services)?;
    take_all::<Check>(checks)?;
    take_all::<State>(states)
}

fn take_all<T: OfConsul>(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_of_consul(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
            take_one::<T>(folder, &entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file is named as Consul does: by the MD5 or, later, the SHA-256 of an id.
fn is_of_consul(name: &str) -> bool {
    matches!(name.len(), 32 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn take_one<T: OfConsul>(folder: &Path, path: &Path) -> io::Result<()> {
    let bytes = match kept::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            error!(file = %path.display(), %error, "a registration that Consul kept cannot be read and is not used");
            return Ok(());
        }
    };
    match kept::bounded(&bytes).and_then(|()| parse::<T>(&bytes)).and_then(T::ours) {
        Ok(ours) if folder.join(kept::file_name(ours.id())).exists() => {
            warn!(file = %path.display(), id = %ours.id(), "a {} that Consul kept is registered here already; it is not used", T::WHAT);
        }
        Ok(ours) => {
            kept::write(folder, &ours, true)?;
            info!(file = %path.display(), id = %ours.id(), "a {} that Consul kept was taken over", T::WHAT);
        }
        Err(why) => {
            kept::set_aside(path, &why);
            return Ok(());
        }
    }
    fs::rename(path, path.with_extension(TAKEN))
}

/// Go writes null where nothing is; that is what is left out here.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Its depth is bounded by the parser's.
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
    use super::super::registry::Registry;
    use super::super::registry::tests::{ids, settings, start, status};
    use super::*;
    use serde_json::json;

    fn write(path: std::path::PathBuf, value: &Value) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, value.to_string()).expect("written");
    }

    /// Names as Consul gives them.
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

        let mut registry = Registry::open(settings(Some(home.path())), start()).expect("opens");
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
        let again = Registry::open(settings(Some(home.path())), start()).expect("opens");
        assert!(again.state.registered().services.is_empty() && ids(&again).is_empty());
    }

    #[test]
    fn what_is_registered_here_already_wins() {
        let home = tempfile::tempdir().expect("a directory");
        let mut registry = Registry::open(settings(Some(home.path())), start()).expect("opens");
        let web = super::super::registry::tests::web(Vec::new());
        registry.add_service(web, super::super::Source::Api, false, start()).expect("good");
        write(home.path().join("services").join(name("a", 32)), &service());
        let again = Registry::open(settings(Some(home.path())), start()).expect("opens");
        assert_eq!(again.state.service("web1").expect("there").row.port, 0);
        assert!(home.path().join("services").join(format!("{}.taken", name("a", 32))).exists());
    }
}
