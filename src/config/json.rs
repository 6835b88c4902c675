//! JSON with the places of its values: `serde_json` judges a text, and [`Walk`] goes along a valid one.

use super::document::{Content, Document, Fault, Node, Position};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn parse(text: &str) -> Result<Document, Fault> {
    if let Err(error) = serde_json::from_str::<Value>(text) {
        let at = Position { line: error.line().max(1), column: error.column().max(1) };
        let text = error.to_string();
        // The place stands in front of the text.
        let what = text.split(" at line ").next().unwrap_or(&text);
        return Err(Fault { at, what: format!("not valid JSON: {what}") });
    }
    Ok(Document::new(text.to_owned(), Walk { text, at: 0 }.value()))
}

/// A way along valid JSON, whose depth `serde_json` has bounded.
struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl Walk<'_> {
    fn value(&mut self) -> Node {
        let next = self.next();
        let at = self.at;
        let content = match next {
            Some(b'{') => self.object(),
            Some(b'[') => self.list(),
            _ => Content::One(self.scalar()),
        };
        Node { at, content }
    }

    fn object(&mut self) -> Content {
        let mut entries = BTreeMap::new();
        self.at += 1;
        while self.next().is_some_and(|byte| byte != b'}') {
            let at = self.at;
            if let Value::String(key) = self.scalar() {
                self.pass(b':');
                let content = self.value().content;
                entries.insert(key, Node { at, content });
            }
            self.pass(b',');
        }
        self.at += 1;
        Content::Object(entries)
    }

    fn list(&mut self) -> Content {
        let mut items = Vec::new();
        self.at += 1;
        while self.next().is_some_and(|byte| byte != b']') {
            items.push(self.value());
            self.pass(b',');
        }
        self.at += 1;
        Content::List(items)
    }

    /// A text, a number or a word; it moves on in any case.
    fn scalar(&mut self) -> Value {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut escaped = false;
        let length = match rest.strip_prefix('"') {
            Some(inner) => inner
                .bytes()
                .position(|byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                })
                .map(|length| length + 2),
            None => rest.find(|c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace()),
        };
        let length = length.unwrap_or(rest.len());
        self.at += length.max(1);
        serde_json::from_str(rest.get(..length).unwrap_or_default()).unwrap_or(Value::Null)
    }

    /// The next byte behind white space.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let blank = rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len());
        self.at += blank;
        rest.get(blank).copied()
    }

    fn pass(&mut self, byte: u8) {
        if self.next() == Some(byte) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from)
        ];
        scalar.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_walked_along_is_what_serde_json_reads(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(parse(&text).unwrap().value(), value);
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,64}|[\\[\\]{}\",:\\\\a1 \n]{0,64}") {
            let expected = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(parse(&text).ok().map(|document| document.value()), expected);
        }
    }
}
