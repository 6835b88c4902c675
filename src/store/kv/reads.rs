//! What is read of keys: entries, the keys that wake a reader, and the index.

use crate::model::kv::{KvEntry, KvKey, ShownEntry};
use crate::model::operation::{KvPage, KvRead};
use crate::store::json::List;
use crate::store::key::{Key, Scope};
use crate::store::select::Select;
use crate::store::view::View;
use bytes::Bytes;
use std::ops::Bound::{Excluded, Included, Unbounded};
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
            let (after, limit) = bounds(page.as_deref());
            KvRows::List(view.keys.below(prefix.as_bytes(), after).map(|(_, entry)| entry).filter(sees).take(limit).collect())
        }
        KvRead::Keys { prefix, separator, page } => {
            let (after, limit) = bounds(page.as_deref());
            let separator = separator.as_deref().map_or(&b""[..], KvKey::as_bytes);
            let mut walk = Walk { view, prefix: prefix.as_bytes(), separator, after: walked(view, after, separator) };
            let keys = std::iter::from_fn(|| walk.next(select)).take(limit).collect();
            KvRows::Keys { keys, is_of_all: prefix.is_empty() }
        }
    }
}

fn bounds(page: Option<&KvPage>) -> (&[u8], usize) {
    let limit = page.map_or(0, |page| page.limit);
    (page.map_or(b"", |page| page.after.as_bytes()), if limit == 0 { usize::MAX } else { limit as usize })
}

/// The key after which a page begins: after all that is cut alike, where `after` was cut.
fn walked(view: &View, after: &[u8], separator: &[u8]) -> Vec<u8> {
    let is_cut = !separator.is_empty() && after.ends_with(separator);
    let last = if is_cut { view.keys.last_below(after) } else { None };
    last.unwrap_or_else(|| after.to_vec())
}

/// A walk over the keys below a prefix, each cut after its first separator. What is cut alike is stepped over at once.
struct Walk<'v, 'p> {
    view: &'v View,
    prefix: &'p [u8],
    separator: &'p [u8],
    /// The last key that was returned, or was not seen.
    after: Vec<u8>,
}

impl Walk<'_, '_> {
    fn next(&mut self, select: &Select<'_>) -> Option<KvKey> {
        loop {
            let key = self.view.keys.below(self.prefix, &self.after).next()?.0.clone();
            self.after = key.as_bytes().to_vec();
            if !select.sees_key(key.as_bytes()) {
                continue;
            }
            let Some(end) = self.cut(key.as_bytes()) else { return Some(key) };
            let cut = &key.as_bytes()[..end];
            // None is between the last key below the cut and the next one that is cut otherwise.
            self.after = self.view.keys.last_below(cut).unwrap_or_default();
            return Some(cut.to_vec().into());
        }
    }

    /// Where a key is cut.
    fn cut(&self, key: &[u8]) -> Option<usize> {
        let rest = key.get(self.prefix.len()..).filter(|_| !self.separator.is_empty())?;
        let at = rest.windows(self.separator.len()).position(|window| window == self.separator)?;
        Some(self.prefix.len() + at + self.separator.len())
    }
}

impl super::Keys {
    /// The last key that begins with `prefix`.
    fn last_below(&self, prefix: &[u8]) -> Option<Vec<u8>> {
        let mut end = prefix.to_vec();
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        let before = match end.last_mut() {
            Some(last) => {
                *last += 1;
                self.rows.range::<_, [u8]>((Included(prefix), Excluded(&end[..]))).next_back()
            }
            None => self.rows.range::<_, [u8]>((Included(prefix), Unbounded)).next_back(),
        };
        before.map(|(key, _)| key.as_bytes().to_vec())
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

/// What wakes a read.
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
