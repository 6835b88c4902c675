//! `agent/maintenance` and `agent/service/maintenance/:id`: out of service, and back.

use crate::http::HttpParts;
use crate::http::ask::{Call, Pending, ready};
use crate::http::error::Refusal;
use crate::http::parameters::{Parameters, parse_bool};
use crate::http::respond::Reply;
use std::sync::Arc;

/// `PUT agent/maintenance?enable&reason`
pub(in crate::http) fn node(api: &Arc<HttpParts>, call: Call) -> Pending {
    let reason = call.parameters.first("reason").unwrap_or("");
    let done = enabled(&call.parameters).and_then(|enable| Ok(api.local.node_maintenance(enable, reason, &call.token())?));
    ready(done.map(|()| Reply::empty()))
}

/// `PUT agent/service/maintenance/:id?enable&reason`
pub(in crate::http) fn service(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let id = call.named("Missing service ID");
    let reason = call.parameters.first("reason").unwrap_or("");
    let done = id.and_then(|id| {
        let enable = enabled(&call.parameters)?;
        Ok(api.local.service_maintenance(&id, enable, reason, &call.token())?)
    });
    ready(done.map(|()| Reply::empty()))
}

/// `enable`, which must be there.
fn enabled(parameters: &Parameters) -> Result<bool, Refusal> {
    let text = parameters.first("enable").ok_or_else(|| Refusal::bad_request("Missing value for enable"))?;
    parse_bool(text).ok_or_else(|| Refusal::bad_request(format!("Invalid value for enable: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enable_must_be_said_and_be_a_boolean() {
        let read = |query| enabled(&Parameters::parse(Some(query)).unwrap());
        assert_eq!(read("enable=true"), Ok(true));
        assert_eq!(read("enable=0"), Ok(false));
        assert_eq!(read(""), Err(Refusal::bad_request("Missing value for enable")));
        assert_eq!(read("enable=maybe"), Err(Refusal::bad_request("Invalid value for enable: \"maybe\"")));
    }
}
