//! The content of a certificate: its names, its dates, its fingerprint. Nothing here judges it.

use super::Refusal;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// The datacenter in the one name of the form `server.<dc>.<domain>` that a certificate carries.
pub(super) fn server_dc(leaf: &CertificateDer<'_>, domain: &str) -> Result<String, Refusal> {
    let parsed = parse(leaf)?;
    let names =
        parsed.subject_alternative_name().map_err(|error| Refusal::Malformed(format!("its names cannot be read: {error}")))?;
    let suffix = format!(".{}", domain.to_ascii_lowercase());
    let mut found = BTreeSet::new();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        let GeneralName::DNSName(name) = name else { continue };
        let name = name.to_ascii_lowercase();
        let dc = name.strip_prefix("server.").and_then(|rest| rest.strip_suffix(&suffix));
        if let Some(dc) = dc.filter(|dc| !dc.is_empty() && !dc.contains('.')) {
            found.insert(dc.to_owned());
        }
    }
    match (found.pop_first(), found.pop_first()) {
        (Some(dc), None) => Ok(dc),
        (None, _) => Err(Refusal::Malformed(format!("its certificate carries no name server.<datacenter>{suffix}"))),
        (Some(one), Some(two)) => {
            Err(Refusal::Malformed(format!("its certificate names several datacenters, {one:?} and {two:?}")))
        }
    }
}

/// The reason that a certificate does not count now, by its dates.
pub(super) fn validity_refusal(leaf: &CertificateDer<'_>, now: UnixTime) -> Option<Refusal> {
    let parsed = match parse(leaf) {
        Ok(parsed) => parsed,
        Err(refusal) => return Some(refusal),
    };
    let now = i64::try_from(now.as_secs()).ok().and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())?;
    if now > parsed.validity().not_after {
        return Some(Refusal::Expired(parsed.validity().not_after.to_string()));
    }
    (now < parsed.validity().not_before).then(|| Refusal::NotYetValid(parsed.validity().not_before.to_string()))
}

pub(super) fn parse<'a>(leaf: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refusal> {
    match x509_parser::parse_x509_certificate(leaf) {
        Ok((_rest, parsed)) => Ok(parsed),
        Err(error) => Err(Refusal::Malformed(format!("not a certificate: {error}"))),
    }
}

/// True if webpki refuses every certificate of this kind.
pub(super) fn is_unusual(certificate: &X509Certificate<'_>) -> bool {
    certificate.is_ca() || !has_extensions(certificate)
}

/// True if a certificate is X.509 version 3, the one with names.
pub(super) fn has_extensions(certificate: &X509Certificate<'_>) -> bool {
    certificate.version() == X509Version::V3
}

/// SHA-256 of a certificate in lower-case hex.
pub(super) fn fingerprint_of(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
}
