//! The API for this agent itself, without a socket: the same endpoints, the same answers.

use super::dispatch::Dispatch;
use crate::model::ids::Token;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Empty};
use hyper::Request;
use std::fmt;
use std::sync::Arc;

/// The API without a socket; clones are the same one.
#[derive(Clone)]
pub struct Inside {
    pub(super) dispatch: Arc<Dispatch>,
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

impl Inside {
    /// GET of a path with its query: status, `X-Consul-Index` and body. Dropping the future ends the work.
    pub async fn get(&self, target: &str, token: &Token) -> Result<(u16, Option<u64>, Bytes), String> {
        let mut request = Request::get(target);
        if !token.is_empty() {
            request = request.header("X-Consul-Token", &token.0);
        }
        // The error may not carry the header's value.
        let request =
            request.body(Either::Right(Empty::new())).map_err(|_| "the token has characters that cannot be sent".to_owned())?;
        let (head, body) = self.dispatch.answer(request, None).await.into_parts();
        let index = head.headers.get("X-Consul-Index").and_then(|value| value.to_str().ok()?.parse().ok());
        let Ok(body) = body.collect().await;
        Ok((head.status.as_u16(), index, body.to_bytes()))
    }
}
