//! `/v1/catalog`: nodes and services of a datacenter, and what is registered from outside.
//!
//! Called from the table. Reads go to the router as they are; what may be registered is decided
//! where the catalog lives.

use super::HttpParts;
use super::ask::{self, Call, Pending, pending};
use super::body;
use super::options;
use super::respond::Reply;
use crate::model::command::{Deregister, Register};
use crate::model::operation::{CatalogRead, CatalogWrite, FederationRead, Lookup, Read, Write};
use std::sync::Arc;

/// `PUT catalog/register`
pub(super) fn register(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    pending(async move {
        let principal = call.principal();
        let asked = options::datacenter(&call.parameters);
        let register: Register = body::decode(call.body).await?;
        let dc = named(&register.datacenter).or(asked);
        ask::write(&api, dc, principal, Write::Catalog(CatalogWrite::Register(Box::new(register)))).await?;
        Ok(Reply::json("true"))
    })
}

/// `PUT catalog/deregister`
pub(super) fn deregister(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    pending(async move {
        let principal = call.principal();
        let asked = options::datacenter(&call.parameters);
        let deregister: Deregister = body::decode(call.body).await?;
        let dc = named(&deregister.datacenter).or(asked);
        ask::write(&api, dc, principal, Write::Catalog(CatalogWrite::Deregister(deregister))).await?;
        Ok(Reply::json("true"))
    })
}

/// `GET catalog/datacenters`
pub(super) fn datacenters(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Federation(FederationRead::Datacenters)))
}

/// `GET catalog/nodes`
pub(super) fn nodes(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Catalog(CatalogRead::Nodes)))
}

/// `GET catalog/services`
pub(super) fn services(api: &Arc<HttpParts>, call: Call) -> Pending {
    ask::read(api, &call, Ok(Read::Catalog(CatalogRead::Services)))
}

/// `GET catalog/service/:name`
pub(super) fn service(api: &Arc<HttpParts>, call: Call) -> Pending {
    instances(api, call, Lookup::Plain)
}

/// `GET catalog/connect/:name`
pub(super) fn connect(api: &Arc<HttpParts>, call: Call) -> Pending {
    instances(api, call, Lookup::Connect)
}

fn instances(api: &Arc<HttpParts>, mut call: Call, lookup: Lookup) -> Pending {
    let name = call.named("Missing service name");
    ask::read(api, &call, name.map(|name| Read::Catalog(CatalogRead::Service { name, lookup })))
}

/// `GET catalog/node/:node`
pub(super) fn node(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let node = call.named("Missing node name");
    ask::read(api, &call, node.map(|node| Read::Catalog(CatalogRead::Node { node })))
}

/// `GET catalog/node-services/:node`
pub(super) fn node_services(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let node = call.named("Missing node name");
    ask::read(api, &call, node.map(|node| Read::Catalog(CatalogRead::NodeServices { node })))
}

/// `GET catalog/gateway-services/:gateway`
pub(super) fn gateway_services(api: &Arc<HttpParts>, mut call: Call) -> Pending {
    let gateway = call.named("Missing gateway name");
    ask::read(api, &call, gateway.map(|gateway| Read::Catalog(CatalogRead::GatewayServices { gateway })))
}

/// The datacenter of a body, where it names one: it counts for more than `?dc`.
fn named(dc: &str) -> Option<String> {
    (!dc.is_empty()).then(|| dc.to_owned())
}
