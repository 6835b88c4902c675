//! A configuration document: its values, and the place of each in the text.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A place in a text; both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Lines end at a line feed.
    pub line: usize,
    /// In characters.
    pub column: usize,
}

impl Position {
    pub(super) fn of(text: &str, offset: usize) -> Position {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is no document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The place at which reading stopped.
    pub at: Position,
    /// The expectation and the text found.
    pub what: String,
}

/// A value with the byte of the text at which it, or the key before it, begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A text, a number, a boolean or null.
    One(Value),
    List(Vec<Node>),
    Object(BTreeMap<String, Node>),
}

impl Node {
    fn value(&self) -> Value {
        match &self.content {
            Content::One(value) => value.clone(),
            Content::List(items) => items.iter().map(Node::value).collect(),
            Content::Object(entries) => entries.iter().map(|(key, node)| (key.clone(), node.value())).collect(),
        }
    }

    /// The node named by `key`, already [`folded`], and true; else the last node on the way there, and false.
    fn find(&self, key: &str) -> (&Node, bool) {
        match &self.content {
            _ if key.is_empty() => (self, true),
            Content::One(_) => (self, false),
            Content::Object(entries) => {
                // A name may hold points itself.
                let fitting = entries.iter().filter_map(|(name, node)| Some((node, rest_after(key, &folded(name))?)));
                let next = fitting.min_by_key(|(_, rest)| rest.len());
                next.map_or((self, false), |(node, rest)| node.find(rest))
            }
            Content::List(items) => match key.strip_prefix('[').and_then(|key| key.split_once(']')) {
                Some((number, rest)) => {
                    let item = number.parse::<usize>().ok().and_then(|number| items.get(number));
                    item.map_or((self, false), |item| item.find(rest.strip_prefix('.').unwrap_or(rest)))
                }
                // A repeated block is read as one.
                None => {
                    let found = items.iter().rev().map(|item| item.find(key)).find(|(_, exact)| *exact);
                    found.unwrap_or((self, false))
                }
            },
        }
    }
}

fn rest_after<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(name)?;
    if rest.is_empty() || rest.starts_with('[') { Some(rest) } else { rest.strip_prefix('.') }
}

/// A key in the one spelling that stands for all of its spellings.
fn folded(key: &str) -> String {
    key.replace('_', "").to_lowercase()
}

/// The document of one file or flag.
#[derive(Clone, Debug)]
pub(super) struct Document {
    text: String,
    root: Node,
}

impl Document {
    pub(super) fn new(text: String, root: Node) -> Document {
        Document { text, root }
    }

    pub(super) fn value(&self) -> Value {
        self.root.value()
    }

    /// The place of the setting `key` (`ports.http`, `services[0].check`); with `around`, a missing one has its parent's.
    pub(super) fn find(&self, key: &str, around: bool) -> Option<Position> {
        let (node, exact) = self.root.find(&folded(key));
        let is_root = std::ptr::eq(node, &self.root);
        (exact || (around && !is_root)).then(|| Position::of(&self.text, node.at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::Format;

    #[test]
    fn places_are_found_in_every_spelling_and_the_nearest_ones_of_what_is_not_there() {
        let text = "ports {\n  HTTP = 1\n}\nports { dns = 2 }\nservice {\n  CheckID = \"x\"\n}\n\
                    service {\n  tagged_addresses { lan { port = 1 } }\n}\ntelemetry { disable_compat_1.9 = true }\n";
        let document = Format::Hcl.parse(text).unwrap();
        let at = |key: &str, around| document.find(key, around).map(|at| at.to_string());
        assert_eq!(at("ports.http", false).as_deref(), Some("2:3"));
        assert_eq!(at("ports.dns", false).as_deref(), Some("4:9"));
        assert_eq!(at("service[0].check_id", false).as_deref(), Some("6:3"));
        assert_eq!(at("service[1].TaggedAddresses.lan.port", false).as_deref(), Some("9:28"));
        assert_eq!(at("telemetry.disable_compat_1.9", false).as_deref(), Some("11:13"));
        assert_eq!(at("service[1].check.interval", true).as_deref(), Some("8:1"));
        assert_eq!(at("service[1].check.interval", false), None);
        assert_eq!(at("expected", true), None);
        let json = Format::Json.parse("{\n \"a\": [{}, {\n\t\"é\": 1, \"b\\u005f\": 2}]}").unwrap();
        assert_eq!(json.find("a[1].b_", false).unwrap().to_string(), "3:10");
    }
}
