//! The body of a request: bounded in bytes and in time, then decoded by Go's rules.

use super::error::ErrorResponse;
use crate::defaults;
use crate::model::json;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Empty, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;

/// The body of a request, not read yet, or none.
pub(super) type RequestBody = Either<Incoming, Empty<Bytes>>;

/// The JSON of a body.
pub(super) async fn decode<T: DeserializeOwned>(body: RequestBody) -> Result<T, ErrorResponse> {
    decode_as(body, "Request decode failed").await
}

/// The same with another `prefix` of the error.
pub(super) async fn decode_as<T: DeserializeOwned>(body: RequestBody, prefix: &str) -> Result<T, ErrorResponse> {
    let bytes = read(body, defaults::HTTP_MAX_BODY).await?;
    json::decode(&bytes).map_err(|error| ErrorResponse::bad_request(format!("{prefix}: {error}")))
}

/// The JSON of a body that need not be there.
pub(super) async fn decode_optional<T: DeserializeOwned>(body: RequestBody) -> Result<Option<T>, ErrorResponse> {
    let bytes = read(body, defaults::HTTP_MAX_BODY).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    json::decode(&bytes).map(Some).map_err(|error| ErrorResponse::bad_request(format!("Request decode failed: {error}")))
}

/// The bytes of a body of at most `max` bytes, which `setting` has set.
pub(super) async fn read_value(body: RequestBody, max: usize, setting: &str) -> Result<Bytes, ErrorResponse> {
    let size = body.size_hint().exact().filter(|size| *size > max as u64);
    match read(body, max).await {
        Err(refusal) if refusal.status == StatusCode::PAYLOAD_TOO_LARGE => Err(ErrorResponse::over_limit(size, max, setting)),
        read => read,
    }
}

async fn read(body: RequestBody, max: usize) -> Result<Bytes, ErrorResponse> {
    // An announced size is refused before a byte is read.
    if let Some(size) = body.size_hint().exact().filter(|size| *size > max as u64) {
        metrics::counter!("kontor.http.body_too_large").increment(1);
        return Err(ErrorResponse::too_large(Some(size), max));
    }
    let collected = tokio::time::timeout(defaults::HTTP_BODY_TIME, Limited::new(body, max).collect()).await;
    match collected {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            metrics::counter!("kontor.http.body_too_large").increment(1);
            Err(ErrorResponse::too_large(None, max))
        }
        Ok(Err(error)) => Err(ErrorResponse::bad_request(format!("Request decode failed: the body broke off: {error}"))),
        Err(_elapsed) => {
            metrics::counter!("kontor.http.body_too_slow").increment(1);
            Err(ErrorResponse::BODY_TOO_SLOW)
        }
    }
}
