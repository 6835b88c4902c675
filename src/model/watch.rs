//! Watches as users define them: the view they look at, and the handler they call.
//!
//! `config` reads watches of files, `cli` makes one of its flags, both through [`Watch::parse`], so that the names and
//! the refusals are the same.

use super::ids::Token;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;

/// One view of the data, and where and how it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub view: View,
    /// Unset for the agent's own.
    pub datacenter: Option<String>,
    /// Sent with every question; the agent's default token when empty.
    pub token: Token,
    pub stale: bool,
    pub filter: Option<String>,
}

/// Consul's types of watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Key(String),
    KeyPrefix(String),
    Services,
    Nodes,
    /// The instances of a service that have all tags.
    Service {
        name: String,
        tags: Vec<String>,
        passing_only: bool,
    },
    ChecksOf(String),
    /// The checks in a state; `any` for all.
    ChecksIn(String),
    /// User events of that name; all of them when it is empty.
    Event(String),
    ConnectRoots,
    ConnectLeaf(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    Args(Vec<String>),
    /// A line for the shell.
    Shell(String),
    Http(HttpHandler),
}

#[derive(Clone, PartialEq, Eq)]
pub struct HttpHandler {
    /// `http://…` or `https://…`
    pub url: String,
    /// `POST`, unless another is asked for.
    pub method: String,
    /// Sent with it; their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// Bounds the whole exchange.
    pub timeout: Duration,
    pub tls_skip_verify: bool,
}

impl fmt::Debug for HttpHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHandler").field("url", &self.url).field("method", &self.method).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredWatch {
    pub watch: Watch,
    pub handler: Handler,
}

impl View {
    pub fn kind(&self) -> &'static str {
        match self {
            View::Key(_) => "key",
            View::KeyPrefix(_) => "keyprefix",
            View::Services => "services",
            View::Nodes => "nodes",
            View::Service { .. } => "service",
            View::ChecksOf(_) | View::ChecksIn(_) => "checks",
            View::Event(_) => "event",
            View::ConnectRoots => "connect_roots",
            View::ConnectLeaf(_) => "connect_leaf",
        }
    }

    /// Servers answer it, so that `stale` means something.
    fn takes_stale(&self) -> bool {
        !matches!(self, View::Event(_) | View::ConnectRoots | View::ConnectLeaf(_))
    }

    fn takes_filter(&self) -> bool {
        matches!(self, View::Services | View::Nodes | View::Service { .. } | View::ChecksOf(_) | View::ChecksIn(_))
    }
}

impl Watch {
    /// Reads parameters by the names they have in files and as flags. The refusals are Consul's.
    pub fn parse(params: Map<String, Value>) -> Result<Watch, String> {
        let mut params = Params(params);
        let datacenter = params.text("datacenter")?;
        let token = Token(params.text("token")?);
        let kind = params.text("type")?;
        if kind.is_empty() {
            return Err("Watch type must be specified".to_owned());
        }
        let view = params.view(&kind)?;
        let stale = view.takes_stale() && params.flag("stale")?;
        let filter = if view.takes_filter() { params.text("filter")? } else { String::new() };
        params.refuse_rest()?;
        Ok(Watch { view, datacenter: filled(datacenter), token, stale, filter: filled(filter) })
    }
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Parameters that are taken out one by one.
struct Params(Map<String, Value>);

impl Params {
    fn view(&mut self, kind: &str) -> Result<View, String> {
        Ok(match kind {
            "key" => View::Key(self.needed("key", "key")?),
            "keyprefix" => View::KeyPrefix(self.needed("prefix", "prefix")?),
            "services" => View::Services,
            "nodes" => View::Nodes,
            "service" => View::Service {
                name: self.needed("service", "service")?,
                tags: self.texts("tag")?,
                passing_only: self.flag("passingonly")?,
            },
            "checks" => match (self.text("service")?, self.text("state")?) {
                (service, state) if !service.is_empty() && !state.is_empty() => {
                    return Err("Cannot specify service and state".to_owned());
                }
                (service, _) if !service.is_empty() => View::ChecksOf(service),
                (_, state) => View::ChecksIn(filled(state).unwrap_or_else(|| "any".to_owned())),
            },
            "event" => View::Event(self.text("name")?),
            "connect_roots" => View::ConnectRoots,
            "connect_leaf" => View::ConnectLeaf(self.needed("service", "service")?),
            // `agent_service` is among them: its changes have no index that a handler could get.
            other => return Err(format!("Unsupported watch type: {other}")),
        })
    }

    fn needed(&mut self, name: &str, what: &str) -> Result<String, String> {
        filled(self.text(name)?).ok_or_else(|| format!("Must specify a single {what} to watch"))
    }

    /// A text; the empty one when it is not there.
    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(format!("Expecting {name} to be a string")),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(set)) => Ok(set),
            Some(_) => Err(format!("Expecting {name} to be a boolean")),
        }
    }

    /// One text or several.
    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(items)) => {
                let text = |(n, item): (usize, Value)| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(format!("Index {n} of {name} expected to be string")),
                };
                items.into_iter().enumerate().map(text).collect()
            }
            Some(_) => Err(format!("Expecting {name} to be a string or []string")),
        }
    }

    fn refuse_rest(self) -> Result<(), String> {
        let rest: Vec<String> = self.0.into_iter().map(|(name, _)| name).collect();
        if rest.is_empty() { Ok(()) } else { Err(format!("Invalid parameters: [{}]", rest.join(" "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(params: Value) -> Result<Watch, String> {
        let Value::Object(params) = params else { panic!("not an object: {params}") };
        Watch::parse(params)
    }

    #[test]
    fn every_type_takes_its_parameters() {
        let view = |params| parse(params).unwrap().view;
        assert_eq!(view(json!({"type": "key", "key": "a/b"})), View::Key("a/b".into()));
        assert_eq!(view(json!({"type": "keyprefix", "prefix": "a/"})), View::KeyPrefix("a/".into()));
        assert_eq!(view(json!({"type": "services"})), View::Services);
        assert_eq!(view(json!({"type": "nodes"})), View::Nodes);
        let web = |tags: &[&str], passing_only| View::Service {
            name: "web".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            passing_only,
        };
        assert_eq!(view(json!({"type": "service", "service": "web", "tag": "a"})), web(&["a"], false));
        let several = json!({"type": "service", "service": "web", "tag": ["a", "b"], "passingonly": true});
        assert_eq!(view(several), web(&["a", "b"], true));
        assert_eq!(view(json!({"type": "checks"})), View::ChecksIn("any".into()));
        assert_eq!(view(json!({"type": "checks", "state": "critical"})), View::ChecksIn("critical".into()));
        assert_eq!(view(json!({"type": "checks", "service": "web"})), View::ChecksOf("web".into()));
        assert_eq!(view(json!({"type": "event"})), View::Event(String::new()));
        let all = json!({"type": "nodes", "datacenter": "dc2", "token": "s", "stale": true, "filter": "Node == \"a\""});
        let watch = parse(all).unwrap();
        assert_eq!((watch.datacenter.as_deref(), watch.stale, watch.token.0.as_str()), (Some("dc2"), true, "s"));
        assert_eq!(watch.filter.as_deref(), Some("Node == \"a\""));
    }

    #[test]
    fn what_consul_refuses_is_refused_with_its_text() {
        for (params, text) in [
            (json!({}), "Watch type must be specified"),
            (json!({"type": 1}), "Expecting type to be a string"),
            (json!({"type": "weather"}), "Unsupported watch type: weather"),
            (json!({"type": "agent_service", "service_id": "a"}), "Unsupported watch type: agent_service"),
            (json!({"type": "key"}), "Must specify a single key to watch"),
            (json!({"type": "keyprefix", "key": "a"}), "Must specify a single prefix to watch"),
            (json!({"type": "service", "tag": "a"}), "Must specify a single service to watch"),
            (json!({"type": "service", "service": "a", "tag": [1]}), "Index 0 of tag expected to be string"),
            (json!({"type": "service", "service": "a", "passingonly": "yes"}), "Expecting passingonly to be a boolean"),
            (json!({"type": "checks", "service": "a", "state": "any"}), "Cannot specify service and state"),
            (json!({"type": "nodes", "key": "a", "colour": "b"}), "Invalid parameters: [colour key]"),
            (json!({"type": "event", "stale": true}), "Invalid parameters: [stale]"),
        ] {
            assert_eq!(parse(params), Err(text.to_owned()));
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let http = HttpHandler {
            url: "http://x/".into(),
            method: "POST".into(),
            headers: vec![("Authorization".into(), "secret".into())],
            timeout: Duration::ZERO,
            tls_skip_verify: false,
        };
        assert!(!format!("{http:?}").contains("secret"));
    }
}
