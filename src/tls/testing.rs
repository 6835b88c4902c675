//! Certificates for the tests of this room and of the rooms that use it.

use super::{CertKind, CertRequest, RpcRules, TlsFiles, TlsMaterial, create_cert};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SigningKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The certificate and key of a server of `dc`, valid for `days` and signed by `ca`.
pub(crate) fn server_cert(ca: &(String, String), dc: &str, days: u32) -> (String, String) {
    cert_of(ca, CertKind::Server, dc, days)
}

/// The same of any kind.
pub(crate) fn cert_of(ca: &(String, String), kind: CertKind, dc: &str, days: u32) -> (String, String) {
    create_cert(&ca.0, &ca.1, &request(kind, dc, days)).unwrap()
}

pub(super) fn request(kind: CertKind, dc: &str, days: u32) -> CertRequest {
    let (dc, domain) = (dc.to_owned(), "consul".to_owned());
    CertRequest { kind, dc, domain, days, node: None, dns_names: vec![], ip_addresses: vec![] }
}

/// The material of an agent that trusts `ca` and shows `cert`, loaded from files.
pub(crate) fn load(ca: &str, cert: &str, key: &str) -> TlsMaterial {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let files =
        TlsFiles { ca_file: path("ca", ca), cert_file: path("cert", cert), key_file: path("key", key), ..TlsFiles::default() };
    TlsMaterial::load(&files).unwrap()
}

/// The rules of an agent of dc1 that verifies everything.
pub(crate) fn strict() -> RpcRules {
    RpcRules {
        datacenter: "dc1".to_owned(),
        domain: "consul".to_owned(),
        verify_incoming: true,
        verify_outgoing: true,
        verify_server_hostname: true,
        accept_plaintext: false,
    }
}

/// A certificate of `ca` for `names` that may sign others, and its key.
pub(crate) fn signing_cert(ca: &(String, String), names: &[&str]) -> (String, String) {
    signed(ca, names, |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "below");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    })
}

/// A certificate of `ca` for `names` from the first of `years` to the last, and its key.
pub(crate) fn dated_cert(ca: &(String, String), names: &[&str], years: [i32; 2]) -> (String, String) {
    signed(ca, names, |params| {
        params.not_before = rcgen::date_time_ymd(years[0], 1, 1);
        params.not_after = rcgen::date_time_ymd(years[1], 1, 1);
    })
}

fn signed(ca: &(String, String), names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (mut params, key) = (CertificateParams::new(names).unwrap(), KeyPair::generate().unwrap());
    change(&mut params);
    let issuer = Issuer::from_ca_cert_pem(&ca.0, KeyPair::from_pem(&ca.1).unwrap()).unwrap();
    (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

/// A certificate of `ca` in version 1 of X.509, which has no names to check, and its key.
pub(crate) fn version_1_cert(ca: &(String, String)) -> (String, String) {
    let (signer, key) = (KeyPair::from_pem(&ca.1).unwrap(), KeyPair::generate().unwrap());
    let authority = CertificateDer::from_pem_slice(ca.0.as_bytes()).unwrap();
    let (_, authority) = x509_parser::parse_x509_certificate(&authority).unwrap();
    let own = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let (_, own) = x509_parser::parse_x509_certificate(own.der()).unwrap();
    // ecdsa-with-SHA256
    let algorithm = der(0x30, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
    let validity = der(0x30, &[der(0x17, b"200101000000Z"), der(0x17, b"490101000000Z")].concat());
    let (issuer, subject) = (authority.subject().as_raw(), own.subject().as_raw());
    let parts = [&der(2, &[7]), &algorithm, issuer, &validity, subject, own.public_key().raw];
    let signed = der(0x30, &parts.concat());
    let signature = [&[0][..], &signer.sign(&signed).unwrap()].concat();
    let whole = der(0x30, &[signed, algorithm, der(3, &signature)].concat());
    let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(whole));
    (text, key.serialize_pem())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = if length < 128 { vec![tag, length as u8] } else { vec![tag, 0x82, (length >> 8) as u8, length as u8] };
    [head, content.to_vec()].concat()
}
