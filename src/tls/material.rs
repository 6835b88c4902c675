//! The files `ca_file`, `ca_path`, `cert_file` and `key_file`, checked when they are loaded, and the TLS made of them.

use super::certificate::{has_extensions, parse, server_dc, validity_refusal};
use super::judge::{Authorities, KnownClients, KnownServers};
use super::verifier::Verifier;
use super::{provider, server_name};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, ResolvesServerCertUsingSni, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The versions with `tls_min_version` of tls13.
static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// The configured files.
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
    /// True if TLS 1.2 is refused.
    pub only_tls13: bool,
}

/// Loaded and checked [`TlsFiles`].
#[derive(Clone, Debug)]
pub struct TlsMaterial {
    authorities: Option<Authorities>,
    own: Option<OwnCert>,
    endings: Vec<Ending>,
    versions: &'static [&'static SupportedProtocolVersion],
}

/// The end of the certificates in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub source: String,
    /// The end of the certificate that is over first.
    pub until: SystemTime,
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub(super) struct OwnCert {
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The leaf's key. Its `Debug` output hides the secret.
    pub(super) key: Arc<PrivateKeyDer<'static>>,
    /// Its file, for errors.
    pub(super) source: String,
}

impl TlsMaterial {
    /// Reads the files. The error names the file, the expected content and the content found.
    pub fn load(files: &TlsFiles) -> Result<TlsMaterial, String> {
        let (mut authorities, mut endings) = (Vec::new(), Vec::new());
        let of_file = files.ca_file.as_ref().map(|path| (path, certificates(path)));
        let of_folder = files.ca_path.as_ref().map(|folder| (folder, certificates_in(folder)));
        for (source, found) in of_file.into_iter().chain(of_folder) {
            let found = found?;
            endings.extend(ending(source, &found));
            authorities.extend(found);
        }
        let authorities = if authorities.is_empty() { None } else { Some(Authorities::new(authorities)?) };
        let own = match (&files.cert_file, &files.key_file) {
            (Some(cert), Some(key)) => Some(own_cert(cert, key)?),
            (None, None) => None,
            (Some(cert), None) => return Err(format!("cert_file is {} and key_file is not set; set both", cert.display())),
            (None, Some(key)) => return Err(format!("key_file is {} and cert_file is not set; set both", key.display())),
        };
        if let (Some(own), Some(cert)) = (&own, &files.cert_file) {
            endings.extend(ending(cert, &own.chain));
        }
        let versions = if files.only_tls13 { ONLY_TLS13 } else { rustls::DEFAULT_VERSIONS };
        Ok(TlsMaterial { authorities, own, endings, versions })
    }

    /// The end of each file's certificates.
    pub fn endings(&self) -> &[Ending] {
        &self.endings
    }

    /// True if there is a certificate with its key.
    pub fn has_cert(&self) -> bool {
        self.own.is_some()
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

    /// Refuses a server's certificate that the other agents of `dc` refuse with `verify_server_hostname`.
    pub fn check_server_name(&self, dc: &str, domain: &str) -> Result<(), String> {
        let Some((source, leaf)) = self.leaf() else { return Ok(()) };
        let expected = server_name(dc, domain);
        let name = ServerName::try_from(expected.as_str()).map_err(|error| format!("{expected}: {error}"))?;
        let carries = ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, &name));
        carries.map_err(|_error| {
            format!("{source}: expected the name {expected}, which verify_server_hostname asks of servers and this one lacks")
        })
    }

    /// Refuses a certificate of this agent that is not valid yet, or no more.
    pub fn check_dates(&self) -> Result<(), String> {
        match self.leaf().and_then(|(source, leaf)| Some((source, validity_refusal(leaf, UnixTime::now())?))) {
            Some((source, refusal)) => Err(format!("{source}: {refusal}")),
            None => Ok(()),
        }
    }

    /// True if the certificate of this agent is that of a server of another datacenter.
    pub fn is_of_elsewhere(&self, dc: &str, domain: &str) -> bool {
        self.leaf().is_some_and(|(_, leaf)| server_dc(leaf, domain).is_ok_and(|came| !came.eq_ignore_ascii_case(dc)))
    }

    /// This agent's certificate, with its file.
    fn leaf(&self) -> Option<(&str, &CertificateDer<'static>)> {
        let own = self.own.as_ref()?;
        Some((&own.source, own.chain.first()?))
    }

    /// Reasons against this agent's certificate, though it can be used: one sentence each for its operator.
    pub fn remarks(&self) -> Vec<String> {
        let parsed = self.leaf().and_then(|(source, leaf)| Some((source, parse(leaf).ok()?)));
        let Some((source, parsed)) = parsed else { return Vec::new() };
        let advice = "make one for the agent alone with `kontor tls cert create`";
        let mut remarks = Vec::new();
        if parsed.is_ca() {
            let is_trusted = self.authorities.as_ref().is_some_and(|authorities| authorities.contain(&parsed));
            remarks.push(match is_trusted {
                true => format!("{source}: the certificate is the authority's own (CA:TRUE), and ca_file trusts it: the holder of this agent's key can be any agent; {advice}"),
                false => format!("{source}: the certificate may sign others (CA:TRUE), which an agent's need not; {advice}"),
            });
        }
        if !has_extensions(&parsed) {
            let version = parsed.version();
            remarks.push(format!(
                "{source}: the certificate is X.509 {version}, which carries no names: a peer that checks names refuses it; {advice}"
            ));
        }
        remarks
    }

    pub(super) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }

    pub(super) fn roots(&self) -> Option<Arc<RootCertStore>> {
        self.authorities.as_ref().map(Authorities::store)
    }

    pub(super) fn own(&self) -> Option<&OwnCert> {
        self.own.as_ref()
    }

    pub(super) fn server(&self, verify_incoming: bool) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.versions)
            .map_err(|error| format!("TLS versions: {error}"))?
            .with_client_cert_verifier(self.client_verifier(verify_incoming)?);
        Ok(match &self.own {
            None => builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new())),
            Some(own) => builder.with_cert_resolver(Arc::new(own.shown()?)),
        })
    }

    fn client_verifier(&self, verify_incoming: bool) -> Result<Arc<dyn ClientCertVerifier>, String> {
        if !verify_incoming {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let authorities = self.authorities.clone().ok_or("verify_incoming needs ca_file or ca_path; neither is set")?;
        Ok(Arc::new(Verifier::new(KnownClients::new(authorities)?)))
    }

    /// The configuration towards servers that the authorities vouch for, with `check_name` by their name too.
    pub(super) fn client(&self, check_name: bool) -> Result<ClientConfig, String> {
        self.client_by(Arc::new(Verifier::new(KnownServers::new(self.authorities.clone(), check_name))))
    }

    pub(super) fn client_by(&self, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(self.versions)
            .map_err(|error| format!("TLS versions: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Ok(match &self.own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_cert_resolver(Arc::new(own.shown()?)),
        })
    }
}

impl OwnCert {
    /// The certificate and key for handshakes, of any kind of certificate.
    pub(super) fn shown(&self) -> Result<SingleCertAndKey, String> {
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.key)
            .map_err(|error| format!("{}: this kind of key cannot be used: {error}", self.source))?;
        Ok(SingleCertAndKey::from(CertifiedKey::new(self.chain.clone(), signer)))
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
    let listed = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = listed.map_err(|error| format!("{}: cannot be read: {error}", folder.display()))?;
    paths.retain(|path| path.is_file());
    if paths.is_empty() {
        return Err(format!("{}: expected PEM files with certificates, the folder is empty", folder.display()));
    }
    paths.sort();
    let all: Result<Vec<_>, String> = paths.iter().map(|path| certificates(path)).collect();
    Ok(all?.concat())
}

/// The end of the certificate in `found` that is over first.
fn ending(source: &Path, found: &[CertificateDer<'_>]) -> Option<Ending> {
    let end = |certificate| Some(parse(certificate).ok()?.validity().not_after.timestamp());
    let first = found.iter().filter_map(end).min()?;
    let until = UNIX_EPOCH + Duration::from_secs(u64::try_from(first).unwrap_or(0));
    Some(Ending { source: source.display().to_string(), until })
}

fn own_cert(cert: &Path, key: &Path) -> Result<OwnCert, String> {
    let chain = certificates(cert)?;
    let source = cert.display().to_string();
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| format!("{}: expected a PEM with a private key, got: {error}", key.display()))?;
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)
        .map_err(|error| format!("{}: this kind of key cannot be used: {error}", key.display()))?;
    let leaf = chain.first().ok_or_else(|| format!("{source}: no certificate in it"))?;
    let leaf = parse(leaf).map_err(|refusal| format!("{source}: expected a certificate, got {refusal}"))?;
    match signer.public_key() {
        Some(public) if public.as_ref() == leaf.public_key().raw => {}
        _ => return Err(format!("{}: it is not the key of the certificate in {source}", key.display())),
    }
    drop(leaf);
    Ok(OwnCert { chain, key: Arc::new(private), source })
}

#[cfg(test)]
mod tests {
    use super::super::create_ca;
    use super::super::testing::{dated_cert, load, server_cert, signing_cert, strict, version_1_cert};
    use super::super::{RpcRules, RpcTls};
    use super::*;

    fn written(folder: &Path, name: &str, text: &str) -> Option<PathBuf> {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    }

    fn files(folder: &Path, ca: &str, cert: &str, key: &str) -> TlsFiles {
        let written = |name: &str, text: &str| written(folder, name, text);
        let (ca_file, cert_file) = (written("ca.pem", ca), written("cert.pem", cert));
        TlsFiles { ca_file, cert_file, key_file: written("key.pem", key), ..TlsFiles::default() }
    }

    fn pair() -> (String, String, String) {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let (cert, key) = server_cert(&ca, "dc1", 1);
        (ca.0, cert, key)
    }

    #[test]
    fn nothing_below_tls_1_3_is_spoken_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, cert, key) = pair();
        let files = |only_tls13| TlsFiles { only_tls13, ..files(folder.path(), &ca, &cert, &key) };
        let takes_an_old_client = |files: &TlsFiles| {
            let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS12]);
            let config = builder.unwrap().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
            let name = ServerName::try_from("server.dc1.consul").unwrap();
            let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
            let mut server = rustls::ServerConnection::new(TlsMaterial::load(files).unwrap().https(false).unwrap()).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            server.read_tls(&mut &hello[..]).unwrap();
            server.process_new_packets().is_ok()
        };
        assert!(takes_an_old_client(&files(false)));
        assert!(!takes_an_old_client(&files(true)));
    }

    #[test]
    fn whole_material_serves_https_and_rpc() {
        let (ca, cert, key) = pair();
        let material = load(&ca, &cert, &key);
        assert!(material.https(true).is_ok());
        assert!(RpcTls::new(&material, strict()).is_ok());
    }

    #[test]
    fn the_end_of_each_file_is_that_of_what_is_over_first_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, cert, key) = pair();
        let (older, _) = create_ca("consul", 2, &[]).unwrap();
        let material = TlsMaterial::load(&files(folder.path(), &format!("{ca}{older}"), &cert, &key)).unwrap();
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
        assert!(RpcTls::new(&material, strict()).unwrap_err().contains("ca_file"));
        assert!(material.https(false).unwrap_err().contains("cert_file"));
    }

    #[test]
    fn each_kind_of_unusual_certificate_can_be_used_and_is_remarked_upon() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let remarks = |(cert, key): &(String, String)| {
            let material = load(&ca.0, cert, key);
            assert!(
                material.https(true).is_ok()
                    && RpcTls::new(&material, RpcRules { verify_server_hostname: false, ..strict() }).is_ok()
            );
            material.remarks().join("\n")
        };
        assert!(remarks(&ca).contains("the authority's own (CA:TRUE)"));
        assert!(remarks(&signing_cert(&ca, &["server.dc1.consul"])).contains("may sign others (CA:TRUE)"));
        assert!(remarks(&version_1_cert(&ca)).contains("X.509 V1"));
        assert_eq!(remarks(&server_cert(&ca, "dc1", 1)), "");
    }

    #[test]
    fn the_name_of_a_server_is_asked_for_as_others_will() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let check = |(cert, key): (String, String)| load(&ca.0, &cert, &key).check_server_name("dc1", "consul");
        assert!(check(server_cert(&ca, "dc1", 1)).is_ok());
        assert!(check(dated_cert(&ca, &["*.dc1.consul"], [2020, 2049])).is_ok());
        assert!(check(server_cert(&ca, "dc2", 1)).unwrap_err().contains("server.dc1.consul"));
        assert!(check(version_1_cert(&ca)).is_err());
    }
}
