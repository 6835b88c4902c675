//! `agent/checks` and `agent/check/…`: the checks registered with this agent.

use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, done, ready};
use crate::http::body;
use crate::http::error::ErrorResponse;
use crate::http::respond::Reply;
use crate::local::Source;
use crate::model::check::{CheckStatus, CheckType, HealthCheck};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The body of `check/update`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Update {
    status: String,
    output: String,
}

/// `GET agent/checks?filter`
pub(in crate::http) fn checks(api: &Arc<HttpParts>, call: Call) -> Pending {
    let registered = api.local.registered();
    let rows: BTreeMap<&str, HealthCheck> = registered.checks.iter().map(|(id, check)| (id.as_str(), check.masked())).collect();
    ready(super::filtered(rows, &HealthCheck::default(), &call.parameters).and_then(|rows| super::json(&rows)))
}

/// `PUT agent/check/register`
pub(in crate::http) fn register(api: &Arc<HttpParts>, call: Call) -> Pending {
    let (local, token) = (api.local.clone(), call.token());
    done(async move {
        let mut check: CheckType = body::decode(call.body).await?;
        if check.token.is_empty() {
            check.token = token;
        }
        Ok(local.add_check(check, Source::Api).await?)
    })
}

/// `PUT agent/check/deregister/:id`
pub(in crate::http) fn deregister(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let (local, id) = (api.local.clone(), call.named("Missing check ID"));
    done(async move { Ok(local.remove_check(&id?).await?) })
}

/// `PUT agent/check/pass/:id?note`, and `warn` and `fail` in place of `pass`
pub(in crate::http) fn set(api: &HttpParts, mut call: Call, status: CheckStatus) -> Pending {
    let id = call.named("Missing check ID");
    let note = call.parameters.first("note").unwrap_or("");
    let set = id.and_then(|id| Ok(api.local.update_ttl(&id, status, note)?));
    ready(set.map(|()| Reply::empty()))
}

/// `PUT agent/check/update/:id`
pub(in crate::http) fn update(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let (local, id) = (api.local.clone(), call.named("Missing check ID"));
    done(async move {
        let id = id?;
        let update: Update = body::decode(call.body).await?;
        let wrong = |_| ErrorResponse::bad_request(format!("Invalid check status: '{}'", update.status));
        let status: CheckStatus = update.status.parse().map_err(wrong)?;
        Ok(local.update_ttl(&id, status, &update.output)?)
    })
}
