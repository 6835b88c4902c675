//! What is wrong with a configuration, collected over all its sources, each with the place where it stands.

use super::document::{Document, Position};
use serde_json::Value;
use std::fmt;

/// One reason why an agent does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or `flags`; empty for what only the whole configuration tells.
    pub source: String,
    /// Where in it, if a place is known.
    pub at: Option<Position>,
    /// What was expected, what came, what to do.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.source.is_empty() {
            f.write_str(&self.source)?;
            self.at.map_or(Ok(()), |at| write!(f, ":{at}"))?;
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Everything found wrong or worth a warning, across all sources.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The source being read; empty once all are.
    pub(super) source: String,
    /// What was read, by its source, in the order of merging.
    pub(super) documents: Vec<(String, Document)>,
    /// The flags, which have the last word.
    pub(super) flags: Option<Document>,
    /// Files that the settings name may be on another machine only.
    pub(super) elsewhere: bool,
    /// What refuses the start.
    pub(super) errors: Vec<ConfigError>,
    /// What is accepted and has no effect yet.
    pub(super) warnings: Vec<String>,
}

impl Problems {
    /// Notes what refuses the start. A message that is about a key begins with it; the key's place in the source
    /// is told too.
    pub(super) fn error(&mut self, message: impl Into<String>) {
        let message = message.into();
        let key = message.split([' ', ',']).next().unwrap_or_default().trim_end_matches(':').to_owned();
        self.error_at(&key, message);
    }

    /// Notes a key that nobody knows.
    pub(super) fn unknown(&mut self, key: &str) {
        self.error_at(key, format!("invalid config key {key}"));
    }

    fn error_at(&mut self, key: &str, message: String) {
        let is_read = !self.source.is_empty();
        if !is_read && self.flags.as_ref().is_some_and(|flags| flags.find(key, false).is_some()) {
            return self.errors.push(ConfigError { source: "flags".to_owned(), at: None, message });
        }
        let mut documents = self.documents.iter().rev().filter(|(source, _)| !is_read || *source == self.source);
        // Of all sources together only the one that has the key itself can be at fault.
        let found = documents.find_map(|(source, document)| Some((source.clone(), document.find(key, is_read)?)));
        let (source, at) = found.map_or((self.source.clone(), None), |(source, at)| (source, Some(at)));
        self.errors.push(ConfigError { source, at, message });
    }

    /// Notes a warning, once.
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !self.warnings.contains(&message) {
            self.warnings.push(message);
        }
    }

    /// Notes that a file which a setting names is not there.
    pub(super) fn missing(&mut self, message: String) {
        if self.elsewhere {
            self.warn(format!("{message}; an agent there would not start"));
        } else {
            self.error(message);
        }
    }

    /// Notes that a value is of another kind than `what`.
    pub(super) fn expected(&mut self, key: &str, what: &str, came: &Value) {
        let came = match came {
            // A value may be a secret in the wrong place, so only its kind is told.
            Value::String(_) => "a string",
            Value::Number(_) => "a number",
            Value::Bool(_) => "a boolean",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
            Value::Null => "null",
        };
        self.error(format!("{key}: expected {what}, got {came}"));
    }
}
