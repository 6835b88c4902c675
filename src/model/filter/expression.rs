//! The tree of a filter expression.

use regex::Regex;

/// What decides whether a row matches.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    /// At least one of them matches.
    Or(Vec<Expression>),
    /// All of them match.
    And(Vec<Expression>),
    /// It does not match.
    Not(Box<Expression>),
    /// A comparison.
    Match(Match),
}

/// One selector compared.
#[derive(Clone, Debug)]
pub(super) struct Match {
    /// The names on the way to the value.
    pub(super) selector: Vec<String>,
    /// How it is compared.
    pub(super) operator: Operator,
    /// Whether the contrary is asked for.
    pub(super) negated: bool,
}

/// How a value is compared; what it is compared with is text, read by the type of the row's value.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    /// `==`
    Equals(String),
    /// `in`, and `contains` the other way round.
    Contains(String),
    /// `matches`
    Matches(Regex),
    /// `is empty`
    IsEmpty,
}
