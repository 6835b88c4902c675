//! The text of a body as a [`Value`], within bounds that count while it is read.
//!
//! No key has a meaning of its own here, whatever features of the parser a dependency turns on.

use crate::defaults::{JSON_DEPTH, JSON_VALUES};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

pub(super) fn parse(body: &[u8]) -> serde_json::Result<Value> {
    let mut text = serde_json::Deserializer::from_slice(body);
    let value = Bounded { left: &Cell::new(JSON_VALUES), depth: JSON_DEPTH }.deserialize(&mut text)?;
    text.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Bounded<'a> {
    /// The number of values that may still follow.
    left: &'a Cell<usize>,
    /// The number of objects and lists that may still be opened around them.
    depth: usize,
}

impl<'a> Bounded<'a> {
    /// For the values within an object or a list.
    fn deeper<E: Error>(self) -> Result<Bounded<'a>, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| {
            E::custom(format_args!("recursion limit exceeded: nested deeper than {JSON_DEPTH} levels; send it with fewer"))
        })?;
        Ok(Bounded { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| D::Error::custom(format_args!("more than {JSON_VALUES} values; send it in parts")))?);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let within = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(within)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let within = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            members.insert(key, object.next_value_seed(within)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_and_depth_are_bounded_and_the_refusal_says_by_what() {
        let list = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert!(parse(list(JSON_VALUES - 1).as_bytes()).is_ok());
        let refused = parse(list(JSON_VALUES).as_bytes()).unwrap_err().to_string();
        assert!(refused.starts_with("more than 32768 values; send it in parts"), "{refused}");
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(JSON_DEPTH).as_bytes()).is_ok());
        let refused = parse(nested(JSON_DEPTH + 1).as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("nested deeper than 64 levels; send it with fewer"), "{refused}");
    }

    proptest! {
        #[test]
        fn within_the_bounds_it_reads_what_the_parser_reads(text in r#"[\[\]{}",:0-9.a\\-]{0,40}"#) {
            prop_assert_eq!(parse(text.as_bytes()).ok(), serde_json::from_str::<Value>(&text).ok());
        }
    }
}
