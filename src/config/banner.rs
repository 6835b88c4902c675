//! What an agent says of itself when it starts.

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
    let http = config.http.iter().find_map(|address| if let HttpAddress::Tcp(tcp) = address { Some(*tcp) } else { None });
    let port = |address: Option<std::net::SocketAddr>| address.map_or(-1, |address| i32::from(address.port()));
    line("Version", format!("'{}'", defaults::CONSUL_VERSION));
    line("Kontor", format!("'{}'", env!("CARGO_PKG_VERSION")));
    line("Node ID", format!("'{node_id}'"));
    line("Node name", format!("'{}'", config.node_name));
    line("Datacenter", format!("'{}' (Segment: '{segment}')", config.datacenter));
    line("Server", format!("{} (Bootstrap: {})", config.server, config.bootstrap_expect == 1));
    line(
        "Client Addr",
        format!(
            // Neither gRPC nor DNS is answered yet.
            "[{}] (HTTP: {}, HTTPS: {}, gRPC: -1, DNS: -1)",
            clients.join(" "),
            port(http),
            port(config.https.first().copied())
        ),
    );
    let wan = if config.server { port(config.serf_wan) } else { -1 };
    line("Cluster Addr", format!("{} (LAN: {}, WAN: {wan})", config.advertise, config.serf_lan.port()));
    let tls = &config.tls;
    line(
        "Encrypt",
        format!(
            "Gossip: {}, TLS-Outgoing: {}, TLS-Incoming: {}, Auto-Encrypt-TLS: false",
            config.encrypt.is_some(),
            tls.verify_outgoing,
            tls.verify_incoming_rpc
        ),
    );
    text.push_str("\n==> Log data will now stream in as it occurs:\n\n");
    text
}
