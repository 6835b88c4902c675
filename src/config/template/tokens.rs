//! From the text of a template to its tokens.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `GetAllInterfaces`, `include`, `3`, `.`
    Word(String),
    /// `"eth0"`, or the same in backquotes; without the quotes.
    Quoted(String),
    /// `|`
    Pipe,
}

/// The texts before and behind the `}}` that closes a template; quotes may hold others.
pub(super) fn split_template(text: &str) -> Option<(&str, &str)> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None if text[at..].starts_with("}}") => return Some((&text[..at], &text[at + 2..])),
            None => {}
        }
    }
    None
}

/// Reads a template. The error names the fault of its form.
pub(super) fn read(template: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = template.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, tail) = match first {
            '|' => (Token::Pipe, &rest[1..]),
            '`' => {
                let (inner, tail) = rest[1..].split_once('`').ok_or("a quote is not closed")?;
                (Token::Quoted(inner.to_owned()), tail)
            }
            '"' => quoted(&rest[1..])?,
            '(' | ')' => return Err("parentheses are not supported; pass values on with |".to_owned()),
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "|\"`()".contains(c)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), &rest[end..])
            }
        };
        tokens.push(token);
        rest = tail.trim_start();
    }
    Ok(tokens)
}

/// A text up to its closing quote, with Go's escapes.
fn quoted(text: &str) -> Result<(Token, &str), String> {
    let mut inner = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Quoted(inner), &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, c @ ('"' | '\\'))) => inner.push(c),
                Some((_, other)) => return Err(format!("\\{other} in a text is not known; a backslash is written \\\\")),
                None => break,
            },
            c => inner.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

pub(super) fn shown(tokens: &[Token]) -> String {
    let one = |token: &Token| match token {
        Token::Word(word) => word.clone(),
        Token::Quoted(text) => format!("{text:?}"),
        Token::Pipe => "|".to_owned(),
    };
    let all = tokens.iter().map(one).collect::<Vec<String>>().join(" ");
    if all.is_empty() { "nothing".to_owned() } else { all }
}
