//! `watches` of configuration files: a view, which `model::watch` reads, and one handler each.
//!
//! A handler needs no `enable_script_checks`: only the author of these files can name one.

use super::definition::{Kind, Known, canonical};
use super::merge::{Definition, join_key, take};
use super::problems::Problems;
use crate::defaults;
use crate::model::watch::{ConfiguredWatch, Handler, HttpHandler, Watch};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri};
use serde_json::{Map, Value};
use std::time::Duration;

/// `http_handler_config {}`
const HTTP_KEYS: [Known; 4] =
    [(Kind::Text, "path method"), (Kind::Time, "timeout"), (Kind::Any, "header"), (Kind::Flag, "tls_skip_verify")];

impl Definition for ConfiguredWatch {
    fn read_one(value: Value, key: &str, problems: &mut Problems) -> Option<ConfiguredWatch> {
        let Value::Object(mut params) = value else {
            return problems.expected(key, "an object", &value);
        };
        let handler = read_handler(&mut params, key, problems);
        let watch = Watch::parse(params).map_err(|text| problems.error(format!("{key}: {text}"))).ok();
        Some(ConfiguredWatch { handler: handler?, watch: watch? })
    }
}

/// Takes the handler out of the watch's parameters. The refusals are Consul's.
fn read_handler(params: &mut Map<String, Value>, key: &str, problems: &mut Problems) -> Option<Handler> {
    let kind: Option<String> = take(params, key, "handler_type", problems);
    let kind = kind.unwrap_or_default();
    let [shell, args, http] = ["handler", "args", "http_handler_config"].map(|name| params.remove(name).filter(|v| !v.is_null()));
    let is_http = kind == "http";
    let mut refuse = |text: &str| problems.refuse(format!("{key}: {text}"));
    if !["", "script", "http"].contains(&kind.as_str()) {
        return refuse(&format!("handler_type: expected script or http, got {kind:?}"));
    }
    if [shell.is_some(), args.is_some(), is_http].into_iter().filter(|given| *given).count() > 1 {
        return refuse("Only one watch handler allowed");
    }
    match (shell, args, http) {
        (None, None, Some(config)) if is_http => read_http(config, &join_key(key, "http_handler_config"), problems),
        (None, None, None) if is_http => refuse("Handler type 'http' requires 'http_handler_config' to be set"),
        (_, _, Some(_)) => refuse("http_handler_config goes with handler_type = \"http\""),
        (Some(Value::String(line)), None, None) if !line.trim().is_empty() => {
            problems.warn("The 'handler' field in watches has been deprecated and replaced with the 'args' field");
            Some(Handler::Shell(line))
        }
        (Some(_), None, None) => refuse("Watch handler must be a string"),
        (None, Some(args), None) => words(args).map(Handler::Args).or_else(|| refuse("Watch args must be a list of strings")),
        _ => refuse("Must define a watch handler"),
    }
}

/// A program with its arguments; one word alone is a program.
fn words(args: Value) -> Option<Vec<String>> {
    let items = if let Value::Array(items) = args { items } else { vec![args] };
    let text = |item: Value| if let Value::String(text) = item { Some(text) } else { None };
    let words: Vec<String> = items.into_iter().map(text).collect::<Option<_>>()?;
    words.first().is_some_and(|program| !program.is_empty()).then_some(words)
}

fn read_http(value: Value, key: &str, problems: &mut Problems) -> Option<Handler> {
    let mut object = canonical(value, &HTTP_KEYS, key, problems)?;
    let url: String = take(&mut object, key, "path", problems).unwrap_or_default();
    let method: Option<String> = take(&mut object, key, "method", problems);
    let timeout: Option<Duration> = take(&mut object, key, "timeout", problems);
    let tls_skip_verify = take(&mut object, key, "tls_skip_verify", problems).unwrap_or(false);
    let headers = object.remove("header").map_or_else(|| Some(Vec::new()), |header| read_headers(header, key, problems))?;
    let method = method.filter(|method| !method.is_empty()).unwrap_or_else(|| "POST".to_owned());
    let is_url = |uri: Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    if url.is_empty() {
        return problems.refuse(format!("{key}: Requires 'path' to be set"));
    }
    if !url.parse().is_ok_and(is_url) {
        // The URL may carry a password, so it is not shown.
        return problems.refuse(format!("{key}.path: expected a URL with http:// or https:// and a host"));
    }
    if Method::from_bytes(method.as_bytes()).is_err() {
        return problems.refuse(format!("{key}.method: expected a method such as POST, got {method:?}"));
    }
    let timeout = timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(defaults::WATCH_HTTP_TIMEOUT);
    Some(Handler::Http(HttpHandler { url, method, headers, timeout, tls_skip_verify }))
}

/// Names with one value or several.
fn read_headers(value: Value, key: &str, problems: &mut Problems) -> Option<Vec<(String, String)>> {
    let key = join_key(key, "header");
    let object = super::merge::read_object(value, &key, problems)?;
    let mut headers = Vec::new();
    for (name, values) in object {
        for value in if let Value::Array(values) = values { values } else { vec![values] } {
            let text = value.as_str().filter(|text| HeaderValue::try_from(*text).is_ok());
            match text {
                Some(text) if HeaderName::try_from(&name).is_ok() => headers.push((name.clone(), text.to_owned())),
                _ => return problems.refuse(format!("{key}: {name:?} is no header with values that can be sent")),
            }
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::merge::Setting;
    use crate::model::watch::View;
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<ConfiguredWatch>, Vec<String>> {
        let mut problems = Problems::default();
        let read = Vec::<ConfiguredWatch>::read(value, "watches", &mut problems);
        let errors: Vec<String> = problems.errors.into_iter().map(|error| error.message).collect();
        if errors.is_empty() { Ok(read.unwrap()) } else { Err(errors) }
    }

    #[test]
    fn every_kind_of_handler_is_read() {
        let watches = read(json!([
            {"type": "nodes", "args": ["/bin/x", "-a"]},
            {"type": "nodes", "args": "/bin/x", "handler_type": "script"},
            {"type": "service", "service": "web", "handler": "x | y", "token": "t"},
            {"type": "checks", "handler_type": "http", "http_handler_config": {"path": "https://h:1/p"}},
            {"type": "event", "handler_type": "http", "http_handler_config": [
                {"path": "http://h/", "method": "PUT", "timeout": "3s", "header": {"X-A": ["b", "c"], "x-d": "e"}},
                {"tls_skip_verify": true}
            ]},
        ]));
        let watches = watches.unwrap();
        assert_eq!(watches[0].handler, Handler::Args(vec!["/bin/x".into(), "-a".into()]));
        assert_eq!(watches[1].handler, Handler::Args(vec!["/bin/x".into()]));
        assert_eq!(watches[2].handler, Handler::Shell("x | y".into()));
        assert_eq!(watches[2].watch.token.0, "t");
        let http = |handler: &Handler| if let Handler::Http(http) = handler { http.clone() } else { panic!("{handler:?}") };
        let plain = http(&watches[3].handler);
        assert_eq!((plain.method.as_str(), plain.timeout, plain.tls_skip_verify), ("POST", Duration::from_secs(10), false));
        let full = http(&watches[4].handler);
        assert_eq!((full.method.as_str(), full.timeout, full.tls_skip_verify), ("PUT", Duration::from_secs(3), true));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(full.headers, [pair("X-A", "b"), pair("X-A", "c"), pair("x-d", "e")]);
        assert_eq!(watches[4].watch.view, View::Event(String::new()));
        assert_eq!(read(json!({"type": "services", "args": ["x"]})).unwrap().len(), 1);
    }

    #[test]
    fn blocks_of_hcl_are_watches_too() {
        let text = r#"
            watches { type = "nodes" args = ["x"] }
            watches {
                type = "checks"
                handler_type = "http"
                http_handler_config { path = "http://h/" header { x-foo = ["bar"] } }
            }
        "#;
        let mut document = crate::config::Format::Hcl.parse(text).unwrap().value();
        let watches = read(document["watches"].take()).unwrap();
        assert_eq!(watches.len(), 2);
        let Handler::Http(http) = &watches[1].handler else { panic!("{watches:?}") };
        assert_eq!(http.headers, [("x-foo".to_owned(), "bar".to_owned())]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_place() {
        let http = |config: Value| json!([{"type": "nodes", "handler_type": "http", "http_handler_config": config}]);
        for (watches, text) in [
            (json!([{"type": "nodes"}]), "watches[0]: Must define a watch handler"),
            (json!([{"type": "nodes", "args": []}]), "watches[0]: Watch args must be a list of strings"),
            (json!([{"type": "nodes", "args": ["a", 1]}]), "watches[0]: Watch args must be a list of strings"),
            (json!([{"type": "nodes", "handler": 1}]), "watches[0]: Watch handler must be a string"),
            (json!([{"type": "nodes", "handler": "a", "args": ["a"]}]), "watches[0]: Only one watch handler allowed"),
            (json!([{"type": "nodes", "handler_type": "http", "args": ["a"]}]), "watches[0]: Only one watch handler allowed"),
            (
                json!([{"type": "nodes", "handler_type": "mail", "args": ["a"]}]),
                "watches[0]: handler_type: expected script or http, got \"mail\"",
            ),
            (
                json!([{"type": "nodes", "handler_type": "http"}]),
                "watches[0]: Handler type 'http' requires 'http_handler_config' to be set",
            ),
            (json!([{"type": "nodes", "args": ["a"], "key": "b"}]), "watches[0]: Invalid parameters: [key]"),
            (json!([{"type": "key", "args": ["a"]}]), "watches[0]: Must specify a single key to watch"),
            (json!(["nodes"]), "watches[0]: expected an object, got a string"),
            (http(json!({})), "watches[0].http_handler_config: Requires 'path' to be set"),
            (
                http(json!({"path": "h:1"})),
                "watches[0].http_handler_config.path: expected a URL with http:// or https:// and a host",
            ),
            (http(json!({"path": "http://h", "colour": 1})), "invalid config key watches[0].http_handler_config.colour"),
            (
                http(json!({"path": "http://h", "header": {"a b": "c"}})),
                "watches[0].http_handler_config.header: \"a b\" is no header with values that can be sent",
            ),
        ] {
            assert_eq!(read(watches), Err(vec![text.to_owned()]));
        }
    }
}
