//! One request on its way to its endpoint, and the two things most endpoints do with it: ask the
//! router, or have it change something.
//!
//! The endpoints take a [`Call`] and return a [`Pending`]. What a parked watch does not need is
//! dropped before it parks.

use super::HttpParts;
use super::body::RequestBody;
use super::error::ErrorResponse;
use super::options;
use super::parameters::Parameters;
use super::respond::Reply;
use crate::model::command::Written;
use crate::model::ids::Token;
use crate::model::kv::KvKey;
use crate::model::operation::{Read, Write};
use crate::model::principal::Principal;
use crate::model::request::{BoxFuture, WriteRequest};
use hyper::HeaderMap;
use std::future::Future;
use std::sync::Arc;

/// A request that has found its endpoint.
#[derive(Debug)]
pub(super) struct Call {
    /// The decoded rest of the path, for endpoints of a subtree.
    pub(super) argument: String,
    /// The same as bytes, where the endpoint takes a key.
    pub(super) key: KvKey,
    /// The query string.
    pub(super) parameters: Parameters,
    /// The headers.
    pub(super) headers: HeaderMap,
    /// The body, not yet read.
    pub(super) body: RequestBody,
}

/// The answer of an endpoint, on its way. Dropping it ends the work.
pub(super) type Pending = BoxFuture<Result<Reply, ErrorResponse>>;

/// Answers one kind of request.
pub(super) type Endpoint = fn(&Arc<HttpParts>, Call) -> Pending;

impl Call {
    /// The argument, or 400 with the text `missing`.
    pub(super) fn named(&mut self, missing: &'static str) -> Result<String, ErrorResponse> {
        if self.argument.is_empty() { Err(ErrorResponse::bad_request(missing)) } else { Ok(std::mem::take(&mut self.argument)) }
    }

    /// The access token.
    pub(super) fn token(&self) -> Token {
        options::token(&self.parameters, &self.headers)
    }

    /// Whose request it is: whoever has its token.
    pub(super) fn principal(&self) -> Principal {
        Principal::Token(self.token())
    }
}

/// An endpoint's work as a [`Pending`].
pub(super) fn pending<F>(work: F) -> Pending
where
    F: Future<Output = Result<Reply, ErrorResponse>> + Send + 'static,
{
    Box::pin(work)
}

/// An answer that is ready.
pub(super) fn ready(answer: Result<Reply, ErrorResponse>) -> Pending {
    Box::pin(std::future::ready(answer))
}

/// Has the router answer `read`; an endpoint that has found nothing to ask passes its refusal.
pub(super) fn read(api: &Arc<HttpParts>, call: &Call, read: Result<Read, ErrorResponse>) -> Pending {
    match read.and_then(|read| options::query(read, &call.parameters, &call.headers, &api.settings)) {
        Ok(query) => {
            let router = api.router.clone();
            pending(async move { Ok(Reply::from(router.query(query).await?)) })
        }
        Err(refusal) => ready(Err(refusal)),
    }
}

/// Has the router do `write` in `dc`, or in the agent's own datacenter.
pub(super) async fn write(
    api: &HttpParts,
    dc: Option<String>,
    principal: Principal,
    write: Write,
) -> Result<Written, ErrorResponse> {
    Ok(api.router.write(WriteRequest { dc, principal, write }).await?)
}
