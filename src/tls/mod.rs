//! Certificates and keys: made (`authority`), loaded (`material`), self-made for the bridge (`identity`). Peers of another
//! datacenter are judged by `verify`, peers of this one by `judge`. No key ever reaches a log line or an error.

mod authority;
mod certificate;
mod identity;
mod judge;
mod material;
mod outgoing;
mod refusal;
mod rpc;
mod shown;
#[cfg(test)]
pub(crate) mod testing;
mod verifier;
mod verify;

pub use authority::{CertKind, CertRequest, create_ca, create_cert};
pub use identity::BridgeIdentity;
pub use judge::{any_certificate, server_judge};
pub use material::{Ending, TlsFiles, TlsMaterial};
pub use outgoing::{OutgoingTls, system_roots};
pub use refusal::Refusal;
pub use rpc::{Outgoing, RpcRules, RpcTls};
pub use shown::{ShownCertificate, days_between};
pub use verify::{PinTable, Trust};

use std::sync::Arc;

/// The cryptography of every TLS configuration here; its first key exchange is the post-quantum X25519MLKEM768.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The DNS name in the certificates of a datacenter's servers.
pub fn server_name(dc: &str, domain: &str) -> String {
    format!("server.{dc}.{domain}").to_ascii_lowercase()
}
