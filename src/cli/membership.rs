//! `kontor join`, `leave`, `force-leave` and `reload`: orders to an agent.

use super::Done;
use super::client::{Call, Client};
use clap::Args;

/// Tell the agent to join the pools of other agents.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor join 10.0.0.1\n  kontor join -wan 10.1.0.1 10.2.0.1")]
pub(super) struct JoinArgs {
    /// Join the WAN pool: the addresses are of servers of other datacenters
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    wan: Option<bool>,
    /// Addresses or DNS names, with or without port
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
}

/// Declare a failed member to have left
///
/// Nobody waits for it any more, and its services leave the catalog.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor force-leave -prune n1")]
pub(super) struct ForceLeaveArgs {
    /// Forget it altogether
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    prune: Option<bool>,
    /// In the WAN pool alone: the name is <node>.<dc>
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    wan: Option<bool>,
    /// Name of the node
    node: String,
}
impl JoinArgs {
    /// Tries every address; one that answers is enough.
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let wan = self.wan.unwrap_or(false);
        let (mut joined, mut err) = (0, String::new());
        for address in &self.addresses {
            let call = Call::put("/v1/agent/join").segment(address).maybe("wan", wan.then_some("1"));
            match client.send(call).await {
                Ok(_) => joined += 1,
                Err(error) => err.push_str(&format!("Error joining address '{address}': {error}\n")),
            }
        }
        if joined == 0 {
            err.push_str("Failed to join any nodes.\n");
            return Ok(Done { err, code: 1, ..Done::default() });
        }
        Ok(Done { err, ..Done::line(format!("Successfully joined cluster by contacting {joined} nodes.")) })
    }
}

impl ForceLeaveArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let (prune, wan) = (self.prune.unwrap_or(false), self.wan.unwrap_or(false));
        let call = Call::put("/v1/agent/force-leave")
            .segment(&self.node)
            .maybe("prune", prune.then_some("1"))
            .maybe("wan", wan.then_some("1"));
        client.send(call).await?;
        Ok(Done::default())
    }
}

/// An order without parameters: it is put to `path`, and answered with `line`.
pub(super) async fn order(client: Client, path: &str, line: &str) -> Result<Done, String> {
    client.send(Call::put(path)).await?;
    Ok(Done::line(line))
}
