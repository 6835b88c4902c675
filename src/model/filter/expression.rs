//! The tree of a filter expression.

use regex::Regex;

#[derive(Clone, Debug)]
pub(super) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Match(Match),
}

#[derive(Clone, Debug)]
pub(super) struct Match {
    pub(super) selector: Vec<String>,
    pub(super) operator: Operator,
    pub(super) negated: bool,
}

/// A comparison with a text, which is read by the type of the row's value.
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
