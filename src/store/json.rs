//! JSON of rows, made once and kept with them, and lists put together from it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use std::sync::OnceLock;

/// JSON that is made at its first use.
pub(super) type Fragment = OnceLock<Bytes>;

/// The JSON of a plain struct with text keys, which cannot fail to have one.
pub(super) fn fragment(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from)
}

/// The JSON of a plain struct as a value, for filters.
pub(super) fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// A JSON list, or an object, in the making: parts one after the other.
#[derive(Debug)]
pub(super) struct List {
    json: Vec<u8>,
    close: u8,
}

impl List {
    pub(super) fn new() -> List {
        List { json: vec![b'['], close: b']' }
    }

    pub(super) fn object() -> List {
        List { json: vec![b'{'], close: b'}' }
    }

    /// Adds an element that consists of `parts`.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        self.begin();
        parts.iter().for_each(|part| self.extend(part));
    }

    /// Adds an element that cannot fail to have JSON.
    pub(super) fn push_value(&mut self, value: &impl Serialize) {
        self.begin();
        let start = self.json.len();
        if serde_json::to_writer(&mut self.json, value).is_err() {
            self.json.truncate(start);
            self.extend(b"null");
        }
    }

    fn begin(&mut self) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
    }

    /// Adds more to the last element.
    pub(super) fn extend(&mut self, part: &[u8]) {
        self.json.extend_from_slice(part);
    }

    pub(super) fn reserve(&mut self, bytes: usize) {
        self.json.reserve(bytes);
    }

    pub(super) fn finish(mut self) -> Bytes {
        self.json.push(self.close);
        self.json.into()
    }
}
