//! Makes a certificate authority and certificates under it, as PEM texts: `tls ca create`, `tls cert create`.

use super::server_name;
use crate::model::fault::Fault;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A certificate is valid from a little before now, for machines whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(60);
/// One hundred years: certificates cannot carry dates far beyond it.
const MAX_DAYS: u32 = 36_500;

/// The kind of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertKind {
    /// `server.<dc>.<domain>`, usable both ways.
    Server,
    /// `client.<dc>.<domain>`.
    Client,
    /// `cli.<dc>.<domain>`.
    Cli,
}

#[derive(Clone, Debug)]
pub struct CertRequest {
    pub kind: CertKind,
    pub dc: String,
    /// DNS domain, `consul` by default.
    pub domain: String,
    pub days: u32,
    /// Node name to add as `<node>.server.<dc>.<domain>`.
    pub node: Option<String>,
    /// More DNS names.
    pub dns_names: Vec<String>,
    /// More addresses.
    pub ip_addresses: Vec<IpAddr>,
}

/// Makes a certificate authority: certificate PEM and key PEM (`tls ca create`).
///
/// With `name_constraints` it can only sign for those DNS domains, `domain` and `localhost`; without, for any name.
pub fn create_ca(domain: &str, days: u32, name_constraints: &[String]) -> Result<(String, String), Fault> {
    let key = KeyPair::generate().map_err(unmade)?;
    let serial: u64 = rand::random();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Kontor Agent CA {serial}"));
    params.distinguished_name.push(DnType::OrganizationName, domain);
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.name_constraints = constraints(domain, name_constraints)?;
    set_validity(&mut params, days)?;
    let certificate = params.self_signed(&key).map_err(unmade)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Makes a certificate signed by a CA: certificate PEM and key PEM (`tls cert create`).
pub fn create_cert(ca_pem: &str, ca_key_pem: &str, request: &CertRequest) -> Result<(String, String), Fault> {
    let issuer = load_issuer(ca_pem, ca_key_pem)?;
    let key = KeyPair::generate().map_err(unmade)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name(request));
    params.serial_number = Some(SerialNumber::from(rand::random::<u64>()));
    params.subject_alt_names = alternative_names(request)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match request.kind {
        CertKind::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        CertKind::Client => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        CertKind::Cli => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, request.days)?;
    let certificate = params.signed_by(&key, &issuer).map_err(unmade)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// The CA that signs. Refuses a certificate that is no CA's or is over, and a key that does not fit it.
fn load_issuer(ca_pem: &str, ca_key_pem: &str) -> Result<Issuer<'static, KeyPair>, Fault> {
    let key = KeyPair::from_pem(ca_key_pem)
        .map_err(|error| Fault::bad_request(format!("the CA's key: expected a PEM with a private key, got: {error}")))?;
    let der = CertificateDer::from_pem_slice(ca_pem.as_bytes())
        .map_err(|error| Fault::bad_request(format!("the CA: expected a PEM with a certificate, got: {error}")))?;
    let (_rest, parsed) = x509_parser::parse_x509_certificate(&der)
        .map_err(|error| Fault::bad_request(format!("the CA: its certificate cannot be read: {error}")))?;
    if !parsed.is_ca() {
        return Err(Fault::bad_request("the CA: its certificate is not one of a CA and cannot sign others"));
    }
    if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(Fault::bad_request("the CA's key does not belong to the CA's certificate"));
    }
    if !parsed.validity().is_valid() {
        return Err(Fault::bad_request(format!("the CA is valid until {} only; make a new one", parsed.validity().not_after)));
    }
    Issuer::from_ca_cert_der(&der, key).map_err(unmade)
}

fn common_name(request: &CertRequest) -> String {
    match request.kind {
        CertKind::Server => server_name(&request.dc, &request.domain),
        CertKind::Client => format!("client.{}.{}", request.dc, request.domain),
        CertKind::Cli => format!("cli.{}.{}", request.dc, request.domain),
    }
}

fn alternative_names(request: &CertRequest) -> Result<Vec<SanType>, Fault> {
    let mut names = Vec::new();
    if let (Some(node), CertKind::Server) = (&request.node, request.kind) {
        names.push(format!("{node}.{}", server_name(&request.dc, &request.domain)));
    }
    names.push(common_name(request));
    names.push("localhost".to_owned());
    names.extend(request.dns_names.iter().cloned());
    let mut alternatives: Vec<SanType> = names.iter().map(|name| dns_name(name)).collect::<Result<_, _>>()?;
    alternatives.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    alternatives.extend(request.ip_addresses.iter().copied().map(SanType::IpAddress));
    Ok(alternatives)
}

fn dns_name(name: &str) -> Result<SanType, Fault> {
    if rustls_pki_types::DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_err() {
        return Err(Fault::bad_request(format!("expected a DNS name, got {name:?}")));
    }
    name.try_into()
        .map(SanType::DnsName)
        .map_err(|error| Fault::bad_request(format!("expected a DNS name, got {name:?}: {error}")))
}

fn constraints(domain: &str, asked: &[String]) -> Result<Option<NameConstraints>, Fault> {
    if asked.is_empty() {
        return Ok(None);
    }
    let mut permitted: Vec<&str> = vec![domain, "localhost"];
    permitted.extend(asked.iter().map(String::as_str).filter(|name| *name != domain && *name != "localhost"));
    for name in &permitted {
        dns_name(name)?;
    }
    let permitted_subtrees = permitted.into_iter().map(|name| GeneralSubtree::DnsName(name.to_owned())).collect();
    Ok(Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }))
}

fn set_validity(params: &mut CertificateParams, days: u32) -> Result<(), Fault> {
    if days == 0 || days > MAX_DAYS {
        return Err(Fault::bad_request(format!("expected 1 to {MAX_DAYS} days of validity, got {days}")));
    }
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * days).into();
    Ok(())
}

fn unmade(error: rcgen::Error) -> Fault {
    Fault::failed(format!("the certificate cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::request;
    use super::*;

    fn server(dc: &str) -> CertRequest {
        let (dns_names, ip_addresses) = (vec!["extra.example".to_owned()], vec!["10.0.0.1".parse().unwrap()]);
        CertRequest { node: Some("s1".to_owned()), dns_names, ip_addresses, ..request(CertKind::Server, dc, 365) }
    }

    fn names_of(pem: &str) -> Vec<String> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        names.value.general_names.iter().map(|name| format!("{name}")).collect()
    }

    #[test]
    fn a_server_certificate_carries_the_names_a_server_needs() {
        let (ca, key) = create_ca("consul", 1825, &[]).unwrap();
        let (pem, _) = create_cert(&ca, &key, &server("dc1")).unwrap();
        let names = names_of(&pem).join(" ");
        for expected in ["s1.server.dc1.consul", "(server.dc1.consul)", "localhost", "extra.example"] {
            assert!(names.contains(expected), "{expected} is not in {names}");
        }
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let parsed = parsed.parse_x509().unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=server.dc1.consul");
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth);
    }

    #[test]
    fn a_key_of_another_ca_is_refused_and_a_leaf_is_not_taken_for_a_ca() {
        let (ca, key) = create_ca("consul", 10, &[]).unwrap();
        let (_, other_key) = create_ca("consul", 10, &[]).unwrap();
        let fault = create_cert(&ca, &other_key, &server("dc1")).unwrap_err();
        assert!(fault.message.contains("does not belong"), "{fault}");
        let (leaf, leaf_key) = create_cert(&ca, &key, &server("dc1")).unwrap();
        assert!(create_cert(&leaf, &leaf_key, &server("dc1")).is_err());
    }

    #[test]
    fn impossible_days_and_names_are_refused() {
        assert!(create_ca("consul", 0, &[]).is_err());
        assert!(create_ca("consul", u32::MAX, &[]).is_err());
        let (ca, key) = create_ca("consul", 10, &[]).unwrap();
        assert!(create_cert(&ca, &key, &CertRequest { dns_names: vec!["not a name".to_owned()], ..server("dc1") }).is_err());
    }

    #[test]
    fn a_constrained_ca_names_its_domain_and_localhost_too() {
        let (ca, _) = create_ca("consul", 10, &["example.org".to_owned()]).unwrap();
        let der = CertificateDer::from_pem_slice(ca.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let constraints = parsed.name_constraints().unwrap().unwrap();
        assert_eq!(constraints.value.permitted_subtrees.as_ref().map(Vec::len), Some(3));
    }
}
