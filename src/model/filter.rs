//! Filter expressions (`?filter=`), the grammar of go-bexpr.

use serde_json::Value;

/// A parsed expression.
#[derive(Clone, Debug)]
pub struct Filter {}

impl Filter {
    /// Parses an expression; the error says what was expected and where.
    pub fn parse(_text: &str) -> Result<Filter, String> {
        todo!()
    }

    /// Whether `row` matches; an unknown selector is an error.
    pub fn matches(&self, _row: &Value) -> Result<bool, String> {
        todo!()
    }
}
