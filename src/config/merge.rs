//! Reading of settings from a document, and the change of an earlier source by a later one.
//!
//! `file` describes its stanzas with [`stanzas!`]. Reading never stops at a mistake: each one lands in [`Problems`].

use super::problems::Problems;
use super::support;
use crate::model::duration;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) trait Setting: Sized {
    /// Reads it; a mistake is noted under `key` and gives nothing.
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<Self>;

    /// Takes in the value of a later source: scalars are replaced.
    fn merge(&mut self, later: Self) {
        *self = later;
    }

    /// Splits off the lists. As in Consul, lists of flags go before those of files, while scalars of flags win.
    fn take_lists(&mut self) -> Option<Self> {
        None
    }
}

impl Setting for bool {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<bool> {
        let value = lone(value);
        value.as_bool().or_else(|| problems.expected(key, "true or false", &value))
    }
}

impl Setting for i64 {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<i64> {
        let value = lone(value);
        // HCL knows one kind of number; a whole one counts however it is written.
        let read = value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15).map(|n| n as i64));
        read.or_else(|| problems.expected(key, "a whole number", &value))
    }
}

impl Setting for String {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<String> {
        match lone(value) {
            Value::String(text) => Some(text),
            other => problems.expected(key, "a string", &other),
        }
    }
}

impl Setting for Duration {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<Duration> {
        let text = String::read(value, key, problems)?;
        duration::parse(&text).map_err(|message| problems.error(format!("{key}: {message}"))).ok()
    }
}

impl Setting for Vec<String> {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<Vec<String>> {
        let Value::Array(items) = value else {
            return problems.expected(key, "a list of strings", &value);
        };
        Some(items.into_iter().enumerate().filter_map(|(n, item)| String::read(item, &format!("{key}[{n}]"), problems)).collect())
    }

    fn merge(&mut self, later: Vec<String>) {
        self.extend(later);
    }

    fn take_lists(&mut self) -> Option<Vec<String>> {
        Some(std::mem::take(self))
    }
}

/// A definition, of which a key has one or several; later sources add theirs.
pub(super) trait Definition: Sized {
    fn read_one(value: Value, key: &str, problems: &mut Problems) -> Option<Self>;
}

impl<T: Definition> Setting for Vec<T> {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<Vec<T>> {
        Some(each(value, key).into_iter().filter_map(|(key, value)| T::read_one(value, &key, problems)).collect())
    }

    fn merge(&mut self, later: Vec<T>) {
        self.extend(later);
    }
}

/// The values with their keys: the elements of a list, or a value alone.
pub(super) fn each(value: Value, key: &str) -> Vec<(String, Value)> {
    match value {
        Value::Array(items) => items.into_iter().enumerate().map(|(n, item)| (format!("{key}[{n}]"), item)).collect(),
        one => vec![(key.to_owned(), one)],
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<BTreeMap<String, T>> {
        let object = read_object(value, key, problems)?;
        let read_entry = |(name, item): (String, Value)| {
            let item = T::read(item, &join_key(key, &name), problems)?;
            Some((name, item))
        };
        Some(object.into_iter().filter_map(read_entry).collect())
    }

    fn merge(&mut self, later: BTreeMap<String, T>) {
        for (name, item) in later {
            match self.get_mut(&name) {
                Some(earlier) => earlier.merge(item),
                None => _ = self.insert(name, item),
            }
        }
    }
}

/// The only element of a list in place of the list: as in Consul, it counts where one value is due.
fn lone(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
        other => other,
    }
}

/// An object, or the sum of a list of objects, which HCL gives for a repeated block.
pub(super) fn read_object(value: Value, key: &str, problems: &mut Problems) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        Value::Array(items) if items.iter().all(Value::is_object) => {
            let objects = items.into_iter().filter_map(|item| if let Value::Object(object) = item { Some(object) } else { None });
            Some(objects.fold(Map::new(), joined))
        }
        other => {
            let what = if key.is_empty() { "an object at the top" } else { "an object" };
            problems.expected(key, what, &other)
        }
    }
}

/// Both objects in one. Blocks of one name become a list, so that blocks in repeated blocks add up too.
fn joined(mut first: Map<String, Value>, second: Map<String, Value>) -> Map<String, Value> {
    let adds_up = |value: &Value| {
        value.is_object() || matches!(value, Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object))
    };
    for (key, value) in second {
        let known = first.remove(&key).filter(|known| adds_up(known) && adds_up(&value));
        let value = match known {
            Some(known) => {
                let items = [known, value].into_iter().flat_map(|value| match value {
                    Value::Array(items) => items,
                    one => vec![one],
                });
                Value::Array(items.collect())
            }
            None => value,
        };
        first.insert(key, value);
    }
    first
}

/// Takes `name`, in capitals or not, out of `object`.
pub(super) fn remove(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    object.remove(name).or_else(|| {
        let written = object.keys().find(|key| key.eq_ignore_ascii_case(name))?.clone();
        object.remove(&written)
    })
}

/// Takes `name` out of `object`, when it is there and not null.
pub(super) fn take<T: Setting>(object: &mut Map<String, Value>, key: &str, name: &str, problems: &mut Problems) -> Option<T> {
    match remove(object, name)? {
        Value::Null => None,
        value => T::read(value, &join_key(key, name), problems),
    }
}

pub(super) fn refuse_rest(object: Map<String, Value>, key: &str, problems: &mut Problems) {
    // Null is no value, as with known keys.
    for (name, value) in object.into_iter().filter(|(_, value)| !value.is_null()) {
        support::judge(&join_key(key, &name), &value, problems);
    }
}

pub(super) fn join_key(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

/// Merges a setting that a later source may not have.
pub(super) fn merge_option<T: Setting>(earlier: &mut Option<T>, later: Option<T>) {
    match (earlier.as_mut(), later) {
        (Some(earlier), Some(later)) => earlier.merge(later),
        (None, Some(later)) => *earlier = Some(later),
        (_, None) => {}
    }
}

/// Declares stanzas: structs with every field optional, and how they are read, merged and split.
macro_rules! stanzas {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(super) struct $name { $(pub(super) $field: Option<$kind>,)* }

        impl $crate::config::merge::Setting for $name {
            fn read(
                value: serde_json::Value,
                key: &str,
                problems: &mut $crate::config::problems::Problems,
            ) -> Option<$name> {
                let mut object = $crate::config::merge::read_object(value, key, problems)?;
                let stanza = $name {
                    $($field: $crate::config::merge::take(&mut object, key, stringify!($field), problems),)*
                };
                $crate::config::merge::refuse_rest(object, key, problems);
                Some(stanza)
            }

            fn merge(&mut self, later: $name) {
                $($crate::config::merge::merge_option(&mut self.$field, later.$field);)*
            }

            fn take_lists(&mut self) -> Option<$name> {
                Some($name { $($field: self.$field.as_mut().and_then($crate::config::merge::Setting::take_lists),)* })
            }
        }
    )*};
}
pub(super) use stanzas;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks_in_repeated_blocks_add_up() {
        let mut problems = Problems::default();
        let value = json!([
            {"defaults": {"verify_incoming": true}, "https": {"a": 1}, "one": 1},
            {"defaults": {"ca_file": "ca.pem"}, "one": 2},
            {"defaults": {"key_file": "key.pem"}},
        ]);
        let mut object = read_object(value, "tls", &mut problems).unwrap();
        let defaults = read_object(object.remove("defaults").unwrap(), "tls.defaults", &mut problems).unwrap();
        assert_eq!(Value::Object(defaults), json!({"verify_incoming": true, "ca_file": "ca.pem", "key_file": "key.pem"}));
        assert_eq!(Value::Object(object), json!({"https": {"a": 1}, "one": 2}));
    }
}
