//! `agent/maintenance` and `agent/service/maintenance/:id`: out of service, and back.

use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, done};
use crate::http::error::ErrorResponse;
use crate::http::parameters::{Parameters, parse_bool};
use std::sync::Arc;

/// `PUT agent/maintenance?enable&reason`
pub(in crate::http) fn node(api: &Arc<HttpParts>, call: Call) -> Pending {
    let (local, token) = (api.local.clone(), call.token());
    let asked = asked(&call.parameters);
    done(async move {
        let (enable, reason) = asked?;
        Ok(local.node_maintenance(enable, &reason, &token).await?)
    })
}

/// `PUT agent/service/maintenance/:id?enable&reason`
pub(in crate::http) fn service(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let (local, token) = (api.local.clone(), call.token());
    let asked = call.named("Missing service ID").and_then(|id| Ok((id, asked(&call.parameters)?)));
    done(async move {
        let (id, (enable, reason)) = asked?;
        Ok(local.service_maintenance(&id, enable, &reason, &token).await?)
    })
}

/// `enable`, which must be there, and `reason`.
fn asked(parameters: &Parameters) -> Result<(bool, String), ErrorResponse> {
    let text = parameters.first("enable").ok_or_else(|| ErrorResponse::bad_request("Missing value for enable"))?;
    let wrong = || ErrorResponse::bad_request(format!("Invalid value for enable: {text:?}"));
    Ok((parse_bool(text).ok_or_else(wrong)?, parameters.first("reason").unwrap_or("").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enable_must_be_said_and_be_a_boolean() {
        let read = |query| asked(&Parameters::parse(Some(query)).unwrap()).map(|(enable, _)| enable);
        assert_eq!(read("enable=true"), Ok(true));
        assert_eq!(read("enable=0"), Ok(false));
        assert_eq!(read(""), Err(ErrorResponse::bad_request("Missing value for enable")));
        assert_eq!(read("enable=maybe"), Err(ErrorResponse::bad_request("Invalid value for enable: \"maybe\"")));
    }
}
