//! TLS towards targets of health checks and handlers of watches, judged by the authorities of the operating system, or by
//! this agent's own with `enable_agent_tls_for_checks`.

use super::judge::KnownServers;
use super::material::TlsMaterial;
use super::verifier::Verifier;
use super::{any_certificate, provider};
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// TLS configurations towards targets; clones share them.
#[derive(Clone, Debug, Default)]
pub struct OutgoingTls {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// With `enable_agent_tls_for_checks`.
    agent: Option<Agent>,
    system: OnceLock<Arc<RootCertStore>>,
    /// One configuration each by "verified" and "HTTP/2", so that sessions are resumed.
    configs: [[OnceLock<Arc<ClientConfig>>; 2]; 2],
}

#[derive(Debug)]
struct Agent {
    material: TlsMaterial,
    server_name: String,
}

impl OutgoingTls {
    /// Targets are judged by the authorities of the operating system.
    pub fn of_system() -> OutgoingTls {
        OutgoingTls::default()
    }

    /// Targets are judged by this agent's authorities and see its certificate. They must carry `server_name` where a
    /// check names none.
    pub fn of_agent(material: TlsMaterial, server_name: String) -> OutgoingTls {
        OutgoingTls { inner: Arc::new(Inner { agent: Some(Agent { material, server_name }), ..Inner::default() }) }
    }

    /// The name that targets must carry where a check names none; `None` for the target's own.
    pub fn server_name(&self) -> Option<&str> {
        self.inner.agent.as_ref().map(|agent| agent.server_name.as_str())
    }

    /// The configuration for one kind of check. Loads the authorities of the system at the first use.
    pub fn config(&self, verify: bool, http2: bool) -> Result<Arc<ClientConfig>, String> {
        let slot = &self.inner.configs[usize::from(verify)][usize::from(http2)];
        if let Some(config) = slot.get() {
            return Ok(Arc::clone(config));
        }
        let mut config = self.build(verify)?;
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Arc::clone(slot.get_or_init(|| Arc::new(config))))
    }

    fn build(&self, verify: bool) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS versions: {error}"))?;
        let material = self.inner.agent.as_ref().map(|agent| &agent.material);
        let builder = match material.and_then(TlsMaterial::authorities) {
            _ if !verify => builder.dangerous().with_custom_certificate_verifier(any_certificate()),
            // This agent's authorities where it has some, as in Consul; else those of the system.
            Some(own) => {
                let verifier = Verifier::new(KnownServers::new(Some(own.clone()), true));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            None => builder.with_root_certificates(self.system()?),
        };
        match material.and_then(TlsMaterial::own) {
            None => Ok(builder.with_no_client_auth()),
            Some(own) => Ok(builder.with_client_cert_resolver(Arc::new(own.shown()?))),
        }
    }

    fn system(&self) -> Result<Arc<RootCertStore>, String> {
        if let Some(system) = self.inner.system.get() {
            return Ok(Arc::clone(system));
        }
        let system = Arc::new(system_roots()?);
        Ok(Arc::clone(self.inner.system.get_or_init(|| system)))
    }
}

/// The authorities that the operating system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name. An unusable one is
/// passed over; the error says that there is none at all.
pub fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(format!("the authorities that this host trusts cannot be read: {why}; set SSL_CERT_FILE"));
    }
    Ok(roots)
}
