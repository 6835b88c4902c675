//! Refusals as HTTP answers: their status and their body. Texts are Consul's, because its clients match on them.

use super::respond::{Body, TEXT};
use crate::defaults::HTTP_REASON_MAX;
use crate::model::fault::{Fault, FaultKind};
use crate::model::part::Part;
use crate::model::shorten::shorten;
use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use std::borrow::Cow;

/// The header with the cause of a fault that Consul's text does not name.
const REASON: HeaderName = HeaderName::from_static("x-kontor-reason");

/// A request that is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    /// The text for the user.
    pub(super) body: Cow<'static, str>,
    reason: Option<String>,
    allow: Option<String>,
}

impl From<Fault> for ErrorResponse {
    fn from(fault: Fault) -> ErrorResponse {
        // Texts that crossed from a server of another build count as much as the kind.
        let message = &fault.message;
        let status = if message.contains("Permission denied") || message.contains("ACL not found") {
            StatusCode::FORBIDDEN
        } else if message.contains("RPC rate limit exceeded") {
            return ErrorResponse { reason: fault.reason, ..ErrorResponse::new(StatusCode::TOO_MANY_REQUESTS, "") };
        } else {
            match fault.kind {
                FaultKind::BadRequest => StatusCode::BAD_REQUEST,
                FaultKind::NotFound => StatusCode::NOT_FOUND,
                FaultKind::Denied => StatusCode::FORBIDDEN,
                FaultKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
                FaultKind::Failed | FaultKind::NoLeader => StatusCode::INTERNAL_SERVER_ERROR,
                FaultKind::NoPath | FaultKind::Unreachable | FaultKind::OutcomeUnknown => StatusCode::INTERNAL_SERVER_ERROR,
            }
        };
        ErrorResponse { reason: fault.reason, ..ErrorResponse::new(status, fault.message) }
    }
}

impl ErrorResponse {
    /// The body did not arrive in time.
    pub(super) const BODY_TOO_SLOW: ErrorResponse =
        ErrorResponse::fixed(StatusCode::REQUEST_TIMEOUT, "Request body did not arrive in time; send it again.");
    /// The path holds unprintable characters, or is not text.
    pub(super) const UNPRINTABLE_PATH: ErrorResponse = ErrorResponse::fixed(StatusCode::BAD_REQUEST, "");
    /// The query string cannot be parsed.
    pub(super) const BROKEN_QUERY: ErrorResponse = ErrorResponse::fixed(StatusCode::INTERNAL_SERVER_ERROR, "");
    /// The path is blocked (`http_config.block_endpoints`).
    pub(super) const BLOCKED: ErrorResponse =
        ErrorResponse::fixed(StatusCode::FORBIDDEN, "Endpoint is blocked by agent configuration");
    /// The address may not write (`http_config.allow_write_http_from`).
    pub(super) const RESTRICTED: ErrorResponse = ErrorResponse::fixed(StatusCode::FORBIDDEN, "Access is restricted");
    /// Access control lists are not in use.
    pub(super) const ACL_DISABLED: ErrorResponse = ErrorResponse::fixed(StatusCode::UNAUTHORIZED, "ACL support disabled");

    const fn fixed(status: StatusCode, body: &'static str) -> ErrorResponse {
        ErrorResponse { status, body: Cow::Borrowed(body), reason: None, allow: None }
    }

    fn new(status: StatusCode, body: impl Into<Cow<'static, str>>) -> ErrorResponse {
        ErrorResponse { status, body: body.into(), reason: None, allow: None }
    }

    pub(super) fn bad_request(text: impl Into<Cow<'static, str>>) -> ErrorResponse {
        ErrorResponse::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn not_found(text: impl Into<Cow<'static, str>>) -> ErrorResponse {
        ErrorResponse::new(StatusCode::NOT_FOUND, text)
    }

    pub(super) fn failed(text: impl Into<Cow<'static, str>>) -> ErrorResponse {
        ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// The body is over the limit of `max` bytes; `size` where the client has announced it.
    pub(super) fn too_large(size: Option<u64>, max: usize) -> ErrorResponse {
        let size = size.map(|size| format!("({size} bytes)")).unwrap_or_default();
        let text = format!("Request body{size} too large, max size: {max} bytes.");
        ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// The body is over the limit of `max` bytes that `setting` names.
    pub(super) fn over_limit(size: Option<u64>, max: usize, setting: &str) -> ErrorResponse {
        let more = format!(" See https://www.consul.io/docs/agent/options.html#{setting}.");
        let refusal = ErrorResponse::too_large(size, max);
        ErrorResponse { body: (refusal.body + more.as_str()).into_owned().into(), ..refusal }
    }

    /// 413 with `text` as it is.
    pub(super) fn content_too_large(text: String) -> ErrorResponse {
        ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// The same of 500, with what Consul puts in front of texts of its state machine.
    pub(super) fn of_apply(self, prefix: &str) -> ErrorResponse {
        let is_of_it = self.status == StatusCode::INTERNAL_SERVER_ERROR;
        if is_of_it { ErrorResponse { body: format!("{prefix}{}", self.body).into(), ..self } } else { self }
    }

    /// The path is known and the method is not one of `allowed`.
    pub(super) fn method_not_allowed(method: &Method, allowed: String) -> ErrorResponse {
        let text = format!("method {method} not allowed");
        ErrorResponse { allow: Some(allowed), ..ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    /// Consul serves the path, and this agent does not.
    pub(super) fn not_offered(part: Part) -> ErrorResponse {
        let reason = Some(format!("not-offered: {}", part.word()));
        ErrorResponse { reason, ..ErrorResponse::new(StatusCode::NOT_IMPLEMENTED, part.sentence()) }
    }

    /// Neither Consul nor this agent serves the path.
    pub(super) fn unknown_path(path: &str) -> ErrorResponse {
        ErrorResponse::not_found(if path.contains("/v1/") {
            "Invalid URL path: not a recognized HTTP API endpoint"
        } else {
            "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'"
        })
    }

    /// The answer, without the headers that every answer has.
    pub(super) fn into_response(self) -> Response<Body> {
        let bytes = match self.body {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::from(text),
        };
        let with_text = !bytes.is_empty();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if with_text {
            headers.insert(CONTENT_TYPE, TEXT);
        }
        if let Some(allow) = self.allow.and_then(|methods| HeaderValue::try_from(methods).ok()) {
            headers.insert(ALLOW, allow);
        }
        if let Some(reason) = self.reason {
            headers.insert(REASON, header_text(&shorten(&reason, HTTP_REASON_MAX)));
        }
        response
    }
}

/// `text` as a header value; `?` replaces characters that a header cannot carry.
pub(super) fn header_text(text: &str) -> HeaderValue {
    let plain: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    HeaderValue::try_from(plain).unwrap_or(HeaderValue::from_static("?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn rendered(refusal: impl Into<ErrorResponse>) -> (u16, String, Option<String>) {
        let response = refusal.into().into_response();
        let status = response.status().as_u16();
        let reason = response.headers().get(REASON).map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap(), reason)
    }

    #[tokio::test]
    async fn every_kind_of_fault_has_consul_s_status_and_text() {
        for (fault, status, body) in [
            (Fault::bad_request("Missing service name"), 400, "Missing service name"),
            (Fault::not_found("unknown service ID: x"), 404, "unknown service ID: x"),
            (Fault::failed("rpc error making call: Permission denied"), 403, "rpc error making call: Permission denied"),
            (Fault::new(FaultKind::Denied, "ACL not found"), 403, "ACL not found"),
            (Fault::failed("RPC rate limit exceeded"), 429, ""),
            (Fault::no_leader(), 500, "No cluster leader"),
            (Fault::new(FaultKind::Busy, "Too many watches"), 503, "Too many watches"),
        ] {
            assert_eq!(rendered(fault).await, (status, body.to_owned(), None));
        }
    }

    #[tokio::test]
    async fn the_cause_is_told_in_a_header_and_cannot_break_out_of_it() {
        let (status, body, reason) = rendered(Fault::no_path("never-joined\r\nX-Evil: é")).await;
        assert_eq!((status, body.as_str()), (500, "No path to datacenter"));
        assert_eq!(reason.as_deref(), Some("never-joined??X-Evil: ?"));
        let (_, _, reason) = rendered(Fault::outcome_unknown("leadership lost while committing log")).await;
        assert_eq!(reason.as_deref(), Some("outcome-unknown"));
        let (_, _, reason) = rendered(Fault::unreachable("x".repeat(HTTP_REASON_MAX * 2))).await;
        assert_eq!(reason.map(|reason| reason.len()), Some(HTTP_REASON_MAX), "whatever the other side says");
    }
}
