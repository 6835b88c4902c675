//! A pool's memory across restarts: its generation, the last known members, its departure. Blocking I/O.
//! It is written whole to a new file that then takes the old one's name: a crash leaves one or the other. Serf's own file has
//! the same name: its members are taken over, and it stays beside ours, for a return to Consul.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::Path;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The greatest generation that was used.
    pub generation: u64,
    /// This agent left on purpose.
    pub left: bool,
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
        if let Some(of_serf) = parse_serf(&bytes) {
            return Ok(of_serf);
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| format!("{} is damaged ({error}); remove it to start without last known members", path.display()))
    }

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
        if fs::read(path).is_ok_and(|bytes| parse_serf(&bytes).is_some()) {
            let mut aside = path.as_os_str().to_owned();
            aside.push(".serf");
            fs::rename(path, aside)?;
        }
        fs::rename(&fresh, path)?;
        File::open(folder)?.sync_all()
    }
}

/// Serf's text, if it is that: events in order, one a line.
fn parse_serf(bytes: &[u8]) -> Option<Snapshot> {
    const OTHERS: [&str; 5] = ["clock:", "event-clock:", "query-clock:", "coordinate:", "#"];
    let (mut members, mut left) = (BTreeMap::new(), false);
    // A crash may have cut the last line off anywhere.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(&bytes[..0], |end| &bytes[..end]);
    let text = std::str::from_utf8(whole).ok()?;
    if text.is_empty() && !bytes.is_empty() {
        return None;
    }
    for line in text.lines() {
        if let Some((name, addr)) = line.strip_prefix("alive: ").and_then(|rest| rest.rsplit_once(' ')) {
            left = false;
            members.extend(addr.parse::<SocketAddr>().ok().map(|addr| (name, addr)));
        } else if let Some(name) = line.strip_prefix("not-alive: ") {
            members.remove(name.rsplit_once(' ').map_or(name, |(name, _)| name));
        } else if line == "leave" {
            left = true;
        } else if !OTHERS.iter().any(|known| line.starts_with(known)) {
            return None;
        }
    }
    Some(Snapshot { generation: 0, left, members: members.into_values().collect() })
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
        fs::write(&path, b"{\"gener\n").unwrap();
        assert!(Snapshot::read(&path).unwrap_err().contains("local.snapshot is damaged"));
        fs::write(&path, b"{\"gener").unwrap();
        assert!(Snapshot::read(&path).unwrap_err().contains("local.snapshot is damaged"));
    }

    #[test]
    fn serfs_file_is_read_and_kept_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local.snapshot");
        let text = "alive: s1 10.0.0.1:8301\nclock: 7\nevent-clock: 0\nquery-clock: 0\ncoordinate: {\"Vec\":[0]}\n\
                    alive: s2 10.0.0.2:8301\nnot-alive: s2\nalive: c1 [::1]:8301\nalive: c2 10.0";
        fs::write(&path, text).unwrap();
        let read = Snapshot::read(&path).unwrap();
        assert_eq!(read.members, ["[::1]:8301".parse().unwrap(), "10.0.0.1:8301".parse().unwrap()]);
        assert!(!read.left);
        let next = Snapshot { generation: 3, ..read };
        next.write(&path).unwrap();
        next.write(&path).unwrap();
        assert_eq!(Snapshot::read(&path).unwrap(), next);
        assert_eq!(fs::read_to_string(folder.path().join("local.snapshot.serf")).unwrap(), text);
        fs::write(&path, "alive: s1 10.0.0.1:8301\nleave\n").unwrap();
        assert!(Snapshot::read(&path).unwrap().left);
        fs::write(&path, "").unwrap();
        assert_eq!(Snapshot::read(&path).unwrap(), Snapshot::default());
    }
}
