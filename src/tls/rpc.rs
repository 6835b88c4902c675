//! TLS of the RPC port, by Consul's rules (`verify_incoming`, `verify_outgoing`, `verify_server_hostname`), but for plain
//! text: beside TLS it is accepted only on request.

use super::certificate::server_dc;
use super::material::TlsMaterial;
use super::{any_certificate, server_name};
use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use std::sync::Arc;

/// The rules for both ends of the RPC port.
#[derive(Clone, Debug, Default)]
pub struct RpcRules {
    pub datacenter: String,
    /// DNS domain in certificates.
    pub domain: String,
    /// True if peers that connect must show a certificate of the CA.
    pub verify_incoming: bool,
    /// True if dialled servers must show one.
    pub verify_outgoing: bool,
    /// True if servers must carry `server.<dc>.<domain>`.
    pub verify_server_hostname: bool,
    /// True if plain text is accepted beside TLS.
    pub accept_plaintext: bool,
}

/// The way an agent connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// With TLS alone.
    Tls,
    /// With TLS, and without where a server has none: a server that is not verified need not speak TLS.
    TlsWhereItIs,
}

/// TLS of the RPC port.
#[derive(Clone, Debug)]
pub struct RpcTls {
    /// Accepts, with client certificates verified when `verify_incoming`.
    pub server: Arc<ArcSwap<ServerConfig>>,
    pub client: Arc<ArcSwap<ClientConfig>>,
    /// The way this agent itself connects.
    pub outgoing: Outgoing,
    /// True if connections without TLS are accepted.
    pub accepts_plain: bool,
    /// The name that servers must carry (`server.<dc>.<domain>`), when `verify_server_hostname`.
    pub server_name: Option<ServerName<'static>>,
    rules: Arc<RpcRules>,
}

impl RpcTls {
    /// Both ends of the RPC port. An agent without a certificate accepts no TLS connection; it can still connect.
    pub fn new(material: &TlsMaterial, rules: RpcRules) -> Result<RpcTls, String> {
        let server_name = rules.verify_server_hostname.then(|| name_of(&rules)).transpose()?;
        let mut server = material.server(rules.verify_incoming)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = match rules.verify_outgoing {
            true => material.client(rules.verify_server_hostname)?,
            false => material.client_by(any_certificate())?,
        };
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(RpcTls {
            server: Arc::new(ArcSwap::from_pointee(server)),
            client: Arc::new(ArcSwap::from_pointee(client)),
            outgoing: if rules.verify_outgoing { Outgoing::Tls } else { Outgoing::TlsWhereItIs },
            // A certificate without an authority is for HTTPS: no agent could judge it.
            accepts_plain: !rules.verify_incoming
                && (rules.accept_plaintext || !(material.has_cert() && material.authorities().is_some())),
            server_name,
            rules: Arc::new(rules),
        })
    }

    /// Takes over the certificates of `newer` from the next handshake on, in all clones. The rules stay.
    pub fn renew(&self, newer: &RpcTls) {
        self.server.store(newer.server.load_full());
        self.client.store(newer.client.load_full());
    }

    /// The reason that a peer with `leaf`, if it showed one, may not speak as a server of this datacenter. It counts
    /// with both `verify_incoming` and `verify_server_hostname`, as in Consul.
    pub fn refuses_as_server(&self, leaf: Option<&CertificateDer<'_>>) -> Option<String> {
        let name = self.server_name.as_ref().filter(|_| self.rules.verify_incoming)?;
        let expected = server_name(&self.rules.datacenter, &self.rules.domain);
        let Some(leaf) = leaf else {
            return Some(format!("a certificate for {expected} is required for this operation, and none was shown"));
        };
        let carries = ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name));
        carries.err().map(|_error| format!("a certificate for {expected} is required for this operation"))
    }

    /// The other datacenter whose server shows `leaf`: its way here is the bridge. `None` where names do not count.
    pub fn of_elsewhere(&self, leaf: Option<&CertificateDer<'_>>) -> Option<String> {
        self.refuses_as_server(leaf)?;
        server_dc(leaf?, &self.rules.domain).ok()
    }
}

fn name_of(rules: &RpcRules) -> Result<ServerName<'static>, String> {
    let name = server_name(&rules.datacenter, &rules.domain);
    ServerName::try_from(name.clone())
        .map_err(|_| format!("verify_server_hostname: {name:?} is no DNS name; check datacenter and domain"))
}
