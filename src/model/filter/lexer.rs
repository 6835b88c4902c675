//! The words of a filter expression.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) word: Word,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A name or a keyword, by its place.
    Name(String),
    /// Quoted text, without its quotes.
    Text(String),
    Number(String),
    /// `.`, `[`, `]`, `(`, `)`, `==` or `!=`.
    Sign(&'static str),
}

const SIGNS: [&str; 7] = ["==", "!=", ".", "[", "]", "(", ")"];

pub(super) fn split(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (word, length) = match first {
            '"' => quoted(rest).map_err(|error| format!("{error} at {at}"))?,
            '`' => raw(rest).map_err(|error| format!("{error} at {at}"))?,
            'a'..='z' | 'A'..='Z' => {
                let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Word::Name(rest[..length].to_owned()), length)
            }
            '0'..='9' | '-' => number(rest).ok_or_else(|| format!("expected a number at {at}"))?,
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
                let sign =
                    sign.ok_or_else(|| format!("unexpected {first:?} at {at}; values with such letters are put in quotes"))?;
                (Word::Sign(sign), sign.len())
            }
        };
        tokens.push(Token { at, word });
        at += length;
    }
    Ok(tokens)
}

/// Text in double quotes, with the escapes of JSON that Go knows too.
fn quoted(rest: &str) -> Result<(Word, usize), String> {
    let mut text = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((Word::Text(text), at + 1)),
            '\\' => text.push(match letters.next().map(|(_, escaped)| escaped) {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(same @ ('"' | '\\')) => same,
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("unknown escape \\{other} (text in `backquotes` is taken as it is) in the text"));
                }
            }),
            other => text.push(other),
        }
    }
    Err("the closing \" is missing for the text".to_owned())
}

/// Text in backquotes, as it is.
fn raw(rest: &str) -> Result<(Word, usize), String> {
    let end = rest[1..].find('`').ok_or("the closing ` is missing for the text")?;
    Ok((Word::Text(rest[1..=end].to_owned()), end + 2))
}

/// A decimal number without superfluous zeros in front.
fn number(rest: &str) -> Option<(Word, usize)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let sign = usize::from(rest.starts_with('-'));
    let whole = digits(&rest[sign..]);
    if whole == 0 || (whole > 1 && rest[sign..].starts_with('0')) {
        return None;
    }
    let mut length = sign + whole;
    if let Some(fraction) = rest[length..].strip_prefix('.') {
        let fraction = digits(fraction);
        if fraction > 0 {
            length += 1 + fraction;
        }
    }
    // `1abc` is neither a number nor a name.
    let ends = !rest[length..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    ends.then(|| (Word::Number(rest[..length].to_owned()), length))
}
