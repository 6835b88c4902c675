//! The words of HCL: a text cut into tokens, one after the other.

use super::Stop;
use std::fmt;

/// The tokens of a document; comments are passed over.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name without quotes.
    Word(String),
    /// A text in quotes, or of a heredoc.
    Text(String),
    Bool(bool),
    Whole(i64),
    Real(f64),
    Assign,
    Comma,
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    End,
}

impl Token {
    pub(super) fn key(&self) -> Option<String> {
        match self {
            Token::Word(text) | Token::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

/// The token for errors. A text may be a secret, so its content is not shown.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Token::Word(word) => return write!(f, "the word {word}"),
            Token::Text(_) => "a text",
            Token::Bool(true) => "true",
            Token::Bool(false) => "false",
            Token::Whole(_) | Token::Real(_) => "a number",
            Token::Assign => "=",
            Token::Comma => ",",
            Token::OpenBrace => "{",
            Token::CloseBrace => "}",
            Token::OpenBracket => "[",
            Token::CloseBracket => "]",
            Token::End => "the end of the file",
        })
    }
}

/// A place in a text, from which the next token is read.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        // Editors of one system begin files with a byte order mark.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Scanner { text, at }
    }

    /// The next token and the byte at which it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token), Stop> {
        self.skip()?;
        let at = self.at;
        let Some(first) = self.peek() else { return Ok((at, Token::End)) };
        let mark = match first {
            '=' => Token::Assign,
            ',' => Token::Comma,
            '{' => Token::OpenBrace,
            '}' => Token::CloseBrace,
            '[' => Token::OpenBracket,
            ']' => Token::CloseBracket,
            '"' => return Ok((at, Token::Text(self.quoted()?))),
            '<' => return Ok((at, Token::Text(self.heredoc()?))),
            '-' | '.' | '0'..='9' => return Ok((at, self.number()?)),
            _ if is_letter(first) => return Ok((at, self.word())),
            ':' => return Err(Stop { at, what: "expected = between a key and its value, got :".to_owned() }),
            other => return Err(Stop { at, what: format!("unexpected character {other:?}") }),
        };
        self.at += first.len_utf8();
        Ok((at, mark))
    }

    fn word(&mut self) -> Token {
        match self.take_while(|c| is_letter(c) || c.is_numeric() || matches!(c, '-' | '.')) {
            "true" => Token::Bool(true),
            "false" => Token::Bool(false),
            word => Token::Word(word.to_owned()),
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn step(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.find(|c| !fits(c)).map_or(rest, |end| &rest[..end]);
        self.at += taken.len();
        taken
    }

    /// Passes white space and comments.
    fn skip(&mut self) -> Result<(), Stop> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\r' | '\n'));
            let (at, rest) = (self.at, self.rest());
            if rest.starts_with('#') || rest.starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(Stop { at, what: "the comment that begins here has no end, which is */".to_owned() });
                };
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    /// A text in quotes. The inside of `${…}` is taken as it is, with quotes, lines and backslashes.
    fn quoted(&mut self) -> Result<String, Stop> {
        let start = self.at;
        // Escapes may name single bytes.
        let mut bytes = Vec::new();
        self.at += 1;
        let mut braces = 0_usize;
        loop {
            let at = self.at;
            let next = self.step().filter(|c| *c != '\n' || braces > 0);
            let Some(next) = next else {
                return Err(Stop { at: start, what: "the text that begins here has no closing quote on its line".to_owned() });
            };
            match next {
                '"' if braces == 0 => break,
                '\\' if braces == 0 => {
                    self.escape(at, &mut bytes)?;
                    continue;
                }
                '{' if braces > 0 || self.text.as_bytes().get(at.wrapping_sub(1)) == Some(&b'$') => braces += 1,
                '}' => braces = braces.saturating_sub(1),
                _ => {}
            }
            bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
        }
        String::from_utf8(bytes).map_err(|_| Stop { at: start, what: "the text that begins here is no UTF-8".to_owned() })
    }

    /// The rest of an escape whose backslash is at `at`.
    fn escape(&mut self, at: usize, bytes: &mut Vec<u8>) -> Result<(), Stop> {
        let wrong = || Stop { at, what: "expected an escape such as \\n, \\\", \\\\ or \\u00e9".to_owned() };
        let kind = self.step().ok_or_else(wrong)?;
        let digits = |scanner: &mut Self, count: usize, base: u32| {
            let word = scanner.rest().get(..count).filter(|word| word.chars().all(|c| c.is_digit(base)));
            scanner.at += word.map_or(0, str::len);
            word.and_then(|word| u32::from_str_radix(word, base).ok()).ok_or_else(wrong)
        };
        match kind {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '"' => bytes.push(kind as u8),
            'x' => bytes.push(digits(self, 2, 16)? as u8),
            '0'..='7' => {
                self.at -= 1;
                bytes.push(u8::try_from(digits(self, 3, 8)?).map_err(|_| wrong())?);
            }
            'u' | 'U' => {
                let number = digits(self, if kind == 'u' { 4 } else { 8 }, 16)?;
                let is_half = (0xd800..0xe000).contains(&number);
                let meant = if is_half { char::REPLACEMENT_CHARACTER } else { char::from_u32(number).ok_or_else(wrong)? };
                bytes.extend_from_slice(meant.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// `<<WORD` or `<<-WORD`, then lines until one that is the word alone.
    fn heredoc(&mut self) -> Result<String, Stop> {
        let start = self.at;
        let stop = |what: &str| Stop { at: start, what: what.to_owned() };
        let head = self.rest().strip_prefix("<<").ok_or_else(|| stop("expected <<, which begins a text of several lines"))?;
        let is_indented = head.starts_with('-');
        self.at += if is_indented { 3 } else { 2 };
        let word = self.take_while(|c| is_letter(c) || c.is_numeric());
        if word.is_empty() || self.step() != Some('\n') {
            return Err(stop("expected << and a word that ends the line"));
        }
        let body = self.rest();
        let mut length = 0;
        for line in body.split_inclusive('\n') {
            let bare = line.trim_end_matches(['\n', '\r']);
            if bare.trim_start() == word {
                self.at += length + line.len();
                let indent = &bare[..bare.len() - word.len()];
                return Ok(if is_indented {
                    unindented(&body[..length], indent)
                } else {
                    format!("{}{indent}", &body[..length])
                });
            }
            length += line.len();
        }
        Err(Stop { at: start, what: format!("the text that begins here has no end, which is a line with {word} alone") })
    }

    fn number(&mut self) -> Result<Token, Stop> {
        let start = self.at;
        let negative = self.rest().starts_with('-');
        self.at += usize::from(negative);
        let wrong = || Stop { at: start, what: "expected a number such as 8500, 0x1f or 1.5".to_owned() };
        let digits = self.rest();
        if digits.starts_with("0x") || digits.starts_with("0X") {
            self.at += 2;
            let hex = self.take_while(|c| c.is_ascii_hexdigit());
            return whole(negative, hex, 16).ok_or_else(wrong);
        }
        let integer = self.take_while(|c| c.is_ascii_digit());
        let mut is_real = false;
        if self.rest().starts_with('.') {
            is_real = true;
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.rest().starts_with(['e', 'E']) {
            is_real = true;
            self.at += 1;
            self.at += usize::from(self.rest().starts_with(['+', '-']));
            self.take_while(|c| c.is_ascii_digit());
        }
        if is_real {
            let number = self.text.get(start..self.at).and_then(|text| text.parse::<f64>().ok());
            return number.filter(|number| number.is_finite()).map(Token::Real).ok_or_else(wrong);
        }
        let base = if integer.len() > 1 && integer.starts_with('0') { 8 } else { 10 };
        whole(negative, integer, base).ok_or_else(wrong)
    }
}

fn whole(negative: bool, digits: &str, base: u32) -> Option<Token> {
    let number = i128::from_str_radix(digits, base).ok()?;
    i64::try_from(if negative { -number } else { number }).ok().map(Token::Whole)
}

/// Lines without the indent of the closing word, if all have it.
fn unindented(body: &str, indent: &str) -> String {
    if body.lines().all(|line| line.starts_with(indent)) {
        return body.split_inclusive('\n').map(|line| line.strip_prefix(indent).unwrap_or(line)).collect();
    }
    body.to_owned()
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}
