//! `kontor rtt`: the estimated round-trip time between two nodes, by their coordinates.

use super::Done;
use super::client::{Call, Client};
use crate::model::coordinate::{Coordinate, NodeCoordinate};
use clap::Args;
use serde::Deserialize;

/// Estimate the round-trip time between two nodes
///
/// From the agent's own node when only one is named. With -wan the names are <node>.<dc>, and the
/// nodes are servers.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor rtt n1 n2\n  kontor rtt -wan s1.dc1 s1.dc2")]
pub(super) struct RttArgs {
    /// Between servers of datacenters
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    wan: Option<bool>,
    /// The first node
    node: String,
    /// The second node; the agent's own when not given
    other: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Datacenter {
    datacenter: String,
    coordinates: Option<Vec<NodeCoordinate>>,
}

impl RttArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let wan = self.wan.unwrap_or(false);
        let other = match &self.other {
            Some(name) => name.clone(),
            None => own_name(&client, wan).await?,
        };
        let coordinates = if wan { wan_coordinates(&client).await? } else { lan_coordinates(&client).await? };
        let (first, second) = match (find(&coordinates, &self.node), find(&coordinates, &other)) {
            (Ok(first), Ok(second)) => (first, second),
            // As in Consul, without a word in front.
            (Err(unknown), _) | (_, Err(unknown)) => return Ok(Done { err: unknown + "\n", code: 1, ..Done::default() }),
        };
        let milliseconds = first.distance(second).as_secs_f64() * 1000.0;
        let pool = if wan { "WAN" } else { "LAN" };
        Ok(Done::line(format!("Estimated {} <-> {other} rtt: {milliseconds:.3} ms (using {pool} coordinates)", self.node)))
    }
}

async fn own_name(client: &Client, wan: bool) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Summary {
        node_name: String,
        datacenter: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        config: Summary,
    }
    let Answer { config } = client.json(Call::get("/v1/agent/self")).await?;
    Ok(if wan { format!("{}.{}", config.node_name, config.datacenter) } else { config.node_name })
}

async fn lan_coordinates(client: &Client) -> Result<Vec<(String, Coordinate)>, String> {
    let nodes: Option<Vec<NodeCoordinate>> = client.json(client.routed(Call::get("/v1/coordinate/nodes"))).await?;
    Ok(nodes.into_iter().flatten().map(|node| (node.node, node.coord)).collect())
}

async fn wan_coordinates(client: &Client) -> Result<Vec<(String, Coordinate)>, String> {
    let datacenters: Vec<Datacenter> = client.json(Call::get("/v1/coordinate/datacenters")).await?;
    let mut all = Vec::new();
    for Datacenter { datacenter, coordinates } in datacenters {
        all.extend(coordinates.into_iter().flatten().map(|node| (format!("{}.{datacenter}", node.node), node.coord)));
    }
    Ok(all)
}

fn find<'a>(coordinates: &'a [(String, Coordinate)], name: &str) -> Result<&'a Coordinate, String> {
    let found = coordinates.iter().find(|(known, _)| known == name);
    found.map(|(_, coordinate)| coordinate).ok_or_else(|| format!("Could not find a coordinate for node {name:?}"))
}
