//! What a pool remembers across restarts: its generation, the last known members, whether it left.
//!
//! Written whole to a new file that then takes the old one's name, so that a crash leaves one or
//! the other. `driver` reads it once at start and writes it after changes. Blocking I/O.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;

/// The file's content, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The greatest generation that was used.
    pub generation: u64,
    /// Whether this agent left on purpose.
    pub left: bool,
    /// Where members were last.
    pub members: Vec<SocketAddr>,
}

impl Snapshot {
    /// The file's content; the default when there is none.
    pub(super) fn read(path: &Path) -> Result<Snapshot, String> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Snapshot::default()),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("{} is damaged ({error}); remove it to start without last known members", path.display()))
    }

    /// Replaces the file; on disk when this returns.
    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        self.try_write(path).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn try_write(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serf/local.snapshot");
        assert_eq!(Snapshot::read(&path).unwrap(), Snapshot::default());
        let snapshot = Snapshot { generation: 7, left: true, members: vec!["127.0.0.1:8301".parse().unwrap()] };
        snapshot.write(&path).unwrap();
        assert_eq!(Snapshot::read(&path).unwrap(), snapshot);
        fs::write(&path, b"{\"gener").unwrap();
        assert!(Snapshot::read(&path).unwrap_err().contains("local.snapshot is damaged"));
    }
}
