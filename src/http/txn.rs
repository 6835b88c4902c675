//! `/v1/txn`: transactions. Called from the table.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::body;
use super::error::ErrorResponse;
use super::options;
use super::respond::Reply;
use crate::defaults;
use crate::model::check::HealthCheck;
use crate::model::command::Effect;
use crate::model::json;
use crate::model::kv::{KvChange, KvKey, KvPut};
use crate::model::node::Node;
use crate::model::operation::{Read, Write};
use crate::model::service::NodeService;
use crate::model::txn::{CatalogVerb, TxnGet, TxnOp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;
use std::sync::Arc;

/// One element of the body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WantedOp {
    #[serde(rename = "KV")]
    kv: Option<WantedKv>,
    #[serde(rename = "Node")]
    node: Option<WantedNode>,
    #[serde(rename = "Service")]
    service: Option<WantedService>,
    #[serde(rename = "Check")]
    check: Option<WantedCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WantedKv {
    verb: String,
    key: String,
    value: Option<String>,
    flags: u64,
    index: u64,
    session: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WantedNode {
    verb: String,
    node: Node,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WantedService {
    verb: String,
    node: String,
    service: NodeService,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WantedCheck {
    verb: String,
    check: HealthCheck,
}

/// `PUT txn`: a transaction that only looks is a read, with all that reads take.
pub(super) fn put(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let Call { parameters, headers, body, .. } = call;
        let max = api.settings.txn_max_request.max(api.settings.kv_max_value);
        let bytes = body::read_value(body, max, "txn_max_req_len").await?;
        let ops = operations(&bytes, api.settings.kv_max_value)?;
        let token = options::token(&parameters, &headers);
        match gets(&ops) {
            Some(gets) => {
                let mut query = options::query(Read::Txn(gets), &parameters, &headers, &api.settings)?;
                query.freshness.min_index = 0;
                let answer = api.router.query(query).await?;
                Ok(Reply::from(answer).of_transaction())
            }
            None => {
                options::conflicts(&parameters)?;
                let principal = crate::model::principal::Principal::Token(token);
                let written = ask::write(&api, options::datacenter(&parameters), principal, Write::Txn(ops)).await?;
                match written.effect {
                    Effect::Txn(outcome) => {
                        let status = if outcome.errors.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
                        Ok(Reply::json(outcome.json()).with_status(status))
                    }
                    other => Err(ErrorResponse::failed(format!("expected results of a transaction, got {other:?}"))),
                }
            }
        }
    })
}

/// The same operations where none of them changes anything.
fn gets(ops: &[TxnOp]) -> Option<Box<[TxnGet]>> {
    let get = |op: &TxnOp| match op {
        TxnOp::Get(get) => Some(get.clone()),
        TxnOp::Kv(_) | TxnOp::Node(..) | TxnOp::Service(..) | TxnOp::Check(..) | TxnOp::Refused(_) => None,
    };
    ops.iter().map(get).collect()
}

/// The operations of a body.
fn operations(body: &[u8], max_value: usize) -> Result<Vec<TxnOp>, ErrorResponse> {
    let refused = |why: &str| ErrorResponse::bad_request(format!("Failed to parse body: {why}"));
    let wanted: Option<Vec<WantedOp>> = json::decode(body).map_err(|error| refused(&error))?;
    let wanted = wanted.unwrap_or_default();
    if wanted.len() > defaults::TXN_OPERATIONS {
        let text = format!("Transaction contains too many operations ({} > {})", wanted.len(), defaults::TXN_OPERATIONS);
        return Err(ErrorResponse::content_too_large(text));
    }
    wanted.into_iter().map(|op| op.operation(max_value)).collect()
}

impl WantedOp {
    fn operation(self, max_value: usize) -> Result<TxnOp, ErrorResponse> {
        if let Some(kv) = self.kv {
            return kv.operation(max_value);
        }
        if let Some(WantedNode { verb, node }) = self.node {
            let looked = TxnGet::Node { id: node.id.clone(), name: node.node.clone() };
            return Ok(of_catalog("Node", &verb, looked, |verb| TxnOp::Node(verb, Box::new(node))));
        }
        if let Some(WantedService { verb, node, service }) = self.service {
            let id = if service.id.is_empty() { &service.service } else { &service.id };
            let looked = TxnGet::Service { node: node.clone(), id: id.clone() };
            return Ok(of_catalog("Service", &verb, looked, |verb| TxnOp::Service(verb, node, Box::new(service))));
        }
        if let Some(WantedCheck { verb, check }) = self.check {
            let id = if check.check_id.is_empty() { &check.name } else { &check.check_id };
            let looked = TxnGet::Check { node: check.node.clone(), id: id.clone() };
            return Ok(of_catalog("Check", &verb, looked, |verb| TxnOp::Check(verb, Box::new(check))));
        }
        Ok(TxnOp::Get(TxnGet::Nothing))
    }
}

fn of_catalog(kind: &str, verb: &str, looked: TxnGet, change: impl FnOnce(CatalogVerb) -> TxnOp) -> TxnOp {
    match verb {
        "get" => TxnOp::Get(looked),
        "set" => change(CatalogVerb::Set),
        "cas" => change(CatalogVerb::Cas),
        "delete" => change(CatalogVerb::Delete),
        "delete-cas" => change(CatalogVerb::DeleteCas),
        other => TxnOp::Refused(format!("unknown {kind} verb {other:?}")),
    }
}

impl WantedKv {
    fn operation(self, max_value: usize) -> Result<TxnOp, ErrorResponse> {
        let WantedKv { verb, key, value, flags, index, session } = self;
        let decoded = STANDARD.decode(value.unwrap_or_default());
        let value: Bytes = decoded.map_err(|error| ErrorResponse::bad_request(format!("Failed to parse body: {error}")))?.into();
        if value.len() > max_value {
            let text = format!("Value for key {key:?} is too large ({} > {max_value} bytes)", value.len());
            return Err(ErrorResponse::content_too_large(text));
        }
        let key = KvKey::from(key);
        let put = KvPut { key: key.clone(), value, flags, ttl_ms: 0 };
        Ok(match verb.as_str() {
            "set" => TxnOp::Kv(KvChange::Set(put)),
            "cas" => TxnOp::Kv(KvChange::Cas(put, index)),
            "lock" => TxnOp::Kv(KvChange::Lock(put, session)),
            "unlock" => TxnOp::Kv(KvChange::Unlock(put, session)),
            "delete" => TxnOp::Kv(KvChange::Delete(key)),
            "delete-cas" => TxnOp::Kv(KvChange::DeleteCas(key, index)),
            "delete-tree" => TxnOp::Kv(KvChange::DeleteTree(key)),
            "get" => TxnOp::Get(TxnGet::Key(key)),
            "get-or-empty" => TxnOp::Get(TxnGet::KeyOrEmpty(key)),
            "get-tree" => TxnOp::Get(TxnGet::Tree(key)),
            "check-index" => TxnOp::Get(TxnGet::CheckIndex(key, index)),
            "check-session" => TxnOp::Get(TxnGet::CheckSession(key, session)),
            "check-not-exists" => TxnOp::Get(TxnGet::CheckNotExists(key)),
            other => TxnOp::Get(TxnGet::Refused(format!("unknown KV verb {other:?}"))),
        })
    }
}
