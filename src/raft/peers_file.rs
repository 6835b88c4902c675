//! `raft/peers.json`: the servers of a cluster whose majority is gone for good, as an operator lists them.
//! Two formats, as Consul has them: a list of `{"id", "address", "non_voter"}`, and one of `"ip:port"`. `recovery` applies it.

use super::RaftError;
use super::mark::FOLDER;
use crate::model::ids::NodeId;
use serde::Deserialize;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(super) const FILE: &str = "peers.json";
/// Its name once it is done.
const TAKEN: &str = "peers.json.taken";
/// The explanation of it, for operators.
const INFO_FILE: &str = "peers.info";

const INFO: &str = r#"This server reads a file "peers.json" in this folder when it starts. It is for outages only: when a
majority of the servers is gone for good, it names the servers that the cluster goes on with.

1. Stop all servers that are left. Those that are gone must not come back with their old data.
2. Write the same peers.json into raft/ of the data directory of each that is left, and start them.

Each server is named by its node id, which is in the file "node-id" of its data directory:

[
  {
    "id": "40e4a748-2192-161a-0510-9bf59fe950b5",
    "address": "10.1.0.1:8300",
    "non_voter": false
  }
]

The id must be right. The address is for people: servers find each other by gossip. "non_voter" may be
left out; true stands for a server without a vote. The older format names servers by address alone:

["10.1.0.1:8300", "10.1.0.2:8300"]

The addresses are then looked up in the catalog as this server has it.

The servers listed replace the ones the cluster had; the log and all data stay, and the cluster gets a
new id, so that servers with the old one are strangers to it. Writes that were not yet agreed on at
the time of the outage count from then on. New servers join by themselves. The file is renamed to
"peers.json.taken" when it is done.
"#;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// By its id.
    Id { id: NodeId, voter: bool },
    /// The older format.
    Address(SocketAddr),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(rename = "address")]
    _address: Option<String>,
    #[serde(default)]
    non_voter: bool,
}

pub(super) fn read(data_dir: &Path) -> Result<Option<Vec<Listed>>, RaftError> {
    let path = path(data_dir);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&path, error)),
    };
    parse(&bytes).map(Some).map_err(|error| wrong(&path, error))
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER).join(FILE)
}

/// The fault of a list; nothing was changed.
pub(super) fn wrong(path: &Path, why: impl std::fmt::Display) -> RaftError {
    RaftError::Storage(format!(
        "{}: {why}. Nothing was changed; mend it as {INFO_FILE} beside it explains, or remove it to start as before",
        path.display()
    ))
}

fn parse(bytes: &[u8]) -> Result<Vec<Listed>, String> {
    if let Ok(addresses) = serde_json::from_slice::<Vec<String>>(bytes) {
        let listed = |text: &String| {
            let expected = |_error| format!("expected an address like 10.1.0.1:8300, got {text:?}");
            text.parse().map(Listed::Address).map_err(expected)
        };
        return addresses.iter().map(listed).collect();
    }
    let expected = |error| format!("expected a list of {{\"id\", \"address\", \"non_voter\"}} or of \"ip:port\": {error}");
    let entries: Vec<Entry> = serde_json::from_slice(bytes).map_err(expected)?;
    entries.iter().map(|entry| Ok(Listed::Id { id: entry.id.parse()?, voter: !entry.non_voter })).collect()
}

/// Renames a list that is done.
pub(super) fn take(data_dir: &Path) -> io::Result<()> {
    let folder = data_dir.join(FOLDER);
    fs::rename(folder.join(FILE), folder.join(TAKEN))?;
    fs::File::open(folder)?.sync_all()
}

/// Puts the explanation beside the list.
pub(super) fn explain(data_dir: &Path) -> io::Result<()> {
    let path = data_dir.join(FOLDER).join(INFO_FILE);
    if path.exists() { Ok(()) } else { fs::write(path, INFO) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_others_are_named() {
        let both = parse(br#"["10.1.0.1:8300", "[::1]:8300"]"#).unwrap();
        assert_eq!(both, [Listed::Address("10.1.0.1:8300".parse().unwrap()), Listed::Address("[::1]:8300".parse().unwrap())]);
        let id = NodeId::from_u128(1);
        let text = format!(r#"[{{"id": "{id}", "address": "10.1.0.1:8300", "non_voter": true}}, {{"id": "{id}"}}]"#);
        let listed = parse(text.as_bytes()).unwrap();
        assert_eq!(listed, [Listed::Id { id, voter: false }, Listed::Id { id, voter: true }]);
        assert!(parse(br#"["s1"]"#).unwrap_err().contains("10.1.0.1:8300"));
        assert!(parse(br#"[{"id": "s1"}]"#).unwrap_err().contains("expected a UUID"));
        assert!(parse(br#"[{"id": "s1", "voter": true}]"#).unwrap_err().contains("non_voter"));
        assert!(parse(b"{").unwrap_err().contains("expected a list"));
    }
}
