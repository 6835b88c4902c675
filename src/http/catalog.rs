//! The writes of `/v1/catalog`: registrations from outside, which the servers examine.

use super::HttpParts;
use super::ask::{self, Call, Pending};
use super::body;
use super::options;
use super::respond::Reply;
use crate::model::command::{Deregister, Register};
use crate::model::operation::{CatalogWrite, Write};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// `PUT catalog/register`
pub(super) fn register(api: &Arc<HttpParts>, call: Call) -> Pending {
    change(api, call, |register: Register| (register.datacenter.clone(), CatalogWrite::Register(Box::new(register))))
}

/// `PUT catalog/deregister`
pub(super) fn deregister(api: &Arc<HttpParts>, call: Call) -> Pending {
    change(api, call, |deregister: Deregister| (deregister.datacenter.clone(), CatalogWrite::Deregister(deregister)))
}

/// Has the router do the write of the body, in the datacenter that the body names. It counts for more than `?dc`.
fn change<T: DeserializeOwned + Send + 'static>(
    api: &Arc<HttpParts>,
    call: Call,
    read: fn(T) -> (String, CatalogWrite),
) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let (principal, asked) = (call.principal(), options::datacenter(&call.parameters));
        let (dc, write) = read(body::decode(call.body).await?);
        let dc = if dc.is_empty() { asked } else { Some(dc) };
        ask::write(&api, dc, principal, Write::Catalog(write)).await?;
        Ok(Reply::json("true"))
    })
}
