//! The parts of a service's definition that belong to a mesh: data of the catalog is kept, settings without an effect
//! are refused by name.
//!
//! No authority here gives out certificates, and nothing configures proxies. The catalog knows all the same which proxy
//! or native service speaks for which name.

use super::definition::ServiceDefinition;
use serde_json::{Map, Value};

/// The kinds of services besides a plain one.
const KINDS: [&str; 5] = ["connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway", "api-gateway"];
/// The parts of `Proxy` that others read from the catalog.
const PROXY_KEYS: [&str; 13] = [
    "DestinationServiceName",
    "DestinationServiceID",
    "LocalServiceAddress",
    "LocalServicePort",
    "LocalServiceSocketPath",
    "Mode",
    "Config",
    "Upstreams",
    "MeshGateway",
    "Expose",
    "TransparentProxy",
    "EnvoyExtensions",
    "AccessLogs",
];
/// Parts of `Proxy` that the catalog always shows.
const PROXY_SHOWN: [&str; 2] = ["MeshGateway", "Expose"];

/// Accepts the mesh settings of a definition and gives their keys the spelling of the HTTP API. The error names the
/// unsupported or missing setting and its remedy.
pub fn accept(definition: &mut ServiceDefinition) -> Result<(), String> {
    let kind = definition.kind.as_str();
    if !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(format!("Kind {kind:?} is not supported: expected none or one of {}", KINDS.join(", ")));
    }
    let native = match definition.connect.take() {
        Some(connect) => {
            let connect = accept_connect(connect)?;
            let native = connect.get("Native") == Some(&Value::Bool(true));
            definition.connect = Some(Value::Object(connect));
            native
        }
        None => false,
    };
    let proxy = definition.proxy.take().map(accept_proxy).transpose()?;
    let destination = proxy.as_ref().and_then(|proxy| proxy.get("DestinationServiceName")?.as_str()).unwrap_or_default();
    if kind == "connect-proxy" {
        if destination.is_empty() {
            return Err("Proxy.DestinationServiceName must be non-empty for Connect proxy services".to_owned());
        }
        if definition.port == 0 && definition.socket_path.is_empty() {
            return Err("Port or SocketPath must be set for a Connect proxy".to_owned());
        }
        if native {
            return Err("A Proxy cannot also be Connect Native, only typical services".to_owned());
        }
    }
    definition.proxy = proxy.map(Value::Object);
    Ok(())
}

fn accept_connect(connect: Value) -> Result<Map<String, Value>, String> {
    let mut accepted = Map::new();
    for (key, value) in members(connect, "Connect")? {
        match (spelled(&key, &["Native", "SidecarService"]), value) {
            (Some("Native"), Value::Bool(native)) => _ = accepted.insert("Native".to_owned(), native.into()),
            (Some("Native"), other) => return Err(format!("Connect.Native: expected true or false, got {other}")),
            (Some(_sidecar), _) => {
                return Err("Connect.SidecarService is not supported: register the proxy as a service of its own, with Kind \"connect-proxy\" and Proxy.DestinationServiceName".to_owned());
            }
            (None, _) => return Err(format!("Connect.{key} is not supported: expected Native")),
        }
    }
    // `false` is the default and need not stand there.
    accepted.retain(|_, value| *value != Value::Bool(false));
    Ok(accepted)
}

fn accept_proxy(proxy: Value) -> Result<Map<String, Value>, String> {
    let mut accepted = Map::new();
    for (key, value) in members(proxy, "Proxy")? {
        let Some(name) = spelled(&key, &PROXY_KEYS) else {
            return Err(format!("Proxy.{key} is not supported: expected one of {}", PROXY_KEYS.join(", ")));
        };
        accepted.insert(name.to_owned(), value);
    }
    for name in PROXY_SHOWN {
        accepted.entry(name).or_insert_with(|| Value::Object(Map::new()));
    }
    Ok(accepted)
}

/// The members of an object that are not null.
fn members(value: Value, name: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(mut members) => {
            members.retain(|_, value| !value.is_null());
            Ok(members)
        }
        Value::Null => Ok(Map::new()),
        // A block of HCL is a list of one.
        Value::Array(mut items) if items.len() == 1 => members(items.remove(0), name),
        other => Err(format!("{name}: expected an object, got {other}")),
    }
}

/// The name that `key` is found as, without regard to case and `_`.
fn spelled(key: &str, names: &[&'static str]) -> Option<&'static str> {
    let folded = key.replace('_', "");
    names.iter().find(|name| name.eq_ignore_ascii_case(&folded)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn accepted(definition: Value) -> Result<(Option<Value>, Option<Value>), String> {
        let mut definition: ServiceDefinition = serde_json::from_value(definition).expect("reads");
        accept(&mut definition)?;
        Ok((definition.proxy, definition.connect))
    }

    #[test]
    fn what_is_data_of_the_catalog_is_kept_in_one_spelling() {
        assert_eq!(accepted(json!({"Name": "web"})), Ok((None, None)));
        let native = json!({"Name": "web", "Connect": {"native": true, "SidecarService": null}});
        assert_eq!(accepted(native), Ok((None, Some(json!({"Native": true})))));
        let proxy = json!({"Name": "p", "Kind": "connect-proxy", "Port": 1, "Connect": {"Native": false},
            "Proxy": {"destination_service_name": "web", "Config": {"a_b": 1}}});
        let kept = json!({"DestinationServiceName": "web", "Config": {"a_b": 1}, "MeshGateway": {}, "Expose": {}});
        assert_eq!(accepted(proxy), Ok((Some(kept), Some(json!({})))));
        assert!(accepted(json!({"Name": "gw", "Kind": "mesh-gateway", "Port": 1})).is_ok());
    }

    #[test]
    fn what_would_have_no_effect_is_refused_by_name() {
        for (definition, named) in [
            (json!({"Connect": {"SidecarService": {}}}), "Connect.SidecarService is not supported"),
            (json!({"Connect": {"sidecar_service": {"port": 1}}}), "Connect.SidecarService is not supported"),
            (json!({"Connect": {"Proxy": {}}}), "Connect.Proxy is not supported"),
            (json!({"Connect": {"Native": "yes"}}), "Connect.Native: expected true or false"),
            (json!({"Connect": 1}), "Connect: expected an object"),
            (json!({"Kind": "envoy"}), "Kind \"envoy\" is not supported"),
            (json!({"Proxy": {"Envoy": 1}}), "Proxy.Envoy is not supported"),
            (json!({"Kind": "connect-proxy", "Port": 1}), "Proxy.DestinationServiceName must be non-empty"),
            (json!({"Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "web"}}), "Port or SocketPath must be set"),
        ] {
            let refused = accepted(definition.clone()).expect_err("refused");
            assert!(refused.starts_with(named), "{definition}: {refused}");
        }
    }
}
