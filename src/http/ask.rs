//! One request on its way to its endpoint, and the two things that most endpoints do with it: [`read`] and [`change`].

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
    pub(super) parameters: Parameters,
    pub(super) headers: HeaderMap,
    pub(super) body: RequestBody,
}

/// The answer of an endpoint, on its way. Dropping it ends the work.
pub(super) type Pending = BoxFuture<Result<Reply, ErrorResponse>>;

pub(super) type Work = fn(&Arc<HttpParts>, Call) -> Pending;

/// The work of one kind of request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    By(Work),
    /// Has the router answer a read.
    Read(fn() -> Read),
    /// Has the router answer a read of the path's argument; a request without one is refused with the text.
    ReadOf(fn(String) -> Read, &'static str),
}

impl Endpoint {
    pub(super) fn run(self, api: &Arc<HttpParts>, mut call: Call) -> Pending {
        let operation = match self {
            Endpoint::By(work) => return work(api, call),
            Endpoint::Read(operation) => Ok(operation()),
            Endpoint::ReadOf(operation, missing) => call.named(missing).map(operation),
        };
        read(api, &call, operation)
    }
}

impl Call {
    /// The argument, or 400 with the text `missing`.
    pub(super) fn named(&mut self, missing: &'static str) -> Result<String, ErrorResponse> {
        if self.argument.is_empty() { Err(ErrorResponse::bad_request(missing)) } else { Ok(std::mem::take(&mut self.argument)) }
    }

    pub(super) fn token(&self) -> Token {
        options::token(&self.parameters, &self.headers)
    }

    pub(super) fn principal(&self) -> Principal {
        Principal::Token(self.token())
    }
}

/// An endpoint's work that is answered with 200 and no body.
pub(super) fn done(work: impl Future<Output = Result<(), ErrorResponse>> + Send + 'static) -> Pending {
    Box::pin(async move { work.await.map(|()| Reply::empty()) })
}

pub(super) fn ready(answer: Result<Reply, ErrorResponse>) -> Pending {
    Box::pin(std::future::ready(answer))
}

/// Has the router answer `read`; the endpoint's refusal is the answer.
pub(super) fn read(api: &Arc<HttpParts>, call: &Call, read: Result<Read, ErrorResponse>) -> Pending {
    match read.and_then(|read| options::query(read, &call.parameters, &call.headers, &api.settings)) {
        Ok(query) => {
            let router = api.router.clone();
            Box::pin(async move { Ok(Reply::from(router.query(query).await?)) })
        }
        Err(refusal) => ready(Err(refusal)),
    }
}

/// Has the router do `write` in the datacenter of `?dc`, and answers `done`; the endpoint's refusal is the answer.
pub(super) fn change(api: &Arc<HttpParts>, call: &Call, change: Result<Write, ErrorResponse>, done: Reply) -> Pending {
    let (api, dc, principal) = (Arc::clone(api), options::datacenter(&call.parameters), call.principal());
    Box::pin(async move {
        write(&api, dc, principal, change?).await?;
        Ok(done)
    })
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
