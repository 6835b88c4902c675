//! Reads of keys: entries, the keys that wake a reader, and the index.

use crate::model::kv::{KvEntry, KvKey, ShownEntry};
use crate::model::operation::{KvPage, KvRead};
use crate::store::json::List;
use crate::store::key::{Key, Scope};
use crate::store::select::Select;
use crate::store::view::View;
use bytes::Bytes;
use std::sync::Arc;

/// The entries of one read, by what is shown of them.
#[derive(Debug)]
pub enum KvRows<'v> {
    /// `kv/:key`
    Entry(Option<&'v Arc<KvEntry>>),
    /// `kv/:key?raw`
    Raw(Option<&'v Arc<KvEntry>>),
    /// `kv/:prefix?recurse`
    List(Vec<&'v Arc<KvEntry>>),
    /// `kv/:prefix?keys`; all keys where the prefix is empty
    Keys { keys: Vec<KvKey>, is_of_all: bool },
}

pub(crate) fn rows<'v>(view: &'v View, read: &KvRead, select: &Select<'_>) -> KvRows<'v> {
    let sees = |entry: &&'v Arc<KvEntry>| select.sees_key(entry.key.as_bytes());
    match read {
        KvRead::Get { key, raw } => {
            let entry = view.keys.get(key.as_bytes()).filter(sees);
            if *raw { KvRows::Raw(entry) } else { KvRows::Entry(entry) }
        }
        KvRead::List { prefix, page } => {
            let (from, limit) = bounds(page.as_deref(), prefix, b"");
            let below = view.keys.below_from(prefix.as_bytes(), &from);
            KvRows::List(below.map(|(_, entry)| entry).filter(sees).take(limit).collect())
        }
        KvRead::Keys { prefix, separator, page } => {
            let separator = separator.as_deref().map_or(&b""[..], KvKey::as_bytes);
            let (from, limit) = bounds(page.as_deref(), prefix, separator);
            let mut walk = Walk { view, prefix: prefix.as_bytes(), separator, from: Some(from) };
            let keys = std::iter::from_fn(|| walk.next(select)).take(limit).collect();
            KvRows::Keys { keys, is_of_all: prefix.is_empty() }
        }
    }
}

/// The lowest key of a page, and the number of its elements. After a cut key comes the next one that is cut otherwise.
fn bounds(page: Option<&KvPage>, prefix: &KvKey, separator: &[u8]) -> (Vec<u8>, usize) {
    let Some(KvPage { after, limit }) = page else { return (Vec::new(), usize::MAX) };
    let after = after.as_bytes();
    let below = after.get(prefix.as_bytes().len()..);
    let is_cut = !separator.is_empty() && below.is_some_and(|below| below.ends_with(separator));
    let from = if after.is_empty() {
        Some(Vec::new())
    } else if is_cut {
        beyond(after)
    } else {
        Some(next_key(after))
    };
    let limit = if *limit == 0 { usize::MAX } else { *limit as usize };
    from.map_or((Vec::new(), 0), |from| (from, limit))
}

/// The lowest key above `key`.
fn next_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The lowest key above all that begin with `prefix`; none where there can be no such key.
fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut beyond = prefix.to_vec();
    while beyond.last() == Some(&u8::MAX) {
        beyond.pop();
    }
    *beyond.last_mut()? += 1;
    Some(beyond)
}

/// A walk over the keys below a prefix, each cut after its first separator. Keys that are cut alike are stepped over at
/// once.
struct Walk<'v, 'p> {
    view: &'v View,
    prefix: &'p [u8],
    separator: &'p [u8],
    /// The lowest key that comes next; none at the end.
    from: Option<Vec<u8>>,
}

impl Walk<'_, '_> {
    fn next(&mut self, select: &Select<'_>) -> Option<KvKey> {
        loop {
            let (key, _) = self.view.keys.below_from(self.prefix, &self.from.take()?).next()?;
            let bytes = key.as_bytes();
            let cut = self.cut(bytes).filter(|_| select.sees_key(bytes)).map(|end| &bytes[..end]);
            self.from = cut.map_or_else(|| Some(next_key(bytes)), beyond);
            if select.sees_key(bytes) {
                return Some(cut.map_or_else(|| key.clone(), KvKey::from));
            }
        }
    }

    /// The length to which a key is cut.
    fn cut(&self, key: &[u8]) -> Option<usize> {
        let rest = key.get(self.prefix.len()..).filter(|_| !self.separator.is_empty())?;
        let at = rest.windows(self.separator.len()).position(|window| window == self.separator)?;
        Some(self.prefix.len() + at + self.separator.len())
    }
}

impl KvRows<'_> {
    /// False for what answers 404: an entry that is not there, and a prefix without any.
    pub(crate) fn found(&self) -> bool {
        match self {
            KvRows::Entry(entry) | KvRows::Raw(entry) => entry.is_some(),
            KvRows::List(entries) => !entries.is_empty(),
            KvRows::Keys { keys, is_of_all } => *is_of_all || !keys.is_empty(),
        }
    }

    /// The JSON; of a raw read the value itself.
    pub(crate) fn render(&self) -> Bytes {
        match self {
            KvRows::Entry(entry) => list(entry.iter().copied()),
            KvRows::Raw(entry) => entry.map(|entry| entry.value.clone()).unwrap_or_default(),
            KvRows::List(entries) => list(entries.iter().copied()),
            KvRows::Keys { keys, .. } => {
                let texts: Vec<_> = keys.iter().map(KvKey::text).collect();
                crate::store::json::fragment(&texts)
            }
        }
    }
}

fn list<'a>(entries: impl Iterator<Item = &'a Arc<KvEntry>>) -> Bytes {
    let mut list = List::new();
    entries.for_each(|entry| list.push_value(&ShownEntry { entry, with_value: true }));
    list.finish()
}

/// The keys that wake a read.
pub(crate) fn scopes(read: &KvRead) -> Vec<Scope> {
    vec![match read {
        KvRead::Get { key, raw: _ } => Scope::Exact(Key::Kv(key.clone())),
        KvRead::List { prefix, .. } | KvRead::Keys { prefix, .. } => Scope::Prefix(Key::Kv(prefix.clone())),
    }]
}

/// The index of its answer. A page has that of the whole table: its own would need a look at all that is below the
/// prefix.
pub(crate) fn index(view: &View, read: &KvRead) -> u64 {
    match read {
        KvRead::Get { key, raw: _ } => view.keys.get(key.as_bytes()).map_or(view.keys.last(), |entry| entry.modify_index),
        KvRead::List { page: Some(_), .. } | KvRead::Keys { page: Some(_), .. } => view.keys.last(),
        KvRead::List { prefix, page: None } | KvRead::Keys { prefix, page: None, .. } => view.keys.index_below(prefix.as_bytes()),
    }
}
