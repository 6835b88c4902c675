//! `kontor catalog`: datacenters, nodes and services.

use super::Done;
use super::client::{Call, Client};
use super::table::{layout, row};
use clap::{Args, Subcommand};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Look into the catalog of this datacenter, or with -datacenter of another
#[derive(Subcommand, Debug)]
pub(super) enum CatalogCommand {
    /// List the datacenters, the nearest first
    #[command(after_help = "Example:\n  kontor catalog datacenters")]
    Datacenters,
    /// List the nodes
    #[command(after_help = "Example:\n  kontor catalog nodes -service=web -datacenter=dc2")]
    Nodes(NodesArgs),
    /// List the names of services
    #[command(after_help = "Example:\n  kontor catalog services -tags")]
    Services(ServicesArgs),
}

#[derive(Args, Debug)]
pub(super) struct NodesArgs {
    /// Only nodes with this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Sort by round-trip time from this node; _agent for the agent's own
    #[arg(long, value_name = "NODE")]
    near: Option<String>,
    /// Only nodes with this metadata, as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    node_meta: Vec<String>,
    /// Only nodes that this expression matches
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Show whole ids, addresses by place, and metadata
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    detailed: Option<bool>,
}

#[derive(Args, Debug)]
pub(super) struct ServicesArgs {
    /// Only services of this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only services of nodes with this metadata, as key=value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    node_meta: Vec<String>,
    /// Show tags
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    tags: Option<bool>,
}

impl CatalogCommand {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        match self {
            CatalogCommand::Datacenters => {
                let names: Vec<String> = client.json(Call::get("/v1/catalog/datacenters")).await?;
                Ok(Done::text(names.iter().map(|name| format!("{name}\n")).collect()))
            }
            CatalogCommand::Nodes(args) => args.run(&client).await,
            CatalogCommand::Services(args) => args.run(&client).await,
        }
    }
}

/// The common fields of the lists of nodes and of a service's instances.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    datacenter: String,
    tagged_addresses: Option<BTreeMap<String, String>>,
    #[serde(alias = "NodeMeta")]
    meta: Option<BTreeMap<String, String>>,
}

impl NodesArgs {
    async fn run(self, client: &Client) -> Result<Done, String> {
        let call = match &self.service {
            Some(service) => Call::get("/v1/catalog/service").segment(service),
            None => Call::get("/v1/catalog/nodes"),
        };
        let call = with_meta(call.maybe("near", self.near.as_deref()).maybe("filter", self.filter.as_deref()), &self.node_meta)?;
        let listed: Option<Vec<Node>> = client.json(client.routed(call)).await?;
        let mut nodes: Vec<Node> = Vec::new();
        for node in listed.into_iter().flatten() {
            // A node that carries several instances of the service is one node.
            if !nodes.iter().any(|known| known.node == node.node) {
                nodes.push(node);
            }
        }
        if nodes.is_empty() {
            return Ok(none("nodes"));
        }
        Ok(Done::text(layout(&node_rows(&nodes, self.detailed.unwrap_or(false)), 2)))
    }
}

fn node_rows(nodes: &[Node], detailed: bool) -> Vec<Vec<String>> {
    let mut header = row(["Node", "ID", "Address", "DC"]);
    if detailed {
        header.extend(row(["TaggedAddresses", "Meta"]));
    }
    let mut rows = vec![header];
    for node in nodes {
        let id = if detailed { node.id.as_str() } else { node.id.get(..8).unwrap_or(&node.id) };
        let mut cells = row([&node.node, id, &node.address, &node.datacenter]);
        if detailed {
            cells.extend([pairs(node.tagged_addresses.as_ref()), pairs(node.meta.as_ref())]);
        }
        rows.push(cells);
    }
    rows
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    map.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

impl ServicesArgs {
    async fn run(self, client: &Client) -> Result<Done, String> {
        let mut services: BTreeMap<String, Vec<String>> = match &self.node {
            None => client.json(client.routed(with_meta(Call::get("/v1/catalog/services"), &self.node_meta)?)).await?,
            Some(node) => self.of_node(node, client).await?,
        };
        if services.is_empty() {
            return Ok(none("services"));
        }
        if !self.tags.unwrap_or(false) {
            return Ok(Done::text(services.keys().map(|name| format!("{name}\n")).collect()));
        }
        services.values_mut().for_each(|tags| tags.sort());
        let rows: Vec<Vec<String>> = services.into_iter().map(|(name, tags)| vec![name, tags.join(",")]).collect();
        Ok(Done::text(layout(&rows, 6)))
    }

    /// The services of one node, with the tags of all instances of a name.
    async fn of_node(&self, node: &str, client: &Client) -> Result<BTreeMap<String, Vec<String>>, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Instance {
            service: String,
            tags: Option<Vec<String>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct NodeServices {
            services: BTreeMap<String, Instance>,
        }
        let call = with_meta(Call::get("/v1/catalog/node").segment(node), &self.node_meta)?;
        let found: Option<NodeServices> = client.json(client.routed(call)).await?;
        let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for instance in found.into_iter().flat_map(|found| found.services.into_values()) {
            let tags = services.entry(instance.service).or_default();
            for tag in instance.tags.into_iter().flatten() {
                if !tags.contains(&tag) {
                    tags.push(tag);
                }
            }
        }
        Ok(services)
    }
}

fn none(what: &str) -> Done {
    Done { err: format!("No {what} match the given query - try expanding your search.\n"), ..Done::default() }
}

/// Adds `key=value` pairs as the `node-meta` parameters of the API.
fn with_meta(mut call: Call, pairs: &[String]) -> Result<Call, String> {
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("-node-meta: expected key=value, got {pair:?}"))?;
        call = call.param("node-meta", &format!("{key}:{value}"));
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_listed_with_the_short_id_or_with_everything() {
        let nodes: Vec<Node> = serde_json::from_value(json!([
            {"Node": "n1", "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Address": "10.0.0.1", "Datacenter": "dc1",
             "TaggedAddresses": {"lan": "10.0.0.1", "wan": "1.1.1.1"}, "Meta": {"a": "b"}},
            {"Node": "external", "ID": "", "Address": "x.example", "Datacenter": "dc1", "TaggedAddresses": null, "Meta": null}
        ]))
        .unwrap();
        assert_eq!(
            layout(&node_rows(&nodes, false), 2),
            "Node      ID        Address    DC\n\
             n1        40e4a748  10.0.0.1   dc1\n\
             external            x.example  dc1\n"
        );
        let detailed = layout(&node_rows(&nodes, true), 2);
        assert!(
            detailed.contains("40e4a748-2192-161a-0510-9bf59fe950b5  10.0.0.1   dc1  lan=10.0.0.1, wan=1.1.1.1  a=b\n"),
            "{detailed}"
        );
    }
}
