//! Certificates and keys: made (`authority`), loaded and checked (`material`), self-made for the
//! bridge (`identity`). Used by `rpc`, `bridge`, `http` and `cli`; knows no configuration files.

use crate::model::fault::Fault;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of `ca_file`, `cert_file`, `key_file` and what is verified with them.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM of the authorities trusted.
    pub ca_file: Option<PathBuf>,
    /// A folder of such PEMs.
    pub ca_path: Option<PathBuf>,
    /// PEM of this agent's certificate chain.
    pub cert_file: Option<PathBuf>,
    /// PEM of its key.
    pub key_file: Option<PathBuf>,
}

/// Loaded and checked [`TlsFiles`].
#[derive(Clone, Debug)]
pub struct TlsMaterial {}

impl TlsMaterial {
    /// Reads the files; the error names file, what was expected and what came.
    pub fn load(_files: &TlsFiles) -> Result<TlsMaterial, String> {
        todo!()
    }

    /// A server configuration for the HTTPS listener; `verify_incoming` asks clients for certificates.
    pub fn https(&self, _verify_incoming: bool) -> Result<Arc<rustls::ServerConfig>, String> {
        todo!()
    }
}

/// TLS of the RPC port.
#[derive(Clone, Debug)]
pub struct RpcTls {
    /// Accepts, with client certificates verified when `verify_incoming`.
    pub server: Arc<rustls::ServerConfig>,
    /// Connects.
    pub client: Arc<rustls::ClientConfig>,
    /// Whether connections without TLS are refused.
    pub verify_incoming: bool,
    /// Whether this agent itself connects with TLS.
    pub verify_outgoing: bool,
    /// The name servers must carry (`server.<dc>.<domain>`), when `verify_server_hostname`.
    pub server_name: Option<String>,
}

/// Makes a certificate authority: certificate PEM and key PEM (`tls ca create`).
pub fn create_ca(_domain: &str, _days: u32, _name_constraints: &[String]) -> Result<(String, String), Fault> {
    todo!()
}

/// Which kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertKind {
    /// `server.<dc>.<domain>`, usable both ways.
    Server,
    /// `client.<dc>.<domain>`.
    Client,
    /// `cli.<dc>.<domain>`.
    Cli,
}

/// A certificate to make.
#[derive(Clone, Debug)]
pub struct CertRequest {
    /// Which kind.
    pub kind: CertKind,
    /// Datacenter.
    pub dc: String,
    /// DNS domain, `consul` by default.
    pub domain: String,
    /// Days of validity.
    pub days: u32,
    /// Node name to add as `<node>.server.<dc>.<domain>`.
    pub node: Option<String>,
    /// More DNS names.
    pub dns_names: Vec<String>,
    /// More addresses.
    pub ip_addresses: Vec<std::net::IpAddr>,
}

/// Makes a certificate signed by a CA: certificate PEM and key PEM (`tls cert create`).
pub fn create_cert(_ca_pem: &str, _ca_key_pem: &str, _request: &CertRequest) -> Result<(String, String), Fault> {
    todo!()
}

/// What a server shows on the bridge: from a CA, or self-made and pinned by fingerprint.
#[derive(Clone, Debug)]
pub struct BridgeIdentity {}

impl BridgeIdentity {
    /// From configured certificates; refuses one that does not carry `server.<dc>.<domain>` or is expired.
    pub fn from_ca(_material: &TlsMaterial, _dc: &str, _domain: &str) -> Result<BridgeIdentity, String> {
        todo!()
    }

    /// A self-made key, kept in `<data_dir>/bridge-key.pem` (0600); in memory without a directory.
    pub fn self_made(_data_dir: Option<&Path>, _dc: &str, _domain: &str) -> Result<BridgeIdentity, String> {
        todo!()
    }

    /// SHA-256 of the self-made certificate in hex; `None` with a CA.
    pub fn fingerprint(&self) -> Option<String> {
        todo!()
    }
}
