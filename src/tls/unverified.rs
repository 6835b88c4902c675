//! Accepts any certificate, where a user asked for it. Used by `rpc`, by checks and by `cli`.

use super::verifier::{ServerJudge, Shown, Verifier};
use rustls::Error;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::ServerName;
use std::sync::Arc;

#[derive(Debug)]
struct AnyServer;

impl ServerJudge for AnyServer {
    fn judge_server(&self, _shown: Shown<'_>, _name: &ServerName<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// Accepts any certificate (`CONSUL_HTTP_SSL_VERIFY=false`, `TLSSkipVerify`). The handshake's signature
/// is still verified, so that the peer at least holds the key it shows.
pub fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::new(AnyServer))
}
