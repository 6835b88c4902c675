//! TLS towards an `https://` agent.

use super::endpoint::TlsOptions;
use crate::tls::{any_certificate, server_judge, system_roots};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Shakes hands over `stream`; `address` is `host:port`.
pub(super) async fn wrap(stream: TcpStream, address: &str, options: &TlsOptions) -> Result<TlsStream<TcpStream>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
    let name = options.server_name.as_deref().unwrap_or(host).to_owned();
    let server_name =
        ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is no name that a certificate can carry"))?;
    let connector = TlsConnector::from(Arc::new(config(options)?));
    connector.connect(server_name, stream).await.map_err(|error| format!("TLS with {name}: {error}"))
}

fn config(options: &TlsOptions) -> Result<ClientConfig, String> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match authorities(options)? {
        _ if !options.verify => builder.dangerous().with_custom_certificate_verifier(any_certificate()),
        Some(named) => builder.dangerous().with_custom_certificate_verifier(server_judge(named)?),
        None => builder
            .with_root_certificates(system_roots().map_err(|why| format!("{why}; or name one with -ca-file or CONSUL_CACERT"))?),
    };
    match (&options.client_cert, &options.client_key) {
        (Some(certificate), Some(key)) => {
            let key_pem =
                PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: expected a PEM key: {error}", key.display()))?;
            builder.with_client_auth_cert(certificates(certificate)?, key_pem).map_err(|error| error.to_string())
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err("-client-cert and -client-key: expected both or neither".to_owned()),
    }
}

/// The authorities that flags or the environment name; `None` for the system's.
fn authorities(options: &TlsOptions) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    let mut files: Vec<PathBuf> = options.ca_file.iter().cloned().collect();
    if let Some(folder) = &options.ca_path {
        let listed =
            std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
        files.extend(listed.map_err(|error| format!("{}: {error}", folder.display()))?);
    }
    if files.is_empty() {
        return Ok(None);
    }
    let mut named = Vec::new();
    for file in &files {
        named.extend(certificates(file)?);
    }
    Ok(Some(named))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: expected certificates in PEM: {error}", path.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?.collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(&"there is none")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// A TLS listener on loopback, and the PEM of its certificate.
    async fn listener() -> (SocketAddr, String) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Some tests want a refused handshake.
                _ = acceptor.accept(stream).await;
            }
        });
        (address, made.cert.pem())
    }

    async fn shake(address: SocketAddr, options: &TlsOptions) -> Result<(), String> {
        let stream = TcpStream::connect(address).await.unwrap();
        wrap(stream, &address.to_string(), options).await.map(|_| ())
    }

    #[tokio::test]
    async fn a_certificate_counts_only_with_its_authority_and_its_name() {
        let (address, pem) = listener().await;
        let folder = tempfile::TempDir::new().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, pem).unwrap();
        let trusting = TlsOptions { ca_file: Some(ca_file), verify: true, ..TlsOptions::default() };
        assert_eq!(shake(address, &trusting).await, Ok(()));
        let by_folder = TlsOptions { ca_file: None, ca_path: Some(folder.path().to_owned()), ..trusting.clone() };
        assert_eq!(shake(address, &by_folder).await, Ok(()));
        let other_name = TlsOptions { server_name: Some("server.dc1.consul".to_owned()), ..trusting };
        assert!(shake(address, &other_name).await.unwrap_err().contains("server.dc1.consul"));
    }

    #[tokio::test]
    async fn a_stranger_is_not_trusted_without_being_told_and_anybody_when_told_not_to_verify() {
        let (address, _) = listener().await;
        let unnamed = TlsOptions { verify: true, ..TlsOptions::default() };
        assert!(shake(address, &unnamed).await.is_err(), "no authority of the system knows it");
        assert_eq!(shake(address, &TlsOptions { verify: false, ..TlsOptions::default() }).await, Ok(()));
        let missing = TlsOptions { ca_file: Some("/nowhere/ca.pem".into()), ..unnamed };
        assert!(shake(address, &missing).await.unwrap_err().contains("/nowhere/ca.pem"));
    }
}
