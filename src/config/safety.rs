//! Encryption, certificates and access control.
//!
//! A setting that would leave the agent more open than configured is an error, never a warning.

use super::file::{File, TlsListener, TlsStanza};
use super::problems::Problems;
use super::values::set;
use super::{Config, Tls};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};

/// Fills in everything that seals or opens the agent.
pub(super) fn resolve(file: &File, config: &mut Config, problems: &mut Problems) {
    config.encrypt = encrypt(file.encrypt.as_deref(), problems);
    config.tls = tls(file, problems);
    verify_files(&config.tls.clone(), config, problems);
    if file.acl.as_ref().and_then(|acl| acl.enabled).unwrap_or(false) {
        problems.error("acl.enabled: access control is not offered yet, and an agent without it would be open to everyone; remove it to start such an agent");
    }
}

/// The gossip key. It is a secret: errors show its length alone.
fn encrypt(text: Option<&str>, problems: &mut Problems) -> Option<Vec<u8>> {
    let text = text.filter(|text| !text.is_empty())?;
    match STANDARD.decode(text) {
        Ok(key) if matches!(key.len(), 16 | 24 | 32) => return Some(key),
        Ok(key) => problems.error(format!("encrypt has invalid key: expected 16, 24 or 32 bytes, got {}", key.len())),
        Err(_) => problems.error("encrypt has invalid key: expected base64 of 16, 24 or 32 bytes; `keygen` makes one"),
    }
    None
}

/// The keys at the top and `tls {}` are two spellings of one thing; the stanza wins.
fn tls(file: &File, problems: &mut Problems) -> Tls {
    let TlsStanza { defaults, internal_rpc, https, grpc } = file.tls.clone().unwrap_or_default();
    let [defaults, internal_rpc, https, grpc] = [defaults, internal_rpc, https, grpc].map(Option::unwrap_or_default);
    for (name, listener) in [("internal_rpc", &internal_rpc), ("https", &https), ("grpc", &grpc)] {
        refuse_files(name, listener, problems);
    }
    if defaults.verify_server_hostname.is_some() || https.verify_server_hostname.is_some() {
        problems.error("invalid config key verify_server_hostname outside tls.internal_rpc");
    }
    if defaults.accept_plaintext.is_some() || https.accept_plaintext.is_some() {
        problems.error("invalid config key accept_plaintext outside tls.internal_rpc");
    }
    let versions = [
        ("tls_min_version", &file.tls_min_version),
        ("tls.defaults.tls_min_version", &defaults.tls_min_version),
        ("tls.internal_rpc.tls_min_version", &internal_rpc.tls_min_version),
        ("tls.https.tls_min_version", &https.tls_min_version),
        ("tls.grpc.tls_min_version", &grpc.tls_min_version),
    ];
    let minima: Vec<bool> = versions.iter().map(|(key, version)| is_13(key, version.as_deref(), problems)).collect();
    let pick = |stanza: &Option<String>, top: &Option<String>| {
        stanza.as_deref().or(top.as_deref()).filter(|text| !text.is_empty()).map(PathBuf::from)
    };
    let verify_incoming = defaults.verify_incoming.or(file.verify_incoming);
    let hostname = internal_rpc.verify_server_hostname.or(file.verify_server_hostname).unwrap_or(false);
    let mut outgoing = hostname;
    set(&mut outgoing, internal_rpc.verify_outgoing.or(defaults.verify_outgoing).or(file.verify_outgoing).filter(|yes| *yes));
    let incoming = |own: Option<bool>, top: Option<bool>| {
        // At the top either of the two keys switches verification on; a stanza overrides for its listener.
        own.unwrap_or(verify_incoming.unwrap_or(false) || top.unwrap_or(false))
    };
    Tls {
        ca_file: pick(&defaults.ca_file, &file.ca_file),
        ca_path: pick(&defaults.ca_path, &file.ca_path),
        cert_file: pick(&defaults.cert_file, &file.cert_file),
        key_file: pick(&defaults.key_file, &file.key_file),
        verify_incoming_rpc: incoming(internal_rpc.verify_incoming, file.verify_incoming_rpc),
        verify_incoming_https: incoming(https.verify_incoming, file.verify_incoming_https),
        verify_outgoing: outgoing,
        verify_server_hostname: hostname,
        accept_plaintext: internal_rpc.accept_plaintext.unwrap_or(false),
        only_tls13: minima.contains(&true),
    }
}

/// One set of files serves every listener.
fn refuse_files(name: &str, listener: &TlsListener, problems: &mut Problems) {
    let TlsListener { ca_file, ca_path, cert_file, key_file, .. } = listener;
    let files = [("ca_file", ca_file), ("ca_path", ca_path), ("cert_file", cert_file), ("key_file", key_file)];
    for (key, _) in files.iter().filter(|(_, value)| value.is_some()) {
        problems.error(format!("tls.{name}.{key}: files of one listener alone are not offered; put them into tls.defaults"));
    }
}

/// True when the least version is TLS 1.3, which then counts for all listeners.
fn is_13(key: &str, version: Option<&str>, problems: &mut Problems) -> bool {
    match version.map(str::to_lowercase).as_deref() {
        None | Some("" | "tls_auto" | "tls12" | "tlsv1_2") => {}
        Some("tls13" | "tlsv1_3") => return true,
        Some("tls10" | "tls11" | "tlsv1_0" | "tlsv1_1") => {
            problems.warn(format!("{key}: nothing below tls12 is offered, so tls12 is the least"));
        }
        Some(other) => {
            problems.error(format!("{key}: expected tls10, tls11, tls12 or tls13, or TLSv1_2 and the like, got {other:?}"));
        }
    }
    false
}

/// Refuses verification without the files it needs, with Consul's texts.
fn verify_files(tls: &Tls, config: &mut Config, problems: &mut Problems) {
    let authority = tls.ca_file.is_some() || tls.ca_path.is_some();
    let certificate = tls.has_certificate();
    let incoming = tls.verify_incoming_rpc || tls.verify_incoming_https;
    problems.errors_of([
        (tls.cert_file.is_some() != tls.key_file.is_some(), "cert_file and key_file: expected both or neither"),
        (tls.verify_outgoing && !authority, "VerifyOutgoing set, and no CA certificate provided! Set ca_file or ca_path"),
        (incoming && !authority, "VerifyIncoming set, and no CA certificate provided! Set ca_file or ca_path"),
        (incoming && !certificate, "VerifyIncoming set, and no Cert/Key pair provided! Set cert_file and key_file"),
    ]);
    if tls.accept_plaintext && tls.verify_incoming_rpc {
        problems.error("tls.internal_rpc.accept_plaintext: an agent without TLS cannot show the certificate that verify_incoming asks for; set one of the two");
    }
    if config.server && tls.verify_incoming_rpc && !tls.verify_server_hostname {
        problems.warn("verify_incoming without verify_server_hostname: every holder of a certificate of the CA, as a client or in another datacenter, may speak to Raft as a server");
    }
    if !config.https.is_empty() && !certificate {
        // As in Consul; test harnesses of its Go clients write such a port always.
        problems.warn("ports.https has no effect: HTTPS needs a certificate; set cert_file and key_file");
        config.https.clear();
    }
    for (key, file) in
        [("ca_file", &tls.ca_file), ("ca_path", &tls.ca_path), ("cert_file", &tls.cert_file), ("key_file", &tls.key_file)]
    {
        if let Some(path) = file.as_deref().filter(|path| !Path::exists(path)) {
            _ = problems.missing::<()>(format!("{key}: there is no {}", path.display()));
        }
    }
}
