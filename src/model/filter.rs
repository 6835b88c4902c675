//! Filter expressions (`?filter=`), the grammar of go-bexpr.
//!
//! `store` filters the rows of the catalog with it, `http` those of an agent. An expression is text
//! from outside: its length, its depth and its regular expressions are bounded, and no text makes
//! it panic. Rows are JSON as users see it, so selectors are the names in the JSON.

mod evaluate;
mod expression;
mod lexer;
mod parser;

use expression::Expression;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Filter {
    root: Expression,
}

impl Filter {
    /// Parses an expression; the error names the expected word and its place.
    pub fn parse(text: &str) -> Result<Filter, String> {
        parser::parse(text).map(|root| Filter { root })
    }

    /// True when `row` matches; an unknown selector is an error.
    pub fn matches(&self, row: &Value) -> Result<bool, String> {
        evaluate::matches(&self.root, row)
    }

    /// Refuses a selector or operator that does not fit rows like `shape`, which has each field and one element in each
    /// list of objects. [`Filter::matches`] may pass over a wrong selector where an earlier part has decided.
    pub fn validate(&self, shape: &Value) -> Result<(), String> {
        evaluate::validate(&self.root, shape)
    }
}

#[cfg(test)]
mod tests;
