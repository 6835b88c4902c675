//! From words to the tree: `not` binds tighter than `and`, and that tighter than `or`.

use super::expression::{Expression, Match, Operator};
use super::lexer::{self, Token, Word};
use crate::defaults::{FILTER_BYTES, FILTER_DEPTH, FILTER_REGEX_BYTES};
use regex::RegexBuilder;

pub(super) fn parse(text: &str) -> Result<Expression, String> {
    if text.len() > FILTER_BYTES {
        return Err(format!("Failed to parse filter: {} bytes are over the bound of {FILTER_BYTES}", text.len()));
    }
    let parsed = lexer::split(text).and_then(|tokens| {
        let mut parser = Parser { tokens, next: 0, depth: 0, end: text.len() };
        let expression = parser.any_of()?;
        if parser.next < parser.tokens.len() { Err(parser.expected("and, or, or the end")) } else { Ok(expression) }
    });
    parsed.map_err(|error| format!("Failed to parse filter: {error}"))
}

/// A name path or a value, by its place.
enum Operand {
    Path(Vec<String>),
    Value(String),
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    /// The number of open parentheses and `not`s.
    depth: usize,
    /// Length of the text, for errors at its end.
    end: usize,
}

impl Parser {
    fn any_of(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all_of()?];
        while self.take_name("or") {
            parts.push(self.all_of()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }

    fn all_of(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.term()?];
        while self.take_name("and") {
            parts.push(self.term()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }

    fn term(&mut self) -> Result<Expression, String> {
        if self.take_name("not") {
            let inner = self.deeper(Parser::term)?;
            return Ok(Expression::Not(Box::new(inner)));
        }
        if self.take_sign("(") {
            let inner = self.deeper(Parser::any_of)?;
            return if self.take_sign(")") { Ok(inner) } else { Err(self.expected("and, or, or )")) };
        }
        self.comparison().map(Expression::Match)
    }

    fn deeper(&mut self, parse: impl FnOnce(&mut Parser) -> Result<Expression, String>) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH {
            return Err(format!("more than {FILTER_DEPTH} parentheses and nots within each other"));
        }
        let inner = parse(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Match, String> {
        let left = self.operand("a selector or a value")?;
        let negated = self.take_name("not");
        if self.take_name("in") {
            let Operand::Path(selector) = self.operand("a selector")? else {
                return Err(self.expected("a selector before this"));
            };
            return Ok(Match { selector, operator: Operator::Contains(left.into_text()), negated });
        }
        let Operand::Path(selector) = left else { return Err(self.expected("in or not in after a value")) };
        if self.take_name("contains") {
            return Ok(Match { selector, operator: Operator::Contains(self.value()?), negated });
        }
        if self.take_name("matches") {
            return Ok(Match { selector, operator: Operator::Matches(self.regex()?), negated });
        }
        if negated {
            return Err(self.expected("in, contains or matches after not"));
        }
        if self.take_sign("==") {
            return Ok(Match { selector, operator: Operator::Equals(self.value()?), negated: false });
        }
        if self.take_sign("!=") {
            return Ok(Match { selector, operator: Operator::Equals(self.value()?), negated: true });
        }
        if self.take_name("is") {
            let negated = self.take_name("not");
            let empty = self.take_name("empty");
            return if empty {
                Ok(Match { selector, operator: Operator::IsEmpty, negated })
            } else {
                Err(self.expected("empty"))
            };
        }
        Err(self.expected("==, !=, in, contains, matches, is empty, or one of their opposites"))
    }

    fn operand(&mut self, what: &str) -> Result<Operand, String> {
        match self.take() {
            Some(Word::Name(first)) => Ok(Operand::Path(self.path(first)?)),
            Some(Word::Text(text) | Word::Number(text)) => Ok(Operand::Value(text)),
            _ => {
                self.next = self.next.saturating_sub(1);
                Err(self.expected(what))
            }
        }
    }

    /// The rest of `Meta.env` or `Meta["env"]`.
    fn path(&mut self, first: String) -> Result<Vec<String>, String> {
        let mut path = vec![first];
        loop {
            if self.take_sign(".") {
                let Some(Word::Name(name)) = self.take() else { return Err(self.expected("a name before this, after the dot")) };
                path.push(name);
            } else if self.take_sign("[") {
                let Some(Word::Text(name)) = self.take() else { return Err(self.expected("quoted text before this, after [")) };
                path.push(name);
                if !self.take_sign("]") {
                    return Err(self.expected("]"));
                }
            } else {
                return Ok(path);
            }
        }
    }

    fn value(&mut self) -> Result<String, String> {
        self.operand("a value").map(Operand::into_text)
    }

    fn regex(&mut self) -> Result<regex::Regex, String> {
        let text = self.value()?;
        let regex = RegexBuilder::new(&text).size_limit(FILTER_REGEX_BYTES).dfa_size_limit(FILTER_REGEX_BYTES).build();
        regex.map_err(|error| format!("{text:?} is no regular expression: {error}"))
    }

    fn take(&mut self) -> Option<Word> {
        let word = self.tokens.get(self.next).map(|token| token.word.clone());
        self.next += 1;
        word
    }

    fn take_name(&mut self, name: &str) -> bool {
        let here = matches!(self.tokens.get(self.next), Some(Token { word: Word::Name(word), .. }) if word == name);
        self.next += usize::from(here);
        here
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let here = matches!(self.tokens.get(self.next), Some(Token { word: Word::Sign(word), .. }) if *word == sign);
        self.next += usize::from(here);
        here
    }

    fn expected(&self, what: &str) -> String {
        match self.tokens.get(self.next) {
            Some(token) => format!("expected {what}, got {} at {}", token.word, token.at),
            None => format!("expected {what} at {}, where it ends", self.end),
        }
    }
}

impl Operand {
    /// The operand as a value: a name path without quotes is the text it is written with.
    fn into_text(self) -> String {
        match self {
            Operand::Path(path) => path.join("."),
            Operand::Value(text) => text,
        }
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Word::Name(text) | Word::Number(text) => write!(f, "{text:?}"),
            Word::Text(text) => write!(f, "the text {text:?}"),
            Word::Sign(sign) => write!(f, "{sign:?}"),
        }
    }
}
