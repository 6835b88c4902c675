//! The data directory, which one agent locks for its lifetime, and the node id in it.

use crate::config::Config;
use crate::model::ids::NodeId;
use crate::raft;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The name of the file that holds the node id, as Consul has it.
const NODE_ID_FILE: &str = "node-id";
/// The file that is locked while an agent uses the directory.
const LOCK_FILE: &str = "agent.lock";

/// A locked data directory, until it is dropped.
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
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = opened.map_err(|error| unusable(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "data directory {} is in use by another agent; stop that one or give this one a -data-dir of its own",
                path.display()
            )),
            Err(TryLockError::Error(error)) => Err(unusable(&lock_path, &error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The node id: the kept one, else `configured`, else a new one, which is kept. A contradiction of both is refused.
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

    /// Gives a server that has lost its log a new id, or refuses: its old id would vote for entries that it no longer has.
    fn renew_id_after_loss(&self, config: &Config) -> Result<(), String> {
        let path = self.path.join(NODE_ID_FILE);
        let keep = |id: NodeId| write_durably(&path, id.to_string().as_bytes()).map_err(|error| unusable(&path, &error));
        if let Some(id) = raft::awaiting_id(&self.path).map_err(|error| error.to_string())? {
            // A renewal may have been interrupted.
            return if read_node_id(&path)? == Some(id) { Ok(()) } else { keep(id) };
        }
        let Some(lost) = raft::lost_log(&self.path).map_err(|error| error.to_string())? else { return Ok(()) };
        let (why, mark) = (lost.why.clone(), lost.mark_path());
        if let Some(cluster) = lost.cluster() {
            let mark = mark.display();
            if config.bootstrap_expect == 1 {
                return Err(format!(
                    "this server has lost its Raft log of cluster {cluster}: {why}. -bootstrap (or -bootstrap-expect=1) would make a \
                     new and empty cluster of it. Put raft/ back from a backup; or start it without that flag if other servers of \
                     its cluster live, and it joins them anew; or remove {mark} to begin with an empty catalog"
                ));
            }
        }
        if let Some(id) = config.node_id {
            let cluster = lost.cluster().map_or_else(|| "it was about to begin".to_owned(), |cluster| cluster.to_string());
            let mark = mark.display();
            return Err(format!(
                "this server has lost its Raft log of cluster {cluster}: {why}. Under its old id {id}, which node_id gives it, it \
                 must not come back: its votes would count for what it no longer has. Give it another node_id and remove \
                 {mark} and {}; the leader cleans the old id up",
                path.display()
            ));
        }
        let id = NodeId::random();
        let cluster = lost.cluster().map_or_else(|| "none".to_owned(), |cluster| cluster.to_string());
        let aside = lost.begin_anew(id).map_err(|error| error.to_string())?;
        keep(id)?;
        let aside = aside.map_or_else(|| "nothing".to_owned(), |aside| aside.display().to_string());
        warn!(%cluster, why, new_id = %id, kept_of_it = %aside, "this server has lost its Raft log; it joins its cluster under a new node id");
        Ok(())
    }
}

/// Refuses the directory of a server of Consul, beside whose catalog an empty one would begin.
fn refuse_consuls_catalog(path: &Path) -> Result<(), String> {
    let raft = path.join("raft");
    let consuls = ["raft.db", "wal", "snapshots"].map(|name| raft.join(name)).into_iter().find(|file| file.exists());
    let Some(found) = consuls.filter(|_| !raft.join("log").exists()) else { return Ok(()) };
    Err(format!(
        "data directory {} belongs to a server of Consul ({}): its catalog is in a format that Kontor does not read, and an empty one \
         beside it would go unnoticed. Nothing was changed. Give this server a -data-dir of its own; agents then bring their services \
         and checks into its catalog by themselves. KV, ACLs, sessions and what was registered only in the catalog do not come along",
        path.display(),
        found.display()
    ))
}

/// The id of an agent and its data directory, settled before any part runs.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) node_id: NodeId,
    pub(super) data_dir: Option<DataDir>,
}

impl Identity {
    /// Locks the data directory of `config` and takes the id from there. Dev mode and a lost Raft log make a new id.
    pub(super) fn open(config: &Config) -> Result<Identity, String> {
        if let Some(path) = config.data_dir.as_deref().filter(|_| config.server) {
            refuse_consuls_catalog(path)?;
        }
        let data_dir = config.data_dir.as_deref().map(DataDir::open).transpose()?;
        if let Some(dir) = data_dir.as_ref().filter(|_| config.server) {
            dir.renew_id_after_loss(config)?;
        }
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
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    if written.is_err() {
        // A part of the file would take room on a full disk.
        let _ = fs::remove_file(&beside);
    }
    written?;
    fs::rename(&beside, path)
}

/// The line for the user when a file cannot be used.
pub(super) fn unusable(path: &Path, error: &io::Error) -> String {
    format!("cannot use {}: {error}; the agent needs to create and write files there", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};
    use serde_json::json;

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

    fn server(dir: &Path, expect: u32) -> Config {
        let flags = json!({"bind_addr": "127.0.0.1", "data_dir": dir.display().to_string()});
        let config = resolve(&Sources { flags, ..Sources::default() }).unwrap();
        Config { server: true, bootstrap_expect: expect, ..config }
    }

    #[test]
    fn a_consul_servers_directory_is_refused_and_stays_as_it_is() {
        for name in ["raft.db", "wal/", "snapshots/"] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("raft").join(name.trim_end_matches("raft.db"))).unwrap();
            if name == "raft.db" {
                fs::write(folder.path().join("raft/raft.db"), b"bolt").unwrap();
            }
            let error = Identity::open(&server(folder.path(), 1)).unwrap_err();
            assert!(error.contains("belongs to a server of Consul") && error.contains("-data-dir"), "{error}");
            let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(left, ["raft"]);
        }
    }

    #[test]
    fn a_server_that_lost_its_log_gets_a_new_id_or_is_refused_where_that_cannot_be_meant() {
        let folder = tempfile::tempdir().unwrap();
        let old = DataDir::open(folder.path()).unwrap().node_id(None).unwrap();
        let mark = format!("{{\"node\":\"{old}\",\"cluster\":\"{old}\",\"log\":\"kept\"}}");
        fs::write(folder.path().join("raft-mark.json"), mark).unwrap();
        let error = Identity::open(&server(folder.path(), 1)).unwrap_err();
        assert!(error.contains("new and empty cluster"), "{error}");
        let error = Identity::open(&Config { node_id: Some(old), ..server(folder.path(), 3) }).unwrap_err();
        assert!(error.contains("node_id") && error.contains(&old.to_string()), "{error}");
        // A client keeps no log.
        assert_eq!(Identity::open(&Config { server: false, ..server(folder.path(), 0) }).unwrap().node_id, old);
        let new = Identity::open(&server(folder.path(), 3)).unwrap().node_id;
        assert_ne!(new, old);
        assert_eq!(Identity::open(&server(folder.path(), 3)).unwrap().node_id, new);
        // Interrupted before the id was written.
        fs::write(folder.path().join(NODE_ID_FILE), old.to_string()).unwrap();
        assert_eq!(Identity::open(&server(folder.path(), 3)).unwrap().node_id, new);
    }

    #[test]
    fn a_damaged_node_id_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NODE_ID_FILE), "not an id").unwrap();
        let error = DataDir::open(folder.path()).unwrap().node_id(None).unwrap_err();
        assert!(error.contains(NODE_ID_FILE) && error.contains("expected a UUID"), "{error}");
    }
}
