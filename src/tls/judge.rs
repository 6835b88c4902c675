//! Judges the certificates that agents show each other on the RPC port, and clients on HTTPS. webpki judges usual ones;
//! certificates of authorities and of X.509 version 1 and 2, which Consul's library takes, are judged here.

use super::certificate::{has_extensions, is_unusual, parse};
use super::provider;
use super::verifier::{ClientJudge, ServerJudge, Shown, Verifier};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DistinguishedName, Error, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// The longest chain that is followed, for certificates that webpki does not judge.
const MAX_CHAIN: usize = 6;

#[derive(Clone, Debug)]
pub(super) struct Authorities {
    store: Arc<RootCertStore>,
    certificates: Arc<Vec<CertificateDer<'static>>>,
}

/// The purpose of a peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    Server,
    Client,
}

impl Authorities {
    /// The authorities of `certificates`; the error is that of the first that cannot be used.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Authorities, String> {
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|error| format!("ca_file or ca_path: a certificate in it cannot be used: {error}"))?;
        }
        Ok(Authorities { store: Arc::new(store), certificates: Arc::new(certificates) })
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }

    /// True if `certificate` is one of them.
    pub(super) fn contain(&self, certificate: &X509Certificate<'_>) -> bool {
        self.certificates.iter().filter_map(|known| parse(known).ok()).any(|known| is_same(certificate, &known))
    }

    /// Accepts an unusual certificate, parsed as `leaf`, whose chain leads to one of them.
    fn vouch(&self, leaf: &X509Certificate<'_>, Shown { rest, now, .. }: Shown<'_>, usage: Usage) -> Result<(), Error> {
        let known: Vec<X509Certificate<'_>> = self.certificates.iter().filter_map(|known| parse(known).ok()).collect();
        let rest: Vec<X509Certificate<'_>> = rest.iter().filter_map(|shown| parse(shown).ok()).collect();
        let mut current = leaf;
        for depth in 0..MAX_CHAIN {
            counts_now(current, now)?;
            may_be_used(current, usage)?;
            if known.iter().any(|known| is_same(current, known)) {
                return Ok(());
            }
            let has_signed = |issuer: &&X509Certificate<'_>| signed(current, issuer) && binds_no_names(issuer);
            // A root without extensions cannot say that it may sign.
            let is_root = |issuer: &&X509Certificate<'_>| (issuer.is_ca() || !has_extensions(issuer)) && has_signed(issuer);
            if let Some(root) = known.iter().find(is_root) {
                return counts_now(root, now);
            }
            let may_sign = |issuer: &&X509Certificate<'_>| may_sign(issuer, depth) && has_signed(issuer);
            current = rest.iter().find(may_sign).ok_or(CertificateError::UnknownIssuer)?;
        }
        Err(CertificateError::UnknownIssuer.into())
    }
}

/// True if both have one subject and one key, however often the certificate was issued.
fn is_same(one: &X509Certificate<'_>, other: &X509Certificate<'_>) -> bool {
    one.subject().as_raw() == other.subject().as_raw() && one.public_key().raw == other.public_key().raw
}

fn counts_now(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > certificate.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if now < certificate.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// Refuses a certificate whose extensions forbid `usage`, and one with a critical extension that is unknown here.
fn may_be_used(certificate: &X509Certificate<'_>, usage: Usage) -> Result<(), Error> {
    let unknown = |extension: &ParsedExtension<'_>| {
        matches!(extension, ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. })
    };
    if certificate.extensions().iter().any(|extension| extension.critical && unknown(extension.parsed_extension())) {
        return Err(CertificateError::UnhandledCriticalExtension.into());
    }
    let extended = certificate.extended_key_usage().map_err(|_twice| CertificateError::BadEncoding)?;
    let allows = extended.is_none_or(|extended| {
        extended.value.any
            || match usage {
                Usage::Server => extended.value.server_auth,
                Usage::Client => extended.value.client_auth,
            }
    });
    if allows { Ok(()) } else { Err(CertificateError::InvalidPurpose.into()) }
}

/// True if `issuer` may sign with `below` further authorities before the peer's certificate.
fn may_sign(issuer: &X509Certificate<'_>, below: usize) -> bool {
    let usage = issuer.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    let constraints = issuer.basic_constraints().ok().flatten().map(|constraints| constraints.value);
    let length = constraints.and_then(|constraints| constraints.path_len_constraint);
    issuer.is_ca() && usage && length.is_none_or(|length| below <= length as usize)
}

/// True if `issuer` has no constraints on names. webpki alone judges those, so a bound issuer vouches for none here.
fn binds_no_names(issuer: &X509Certificate<'_>) -> bool {
    matches!(issuer.name_constraints(), Ok(None))
}

/// True if `issuer` has signed `certificate`.
fn signed(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    if certificate.issuer().as_raw() != issuer.subject().as_raw() {
        return false;
    }
    let key: &SubjectPublicKeyInfo<'_> = issuer.public_key();
    let (message, signature) = (certificate.tbs_certificate.as_ref(), &certificate.signature_value.data);
    provider().signature_verification_algorithms.all.iter().any(|algorithm| {
        is_of(&algorithm.signature_alg_id(), &certificate.signature_algorithm)
            && is_of(&algorithm.public_key_alg_id(), &key.algorithm)
            && algorithm.verify_signature(&key.subject_public_key.data, message, signature).is_ok()
    })
}

/// True if `known` has the object identifier of `came`; its parameters are part of the verification.
fn is_of(known: &[u8], came: &AlgorithmIdentifier<'_>) -> bool {
    let oid = came.algorithm.as_bytes();
    matches!(known, [6, length, rest @ ..] if usize::from(*length) == oid.len() && rest.starts_with(oid))
}

fn readable<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    parse(certificate).map_err(|_refusal| CertificateError::BadEncoding.into())
}

/// Judges servers by their authorities, and by their name with `check_name`.
#[derive(Debug)]
pub(super) struct KnownServers {
    authorities: Option<Authorities>,
    check_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl KnownServers {
    /// A judge by `authorities`; without any, every server is refused.
    pub(super) fn new(authorities: Option<Authorities>, check_name: bool) -> KnownServers {
        KnownServers { authorities, check_name, algorithms: provider().signature_verification_algorithms }
    }
}

impl ServerJudge for KnownServers {
    fn judge_server(&self, shown: Shown<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        let authorities = self.authorities.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        let parsed = readable(shown.leaf)?;
        if is_unusual(&parsed) {
            authorities.vouch(&parsed, shown, Usage::Server)?;
        } else {
            let leaf = ParsedCertificate::try_from(shown.leaf)?;
            let (roots, algorithms) = (&authorities.store, self.algorithms.all);
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, shown.rest, shown.now, algorithms)?;
        }
        if self.check_name {
            if !has_extensions(&parsed) {
                return Err(CertificateError::NotValidForName.into());
            }
            verify_server_name(&ParsedCertificate::try_from(shown.leaf)?, name)?;
        }
        Ok(())
    }
}

/// Judges servers and their names by these authorities.
pub fn server_judge(authorities: Vec<CertificateDer<'static>>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    Ok(Arc::new(Verifier::new(KnownServers::new(Some(Authorities::new(authorities)?), true))))
}

/// Accepts every server.
#[derive(Debug)]
struct AnyServer;

impl ServerJudge for AnyServer {
    fn judge_server(&self, _shown: Shown<'_>, _name: &ServerName<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// Accepts any certificate, where a user asked for it (`CONSUL_HTTP_SSL_VERIFY=false`, `TLSSkipVerify`). The handshake's
/// signature is still verified, so that the peer at least holds the key it shows.
pub fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier::new(AnyServer))
}

/// Judges clients, each of which must show a certificate.
#[derive(Debug)]
pub(super) struct KnownClients {
    authorities: Authorities,
    usual: Arc<dyn ClientCertVerifier>,
}

impl KnownClients {
    pub(super) fn new(authorities: Authorities) -> Result<KnownClients, String> {
        let usual = WebPkiClientVerifier::builder_with_provider(authorities.store(), provider())
            .build()
            .map_err(|error| format!("verify_incoming: the authorities cannot be used: {error}"))?;
        Ok(KnownClients { authorities, usual })
    }
}

impl ClientJudge for KnownClients {
    fn root_hints(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn judge_client(&self, shown: Shown<'_>) -> Result<(), Error> {
        let parsed = readable(shown.leaf)?;
        if is_unusual(&parsed) {
            return self.authorities.vouch(&parsed, shown, Usage::Client);
        }
        self.usual.verify_client_cert(shown.leaf, shown.rest, shown.now).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dated_cert, request, server_cert, signing_cert, version_1_cert};
    use super::super::{CertKind, CertRequest, create_ca, create_cert};
    use super::*;
    use rustls_pki_types::pem::PemObject;

    fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
    }

    fn authorities(ca: &(String, String)) -> Authorities {
        Authorities::new(chain(&ca.0)).unwrap()
    }

    /// The verdicts on a server without and with a look at its name, and on a client.
    fn judged(authorities: &Authorities, pem: &str) -> [Result<(), Error>; 3] {
        let chain = chain(pem);
        let name = ServerName::try_from("server.dc1.consul").unwrap();
        let (leaf, rest) = chain.split_first().unwrap();
        let shown = Shown { leaf, rest, now: UnixTime::now() };
        let server = |check_name| KnownServers::new(Some(authorities.clone()), check_name).judge_server(shown, &name);
        let client = KnownClients::new(authorities.clone()).unwrap().judge_client(shown);
        [server(false), server(true), client]
    }

    fn passes(authorities: &Authorities, pem: &str) -> [bool; 3] {
        judged(authorities, pem).map(|outcome| outcome.is_ok())
    }

    #[test]
    fn usual_certificates_are_judged_as_ever() {
        let (ca, other) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
        let trusted = authorities(&ca);
        assert_eq!(passes(&trusted, &server_cert(&ca, "dc1", 1).0), [true; 3]);
        assert_eq!(passes(&trusted, &server_cert(&ca, "dc2", 1).0), [true, false, true]);
        assert_eq!(passes(&trusted, &server_cert(&other, "dc1", 1).0), [false; 3]);
        assert_eq!(passes(&trusted, &dated_cert(&ca, &["server.dc1.consul"], [2020, 2021]).0), [false; 3]);
        assert_eq!(passes(&trusted, &dated_cert(&ca, &["*.dc1.consul"], [2020, 2049]).0), [true; 3]);
    }

    #[test]
    fn an_authority_may_show_its_own_certificate_where_it_is_trusted() {
        let (ca, other) = (create_ca("consul", 10, &[]).unwrap(), create_ca("consul", 10, &[]).unwrap());
        assert_eq!(passes(&authorities(&ca), &ca.0), [true, false, true], "it carries no name");
        assert_eq!(passes(&authorities(&other), &ca.0), [false; 3]);
    }

    #[test]
    fn a_certificate_that_may_sign_is_taken_from_whom_it_was_given_to() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let below = signing_cert(&ca, &["server.dc1.consul"]);
        assert_eq!(passes(&authorities(&ca), &below.0), [true; 3]);
        let two_below = signing_cert(&below, &["server.dc1.consul"]);
        assert_eq!(passes(&authorities(&ca), &(two_below.0.clone() + &below.0)), [true; 3], "over one between");
        assert_eq!(passes(&authorities(&ca), &two_below.0), [false; 3], "which was not shown");
        let other = create_ca("consul", 10, &[]).unwrap();
        assert_eq!(passes(&authorities(&other), &(two_below.0.clone() + &below.0)), [false; 3]);
    }

    #[test]
    fn who_may_not_sign_and_who_is_bound_vouch_for_nobody_unusual() {
        let bound = create_ca("consul", 10, &["example.org".to_owned()]).unwrap();
        assert_eq!(passes(&authorities(&bound), &signing_cert(&bound, &["server.dc1.consul"]).0), [false; 3]);
        let ca = create_ca("consul", 10, &[]).unwrap();
        let leaf = server_cert(&ca, "dc1", 5);
        let forged = signing_cert(&leaf, &["server.dc1.consul"]);
        assert_eq!(passes(&authorities(&ca), &(forged.0.clone() + &leaf.0)), [false; 3], "a leaf signs nobody");
        assert_eq!(passes(&authorities(&ca), &namesake(&ca)), [false; 3]);
        let old = version_1_cert(&create_ca("consul", 10, &[]).unwrap());
        assert_eq!(passes(&authorities(&ca), &old.0), [false; 3]);
    }

    /// A forgery with the authority's name and a key of its own.
    fn namesake(ca: &(String, String)) -> String {
        let issuer = chain(&ca.0);
        let issuer = readable(&issuer[0]).unwrap();
        let (mut params, subject) = (rcgen::CertificateParams::default(), issuer.subject());
        let text =
            |attribute: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| attribute.unwrap().as_str().unwrap().to_owned();
        params.distinguished_name.push(rcgen::DnType::CommonName, text(subject.iter_common_name().next()));
        params.distinguished_name.push(rcgen::DnType::OrganizationName, text(subject.iter_organization().next()));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn version_1_is_taken_where_no_name_is_asked_for() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        assert_eq!(passes(&authorities(&ca), &version_1_cert(&ca).0), [true, false, true]);
    }

    #[test]
    fn a_certificate_for_clients_makes_no_server() {
        let ca = create_ca("consul", 10, &[]).unwrap();
        let request = CertRequest { dns_names: vec!["server.dc1.consul".to_owned()], ..request(CertKind::Cli, "dc1", 1) };
        assert_eq!(passes(&authorities(&ca), &create_cert(&ca.0, &ca.1, &request).unwrap().0), [false, false, true]);
    }
}
