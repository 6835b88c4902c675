//! Bytes that every later version reads: made once by the version of their format, and kept in `tests/golden/`.
//!
//! A missing file is made when the environment has `KONTOR_GOLDEN`; no file is written again. A format that can no longer
//! be read needs another level, and not another file.

use super::level;
use std::fmt::Debug;
use std::path::Path;

/// The bytes kept under `name` of the format level at which they came to be, or else `made`.
pub(crate) fn kept(level: u32, name: &str, made: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{level}/{name}"));
    if std::env::var_os("KONTOR_GOLDEN").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("is made");
        std::fs::write(&path, made).expect("is written");
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; KONTOR_GOLDEN=1 makes it", path.display()))
}

/// Checks that the bytes kept under `name` are read as `value`.
pub(crate) fn check<T: Debug>(name: &str, value: &T, made: &[u8], read: impl FnOnce(&[u8]) -> T) {
    check_of(level::COMMAND_INDEXES, name, value, made, read);
}

/// The same of what came to be with a format level.
pub(crate) fn check_of<T: Debug>(level: u32, name: &str, value: &T, made: &[u8], read: impl FnOnce(&[u8]) -> T) {
    assert_eq!(format!("{:?}", read(&kept(level, name, made))), format!("{value:?}"), "{name}");
}
