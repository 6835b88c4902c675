//! Certificates and authorities from the files that the configuration names, loaded and judged.

use crate::config::Config;
use crate::tls::{BridgeIdentity, RpcRules, RpcTls, TlsFiles, TlsMaterial};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tracing::{info, warn};

#[derive(Debug)]
pub(super) struct Tls {
    /// The files configured, if any.
    pub material: Option<TlsMaterial>,
    pub rpc: Option<RpcTls>,
    /// For the bridge; on servers only.
    pub bridge: Option<BridgeIdentity>,
}

impl Tls {
    /// Loads and checks the files, and makes a server's own key where the bridge shows no certificate of a CA.
    pub(super) fn load(config: &Config, data_dir: Option<&Path>) -> Result<Tls, String> {
        let (mut tls, remarks) = Tls::of_files(config)?;
        for remark in remarks {
            warn!("{remark}");
        }
        if config.server && tls.bridge.is_none() {
            let identity = BridgeIdentity::self_made(data_dir, &config.datacenter, &config.domain)?;
            tls.bridge = Some(match tls.material.as_ref().filter(|material| material.has_cert()) {
                Some(material) => identity.judging_by_ca(material),
                None => {
                    info!(
                        "the bridge shows a key of its own, pinned by the others from the WAN pool: trust is that of the WAN pool; set encrypt, or certificates of a CA, to raise it"
                    );
                    identity
                }
            });
        }
        Ok(tls)
    }

    /// The TLS of the files, and remarks on faults that prevent no start; without a bridge where it shows a key of its own.
    pub(super) fn of_files(config: &Config) -> Result<(Tls, Vec<String>), String> {
        let files = tls_files(config);
        let configured = files.ca_file.is_some() || files.ca_path.is_some() || files.cert_file.is_some();
        let material = if configured { Some(TlsMaterial::load(&files)?) } else { None };
        let rpc = material.as_ref().map(|material| rpc_tls(config, material)).transpose()?;
        let mut remarks = material.as_ref().map(TlsMaterial::remarks).unwrap_or_default();
        let bridge = match &material {
            Some(material) if config.server => bridge_of_ca(config, material, &mut remarks)?,
            None if config.server && config.bridge_require_ca == Some(true) => return Err(REQUIRED.to_owned()),
            _ => None,
        };
        if !config.https.is_empty() {
            https(config, material.as_ref())?;
        }
        Ok((Tls { material, rpc, bridge }, remarks))
    }
}

const REQUIRED: &str = "bridge { require_ca = true } needs ca_file, cert_file and key_file; make them with `kontor tls ca create` and `kontor tls cert create -server`";

/// True when a bridge with `identity` demands certificates of the CA, which needs one of its own.
pub(super) fn requires_ca(config: &Config, identity: &BridgeIdentity) -> bool {
    config.requires_ca() && identity.is_of_ca()
}

/// The bridge's identity from the files. An unfit certificate is an error only where the configuration requires a CA.
pub(super) fn bridge_of_ca(
    config: &Config,
    material: &TlsMaterial,
    remarks: &mut Vec<String>,
) -> Result<Option<BridgeIdentity>, String> {
    let is_required = config.bridge_require_ca == Some(true);
    if !material.has_cert() {
        return if is_required { Err(REQUIRED.to_owned()) } else { Ok(None) };
    }
    match BridgeIdentity::from_ca(material, &config.datacenter, &config.domain) {
        Ok(identity) => Ok(Some(identity)),
        Err(why) if is_required => Err(format!("bridge {{ require_ca = true }}: {why}")),
        // A certificate of another datacenter is a mistake.
        Err(why) if material.is_of_elsewhere(&config.datacenter, &config.domain) => Err(why),
        Err(why) => {
            remarks.push(format!("the bridge shows a key of its own, which other datacenters take where they take fingerprints (bridge {{ require_ca = false }}): {why}"));
            Ok(None)
        }
    }
}

pub(super) fn https(config: &Config, material: Option<&TlsMaterial>) -> Result<Arc<rustls::ServerConfig>, String> {
    let port = config.https.first().map_or(0, SocketAddr::port);
    let material = material.filter(|material| material.has_cert()).ok_or_else(|| {
        format!("ports.https is {port}, but there is no certificate; set cert_file and key_file, or https = -1")
    })?;
    material.https(config.tls.verify_incoming_https)
}

pub(super) fn tls_files(config: &Config) -> TlsFiles {
    TlsFiles {
        ca_file: config.tls.ca_file.clone(),
        ca_path: config.tls.ca_path.clone(),
        cert_file: config.tls.cert_file.clone(),
        key_file: config.tls.key_file.clone(),
        only_tls13: config.tls.only_tls13,
    }
}

/// Both ends of the RPC port.
pub(super) fn rpc_tls(config: &Config, material: &TlsMaterial) -> Result<RpcTls, String> {
    if config.server && config.tls.verify_server_hostname {
        material.check_server_name(&config.datacenter, &config.domain)?;
    }
    RpcTls::new(
        material,
        RpcRules {
            datacenter: config.datacenter.clone(),
            domain: config.domain.clone(),
            verify_incoming: config.tls.verify_incoming_rpc,
            verify_outgoing: config.tls.verify_outgoing,
            verify_server_hostname: config.tls.verify_server_hostname,
            accept_plaintext: config.tls.accept_plaintext,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};
    use crate::tls::testing::{dated_cert, server_cert, signing_cert, version_1_cert};
    use crate::tls::{CertKind, create_ca};
    use serde_json::{Value, json};

    fn config(mut flags: Value, more: Value) -> Config {
        flags.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        resolve(&Sources { flags, ..Sources::default() }).unwrap()
    }

    /// The TLS and the remarks of a server of dc1 with these files and further settings.
    fn judged(ca: &(String, String), own: &(String, String), more: Value) -> Result<(Tls, String), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name).display().to_string()
        };
        let flags = json!({
            "server": true, "bind_addr": "127.0.0.1", "data_dir": folder.path().join("data"), "datacenter": "dc1",
            "ca_file": path("ca", &ca.0), "cert_file": path("cert", &own.0), "key_file": path("key", &own.1),
        });
        Tls::of_files(&config(flags, more)).map(|(tls, remarks)| (tls, remarks.join("\n")))
    }

    fn verified() -> Value {
        json!({"verify_incoming": true, "verify_outgoing": true, "verify_server_hostname": true})
    }

    #[test]
    fn what_the_bridge_cannot_show_keeps_no_agent_from_starting() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let nameless = crate::tls::testing::cert_of(&ca, CertKind::Client, "dc1", 1);
        for (own, words) in [
            (ca.clone(), "the authority's own"),
            (signing_cert(&ca, &["server.dc1.consul"]), "may sign others"),
            (version_1_cert(&ca), "X.509 V1"),
            (dated_cert(&ca, &["*.dc1.consul"], [2020, 2049]), "server.dc1.consul"),
            (dated_cert(&ca, &["server.dc1.consul"], [2020, 2021]), "expired"),
            (nameless, "server.dc1.consul"),
        ] {
            let (tls, said) = judged(&ca, &own, json!({"ports": {"https": 8501}})).unwrap();
            assert!(tls.bridge.is_none() && tls.rpc.is_some(), "{words}");
            assert!(said.contains(words) && said.contains("the bridge shows a key of its own"), "{words}: {said}");
            let required = judged(&ca, &own, json!({"bridge": {"require_ca": true}})).unwrap_err();
            assert!(required.contains("require_ca"), "{required}");
        }
    }

    #[test]
    fn a_good_certificate_is_shown_everywhere_and_nothing_is_said_of_it() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let (tls, said) = judged(&ca, &server_cert(&ca, "dc1", 1), verified()).unwrap();
        assert!(tls.bridge.is_some() && tls.rpc.is_some() && said.is_empty(), "{said}");
    }

    #[test]
    fn a_start_fails_where_the_others_would_refuse_the_server() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let why = judged(&ca, &crate::tls::testing::cert_of(&ca, CertKind::Client, "dc1", 1), verified()).unwrap_err();
        assert!(why.contains("server.dc1.consul") && why.contains("verify_server_hostname"), "{why}");
        let wildcard = dated_cert(&ca, &["*.dc1.consul"], [2020, 2049]);
        assert!(judged(&ca, &wildcard, verified()).is_ok(), "they take it");
        let elsewhere = judged(&ca, &server_cert(&ca, "dc2", 1), json!({})).unwrap_err();
        assert!(elsewhere.contains("expected the name server.dc1.consul") && elsewhere.contains("dc2"), "{elsewhere}");
        let crossed = (server_cert(&ca, "dc1", 1).0, server_cert(&ca, "dc1", 1).1);
        assert!(judged(&ca, &crossed, json!({})).unwrap_err().contains("not the key of the certificate"));
    }

    #[test]
    fn fingerprints_count_beside_a_ca_only_where_that_is_said() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pem");
        std::fs::write(&file, &ca.0).unwrap();
        let requires =
            |more: Value| config(json!({"server": true, "bind_addr": "127.0.0.1", "data_dir": "/d"}), more).requires_ca();
        let whole = json!({"ca_file": file, "cert_file": file, "key_file": file});
        assert!(requires(whole.clone()) && !requires(json!({})) && !requires(json!({"ca_file": file})));
        let mut lenient = whole;
        lenient["bridge"] = json!({"require_ca": false});
        assert!(!requires(lenient));
    }
}
