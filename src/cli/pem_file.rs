//! Files of certificates and keys that `kontor tls` reads and writes.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) fn read(path: &Path) -> Result<String, String> {
    let hint = "make one with `kontor tls ca create`, or name it with -ca and -key";
    std::fs::read_to_string(path).map_err(|error| format!("the authority's {} cannot be read: {error}; {hint}", path.display()))
}

/// The files of the authority of `domain` in `folder`: its certificate and its key.
pub(super) fn authority(folder: &Path, domain: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{domain}-agent-ca.pem")), folder.join(format!("{domain}-agent-ca-key.pem")))
}

/// Writes a key, which its owner alone may read, and its certificate.
pub(super) fn write_pair(key: (&Path, &str), certificate: (&Path, &str)) -> Result<(), String> {
    write_new(key.0, key.1, 0o600)?;
    write_new(certificate.0, certificate.1, 0o644)
}

/// Writes a new file, never over an old one and never readable by more users than `mode` allows.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{} already exists and is not overwritten", path.display()),
        _ => format!("{} cannot be written: {error}", path.display()),
    })
}
