//! `/v1/session`: sessions. Called from the table.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::body;
use super::error::ErrorResponse;
use super::options;
use super::respond::Reply;
use crate::model::check::SERF_HEALTH;
use crate::model::command::Effect;
use crate::model::duration;
use crate::model::ids::SessionId;
use crate::model::operation::{Read, SessionRead, SessionWrite, Write};
use crate::model::session::{self, ServiceCheck, Session, SessionBehavior, ShownSession, TtlMode};
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Milliseconds for which a renewed session lives at least.
const VALID_FOR: HeaderName = HeaderName::from_static("x-kontor-session-valid-ms");

/// The body of `PUT session/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SessionBody {
    name: String,
    node: Option<String>,
    lock_delay: Value,
    behavior: String,
    #[serde(rename = "TTL")]
    ttl: String,
    #[serde(rename = "TTLMode")]
    ttl_mode: String,
    node_checks: Option<Vec<String>>,
    service_checks: Option<Vec<ServiceCheck>>,
    checks: Option<Vec<String>>,
}

/// `PUT session/create`
pub(super) fn create(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let (dc, principal) = (options::datacenter(&call.parameters), call.principal());
        let wanted: SessionBody = body::decode_optional(call.body).await?.unwrap_or_default();
        let session = wanted.session(&api.settings.node_name)?;
        let write = Write::Session(SessionWrite::Create(Box::new(session)));
        match ask::write(&api, dc, principal, write).await?.effect {
            Effect::Session(id) => Ok(Reply::json(serde_json::json!({ "ID": id }).to_string())),
            other => Err(ErrorResponse::failed(format!("expected the id of a session, got {other:?}"))),
        }
    })
}

impl SessionBody {
    fn session(self, own_node: &str) -> Result<Session, ErrorResponse> {
        let behavior = match self.behavior.as_str() {
            "" | "release" => SessionBehavior::Release,
            "delete" => SessionBehavior::Delete,
            other => return Err(ErrorResponse::failed(format!("Invalid Behavior setting '{other}'"))),
        };
        let ttl_mode = match self.ttl_mode.as_str() {
            "" | "lenient" => TtlMode::Lenient,
            "exact" => TtlMode::Exact,
            other => return Err(ErrorResponse::failed(format!("Invalid TTLMode setting '{other}', expected lenient or exact"))),
        };
        let node = self.node.unwrap_or_else(|| own_node.to_owned());
        if node.is_empty() {
            return Err(ErrorResponse::failed("Must provide Node"));
        }
        Ok(Session {
            id: SessionId::default(),
            name: self.name,
            node,
            lock_delay: lock_delay(&self.lock_delay)?,
            behavior,
            ttl: self.ttl,
            ttl_mode,
            node_checks: self.node_checks.unwrap_or_else(|| vec![SERF_HEALTH.to_owned()]),
            service_checks: self.service_checks,
            checks: self.checks.unwrap_or_default(),
            create_index: 0,
            modify_index: 0,
        })
    }
}

/// Nanoseconds: a text is a duration, and a number below 1,000 is one of seconds.
fn lock_delay(value: &Value) -> Result<u64, ErrorResponse> {
    const BY_DEFAULT: u64 = 15_000_000_000;
    match value {
        Value::String(text) => {
            let delay =
                duration::parse(text).map_err(|error| ErrorResponse::bad_request(format!("Request decode failed: {error}")))?;
            Ok(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX))
        }
        Value::Number(number) => {
            let number = number.as_u64().unwrap_or(number.as_f64().unwrap_or_default().max(0.0) as u64);
            Ok(if number < 1_000 { number * 1_000_000_000 } else { number })
        }
        // Like Consul, which takes whatever else is there for nothing.
        _ => Ok(BY_DEFAULT),
    }
}

/// `PUT session/destroy/:id`
pub(super) fn destroy(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let id = id(&mut call).map_err(|refusal| refusal.of_apply("apply failed: "))?;
        let (dc, principal) = (options::datacenter(&call.parameters), call.principal());
        ask::write(&api, dc, principal, Write::Session(SessionWrite::Destroy(id))).await?;
        Ok(Reply::json("true"))
    })
}

/// `PUT session/renew/:id`
pub(super) fn renew(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let id = id(&mut call)?;
        let (dc, principal) = (options::datacenter(&call.parameters), call.principal());
        match ask::write(&api, dc, principal, Write::Session(SessionWrite::Renew(id))).await?.effect {
            Effect::Renewed { session, valid_ms } => {
                let shown = serde_json::to_string(&[ShownSession::from(&*session)])
                    .map_err(|error| ErrorResponse::failed(error.to_string()))?;
                let reply = Reply::json(shown);
                Ok(match valid_ms {
                    Some(valid) => reply.with_header(VALID_FOR, HeaderValue::from(valid)),
                    None => reply,
                })
            }
            other => Err(ErrorResponse::failed(format!("expected a session, got {other:?}"))),
        }
    })
}

/// `GET session/info/:id`
pub(super) fn info(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let read = id(&mut call).map(|id| Read::Session(SessionRead::Info { id }));
    ask::read(api, &call, read)
}

fn id(call: &mut Call) -> Result<SessionId, ErrorResponse> {
    let text = call.named("Missing session")?;
    session::parse_id(&text).map_err(ErrorResponse::from)
}
