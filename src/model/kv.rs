//! Keys and values: the entry, and what can be done to one.

use super::duration;
use super::ids::SessionId;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A key, or the beginning of keys: any bytes, ordered byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KvKey(Arc<[u8]>);

impl KvKey {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True if it has no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key as JSON and errors show it. Bytes that are no UTF-8 become U+FFFD, as in Consul.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl Default for KvKey {
    fn default() -> KvKey {
        KvKey(Arc::from([]))
    }
}

impl<T: Into<Vec<u8>>> From<T> for KvKey {
    fn from(bytes: T) -> KvKey {
        KvKey(bytes.into().into())
    }
}

impl Borrow<[u8]> for KvKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for KvKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for KvKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KvKey, D::Error> {
        struct AnyBytes;
        impl Visitor<'_> for AnyBytes {
            type Value = KvKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a key")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<KvKey, E> {
                Ok(KvKey(bytes.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<KvKey, E> {
                self.visit_bytes(text.as_bytes())
            }
        }
        deserializer.deserialize_bytes(AnyBytes)
    }
}

/// A key with its value, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvEntry {
    /// The key.
    pub key: KvKey,
    /// The value.
    pub value: Bytes,
    /// A number that users give a meaning.
    pub flags: u64,
    /// How often the lock was taken since the last plain write.
    pub lock_index: u64,
    /// The session that holds the lock.
    pub session: Option<SessionId>,
    /// Milliseconds after its last write at which the entry is deleted; 0 for never.
    pub ttl_ms: u64,
    /// Index of the command that made it.
    pub create_index: u64,
    /// Index of the last command that changed it.
    pub modify_index: u64,
}

impl KvEntry {
    /// The time after its last write at which it is deleted; zero for never.
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}

/// The entry as JSON shows it, with or without its value.
#[derive(Clone, Copy, Debug)]
pub struct ShownEntry<'a> {
    /// The entry.
    pub entry: &'a KvEntry,
    /// True if the value is shown. Transactions leave it out of the entries that they have written.
    pub with_value: bool,
}

impl Serialize for ShownEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.entry;
        let value = (self.with_value && !entry.value.is_empty()).then(|| STANDARD.encode(&entry.value));
        let mut shown = serializer.serialize_struct("KvEntry", 8)?;
        shown.serialize_field("LockIndex", &entry.lock_index)?;
        shown.serialize_field("Key", &entry.key.text())?;
        if let Cow::Owned(_lossy) = entry.key.text() {
            shown.serialize_field("KeyBytes", &STANDARD.encode(entry.key.as_bytes()))?;
        }
        shown.serialize_field("Flags", &entry.flags)?;
        shown.serialize_field("Value", &value)?;
        if let Some(session) = &entry.session {
            shown.serialize_field("Session", session)?;
        }
        if entry.ttl_ms > 0 {
            shown.serialize_field("TTL", &duration::format(entry.ttl()))?;
        }
        shown.serialize_field("CreateIndex", &entry.create_index)?;
        shown.serialize_field("ModifyIndex", &entry.modify_index)?;
        shown.end()
    }
}

/// A value to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvPut {
    /// The key.
    pub key: KvKey,
    /// The value.
    pub value: Bytes,
    /// A number that users give a meaning.
    pub flags: u64,
    /// Milliseconds after which the entry is deleted unless it is written again; 0 for never.
    pub ttl_ms: u64,
}

/// A change of one key, or of all keys that begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvChange {
    /// Write a value.
    Set(KvPut),
    /// Write a value if the entry was changed last at that index; 0 for an entry that is not there.
    Cas(KvPut, u64),
    /// Write a value and take the lock for a session, if no other one holds it.
    Lock(KvPut, String),
    /// Write a value and give the lock back, if that session holds it.
    Unlock(KvPut, String),
    /// Delete an entry.
    Delete(KvKey),
    /// Delete an entry if it was changed last at that index.
    DeleteCas(KvKey, u64),
    /// Delete all entries whose key begins so.
    DeleteTree(KvKey),
}

impl KvChange {
    /// The key, or the beginning of keys.
    pub fn key(&self) -> &KvKey {
        match self {
            KvChange::Set(put) | KvChange::Cas(put, _) | KvChange::Lock(put, _) | KvChange::Unlock(put, _) => &put.key,
            KvChange::Delete(key) | KvChange::DeleteCas(key, _) | KvChange::DeleteTree(key) => key,
        }
    }

    /// The value to be written.
    pub fn put(&self) -> Option<&KvPut> {
        match self {
            KvChange::Set(put) | KvChange::Cas(put, _) | KvChange::Lock(put, _) | KvChange::Unlock(put, _) => Some(put),
            KvChange::Delete(_) | KvChange::DeleteCas(..) | KvChange::DeleteTree(_) => None,
        }
    }
}

/// The reason why a change is not made. Outside of transactions all but [`KvRefusal::Session`] answer `false`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KvRefusal {
    /// The entry was changed at another index.
    #[error("failed to {verb} key {key:?}, index is stale", key = .key.text())]
    Stale { verb: &'static str, key: KvKey },
    /// Another session holds the lock.
    #[error("failed to lock key {key:?}, lock is already held", key = .0.text())]
    Held(KvKey),
    /// The lock delay of a session that ended is not over.
    #[error("failed to lock key {key:?} due to lock delay", key = .0.text())]
    Delayed(KvKey),
    /// The session does not hold the lock.
    #[error("failed to unlock key {key:?}, lock isn't held, or is held by another session", key = .0.text())]
    NotHeld(KvKey),
    /// There is no such session.
    #[error("{0}")]
    Session(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_key_and_come_back_as_they_were(bytes: Vec<u8>) {
            let key = KvKey::from(bytes);
            let packed = rmp_serde::to_vec_named(&key).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<KvKey>(&packed).unwrap(), key);
        }
    }

    #[test]
    fn an_entry_is_shown_as_consul_shows_it() {
        let entry = KvEntry { key: b"a\xff".to_vec().into(), value: "x".into(), ..KvEntry::default() };
        let shown = |with_value| serde_json::to_string(&ShownEntry { entry: &entry, with_value }).unwrap();
        let rest = "\"CreateIndex\":0,\"ModifyIndex\":0}";
        assert_eq!(
            shown(true),
            format!("{{\"LockIndex\":0,\"Key\":\"a\u{fffd}\",\"KeyBytes\":\"Yf8=\",\"Flags\":0,\"Value\":\"eA==\",{rest}")
        );
        assert_eq!(
            shown(false),
            format!("{{\"LockIndex\":0,\"Key\":\"a\u{fffd}\",\"KeyBytes\":\"Yf8=\",\"Flags\":0,\"Value\":null,{rest}")
        );
    }
}
