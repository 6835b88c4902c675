//! `/v1/agent`: this agent itself, its members, and its registrations. Never asks another agent, never takes `?dc`.

pub(super) mod identity;
pub(super) mod members;
pub(super) mod metrics;
pub(super) mod services;
pub(super) mod checks;
pub(super) mod maintenance;
pub(super) mod health;
pub(super) mod host;

use super::error::ErrorResponse;
use super::parameters::Parameters;
use super::respond::Reply;
use crate::model::filter::Filter;
use serde::Serialize;
use std::collections::BTreeMap;

/// `value` as a JSON answer.
fn json<T: Serialize + ?Sized>(value: &T) -> Result<Reply, ErrorResponse> {
    let text =
        serde_json::to_vec(value).map_err(|error| ErrorResponse::failed(format!("rendering the answer failed: {error}")))?;
    Ok(Reply::json(text))
}

/// The rows that match `?filter`; all of them without one. A selector that `shape`, an empty row, lacks is refused.
fn filtered<'a, T: Serialize>(
    rows: BTreeMap<&'a str, T>,
    shape: &T,
    parameters: &Parameters,
) -> Result<BTreeMap<&'a str, T>, ErrorResponse> {
    let Some(text) = parameters.filled("filter") else { return Ok(rows) };
    let wrong = |error: String| ErrorResponse::bad_request(format!("Failed to create boolean expression evaluator: {error}"));
    let filter = Filter::parse(text).map_err(wrong)?;
    let value = |row: &T| serde_json::to_value(row).map_err(|error| ErrorResponse::failed(error.to_string()));
    filter.validate(&value(shape)?).map_err(wrong)?;
    let mut kept = BTreeMap::new();
    for (id, row) in rows {
        let matches = filter.matches(&value(&row)?);
        if matches.map_err(|error| ErrorResponse::bad_request(format!("Failed to filter: {error}")))? {
            kept.insert(id, row);
        }
    }
    Ok(kept)
}
