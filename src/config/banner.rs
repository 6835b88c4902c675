//! The banner of a starting agent.

use super::{Config, HttpAddress};
use crate::defaults;
use crate::model::ids::NodeId;
use std::fmt::Write;

/// The lines before the log, in Consul's layout; every line ends in a newline.
pub fn banner(config: &Config, node_id: NodeId) -> String {
    let mut text = String::from("==> Starting Kontor agent...\n");
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{name:>18}: {value}");
    };
    let segment = if config.server { "<all>" } else { "" };
    let clients: Vec<String> = config.client_addrs.iter().map(ToString::to_string).collect();
    let http = config.http.iter().find_map(HttpAddress::tcp);
    let port = |address: Option<std::net::SocketAddr>| address.map_or(-1, |address| i32::from(address.port()));
    line("Version", format!("'{}'", defaults::CONSUL_VERSION));
    line("Kontor", format!("'{}'", env!("CARGO_PKG_VERSION")));
    line("Node ID", format!("'{node_id}'"));
    line("Node name", format!("'{}'", config.node_name));
    line("Datacenter", format!("'{}' (Segment: '{segment}')", config.datacenter));
    line("Server", format!("{} (Bootstrap: {})", config.server, config.bootstrap_expect == 1));
    let (clients, http, https) = (clients.join(" "), port(http), port(config.https.first().copied()));
    // Neither gRPC nor DNS is answered yet.
    line("Client Addr", format!("[{clients}] (HTTP: {http}, HTTPS: {https}, gRPC: -1, DNS: -1)"));
    let wan = if config.server { port(config.serf_wan) } else { -1 };
    line("Cluster Addr", format!("{} (LAN: {}, WAN: {wan})", config.advertise, config.serf_lan.port()));
    let (gossip, outgoing, incoming) = (config.encrypt.is_some(), config.tls.verify_outgoing, config.tls.verify_incoming_rpc);
    let tls = format!("TLS-Outgoing: {outgoing}, TLS-Incoming: {incoming}, Auto-Encrypt-TLS: false");
    line("Encrypt", format!("Gossip: {gossip}, {tls}"));
    text.push_str("\n==> Log data will now stream in as it occurs:\n\n");
    text
}
