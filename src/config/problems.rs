//! Everything wrong with a configuration, collected over all its sources, each problem with its place.

use super::document::{Document, Position};
use serde_json::Value;
use std::fmt;

/// One reason why an agent does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or `flags`; empty for a problem of the whole configuration.
    pub source: String,
    pub at: Option<Position>,
    /// The expectation, the value found, the remedy.
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
    /// The documents by source, in the order of merging.
    pub(super) documents: Vec<(String, Document)>,
    /// The flags, which have the last word.
    pub(super) flags: Option<Document>,
    /// Files that the settings name may be on another machine only.
    pub(super) elsewhere: bool,
    /// Problems that refuse the start.
    pub(super) errors: Vec<ConfigError>,
    /// Settings without effect, and the like.
    pub(super) warnings: Vec<String>,
}

impl Problems {
    /// Notes a reason against the start, with the place of the key that the message begins with.
    pub(super) fn error(&mut self, message: impl Into<String>) {
        let message = message.into();
        let key = message.split([' ', ',']).next().unwrap_or_default().trim_end_matches(':').to_owned();
        self.error_at(&key, message);
    }

    /// Notes a reason, for the value that is missing then.
    pub(super) fn refuse<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.error(message);
        None
    }

    pub(super) fn unknown(&mut self, key: &str) {
        self.error_at(key, format!("invalid config key {key}"));
    }

    fn error_at(&mut self, key: &str, message: String) {
        let is_read = !self.source.is_empty();
        if !is_read && self.flags.as_ref().is_some_and(|flags| flags.find(key, false).is_some()) {
            return self.errors.push(ConfigError { source: "flags".to_owned(), at: None, message });
        }
        let mut documents = self.documents.iter().rev().filter(|(source, _)| !is_read || *source == self.source);
        // Once all sources are read, only one that has the key itself can be at fault.
        let found = documents.find_map(|(source, document)| Some((source.clone(), document.find(key, is_read)?)));
        let (source, at) = found.map_or((self.source.clone(), None), |(source, at)| (source, Some(at)));
        self.errors.push(ConfigError { source, at, message });
    }

    /// Notes those of several reasons that hold.
    pub(super) fn errors_of<const N: usize>(&mut self, reasons: [(bool, &str); N]) {
        reasons.iter().filter(|(holds, _)| *holds).for_each(|(_, reason)| self.error(*reason));
    }

    /// Notes a warning, once.
    pub(super) fn warn(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !self.warnings.contains(&message) {
            self.warnings.push(message);
        }
    }

    /// Notes that a file which a setting names is not there.
    pub(super) fn missing<T>(&mut self, message: String) -> Option<T> {
        if self.elsewhere {
            self.warn(format!("{message}; an agent there would not start"));
        } else {
            self.error(message);
        }
        None
    }

    /// Notes that a value is of another kind than `what`. The value may be a secret, so its kind alone is named.
    pub(super) fn expected<T>(&mut self, key: &str, what: &str, value: &Value) -> Option<T> {
        let kind = match value {
            Value::String(_) => "a string",
            Value::Number(_) => "a number",
            Value::Bool(_) => "a boolean",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
            Value::Null => "null",
        };
        self.refuse(format!("{key}: expected {what}, got {kind}"))
    }
}
