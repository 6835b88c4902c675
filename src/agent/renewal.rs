//! Certificates and authorities that a reload replaces while the agent runs: on the RPC port, on
//! HTTPS and on the bridge. Connections that stand keep what they were made with.
//!
//! `control` calls it. All is read and checked before any of it counts, so that a wrong file leaves
//! the agent as it was.

use super::parts;
use crate::bridge::Bridge;
use crate::config::Config;
use crate::tls::{BridgeIdentity, RpcTls};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use std::sync::Arc;

/// Where certificates are in use; absent where the agent started without.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    pub(super) rpc: Option<Arc<ArcSwap<RpcTls>>>,
    pub(super) https: Option<Arc<ArcSwap<ServerConfig>>>,
    /// The bridge, unless it shows a key of its own: that one is told in its tags.
    pub(super) bridge: Option<Bridge>,
}

/// Read and checked, not in force yet.
#[derive(Debug)]
pub(super) struct Renewed {
    rpc: Option<RpcTls>,
    https: Option<Arc<ServerConfig>>,
    bridge: Option<BridgeIdentity>,
}

impl Renewal {
    /// Reads the files that `wanted` names, for an agent that runs with `running`. Blocks.
    pub(super) fn read(&self, running: &Config, wanted: &Config) -> Result<Renewed, String> {
        if !running.tls.can_become(&wanted.tls) {
            return Ok(Renewed { rpc: None, https: None, bridge: None });
        }
        // Datacenter and domain, which certificates are checked for, stay as they are.
        let config = Config { tls: wanted.tls.clone(), ..running.clone() };
        let Some(material) = parts::tls_material(&config)? else { return Ok(Renewed { rpc: None, https: None, bridge: None }) };
        let rpc = self.rpc.as_ref().map(|_| parts::rpc_tls(&config, &material)).transpose()?;
        let https = self.https.as_ref().map(|_| material.https(config.tls.verify_incoming_https)).transpose()?;
        let identity = || BridgeIdentity::from_ca(&material, &config.datacenter, &config.domain);
        let bridge = self.bridge.as_ref().map(|_| identity()).transpose()?;
        Ok(Renewed { rpc, https, bridge })
    }

    /// What is connected from now on is connected with these.
    pub(super) fn put_in_force(&self, renewed: Renewed) -> Result<(), String> {
        if let Some((bridge, identity)) = self.bridge.as_ref().zip(renewed.bridge) {
            bridge.reload(identity)?;
        }
        if let Some((shown, tls)) = self.rpc.as_ref().zip(renewed.rpc) {
            shown.store(Arc::new(tls));
        }
        if let Some((shown, server)) = self.https.as_ref().zip(renewed.https) {
            shown.store(server);
        }
        Ok(())
    }
}
