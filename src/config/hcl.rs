//! HashiCorp's configuration language, in the first version, which Consul reads.
//!
//! A file is a list of settings: a key, then `=` and a value, or a block in braces. As in `hashicorp/hcl` v1,
//! `${x}` is plain text, a repeated key replaces a value and adds to lists and blocks, and commas are optional.

mod scanner;

use super::document::{Content, Document, Fault, Node, Position};
use crate::defaults;
use scanner::{Scanner, Token};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn parse(text: &str) -> Result<Document, Fault> {
    // Places stay, as lines are counted by the line feed.
    let text = text.replace("\r\n", "\n");
    let mut parser = Parser { scanner: Scanner::new(&text), ahead: None, depth: 0 };
    match parser.entries(&Token::End) {
        Ok(entries) => {
            let root = Node { at: 0, content: Content::Object(entries) };
            Ok(Document::new(text, root))
        }
        Err(Stop { at, what }) => Err(Fault { at: Position::of(&text, at), what: format!("not valid HCL: {what}") }),
    }
}

/// Why reading stops, and at which byte.
struct Stop {
    at: usize,
    what: String,
}

type Entries = BTreeMap<String, Node>;

struct Parser<'a> {
    scanner: Scanner<'a>,
    /// A token looked at and not used.
    ahead: Option<(usize, Token)>,
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<(usize, Token), Stop> {
        self.ahead.take().map_or_else(|| self.scanner.next(), Ok)
    }

    /// Settings until `end`, which is passed.
    fn entries(&mut self, end: &Token) -> Result<Entries, Stop> {
        let mut entries = Entries::new();
        loop {
            let (at, token) = self.next()?;
            if token == *end {
                return Ok(entries);
            }
            let key = token.key().ok_or_else(|| Stop { at, what: format!("expected a key, got {token}") })?;
            let value = self.after_key(at)?;
            add(&mut entries, key, value)?;
            let following = self.next()?;
            self.ahead = Some(following).filter(|(_, token)| *token != Token::Comma);
        }
    }

    /// The value of a key: `= value`, a block, or labels and a block, which are blocks in blocks.
    fn after_key(&mut self, at: usize) -> Result<Node, Stop> {
        let (next, token) = self.next()?;
        if let Some(label) = token.key() {
            self.enter(next)?;
            let inner = self.after_label(next)?;
            self.depth -= 1;
            return Ok(Node { at, content: Content::Object(Entries::from([(label, inner)])) });
        }
        let content = match token {
            Token::Assign => {
                let (value, token) = self.next()?;
                self.value(value, token)?
            }
            Token::OpenBrace => self.object(next)?,
            other => return Err(Stop { at: next, what: format!("expected = or {{ after a key, got {other}") }),
        };
        Ok(Node { at, content })
    }

    fn after_label(&mut self, at: usize) -> Result<Node, Stop> {
        let following = self.next()?;
        if following.1 == Token::Assign {
            return Err(Stop { at: following.0, what: "expected { after a label, got =".to_owned() });
        }
        self.ahead = Some(following);
        self.after_key(at)
    }

    fn value(&mut self, at: usize, token: Token) -> Result<Content, Stop> {
        let value = match token {
            Token::Text(text) => Value::String(text),
            Token::Bool(yes) => Value::Bool(yes),
            Token::Whole(number) => Value::from(number),
            Token::Real(number) => Value::from(number),
            Token::OpenBrace => return self.object(at),
            Token::OpenBracket => return self.list(at),
            // The word may be a secret without its quotes, so it is not shown.
            Token::Word(_) => {
                return Err(Stop { at, what: "expected a value, got a bare word; texts stand in quotes".to_owned() });
            }
            other => return Err(Stop { at, what: format!("expected a value, got {other}") }),
        };
        Ok(Content::One(value))
    }

    /// A block whose opening brace at `at` is passed.
    fn object(&mut self, at: usize) -> Result<Content, Stop> {
        self.enter(at)?;
        let entries = self.entries(&Token::CloseBrace)?;
        self.depth -= 1;
        Ok(Content::Object(entries))
    }

    /// A list whose opening bracket at `at` is passed.
    fn list(&mut self, at: usize) -> Result<Content, Stop> {
        self.enter(at)?;
        let mut items = Vec::new();
        let mut needs_comma = false;
        loop {
            let (at, token) = self.next()?;
            match token {
                Token::CloseBracket => break,
                Token::Comma => needs_comma = false,
                other if needs_comma => return Err(Stop { at, what: format!("expected , or ] in a list, got {other}") }),
                other => {
                    items.push(Node { at, content: self.value(at, other)? });
                    needs_comma = true;
                }
            }
        }
        self.depth -= 1;
        Ok(Content::List(items))
    }

    fn enter(&mut self, at: usize) -> Result<(), Stop> {
        self.depth += 1;
        let most = defaults::HCL_DEPTH;
        if self.depth > most {
            Err(Stop { at, what: format!("expected at most {most} blocks and lists in each other") })
        } else {
            Ok(())
        }
    }
}

fn add(entries: &mut Entries, key: String, value: Node) -> Result<(), Stop> {
    let Some(earlier) = entries.get_mut(&key) else {
        entries.insert(key, value);
        return Ok(());
    };
    let is_one = |node: &Node| matches!(node.content, Content::One(_));
    match (is_one(earlier), is_one(&value)) {
        (true, true) => *earlier = value,
        (false, false) => {
            let first = Node { at: earlier.at, content: std::mem::replace(&mut earlier.content, Content::List(Vec::new())) };
            earlier.content = Content::List(items(first).into_iter().chain(items(value)).collect());
        }
        _ => {
            let what = format!("expected the key {key} to be a list or block each time, or a single value each time");
            return Err(Stop { at: value.at, what });
        }
    }
    Ok(())
}

/// A list's items, or the one block.
fn items(node: Node) -> Vec<Node> {
    match node.content {
        Content::List(items) => items,
        _ => vec![node],
    }
}

#[cfg(test)]
mod tests;
