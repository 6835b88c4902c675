//! Entries as `kontor kv` shows, exports and imports them. Pure.

use super::table::{layout, row};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// An entry of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Entry {
    create_index: u64,
    flags: u64,
    key: String,
    key_bytes: Option<String>,
    lock_index: u64,
    modify_index: u64,
    session: Option<String>,
    #[serde(rename = "TTL")]
    ttl: Option<String>,
    value: Option<String>,
}

/// How entries are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) is_base64: bool,
    pub(super) is_detailed: bool,
}

impl Entry {
    fn value(&self, is_base64: bool) -> Vec<u8> {
        let coded = self.value.as_deref().unwrap_or_default();
        if is_base64 { coded.as_bytes().to_vec() } else { STANDARD.decode(coded).unwrap_or_default() }
    }
}

impl Shown {
    /// One entry, with a newline.
    pub(super) fn single(self, entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        if self.is_detailed {
            let numbers =
                [entry.create_index, entry.flags, entry.lock_index, entry.modify_index].map(|number| number.to_string());
            let [create, flags, lock, modify] = numbers;
            let mut rows = vec![
                row(["CreateIndex", &create]),
                row(["Flags", &flags]),
                row(["Key", &entry.key]),
                row(["LockIndex", &lock]),
                row(["ModifyIndex", &modify]),
                row(["Session", entry.session.as_deref().unwrap_or("-")]),
            ];
            rows.extend(entry.ttl.as_deref().map(|ttl| row(["TTL", ttl])));
            out.extend(layout(&rows, DETAIL_GAP).into_bytes());
            out.extend(b"Value            ");
        }
        out.extend(self.line(entry));
        out
    }

    fn line(self, entry: &Entry) -> Vec<u8> {
        let mut line = entry.value(self.is_base64);
        line.push(b'\n');
        line
    }

    /// All of them: `key:value`, or their details with an empty line between.
    pub(super) fn list(self, entries: &[Entry]) -> Vec<u8> {
        if self.is_detailed {
            let all: Vec<Vec<u8>> = entries.iter().map(|entry| self.single(entry)).collect();
            return all.join(&b'\n');
        }
        let line = |entry: &Entry| [format!("{}:", entry.key).into_bytes(), self.line(entry)].concat();
        entries.iter().flat_map(line).collect()
    }
}

/// Spaces between the names of details and their values.
const DETAIL_GAP: usize = 6;

/// An entry in a file. The bytes of the key stand beside it where it is no text.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Exported {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_bytes: Option<String>,
    flags: u64,
    value: String,
}

/// An entry to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Imported {
    pub(super) key: Vec<u8>,
    pub(super) flags: u64,
    pub(super) value: Vec<u8>,
}

/// Base64, with or without white space around it.
pub(super) fn decode(coded: &[u8]) -> Result<Vec<u8>, String> {
    STANDARD.decode(coded.trim_ascii()).map_err(|error| error.to_string())
}

/// The entries as a JSON file, indented with tabs.
pub(super) fn export(entries: &[Entry]) -> String {
    let exported = |entry: &Entry| Exported {
        key: entry.key.clone(),
        key_bytes: entry.key_bytes.clone(),
        flags: entry.flags,
        value: entry.value.clone().unwrap_or_default(),
    };
    let all: Vec<Exported> = entries.iter().map(exported).collect();
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    // Plain structs with text keys cannot fail to have JSON.
    _ = all.serialize(&mut serializer);
    String::from_utf8_lossy(&out).into_owned() + "\n"
}

/// The reverse of [`export`].
pub(super) fn import(data: &[u8]) -> Result<Vec<Imported>, String> {
    let all: Vec<Exported> = serde_json::from_slice(data).map_err(|error| error.to_string())?;
    let imported = |entry: Exported| {
        let key = entry.key_bytes.map_or_else(|| Ok(entry.key.clone().into_bytes()), |coded| decode(coded.as_bytes()))?;
        let value = decode(entry.value.as_bytes()).map_err(|error| format!("value of {:?}: {error}", entry.key))?;
        Ok(Imported { key, flags: entry.flags, value })
    };
    all.into_iter().map(imported).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kv::{KvEntry, ShownEntry};

    fn entry(key: &[u8], value: &'static [u8]) -> Entry {
        let entry = KvEntry { key: key.into(), value: value.into(), flags: 7, ..KvEntry::default() };
        serde_json::from_value(serde_json::to_value(ShownEntry { entry: &entry, with_value: true }).unwrap()).unwrap()
    }

    #[test]
    fn entries_are_shown_as_consul_shows_them() {
        let (plain, detailed) = (Shown { is_base64: false, is_detailed: false }, Shown { is_base64: true, is_detailed: true });
        let entries = [entry(b"a", b"one"), entry(b"b", b"\x00\xff")];
        assert_eq!(plain.single(&entries[0]), b"one\n");
        assert_eq!(plain.list(&entries), b"a:one\nb:\x00\xff\n");
        let text = "CreateIndex      0\nFlags            7\nKey              a\nLockIndex        0\nModifyIndex      0\n\
                    Session          -\nValue            b25l\n";
        assert_eq!(detailed.single(&entries[0]), text.as_bytes());
        assert_eq!(plain.list(&[]), b"");
    }

    #[test]
    fn every_key_and_value_survives_export_and_import() {
        let keys: [&[u8]; 6] = [b"a", b"a/", b"/", b"a//b/../c", b"\xff\x00/", "caf\u{e9}".as_bytes()];
        let entries: Vec<Entry> = keys.iter().map(|key| entry(key, b"\x00x\xff")).collect();
        let imported = import(export(&entries).as_bytes()).unwrap();
        let expected: Vec<Imported> =
            keys.iter().map(|key| Imported { key: key.to_vec(), flags: 7, value: b"\x00x\xff".to_vec() }).collect();
        assert_eq!(imported, expected);
    }
}
