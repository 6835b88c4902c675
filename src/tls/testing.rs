//! Certificates for the tests of this room and of those that use it.

use super::{CertKind, CertRequest, TlsFiles, TlsMaterial, create_cert};

/// The certificate of a server of `dc` that is valid for so many days, and its key; `ca` signs it.
pub(crate) fn server_cert(ca: &(String, String), dc: &str, days: u32) -> (String, String) {
    let request = CertRequest {
        kind: CertKind::Server,
        dc: dc.to_owned(),
        domain: "consul".to_owned(),
        days,
        node: None,
        dns_names: vec![],
        ip_addresses: vec![],
    };
    create_cert(&ca.0, &ca.1, &request).unwrap()
}

/// What an agent has that trusts `ca` and shows `cert`, as it is read from files.
pub(crate) fn load(ca: &str, cert: &str, key: &str) -> TlsMaterial {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let files = TlsFiles { ca_file: path("ca", ca), cert_file: path("cert", cert), key_file: path("key", key), ca_path: None };
    TlsMaterial::load(&files).unwrap()
}
