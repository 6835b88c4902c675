//! The certificate of a server on the bridge: of a CA, or self-made and kept with its key, since others pin it.

use super::certificate::{fingerprint_of, is_unusual, parse, server_dc, validity_refusal};
use super::material::{OwnCert, TlsMaterial};
use super::verifier::Verifier;
use super::verify::{PeerJudge, Trust};
use super::{provider, server_name};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "bridge-key.pem";

/// The certificate of a server on the bridge: of a CA, or self-made and pinned by fingerprint.
#[derive(Clone, Debug)]
pub struct BridgeIdentity {
    own: OwnCert,
    roots: Option<Arc<RootCertStore>>,
    self_made: bool,
}

impl BridgeIdentity {
    /// The identity of configured certificates. Refuses one without the name `server.<dc>.<domain>`, an expired one,
    /// and a kind that other datacenters refuse.
    pub fn from_ca(material: &TlsMaterial, dc: &str, domain: &str) -> Result<BridgeIdentity, String> {
        let own = material.own().ok_or("the bridge needs cert_file and key_file, or neither of them")?.clone();
        let roots = material.roots().ok_or("the bridge needs ca_file or ca_path beside cert_file")?;
        let leaf = own.chain.first().ok_or_else(|| format!("{}: no certificate in it", own.source))?;
        let expected = server_name(dc, domain);
        let parsed = parse(leaf).map_err(|refusal| format!("{}: {refusal}", own.source))?;
        if is_unusual(&parsed) {
            let source = &own.source;
            return Err(format!("{source}: expected a certificate with names (X.509 v3) that signs no others (CA:FALSE)"));
        }
        let came = server_dc(leaf, domain).map_err(|why| format!("{}: expected the name {expected}: {why}", own.source))?;
        if !came.eq_ignore_ascii_case(dc) {
            return Err(format!("{}: expected the name {expected}, it carries the one of {came:?}", own.source));
        }
        if let Some(refusal) = validity_refusal(leaf, UnixTime::now()) {
            return Err(format!("{}: {refusal}; make a new one with `tls cert create`", own.source));
        }
        Ok(BridgeIdentity { own, roots: Some(roots), self_made: false })
    }

    /// The identity of a self-made key, kept in `<data_dir>/bridge-key.pem` (0600); in memory without a directory.
    ///
    /// The certificate and its fingerprint stay the same over restarts. With another datacenter or domain the key is
    /// kept and the certificate made anew.
    pub fn self_made(data_dir: Option<&Path>, dc: &str, domain: &str) -> Result<BridgeIdentity, String> {
        let Some(data_dir) = data_dir else {
            return from_pem(make_pem(&new_key()?, dc, domain)?.as_bytes(), "in memory".to_owned());
        };
        let path = data_dir.join(FILE);
        let source = path.display().to_string();
        let key = match std::fs::read(&path) {
            Ok(text) => {
                let identity = from_pem(&text, source.clone())?;
                let came = identity.own.chain.first().and_then(|leaf| server_dc(leaf, domain).ok());
                if came.is_some_and(|came| came.eq_ignore_ascii_case(dc)) {
                    return Ok(identity);
                }
                KeyPair::from_der_and_sign_algo(&identity.own.key, &rcgen::PKCS_ECDSA_P256_SHA256)
                    .map_err(|error| format!("{source}: its key cannot sign: {error}"))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => new_key()?,
            Err(error) => return Err(format!("{source}: cannot be read: {error}")),
        };
        let pem = make_pem(&key, dc, domain)?;
        write_atomically(data_dir, &pem)?;
        from_pem(pem.as_bytes(), source)
    }

    /// The same, which also accepts peers by the CA, though this server's own certificate of it is unfit for the bridge.
    pub fn judging_by_ca(self, material: &TlsMaterial) -> BridgeIdentity {
        BridgeIdentity { roots: material.roots(), ..self }
    }

    /// SHA-256 of the self-made certificate in hex; `None` with a CA.
    pub fn fingerprint(&self) -> Option<String> {
        self.own.chain.first().filter(|_| self.self_made).map(fingerprint_of)
    }

    /// True if a CA vouches for it.
    pub fn is_of_ca(&self) -> bool {
        !self.self_made
    }

    /// SHA-256 of the certificate in hex, of a CA or self-made: a static entry may pin it.
    pub fn leaf_fingerprint(&self) -> Option<String> {
        self.own.chain.first().map(fingerprint_of)
    }

    /// The identity of unchecked certificates, for peers to refuse.
    #[cfg(test)]
    pub(crate) fn unchecked(material: &TlsMaterial) -> Option<BridgeIdentity> {
        Some(BridgeIdentity { own: material.own()?.clone(), roots: material.roots(), self_made: false })
    }

    /// This server's trust in peers before any pin is known.
    pub(crate) fn trust(&self, dc: &str, domain: &str, require_ca: bool) -> Trust {
        Trust::new(dc, domain, self.roots.clone(), require_ca)
    }

    /// TLS 1.3 only, a certificate from every peer, no tickets: a resumed session would pass by the verifier.
    pub(crate) fn server_config(&self, trust: &Arc<Trust>) -> Result<ServerConfig, String> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| format!("TLS 1.3: {error}"))?
            .with_client_cert_verifier(Arc::new(Verifier::new(PeerJudge::accepting(Arc::clone(trust)))))
            .with_single_cert(self.own.chain.clone(), self.own.key.clone_key())
            .map_err(|error| format!("{}: {error}", self.own.source))?;
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }

    /// The configuration of one connection to a server of `dc` that has one of `pins`, if there are any.
    pub(crate) fn client_config(&self, trust: &Arc<Trust>, dc: &str, pins: &BTreeSet<String>) -> Result<ClientConfig, String> {
        let pins = pins.iter().map(|pin| pin.to_ascii_lowercase()).collect();
        let verifier = Verifier::new(PeerJudge::dialling(Arc::clone(trust), dc.to_owned(), pins));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| format!("TLS 1.3: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.own.chain.clone(), self.own.key.clone_key())
            .map_err(|error| format!("{}: {error}", self.own.source))?;
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Ok(config)
    }

    /// A secret that stays over restarts, by which a restarted server disowns its old connections.
    pub(crate) fn reset_secret(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"kontor bridge stateless reset");
        hash.update(self.own.key.secret_der());
        hash.finalize().into()
    }
}

fn from_pem(text: &[u8], source: String) -> Result<BridgeIdentity, String> {
    let advice = "remove the file to have a new key made; the other datacenters learn its fingerprint by gossip";
    let no_pem = |error| format!("{source}: expected a PEM with a private key and its certificate, got: {error}; {advice}");
    let key = PrivateKeyDer::from_pem_slice(text).map_err(no_pem)?;
    let leaf = CertificateDer::from_pem_slice(text).map_err(no_pem)?;
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| format!("{source}: this kind of key cannot be used: {error}; {advice}"))?;
    rustls::sign::CertifiedKey::new(vec![leaf.clone()], signer)
        .keys_match()
        .map_err(|error| format!("{source}: its key and certificate do not belong together: {error}; {advice}"))?;
    Ok(BridgeIdentity { own: OwnCert { chain: vec![leaf], key: Arc::new(key), source }, roots: None, self_made: true })
}

fn new_key() -> Result<KeyPair, String> {
    KeyPair::generate().map_err(|error| format!("the bridge's key cannot be made: {error}"))
}

/// A certificate over `key` that never expires: its trust ends with its pin, not with a date.
fn make_pem(key: &KeyPair, dc: &str, domain: &str) -> Result<String, String> {
    let name = server_name(dc, domain);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    let alternative = name.as_str().try_into().map_err(|error| format!("{name:?} cannot be in a certificate: {error}"))?;
    params.subject_alt_names = vec![SanType::DnsName(alternative)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(key).map_err(|error| format!("the bridge's certificate cannot be made: {error}"))?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// Writes the file beside its place, syncs and moves it, and syncs the folder: it is whole or absent.
fn write_atomically(folder: &Path, text: &str) -> Result<(), String> {
    let (path, fresh) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    let attempt = || -> std::io::Result<()> {
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|error| format!("{}: cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::create_ca;
    use super::super::testing::{load, server_cert};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn self_made(folder: &Path, dc: &str) -> Result<BridgeIdentity, String> {
        BridgeIdentity::self_made(Some(folder), dc, "consul")
    }

    #[test]
    fn the_fingerprint_stays_over_restarts_and_the_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| self_made(folder.path(), "dc1").unwrap());
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.fingerprint().unwrap().len(), 64);
        assert_eq!(first.reset_secret(), second.reset_secret());
        let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn another_datacenter_keeps_the_key_and_has_another_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, third] = ["dc1", "dc2", "dc2"].map(|dc| self_made(folder.path(), dc).unwrap());
        assert_ne!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.own.key.secret_der(), second.own.key.secret_der());
        assert_eq!(second.fingerprint(), third.fingerprint());
    }

    #[test]
    fn a_damaged_file_is_named_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "junk").unwrap();
        let error = self_made(folder.path(), "dc1").unwrap_err();
        assert!(error.contains(FILE) && error.contains("expected a PEM"), "{error}");
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), b"junk");
    }

    #[test]
    fn debug_output_shows_no_key() {
        let identity = BridgeIdentity::self_made(None, "dc1", "consul").unwrap();
        let secret = format!("{:?}", identity.own.key.secret_der());
        assert!(!format!("{identity:?}").contains(&secret));
    }

    #[test]
    fn a_certificate_of_another_datacenter_is_refused_at_the_start() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let (cert, key) = server_cert(&ca, "dc2", 1);
        let material = load(&ca.0, &cert, &key);
        let error = BridgeIdentity::from_ca(&material, "dc1", "consul").unwrap_err();
        assert!(error.contains("server.dc1.consul") && error.contains("dc2"), "{error}");
        assert!(BridgeIdentity::from_ca(&material, "dc2", "consul").unwrap().fingerprint().is_none());
    }
}
