//! The files of log lines besides standard output, and the bounds at which the next one begins.

use std::path::PathBuf;
use std::time::Duration;

/// `log_file` with `log_rotate_bytes`, `log_rotate_duration` and `log_rotate_max_files`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Empty for the working directory of the process.
    pub folder: PathBuf,
    /// The name; older files have a time before its ending.
    pub name: String,
    /// The file being written has a time in its name too: only a folder was named.
    pub is_timed: bool,
    /// Bytes after which the next file begins; 0 for no bound.
    pub max_bytes: u64,
    /// Age at which the next file begins.
    pub max_age: Duration,
    /// The number of older files that are kept; unset for all.
    pub max_files: Option<usize>,
}

impl LogFile {
    /// The name of a file, stamped with a time.
    pub fn stamped(&self, nanos: u128) -> String {
        let (stem, ending) = self.parts();
        format!("{stem}-{nanos}{ending}")
    }

    /// The stamp in a file's name; unset for a foreign file.
    pub fn stamp_of(&self, name: &str) -> Option<u128> {
        let (stem, ending) = self.parts();
        let digits = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(ending)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    }

    /// The name before its ending, and the ending; `.log` where there is none.
    fn parts(&self) -> (&str, &str) {
        match self.name.rfind('.') {
            Some(at) if at > 0 => self.name.split_at(at),
            _ => (&self.name, ".log"),
        }
    }
}
