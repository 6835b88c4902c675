//! Reads `ca_file`, `ca_path`, `cert_file` and `key_file`, and builds from them what HTTPS and the
//! RPC port need.
//!
//! Called by `agent` and `cli`. Everything is checked when it is loaded, so that a wrong file stops
//! the start with its name and not the first connection with a riddle.

use super::provider;
use super::verify::parse;
use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
pub struct TlsMaterial {
    roots: Option<Arc<RootCertStore>>,
    own: Option<OwnCert>,
    endings: Vec<Ending>,
}

/// When certificates of a file are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The file or folder.
    pub source: String,
    /// The end of the one that is over first.
    pub until: SystemTime,
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub(super) struct OwnCert {
    /// The leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The leaf's key. Its `Debug` shows nothing of it.
    pub(super) key: Arc<PrivateKeyDer<'static>>,
    /// Where it came from, for errors.
    pub(super) source: String,
}

/// TLS of the RPC port.
#[derive(Clone, Debug)]
pub struct RpcTls {
    /// Accepts, with client certificates verified when `verify_incoming`.
    pub server: Arc<ArcSwap<ServerConfig>>,
    /// Connects.
    pub client: Arc<ArcSwap<ClientConfig>>,
    /// Whether connections without TLS are refused.
    pub verify_incoming: bool,
    /// Whether this agent itself connects with TLS.
    pub verify_outgoing: bool,
    /// The name servers must carry (`server.<dc>.<domain>`), when `verify_server_hostname`.
    pub server_name: Option<String>,
}

impl RpcTls {
    /// Shows and trusts what `newer` does, from the next handshake on, wherever this is in use. What is
    /// verified stays.
    pub fn renew(&self, newer: &RpcTls) {
        self.server.store(newer.server.load_full());
        self.client.store(newer.client.load_full());
    }
}

impl TlsMaterial {
    /// Reads the files; the error names file, what was expected and what came.
    pub fn load(files: &TlsFiles) -> Result<TlsMaterial, String> {
        let (mut authorities, mut endings) = (Vec::new(), Vec::new());
        if let Some(path) = &files.ca_file {
            let found = certificates(path)?;
            endings.extend(ending(path, &found));
            authorities.extend(found);
        }
        if let Some(folder) = &files.ca_path {
            let found = certificates_in(folder)?;
            endings.extend(ending(folder, &found));
            authorities.extend(found);
        }
        let roots = if authorities.is_empty() { None } else { Some(Arc::new(root_store(authorities)?)) };
        let own = match (&files.cert_file, &files.key_file) {
            (Some(cert), Some(key)) => Some(own_cert(cert, key)?),
            (None, None) => None,
            (Some(cert), None) => return Err(format!("cert_file is {} and key_file is not set; set both", cert.display())),
            (None, Some(key)) => return Err(format!("key_file is {} and cert_file is not set; set both", key.display())),
        };
        if let (Some(own), Some(cert)) = (&own, &files.cert_file) {
            endings.extend(ending(cert, &own.chain));
        }
        Ok(TlsMaterial { roots, own, endings })
    }

    /// When what was loaded is over, by file.
    pub fn endings(&self) -> &[Ending] {
        &self.endings
    }

    /// Whether there is a certificate with its key.
    pub fn has_cert(&self) -> bool {
        self.own.is_some()
    }

    /// Whether there is an authority to verify others with.
    pub fn has_ca(&self) -> bool {
        self.roots.is_some()
    }

    /// A server configuration for the HTTPS listener; `verify_incoming` asks clients for certificates.
    pub fn https(&self, verify_incoming: bool) -> Result<Arc<ServerConfig>, String> {
        if self.own.is_none() {
            return Err("HTTPS needs cert_file and key_file; neither is set".to_owned());
        }
        let mut config = self.server(verify_incoming)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Both ends of the RPC port. `server_name` is given with `verify_server_hostname`.
    ///
    /// An agent without a certificate accepts no TLS connection; it can still connect.
    pub fn rpc_tls(&self, verify_incoming: bool, verify_outgoing: bool, server_name: Option<String>) -> Result<RpcTls, String> {
        if let Some(name) = &server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            return Err(format!("verify_server_hostname: {name:?} is no DNS name; check datacenter and domain"));
        }
        let mut server = self.server(verify_incoming)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut client = self.client(server_name.is_some())?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        let (server, client) = (Arc::new(ArcSwap::from_pointee(server)), Arc::new(ArcSwap::from_pointee(client)));
        Ok(RpcTls { server, client, verify_incoming, verify_outgoing, server_name })
    }

    pub(super) fn roots(&self) -> Option<Arc<RootCertStore>> {
        self.roots.clone()
    }

    pub(super) fn own(&self) -> Option<&OwnCert> {
        self.own.as_ref()
    }

    fn server(&self, verify_incoming: bool) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS versions: {error}"))?
            .with_client_cert_verifier(self.client_verifier(verify_incoming)?);
        match &self.own {
            None => Ok(builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()))),
            Some(own) => builder
                .with_single_cert(own.chain.clone(), own.key.clone_key())
                .map_err(|error| format!("{}: certificate and key do not fit: {error}", own.source)),
        }
    }

    fn client_verifier(&self, verify_incoming: bool) -> Result<Arc<dyn ClientCertVerifier>, String> {
        if !verify_incoming {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let roots = self.roots.clone().ok_or("verify_incoming needs ca_file or ca_path; neither is set")?;
        WebPkiClientVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| format!("verify_incoming: the authorities cannot be used: {error}"))
    }

    fn client(&self, check_name: bool) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS versions: {error}"))?;
        let roots = self.roots.clone().unwrap_or_else(|| Arc::new(RootCertStore::empty()));
        let builder = if check_name {
            builder.with_root_certificates(roots)
        } else {
            let algorithms = provider().signature_verification_algorithms;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(ChainOnly { roots, algorithms }))
        };
        match &self.own {
            None => Ok(builder.with_no_client_auth()),
            Some(own) => builder
                .with_client_auth_cert(own.chain.clone(), own.key.clone_key())
                .map_err(|error| format!("{}: certificate and key do not fit: {error}", own.source)),
        }
    }
}

/// Accepts a server whose chain leads to a known authority, whatever its name: `verify_outgoing`
/// without `verify_server_hostname`.
#[derive(Debug)]
struct ChainOnly {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, self.algorithms.all)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match found {
        Ok(list) if list.is_empty() => Err(format!("{}: expected a PEM with certificates, found none in it", path.display())),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("{}: expected a PEM with certificates, got: {error}", path.display())),
    }
}

/// The certificates of all files of a folder, in the order of their names.
fn certificates_in(folder: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: cannot be read: {error}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: cannot be read: {error}", folder.display()))?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(format!("{}: expected PEM files with certificates, the folder is empty", folder.display()));
    }
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        all.extend(certificates(&path)?);
    }
    Ok(all)
}

/// The end of the one of `found` that is over first.
fn ending(source: &Path, found: &[CertificateDer<'_>]) -> Option<Ending> {
    let end = |certificate| Some(parse(certificate).ok()?.validity().not_after.timestamp());
    let first = found.iter().filter_map(end).min()?;
    let until = UNIX_EPOCH + Duration::from_secs(u64::try_from(first).unwrap_or(0));
    Some(Ending { source: source.display().to_string(), until })
}

fn root_store(authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| format!("ca_file or ca_path: a certificate in it cannot be used: {error}"))?;
    }
    Ok(roots)
}

fn own_cert(cert: &Path, key: &Path) -> Result<OwnCert, String> {
    let chain = certificates(cert)?;
    let source = cert.display().to_string();
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| format!("{}: expected a PEM with a private key, got: {error}", key.display()))?;
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)
        .map_err(|error| format!("{}: this kind of key cannot be used: {error}", key.display()))?;
    rustls::sign::CertifiedKey::new(chain.clone(), signer)
        .keys_match()
        .map_err(|error| format!("{}: it is not the key of the certificate in {source}: {error}", key.display()))?;
    Ok(OwnCert { chain, key: Arc::new(private), source })
}

#[cfg(test)]
mod tests {
    use super::super::create_ca;
    use super::super::testing::server_cert;
    use super::*;

    fn written(folder: &Path, name: &str, text: &str) -> Option<PathBuf> {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    }

    fn pair() -> (String, String, String) {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let (cert, key) = server_cert(&ca, "dc1", 1);
        (ca.0, cert, key)
    }

    #[test]
    fn whole_material_serves_https_and_rpc() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, cert, key) = pair();
        let files = TlsFiles {
            ca_file: written(folder.path(), "ca.pem", &ca),
            cert_file: written(folder.path(), "cert.pem", &cert),
            key_file: written(folder.path(), "key.pem", &key),
            ..TlsFiles::default()
        };
        let material = TlsMaterial::load(&files).unwrap();
        assert!(material.https(true).is_ok());
        assert!(material.rpc_tls(true, true, Some("server.dc1.consul".to_owned())).is_ok());
    }

    #[test]
    fn the_end_of_each_file_is_that_of_what_is_over_first_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, cert, key) = pair();
        let (older, _) = create_ca("consul", 2, &[]).unwrap();
        let files = TlsFiles {
            ca_file: written(folder.path(), "ca.pem", &format!("{ca}{older}")),
            cert_file: written(folder.path(), "cert.pem", &cert),
            key_file: written(folder.path(), "key.pem", &key),
            ..TlsFiles::default()
        };
        let material = TlsMaterial::load(&files).unwrap();
        let day = |ending: &Ending| ending.until.duration_since(SystemTime::now()).unwrap().as_secs().div_ceil(86_400);
        let days: Vec<u64> = material.endings().iter().map(day).collect();
        assert_eq!(days, [2, 1]);
        assert!(material.endings()[0].source.ends_with("ca.pem") && material.endings()[1].source.ends_with("cert.pem"));
    }

    #[test]
    fn errors_name_the_file_and_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let (_, cert, _) = pair();
        let (_, _, other_key) = pair();
        let missing = TlsFiles { ca_file: Some(folder.path().join("absent.pem")), ..TlsFiles::default() };
        assert!(TlsMaterial::load(&missing).unwrap_err().contains("absent.pem: cannot be read"));
        let junk = TlsFiles { ca_file: written(folder.path(), "junk.pem", "hello"), ..TlsFiles::default() };
        assert!(TlsMaterial::load(&junk).unwrap_err().contains("junk.pem: expected a PEM with certificates"));
        let lonely = TlsFiles { cert_file: written(folder.path(), "cert.pem", &cert), ..TlsFiles::default() };
        assert!(TlsMaterial::load(&lonely).unwrap_err().contains("key_file is not set"));
        let crossed = TlsFiles { key_file: written(folder.path(), "other.pem", &other_key), ..lonely };
        let error = TlsMaterial::load(&crossed).unwrap_err();
        assert!(error.contains("other.pem: it is not the key of the certificate"), "{error}");
    }

    #[test]
    fn what_is_verified_needs_an_authority() {
        let material = TlsMaterial::load(&TlsFiles::default()).unwrap();
        assert!(material.rpc_tls(true, false, None).unwrap_err().contains("ca_file"));
        assert!(material.https(false).unwrap_err().contains("cert_file"));
    }
}
