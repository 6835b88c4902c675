//! Who an agent is: the data directory, who owns it, and the node id that it keeps.
//!
//! `agent` opens it before anything else; the lock inside keeps a second agent out for as long as
//! this one lives.

use crate::config::Config;
use crate::model::ids::NodeId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The name of the file that holds the node id, as Consul has it.
const NODE_ID_FILE: &str = "node-id";
/// The file that is locked while an agent uses the directory.
const LOCK_FILE: &str = "agent.lock";

/// An opened data directory. Dropping it lets others in.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and locks it. The error is one line for the user.
    pub(super) fn open(path: &Path) -> Result<DataDir, String> {
        fs::create_dir_all(path).map_err(|error| unusable(path, &error))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| unusable(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "data directory {} is in use by another agent; stop that one or give this one a -data-dir of its own",
                path.display()
            )),
            Err(TryLockError::Error(error)) => Err(unusable(&lock_path, &error)),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The node id: the one kept here, else `configured`, else a new one; kept from then on. A
    /// directory that belongs to another node id than the configured one is refused.
    pub(super) fn node_id(&self, configured: Option<NodeId>) -> Result<NodeId, String> {
        let path = self.path.join(NODE_ID_FILE);
        match (read_node_id(&path)?, configured) {
            (Some(kept), Some(wanted)) if kept != wanted => Err(format!(
                "data directory {} belongs to node {kept}, but node_id is {wanted}; give the right -data-dir, or remove {} to take it over",
                self.path.display(),
                path.display()
            )),
            (Some(kept), _) => Ok(kept),
            (None, wanted) => {
                let id = wanted.unwrap_or_else(NodeId::random);
                write_durably(&path, id.to_string().as_bytes()).map_err(|error| unusable(&path, &error))?;
                Ok(id)
            }
        }
    }
}

/// Who an agent is, known before anything of it runs: its id, and the directory that is its own.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) node_id: NodeId,
    pub(super) data_dir: Option<DataDir>,
}

impl Identity {
    /// Locks the data directory of `config` and takes the id from there; dev mode has a new one.
    pub(super) fn open(config: &Config) -> Result<Identity, String> {
        let data_dir = config.data_dir.as_deref().map(DataDir::open).transpose()?;
        let node_id = match &data_dir {
            Some(dir) => dir.node_id(config.node_id)?,
            None => config.node_id.unwrap_or_else(NodeId::random),
        };
        Ok(Identity { node_id, data_dir })
    }
}

fn read_node_id(path: &Path) -> Result<Option<NodeId>, String> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// Writes beside `path` and renames, so that the file is whole or not there.
pub(super) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// The line for the user when a file cannot be used.
pub(super) fn unusable(path: &Path, error: &io::Error) -> String {
    format!("cannot use {}: {error}; the agent needs to create and write files there", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_survives_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let id = dir.node_id(None).unwrap();
        assert_eq!(dir.node_id(None).unwrap(), id);
        assert_eq!(dir.node_id(Some(id)).unwrap(), id);
        let other = NodeId::random();
        let error = dir.node_id(Some(other)).unwrap_err();
        assert!(error.contains(&id.to_string()) && error.contains(&other.to_string()), "{error}");
    }

    #[test]
    fn a_directory_in_use_is_refused_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        assert!(DataDir::open(folder.path()).unwrap_err().contains("in use"));
        drop(first);
        assert!(DataDir::open(folder.path()).is_ok());
    }

    #[test]
    fn a_damaged_node_id_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NODE_ID_FILE), "not an id").unwrap();
        let error = DataDir::open(folder.path()).unwrap().node_id(None).unwrap_err();
        assert!(error.contains(NODE_ID_FILE) && error.contains("expected a UUID"), "{error}");
    }
}
