//! Files of certificates and keys that `kontor tls` reads and writes.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a file of the authority.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let hint = "make one with `kontor tls ca create`, or name it with -ca and -key";
    std::fs::read_to_string(path).map_err(|error| format!("the authority's {} cannot be read: {error}; {hint}", path.display()))
}

/// Never over an old file, and never readable by more than `mode` says, not even for a moment.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{} already exists and is not overwritten", path.display()),
        _ => format!("{} cannot be written: {error}", path.display()),
    })
}
