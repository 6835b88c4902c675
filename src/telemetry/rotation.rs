//! The log's file, and the next one after a number of bytes or a time, as in Consul. An older file has the time of its end
//! in its name, in nanoseconds since 1970. With a folder alone as `log_file`, each file has the time of its beginning.

use crate::model::log_file::LogFile;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(super) struct RotatedFile {
    plan: LogFile,
    file: File,
    path: PathBuf,
    written: u64,
    begun: SystemTime,
}

impl RotatedFile {
    /// Opens the file and appends to it; the error names it.
    pub(super) fn open(plan: LogFile) -> Result<RotatedFile, String> {
        let now = SystemTime::now();
        let name = if plan.is_timed { plan.stamped(nanos(now)) } else { plan.name.clone() };
        let path = plan.folder.join(name);
        let failed = |error: io::Error| format!("cannot write log_file {}: {error}", path.display());
        if plan.is_timed {
            std::fs::create_dir_all(&plan.folder).map_err(failed)?;
        }
        let file = append(&path).map_err(failed)?;
        let known = file.metadata().map_err(failed)?;
        let (written, begun) = (known.len(), known.created().unwrap_or(now));
        Ok(RotatedFile { plan, file, path, written, begun })
    }

    fn write_at(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let age = now.duration_since(self.begun).unwrap_or(Duration::ZERO);
        let is_full = self.plan.max_bytes > 0 && self.written >= self.plan.max_bytes;
        if self.written > 0 && (is_full || age >= self.plan.max_age) {
            if self.begin_next(now).is_err() {
                metrics::counter!("kontor.log.rotation_failed").increment(1);
            }
            // After a failure too: the old file goes on, and the next try is made when it is due again.
            (self.written, self.begun) = (0, now);
        }
        self.file.write_all(line)?;
        self.written += line.len() as u64;
        Ok(())
    }

    fn begin_next(&mut self, now: SystemTime) -> io::Result<()> {
        let stamped = self.plan.folder.join(self.plan.stamped(nanos(now)));
        if self.plan.is_timed {
            self.path = stamped;
        } else {
            std::fs::rename(&self.path, stamped)?;
        }
        self.file = append(&self.path)?;
        self.remove_old()
    }

    /// Removes the oldest of the older files, down to the number to keep.
    fn remove_old(&self) -> io::Result<()> {
        let Some(keep) = self.plan.max_files else { return Ok(()) };
        let folder = if self.plan.folder.as_os_str().is_empty() { Path::new(".") } else { &self.plan.folder };
        let mut older = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let stamp = self.plan.stamp_of(&name).filter(|_| self.path.file_name() != Some(name.as_ref()));
            older.extend(stamp.map(|stamp| (stamp, name)));
        }
        older.sort();
        let much = older.len().saturating_sub(keep);
        older.drain(..much).try_for_each(|(_, name)| std::fs::remove_file(folder.join(name)))
    }
}

impl Write for RotatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(bytes, SystemTime::now())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn nanos(now: SystemTime) -> u128 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan(folder: &Path) -> LogFile {
        let (folder, name) = (folder.to_owned(), "kontor.log".to_owned());
        LogFile { folder, name, is_timed: false, max_bytes: 10, max_age: SECOND * 60, max_files: Some(2) }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn bytes_and_age_begin_the_next_file_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kontor-notes.log"), "not ours").unwrap();
        let mut file = RotatedFile::open(plan(folder.path())).unwrap();
        let start = SystemTime::now();
        file.write_at(b"first, long\n", start).unwrap();
        assert_eq!(names(folder.path()), ["kontor-notes.log", "kontor.log"]);
        file.write_at(b"second\n", start + SECOND).unwrap();
        file.write_at(b"third\n", start + SECOND * 2).unwrap();
        let stamped = |seconds: u32| format!("kontor-{}.log", nanos(start + SECOND * seconds));
        assert_eq!(names(folder.path()), [&*stamped(1), "kontor-notes.log", "kontor.log"]);
        assert_eq!(std::fs::read_to_string(folder.path().join(stamped(1))).unwrap(), "first, long\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("kontor.log")).unwrap(), "second\nthird\n");
        file.write_at(b"4\n", start + SECOND * 62).unwrap();
        file.write_at(b"5\n", start + SECOND * 123).unwrap();
        assert_eq!(names(folder.path()), [&*stamped(62), &*stamped(123), "kontor-notes.log", "kontor.log"]);
        drop(file);
        let mut again = RotatedFile::open(plan(folder.path())).unwrap();
        again.write_at(b"6\n", SystemTime::now()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("kontor.log")).unwrap(), "5\n6\n");
    }

    #[test]
    fn in_a_folder_each_file_has_its_beginning_in_its_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("logs");
        let named = LogFile { name: "consul.log".to_owned(), is_timed: true, max_files: Some(0), ..plan(&folder) };
        let mut file = RotatedFile::open(named.clone()).unwrap();
        let first = names(&folder);
        assert!(first.len() == 1 && named.stamp_of(&first[0]).is_some(), "{first:?}");
        file.write_at(b"0123456789\n", SystemTime::now()).unwrap();
        file.write_at(b"next\n", SystemTime::now()).unwrap();
        let second = names(&folder);
        assert!(second.len() == 1 && second != first, "{second:?}");
    }

    #[test]
    fn a_file_that_cannot_be_renamed_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::open(plan(folder.path())).unwrap();
        file.write_at(b"0123456789\n", SystemTime::now()).unwrap();
        std::fs::remove_file(folder.path().join("kontor.log")).unwrap();
        file.write_at(b"goes on\n", SystemTime::now()).unwrap();
        assert!(names(folder.path()).is_empty());
    }
}
