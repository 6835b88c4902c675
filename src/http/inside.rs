//! The API for this agent itself, without a socket: the same endpoints, the same answers.
//!
//! `agent` asks it for the watches of the configuration.

use super::dispatch::{Client, Dispatch};
use super::respond::Body;
use crate::model::ids::Token;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use std::sync::Arc;
use tower_service::Service;

/// Asks; clones are the same one.
#[derive(Clone, Debug)]
pub struct Inside {
    app: axum::Router,
}

impl Inside {
    pub(super) fn new(dispatch: &Arc<Dispatch>) -> Inside {
        Inside { app: dispatch.app() }
    }

    /// GET of a path with its query: status, `X-Consul-Index` and body. Dropping the future frees
    /// what it held.
    pub async fn get(&self, target: &str, token: &Token) -> Result<(u16, Option<u64>, Bytes), String> {
        let mut request = Request::get(target);
        if !token.is_empty() {
            request = request.header("X-Consul-Token", &token.0);
        }
        // The error may not carry the header's value.
        let mut request = request.body(Body::empty()).map_err(|_| "the token has characters that cannot be sent".to_owned())?;
        request.extensions_mut().insert(Client(None));
        let response = match self.app.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (head, body) = response.into_parts();
        let index = head.headers.get("X-Consul-Index").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok((head.status.as_u16(), index, body.to_bytes()))
    }
}
