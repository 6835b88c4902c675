//! The mark beside the node id: of which cluster this server has Raft state.
//! A server whose log is gone or older than it was must not answer under its old id: its votes and acknowledgements
//! would count for entries that it no longer has. The bootstrap writes the mark before the first state, and `receive` when
//! a leader knows more of this log than is there. `agent` reads it before the server has an id.

use super::RaftError;
use crate::model::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FILE: &str = "raft-mark.json";
/// The folder of Raft's state in the data directory.
pub(super) const FOLDER: &str = "raft";
/// The log's folder in [`FOLDER`].
pub(super) const LOG: &str = "log";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    node: NodeId,
    cluster: Option<ClusterId>,
    log: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Kept,
    /// The log must not be used any more, for this reason.
    Lost(String),
    /// The log is still to be sent, by the leader of the cluster.
    Awaited,
}

/// The file in one data directory, for one server.
#[derive(Clone, Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    node: NodeId,
}

impl MarkFile {
    pub(super) fn new(data_dir: &Path, node: NodeId) -> MarkFile {
        MarkFile { path: data_dir.join(FILE), node }
    }

    /// The cluster that has to take this server in before anything else.
    pub(super) fn awaited(&self) -> Result<Option<ClusterId>, RaftError> {
        Ok(read(&self.path)?.filter(|mark| mark.log == State::Awaited && mark.node == self.node).and_then(|mark| mark.cluster))
    }

    /// True if the log of this server must have entries.
    pub(super) fn wants_log(&self) -> Result<bool, RaftError> {
        Ok(read(&self.path)?.is_some_and(|mark| mark.log == State::Kept && mark.node == self.node && mark.cluster.is_some()))
    }

    /// From here on the log counts; on disk when this returns.
    pub(super) async fn keep(&self, cluster: Option<ClusterId>) -> io::Result<()> {
        self.put(cluster, State::Kept).await
    }

    pub(super) async fn lose(&self, why: &str) -> io::Result<()> {
        let cluster = read(&self.path).ok().flatten().and_then(|mark| mark.cluster);
        self.put(cluster, State::Lost(why.to_owned())).await
    }

    async fn put(&self, cluster: Option<ClusterId>, log: State) -> io::Result<()> {
        let (path, mark) = (self.path.clone(), Mark { node: self.node, cluster, log });
        let put = move || match read(&path) {
            Ok(Some(there)) if there == mark => Ok(()),
            _ => write(&path, &mark),
        };
        tokio::task::spawn_blocking(put).await.map_err(io::Error::other)?
    }
}

/// A server that has had Raft state and cannot go on with it.
#[derive(Debug)]
pub struct LostLog {
    data_dir: PathBuf,
    mark: Mark,
    /// The fault of the log.
    pub why: String,
}

/// The server in `data_dir`, if it has lost its log.
pub fn lost_log(data_dir: &Path) -> Result<Option<LostLog>, RaftError> {
    let Some(mark) = read(&data_dir.join(FILE))? else { return Ok(None) };
    let folder = data_dir.join(FOLDER).join(LOG);
    let why = match &mark.log {
        State::Lost(why) => why.clone(),
        State::Kept if is_empty(&folder) => format!("there is nothing in {}", folder.display()),
        State::Kept | State::Awaited => return Ok(None),
    };
    Ok(Some(LostLog { data_dir: data_dir.to_owned(), mark, why }))
}

/// The new id of a server that was interrupted in [`LostLog::begin_anew`].
pub fn awaiting_id(data_dir: &Path) -> Result<Option<NodeId>, RaftError> {
    Ok(read(&data_dir.join(FILE))?.filter(|mark| mark.log == State::Awaited).map(|mark| mark.node))
}

impl LostLog {
    /// The cluster of the lost log, if one had begun.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.mark.cluster
    }

    pub fn mark_path(&self) -> PathBuf {
        self.data_dir.join(FILE)
    }

    /// Has the server begin anew as `node`, which only its old cluster can take in. Returns the new name of the old
    /// state's folder, if there was one. Interrupted, it is done again.
    pub fn begin_anew(self, node: NodeId) -> Result<Option<PathBuf>, RaftError> {
        let aside = set_aside(&self.data_dir.join(FOLDER))?;
        let path = self.mark_path();
        let failed = |error: io::Error| RaftError::Storage(format!("{} cannot be written: {error}", path.display()));
        write(&path, &Mark { node, cluster: self.mark.cluster, log: State::Awaited }).map_err(failed)?;
        Ok(aside)
    }
}

/// Gives the folder a name that is free, unless it is not there.
fn set_aside(folder: &Path) -> Result<Option<PathBuf>, RaftError> {
    let free = (1_u32..).map(|number| folder.with_extension(format!("lost-{number}"))).find(|aside| !aside.exists());
    let Some(aside) = free else { return Ok(None) };
    match fs::rename(folder, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A mount point keeps its name and is empty: the log is lost for that very reason.
        Err(_busy) if is_empty(folder) => Ok(None),
        Err(error) => Err(RaftError::Storage(format!(
            "{} cannot be renamed to {}: {error}; it must not be used again: move it away",
            folder.display(),
            aside.display()
        ))),
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn read(path: &Path) -> Result<Option<Mark>, RaftError> {
    let unusable = |error: String| {
        RaftError::Storage(format!(
            "{}: {error}; it says whether this server has had Raft state. If {FOLDER}/ beside it is whole, remove the file",
            path.display()
        ))
    };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(error.to_string())),
    }
}

fn write(path: &Path, mark: &Mark) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(mark)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_server_without_its_log_begins_anew_and_nothing_is_deleted() {
        let home = tempfile::tempdir().unwrap();
        let (node, cluster) = (NodeId::from_u128(1), ClusterId(Uuid::from_u128(9)));
        let mark = MarkFile::new(home.path(), node);
        assert!(lost_log(home.path()).unwrap().is_none());
        mark.keep(Some(cluster)).await.unwrap();
        assert!(mark.wants_log().unwrap());
        assert!(lost_log(home.path()).unwrap().unwrap().why.contains("nothing in"));
        fs::create_dir_all(home.path().join("raft/log/keyspaces")).unwrap();
        assert!(lost_log(home.path()).unwrap().is_none());
        mark.lose("it is of last week").await.unwrap();
        let lost = lost_log(home.path()).unwrap().unwrap();
        assert_eq!((lost.why.as_str(), lost.cluster()), ("it is of last week", Some(cluster)));
        let next = NodeId::from_u128(2);
        assert_eq!(lost.begin_anew(next).unwrap(), Some(home.path().join("raft.lost-1")));
        assert!(home.path().join("raft.lost-1/log/keyspaces").exists() && !home.path().join("raft").exists());
        assert!(lost_log(home.path()).unwrap().is_none());
        assert_eq!(awaiting_id(home.path()).unwrap(), Some(next));
        assert_eq!(MarkFile::new(home.path(), next).awaited().unwrap(), Some(cluster));
        assert_eq!(mark.awaited().unwrap(), None);
    }

    #[test]
    fn a_damaged_mark_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(FILE), "{").unwrap();
        let error = lost_log(home.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove the file"), "{error}");
    }
}
