//! `kontor operator`: the servers' Raft configuration and its care.

use super::Done;
use super::autopilot::{self, SetConfigArgs};
use super::client::{Call, Client};
use super::table::{layout, row};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

/// Look at and mend the servers of a datacenter.
#[derive(Subcommand, Debug)]
pub(super) enum OperatorCommand {
    /// The servers that hold the catalog
    #[command(subcommand)]
    Raft(RaftCommand),
    /// The leader's view of the servers' health
    #[command(subcommand)]
    Autopilot(AutopilotCommand),
}

#[derive(Subcommand, Debug)]
pub(super) enum RaftCommand {
    /// List the servers of the Raft configuration
    #[command(after_help = "Example:\n  kontor operator raft list-peers -stale")]
    ListPeers,
    /// Remove a server that is gone for good
    #[command(after_help = "Example:\n  kontor operator raft remove-peer -address=10.0.0.1:8300")]
    RemovePeer(RemovePeerArgs),
    /// Hand leadership to another server
    #[command(after_help = "Example:\n  kontor operator raft transfer-leader")]
    TransferLeader {
        /// Server to hand it to; any when not given
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub(super) struct RemovePeerArgs {
    /// Its address, host:port
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Its id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

#[derive(Subcommand, Debug)]
pub(super) enum AutopilotCommand {
    /// Show the health of every server
    #[command(after_help = "Example:\n  kontor operator autopilot state -format=json")]
    State {
        /// pretty or json
        #[arg(long, default_value = "pretty", value_name = "FORMAT")]
        format: String,
    },
    /// Show how servers are treated
    #[command(after_help = "Example:\n  kontor operator autopilot get-config")]
    GetConfig,
    /// Change how servers are treated; what is not named stays
    #[command(after_help = "Example:\n  kontor operator autopilot set-config -cleanup-dead-servers=false")]
    SetConfig(SetConfigArgs),
}

impl OperatorCommand {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        match self {
            OperatorCommand::Raft(RaftCommand::ListPeers) => {
                let call = client.routed(Call::get("/v1/operator/raft/configuration"));
                let configuration: Configuration = client.json(call).await?;
                Ok(Done::text(layout(&peer_rows(&configuration.servers), 2)))
            }
            OperatorCommand::Raft(RaftCommand::RemovePeer(args)) => args.run(&client).await,
            OperatorCommand::Raft(RaftCommand::TransferLeader { id }) => {
                let call = client.routed(Call::post("/v1/operator/raft/transfer-leader").maybe("id", id.as_deref()));
                client.send(call).await?;
                Ok(Done::line("Success"))
            }
            OperatorCommand::Autopilot(AutopilotCommand::State { format }) => {
                if !["pretty", "json"].contains(&format.as_str()) {
                    return Err(format!("Unknown format: {format}"));
                }
                let state: Value = client.json(client.routed(Call::get("/v1/operator/autopilot/state"))).await?;
                if format == "json" {
                    return Ok(Done::line(serde_json::to_string_pretty(&state).map_err(|error| error.to_string())?));
                }
                state_block(&state).map(Done::text)
            }
            OperatorCommand::Autopilot(AutopilotCommand::GetConfig) => {
                Ok(Done::text(autopilot::block(&autopilot::get(&client).await?)))
            }
            OperatorCommand::Autopilot(AutopilotCommand::SetConfig(args)) => args.run(&client).await,
        }
    }
}

impl RemovePeerArgs {
    async fn run(self, client: &Client) -> Result<Done, String> {
        let failed = |error| format!("Error removing peer: {error}");
        if self.address.is_none() && self.id.is_none() {
            return Err(failed("an address or id is required for the peer to remove".to_owned()));
        }
        let call =
            Call::delete("/v1/operator/raft/peer").maybe("address", self.address.as_deref()).maybe("id", self.id.as_deref());
        client.send(client.routed(call)).await.map_err(failed)?;
        Ok(match (self.address, self.id) {
            (Some(address), _) => Done::line(format!("Removed peer with address {address:?}")),
            (None, id) => Done::line(format!("Removed peer with id {:?}", id.unwrap_or_default())),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    servers: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: String,
    voter: bool,
    /// Absent before Consul 1.19.
    #[serde(default)]
    last_index: u64,
}

fn peer_rows(peers: &[Peer]) -> Vec<Vec<String>> {
    let header = ["Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index", "Trails Leader By"];
    let mut rows = vec![row(header)];
    let leads = peers.iter().find(|peer| peer.leader).map_or(0, |peer| peer.last_index);
    for peer in peers {
        let state = if peer.leader { "leader" } else { "follower" };
        let trails = match leads.saturating_sub(peer.last_index) {
            _ if peer.leader => "-".to_owned(),
            1 => "1 commit".to_owned(),
            commits => format!("{commits} commits"),
        };
        let (voter, index) = (peer.voter.to_string(), peer.last_index.to_string());
        rows.push(row([&peer.node, &peer.id, &peer.address, state, &voter, &peer.protocol_version, &index, &trails]));
    }
    rows
}

/// The labels of a state, and of a server in it, as Consul prints them; without spaces they are the fields' names.
const SUMMARY: [&str; 4] = ["Healthy", "Failure Tolerance", "Optimistic Failure Tolerance", "Leader"];
const SERVER: [&str; 10] =
    ["Name", "Address", "Version", "Status", "Node Type", "Node Status", "Healthy", "Last Contact", "Last Term", "Last Index"];

fn state_block(state: &Value) -> Result<String, String> {
    let mut text = String::new();
    for label in SUMMARY {
        text.push_str(&format!("{:<30}{}\n", format!("{label}:"), field(state, label)?));
    }
    text.push_str("Voters:\n");
    for voter in state["Voters"].as_array().into_iter().flatten() {
        text.push_str(&format!("   {}\n", shown(voter)));
    }
    text.push_str("Servers:\n");
    for (id, server) in state["Servers"].as_object().into_iter().flatten() {
        text.push_str(&format!("   {id}\n"));
        for label in SERVER {
            text.push_str(&format!("      {:<17}{}\n", format!("{label}:"), field(server, label)?));
        }
    }
    Ok(text)
}

fn field(object: &Value, label: &str) -> Result<String, String> {
    let name = label.replace(' ', "");
    object.get(&name).map(shown).ok_or_else(|| format!("the state is not what was expected: missing field `{name}`"))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn peers_are_listed_as_consul_does() {
        let configuration: Configuration = serde_json::from_value(json!({"Servers": [
            {"ID": "0bc1c4c3-5a9a-4a6a-9d1d-111111111111", "Node": "s1", "Address": "10.0.0.1:8300", "Leader": true, "ProtocolVersion": "3", "Voter": true, "LastIndex": 90},
            {"ID": "0bc1c4c3-5a9a-4a6a-9d1d-222222222222", "Node": "s2", "Address": "10.0.0.2:8300", "Leader": false, "ProtocolVersion": "3", "Voter": false, "LastIndex": 89},
            {"ID": "0bc1c4c3-5a9a-4a6a-9d1d-333333333333", "Node": "s3", "Address": "10.0.0.3:8300", "Leader": false, "ProtocolVersion": "3", "Voter": true}
        ], "Index": 22}))
        .unwrap();
        assert_eq!(
            layout(&peer_rows(&configuration.servers), 2),
            "Node  ID                                    Address        State     Voter  RaftProtocol  Commit Index  Trails Leader By\n\
             s1    0bc1c4c3-5a9a-4a6a-9d1d-111111111111  10.0.0.1:8300  leader    true   3             90            -\n\
             s2    0bc1c4c3-5a9a-4a6a-9d1d-222222222222  10.0.0.2:8300  follower  false  3             89            1 commit\n\
             s3    0bc1c4c3-5a9a-4a6a-9d1d-333333333333  10.0.0.3:8300  follower  true   3             0             90 commits\n"
        );
    }

    #[test]
    fn the_state_block_is_consul_s() {
        let state = json!({
            "Healthy": true, "FailureTolerance": 1, "OptimisticFailureTolerance": 0, "Leader": "id1", "Voters": ["id1"],
            "Servers": {"id1": {"ID": "id1", "Name": "s1", "Address": "10.0.0.1:8300", "NodeStatus": "alive", "Version": "1.9.0",
                "LastContact": "0s", "LastTerm": 2, "LastIndex": 91, "Healthy": true, "StableSince": "x", "ReadReplica": false,
                "Status": "leader", "Meta": {}, "NodeType": "voter"}}
        });
        let lines = [
            "Healthy:                      true",
            "Failure Tolerance:            1",
            "Optimistic Failure Tolerance: 0",
            "Leader:                       id1",
            "Voters:",
            "   id1",
            "Servers:",
            "   id1",
            "      Name:            s1",
            "      Address:         10.0.0.1:8300",
            "      Version:         1.9.0",
            "      Status:          leader",
            "      Node Type:       voter",
            "      Node Status:     alive",
            "      Healthy:         true",
            "      Last Contact:    0s",
            "      Last Term:       2",
            "      Last Index:      91",
        ];
        assert_eq!(state_block(&state).unwrap().lines().collect::<Vec<_>>(), lines);
    }
}
