//! `agent/services` and `agent/service/…`: the services registered with this agent.

use crate::defaults;
use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, done, ready};
use crate::http::body;
use crate::http::error::ErrorResponse;
use crate::http::options;
use crate::http::respond::Reply;
use crate::local::{Registered, Source};
use crate::model::definition::ServiceDefinition;
use crate::model::service::{NodeService, ServiceAddress, Weights};
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AgentService<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
    service: &'a str,
    tags: &'a [String],
    meta: BTreeMap<&'a str, &'a str>,
    port: u16,
    address: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: &'a BTreeMap<String, ServiceAddress>,
    weights: Weights,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<&'a Value>,
    datacenter: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<String>,
}

impl<'a> AgentService<'a> {
    pub(super) fn of(service: &'a NodeService, datacenter: &'a str) -> AgentService<'a> {
        let meta = service.meta.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        AgentService {
            kind: &service.kind,
            id: &service.id,
            service: &service.service,
            tags: &service.tags,
            meta: meta.collect(),
            port: service.port,
            address: &service.address,
            socket_path: &service.socket_path,
            tagged_addresses: &service.tagged_addresses,
            weights: service.weights.unwrap_or_default(),
            enable_tag_override: service.enable_tag_override,
            // A plain service has no proxy; Consul leaves it out here, and not in the catalog.
            proxy: Some(&service.proxy).filter(|_| !service.kind.is_empty()),
            connect: Some(&service.connect).filter(|connect| connect.as_object().is_some_and(|map| !map.is_empty())),
            datacenter,
            content_hash: None,
        }
    }

    /// The service with a hash of all its other fields, equal on every agent and after every restart.
    fn hashed(mut self) -> Result<(AgentService<'a>, String), ErrorResponse> {
        let text = serde_json::to_vec(&self).map_err(|error| ErrorResponse::failed(error.to_string()))?;
        let hash: String = Sha256::digest(&text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.content_hash = Some(hash.clone());
        Ok((self, hash))
    }
}

/// `GET agent/services?filter`
pub(in crate::http) fn services(api: &Arc<HttpParts>, call: Call) -> Pending {
    let registered = api.local.registered();
    let dc = api.settings.datacenter.as_str();
    let rows = registered.services.iter().map(|(id, service)| (id.as_str(), AgentService::of(service, dc))).collect();
    let empty = NodeService::default();
    ready(super::filtered(rows, &AgentService::of(&empty, dc), &call.parameters).and_then(|rows| super::json(&rows)))
}

/// `GET agent/service/:id?hash&wait`
pub(in crate::http) fn service(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let (changes, settings) = (api.local.changes(), Arc::clone(&api.settings));
    let known = call.parameters.filled("hash").map(str::to_owned);
    let asked = call.named("Missing service ID").and_then(|id| Ok((id, options::wait(&call.parameters)?)));
    drop(call);
    Box::pin(async move {
        let (id, wait) = asked?;
        one_service(changes, &id, &settings.datacenter, known.as_deref(), jittered(wait)).await
    })
}

/// Answers once the service's hash differs from `known`, or `wait` is over.
async fn one_service(
    mut changes: watch::Receiver<Arc<Registered>>,
    id: &str,
    dc: &str,
    known: Option<&str>,
    wait: Duration,
) -> Result<Reply, ErrorResponse> {
    let deadline = Instant::now() + wait;
    loop {
        let registered = Arc::clone(&changes.borrow_and_update());
        let (reply, hash) = render(&registered, id, dc)?;
        if known != Some(hash.as_str()) {
            return Ok(reply);
        }
        drop(registered);
        let Ok(Ok(())) = timeout_at(deadline, changes.changed()).await else {
            // Time is up, or the agent is shutting down.
            return Ok(reply);
        };
    }
}

/// The answer with its hash, or 404.
fn render(registered: &Registered, id: &str, dc: &str) -> Result<(Reply, String), ErrorResponse> {
    let service = registered.services.get(id).ok_or_else(|| ErrorResponse::not_found(format!("unknown service ID: {id}")))?;
    let (service, hash) = AgentService::of(service, dc).hashed()?;
    let value = HeaderValue::try_from(hash.as_str()).unwrap_or(HeaderValue::from_static(""));
    Ok((super::json(&service)?.with_header(CONTENT_HASH, value), hash))
}

/// `wait` within its bounds, and a random bit more, so that watchers do not all return at one moment.
fn jittered(wait: Duration) -> Duration {
    let wait = if wait.is_zero() { defaults::DEFAULT_QUERY_TIME } else { wait.min(defaults::MAX_QUERY_TIME) };
    wait + (wait / defaults::WAIT_JITTER_DIVISOR).mul_f64(rand::random::<f64>())
}

/// `PUT agent/service/register?replace-existing-checks`
pub(in crate::http) fn register(api: &Arc<HttpParts>, call: Call) -> Pending {
    let (local, token) = (api.local.clone(), call.token());
    let replace = options::flag(&call.parameters, "replace-existing-checks");
    done(async move {
        let replace = replace?;
        let mut definition: ServiceDefinition = body::decode(call.body).await?;
        if definition.token.is_empty() {
            definition.token = token;
        }
        Ok(local.add_service(definition, Source::Api, replace).await?)
    })
}

/// `PUT agent/service/deregister/:id`
pub(in crate::http) fn deregister(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let (local, id) = (api.local.clone(), call.named("Missing service ID"));
    done(async move { Ok(local.remove_service(&id?).await?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn registered(service: NodeService) -> Registered {
        Registered { services: BTreeMap::from([(service.id.clone(), Arc::new(service))]), ..Registered::default() }
    }

    fn web() -> NodeService {
        NodeService { id: "web1".to_owned(), service: "web".to_owned(), port: 80, ..NodeService::default() }
    }

    #[test]
    fn a_plain_service_has_the_shape_that_clients_parse() {
        let expected = json!({
            "ID": "web1", "Service": "web", "Tags": [], "Meta": {}, "Port": 80, "Address": "",
            "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Datacenter": "dc1",
        });
        assert_eq!(serde_json::to_value(AgentService::of(&web(), "dc1")).unwrap(), expected);
    }

    #[test]
    fn the_hash_follows_the_content_and_nothing_else() {
        let hash = |service| render(&registered(service), "web1", "dc1").unwrap().1;
        let first = hash(web());
        assert_eq!(first.len(), 16);
        assert_eq!(hash(NodeService { modify_index: 9, ..web() }), first);
        assert_ne!(hash(NodeService { port: 81, ..web() }), first);
        let unknown = render(&registered(web()), "web2", "dc1").unwrap_err();
        assert_eq!(unknown, ErrorResponse::not_found("unknown service ID: web2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_wakes_when_its_service_changes_and_not_for_another() {
        let (sender, changes) = watch::channel(Arc::new(registered(web())));
        let hash = render(&registered(web()), "web1", "dc1").unwrap().1;
        let wait = Duration::from_secs(60);
        let watching = async |known: &str| {
            let started = Instant::now();
            let reply = one_service(changes.clone(), "web1", "dc1", Some(known), wait).await;
            (reply.map(|reply| reply.status()), started.elapsed())
        };
        assert_eq!(watching("another").await, (Ok(hyper::StatusCode::OK), Duration::ZERO));
        assert_eq!(watching(&hash).await, (Ok(hyper::StatusCode::OK), wait));

        let (woken, ()) = tokio::join!(watching(&hash), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut both = registered(web());
            both.services.insert("db".to_owned(), Arc::new(NodeService { id: "db".to_owned(), ..NodeService::default() }));
            sender.send_replace(Arc::new(both));
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.send_replace(Arc::new(Registered::default()));
        });
        assert_eq!(woken, (Err(ErrorResponse::not_found("unknown service ID: web1")), Duration::from_secs(2)));
    }

    #[test]
    fn the_wait_stays_within_its_bounds() {
        let longest = defaults::MAX_QUERY_TIME + defaults::MAX_QUERY_TIME / defaults::WAIT_JITTER_DIVISOR;
        for (asked, least) in [(0, 300), (10, 10), (90_000, 600)] {
            let wait = jittered(Duration::from_secs(asked));
            assert!(wait >= Duration::from_secs(least) && wait <= longest, "{asked}");
        }
    }
}
