//! A filter expression asked about one row.
//!
//! The selectors are the names in the row's JSON, and two more: fields that JSON leaves out when they are empty, and
//! the keys of users in free maps.

use super::expression::{Expression, Match, Operator};
use serde_json::{Map, Number, Value};

/// Fields that JSON leaves out when they are empty.
const OMITTED: [&str; 3] = ["TaggedAddresses", "ServiceTaggedAddresses", "Weights"];
/// Fields with a zero value that JSON leaves out, and the structures whose fields are such: an absent field equals that
/// value, as in Consul, which filters before it writes JSON.
const ZERO: [&str; 7] = ["Kind", "SocketPath", "Port", "Proxy", "ServiceProxy", "Connect", "ServiceConnect"];
/// Fields whose keys are free: an absent key is no mistake.
const FREE: [&str; 10] = [
    "Meta",
    "NodeMeta",
    "ServiceMeta",
    "Tags",
    "TaggedAddresses",
    "ServiceTaggedAddresses",
    "Proxy",
    "ServiceProxy",
    "Connect",
    "ServiceConnect",
];
/// Fields that Consul does not offer to filters.
const HIDDEN: [&str; 3] = ["CreateIndex", "ModifyIndex", "Definition"];

pub(super) fn matches(expression: &Expression, row: &Value) -> Result<bool, String> {
    match expression {
        Expression::Or(parts) => any(parts, |part| matches(part, row)),
        Expression::And(parts) => any(parts, |part| matches(part, row).map(|matched| !matched)).map(|failed| !failed),
        Expression::Not(inner) => matches(inner, row).map(|matched| !matched),
        Expression::Match(single) => FieldPath { single, free: false, zero: false }.follow(row, &single.selector),
    }
}

/// True once one of `items` holds; those after it are not looked at.
fn any<T>(items: &[T], holds: impl Fn(&T) -> Result<bool, String>) -> Result<bool, String> {
    for item in items {
        if holds(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses an expression with a part that does not fit rows like `shape`.
pub(super) fn validate(expression: &Expression, shape: &Value) -> Result<(), String> {
    match expression {
        Expression::Or(parts) | Expression::And(parts) => parts.iter().try_for_each(|part| validate(part, shape)),
        Expression::Not(inner) => validate(inner, shape),
        Expression::Match(_) => matches(expression, shape).map(drop),
    }
}

/// A place on the way from the row to the value that is compared.
#[derive(Clone, Copy)]
struct FieldPath<'a> {
    single: &'a Match,
    /// The way has entered a map whose keys are free.
    free: bool,
    /// The way has entered a structure whose fields are left out at their zero value.
    zero: bool,
}

impl FieldPath<'_> {
    /// Follows `path` from `value`; a list of objects matches where one of them does.
    fn follow(self, value: &Value, path: &[String]) -> Result<bool, String> {
        let Some((name, rest)) = path.split_first() else { return self.compare(value) };
        match value {
            Value::Object(fields) => self.field(fields, name, rest),
            Value::Array(elements) => any(elements, |element| self.follow(element, path)),
            Value::Null => Ok(self.absent()),
            _ if self.free => Ok(self.absent()),
            _ => Err(self.unknown()),
        }
    }

    fn field(self, fields: &Map<String, Value>, name: &str, rest: &[String]) -> Result<bool, String> {
        if !self.free && HIDDEN.contains(&name) {
            return Err(self.unknown());
        }
        let zero = self.zero || (!self.free && ZERO.contains(&name));
        match fields.get(name) {
            Some(value) => FieldPath { free: self.free || FREE.contains(&name), zero, ..self }.follow(value, rest),
            None if zero => Ok(self.zero()),
            None if self.free || OMITTED.contains(&name) => Ok(self.absent()),
            None => Err(self.unknown()),
        }
    }

    /// An absent value equals nothing, holds nothing, and is empty.
    fn absent(self) -> bool {
        matches!(self.single.operator, Operator::IsEmpty) != self.single.negated
    }

    /// A field left out at its zero value is `""`, `0` or `false`, by the text it is compared with.
    fn zero(self) -> bool {
        let matched = match &self.single.operator {
            Operator::Equals(text) => matches!(text.as_str(), "" | "0" | "f" | "F" | "false" | "FALSE" | "False"),
            Operator::Contains(text) => text.is_empty(),
            Operator::Matches(regex) => regex.is_match(""),
            Operator::IsEmpty => true,
        };
        matched != self.single.negated
    }

    fn compare(self, value: &Value) -> Result<bool, String> {
        let matched = match &self.single.operator {
            Operator::Equals(text) => self.equals(value, text)?,
            Operator::Contains(text) => self.contains(value, text)?,
            Operator::Matches(regex) => match value {
                Value::String(own) => regex.is_match(own),
                Value::Null => false,
                _ => return Err(self.unfit("matches", "text")),
            },
            Operator::IsEmpty => match value {
                Value::String(own) => own.is_empty(),
                Value::Array(elements) => elements.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                Value::Null => true,
                Value::Bool(_) | Value::Number(_) => return Err(self.unfit("is empty", "text, a list or a map")),
            },
        };
        Ok(matched != self.single.negated)
    }

    fn equals(self, value: &Value, text: &str) -> Result<bool, String> {
        match value {
            Value::String(own) => Ok(own == text),
            Value::Bool(own) => self.truth(text).map(|wanted| *own == wanted),
            Value::Number(own) => self.number(own, text),
            Value::Null => Ok(false),
            Value::Array(_) | Value::Object(_) => Err(self.unfit("==", "text, a number or true and false")),
        }
    }

    fn contains(self, value: &Value, text: &str) -> Result<bool, String> {
        match value {
            Value::String(own) => Ok(own.contains(text)),
            Value::Object(fields) => Ok(fields.contains_key(text)),
            Value::Array(elements) => any(elements, |element| self.equals(element, text)),
            Value::Null => Ok(false),
            Value::Bool(_) | Value::Number(_) => Err(self.unfit("in and contains", "text, a list or a map")),
        }
    }

    /// The spellings that Go's `strconv.ParseBool` takes.
    fn truth(self, text: &str) -> Result<bool, String> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(format!("selector {:?} is true or false, it cannot be compared with {other:?}", self.name())),
        }
    }

    fn number(self, own: &Number, text: &str) -> Result<bool, String> {
        let wrong = || format!("selector {:?} is a number, it cannot be compared with {text:?}", self.name());
        let whole = own.as_i64().map(i128::from).or_else(|| own.as_u64().map(i128::from));
        match whole {
            Some(own) => text.parse::<i128>().map(|wanted| own == wanted).map_err(|_| wrong()),
            None => text.parse::<f64>().map(|wanted| own.as_f64() == Some(wanted)).map_err(|_| wrong()),
        }
    }

    fn name(self) -> String {
        self.single.selector.join(".")
    }

    fn unknown(self) -> String {
        format!("Selector {:?} is not valid", self.name())
    }

    fn unfit(self, operator: &str, kinds: &str) -> String {
        format!("Invalid match operator for selector {:?}: {operator} needs {kinds}", self.name())
    }
}
