//! Consul's endpoints that are not offered: each answers 501 to its own methods. An unknown path stays a 404.

use crate::model::part::Part;
use hyper::Method;

const GET: &[Method] = &[Method::GET];
const PUT: &[Method] = &[Method::PUT];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const GET_PUT: &[Method] = &[Method::GET, Method::PUT];
const GET_DELETE: &[Method] = &[Method::GET, Method::DELETE];
const GET_PUT_DELETE: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];
const ALL: &[Method] = &[Method::GET, Method::POST, Method::PUT, Method::DELETE];

/// Paths with their methods, as Consul 1.21 serves them.
pub(super) const ABSENT: &[(&str, &[Method], Part)] = &[
    ("/debug/pprof/", GET, Part::Debug),
    ("/v1/agent/connect/authorize", POST, Part::Mesh),
    ("/v1/agent/connect/ca/leaf/", GET, Part::Mesh),
    ("/v1/agent/connect/ca/roots", GET, Part::Mesh),
    ("/v1/agent/metrics/stream", GET, Part::Stream),
    ("/v1/agent/monitor", GET, Part::Monitor),
    ("/v1/config", PUT, Part::Mesh),
    ("/v1/config/", GET_DELETE, Part::Mesh),
    ("/v1/connect/ca/configuration", GET_PUT, Part::Mesh),
    ("/v1/connect/ca/roots", GET, Part::Mesh),
    ("/v1/connect/intentions", GET_POST, Part::Mesh),
    ("/v1/connect/intentions/", GET_PUT_DELETE, Part::Mesh),
    ("/v1/connect/intentions/check", GET, Part::Mesh),
    ("/v1/connect/intentions/exact", GET_PUT_DELETE, Part::Mesh),
    ("/v1/connect/intentions/match", GET, Part::Mesh),
    ("/v1/discovery-chain/", GET_POST, Part::Mesh),
    ("/v1/event/fire/", PUT, Part::Events),
    ("/v1/event/list", GET, Part::Events),
    ("/v1/exported-services", GET, Part::Peering),
    ("/v1/imported-services", GET, Part::Peering),
    ("/v1/internal/federation-state/", GET, Part::Mesh),
    ("/v1/internal/federation-states", GET, Part::Mesh),
    ("/v1/internal/federation-states/mesh-gateways", GET, Part::Mesh),
    ("/v1/internal/service-virtual-ip", PUT, Part::Mesh),
    ("/v1/internal/ui/catalog-overview", GET, Part::Ui),
    ("/v1/internal/ui/exported-services", GET, Part::Ui),
    ("/v1/internal/ui/gateway-intentions/", GET, Part::Ui),
    ("/v1/internal/ui/gateway-services-nodes/", GET, Part::Ui),
    ("/v1/internal/ui/metrics-proxy/", GET, Part::Ui),
    ("/v1/internal/ui/node/", GET, Part::Ui),
    ("/v1/internal/ui/nodes", GET, Part::Ui),
    ("/v1/internal/ui/service-topology/", GET, Part::Ui),
    ("/v1/internal/ui/services", GET, Part::Ui),
    ("/v1/namespace", PUT, Part::Enterprise),
    ("/v1/namespace/", GET_PUT_DELETE, Part::Enterprise),
    ("/v1/namespaces", GET, Part::Enterprise),
    ("/v1/operator/area", GET_POST, Part::Enterprise),
    ("/v1/operator/area/", GET_PUT_DELETE, Part::Enterprise),
    ("/v1/operator/audit-hash", POST, Part::Enterprise),
    ("/v1/operator/keyring", ALL, Part::Keyring),
    ("/v1/operator/license", GET_PUT_DELETE, Part::Enterprise),
    ("/v1/operator/segment", GET, Part::Enterprise),
    ("/v1/operator/usage", GET, Part::Usage),
    ("/v1/operator/utilization", GET, Part::Enterprise),
    ("/v1/partition", PUT, Part::Enterprise),
    ("/v1/partition/", GET_PUT_DELETE, Part::Enterprise),
    ("/v1/partitions", GET, Part::Enterprise),
    ("/v1/peering/", GET_DELETE, Part::Peering),
    ("/v1/peering/establish", POST, Part::Peering),
    ("/v1/peering/token", POST, Part::Peering),
    ("/v1/peerings", GET, Part::Peering),
    ("/v1/query", GET_POST, Part::Queries),
    ("/v1/query/", GET_PUT_DELETE, Part::Queries),
    ("/v1/snapshot", GET_PUT, Part::Snapshots),
];
