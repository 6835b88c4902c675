//! The query string and the path of a request, decoded. Clients send flags with and without a value.

use super::error::ErrorResponse;
use crate::model::uri;
use std::borrow::Cow;

/// The parameters of a query string, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Parses `name=value&…`; fails on a broken escape and on bytes that are not UTF-8.
    pub(super) fn parse(query: Option<&str>) -> Result<Parameters, ErrorResponse> {
        // Go refuses it since 1.17: what it parts, others do not.
        if query.is_some_and(|query| query.contains(';')) {
            return Err(ErrorResponse::BROKEN_QUERY);
        }
        let items = query.unwrap_or("").split('&').filter(|item| !item.is_empty());
        let pairs = items.map(|item| {
            let (name, value) = item.split_once('=').unwrap_or((item, ""));
            Some((unescape(name, true)?.into_owned(), unescape(value, true)?.into_owned()))
        });
        pairs.collect::<Option<Vec<_>>>().map(Parameters).ok_or(ErrorResponse::BROKEN_QUERY)
    }

    /// True if the parameter is there, with any value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.first(name).is_some()
    }

    /// The first value of the parameter, which may be empty.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of the parameter, unless it is empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|value| !value.is_empty())
    }

    /// All of them but the token, as Go's `url.Values` writes them: sorted by name.
    pub(super) fn encoded(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("token")).collect();
        pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut shown = String::new();
        for (name, value) in pairs {
            shown.push_str(if shown.is_empty() { "" } else { "&" });
            uri::encode(name, &mut shown);
            shown.push('=');
            uri::encode(value, &mut shown);
        }
        shown.replace("%20", "+")
    }

    /// All values of the parameter, in order.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The bytes that `text` stands for, with every `%xx` resolved; nothing when an escape is broken.
pub(super) fn decode_bytes(text: &str) -> Result<Vec<u8>, ErrorResponse> {
    unescape_bytes(text, false).ok_or(ErrorResponse::UNPRINTABLE_PATH)
}

/// The query string as it may be logged: with every token hidden, however its name is written.
pub(super) fn without_token(query: &str) -> String {
    let shown = |item: &str| {
        let name = item.split_once('=').map_or(item, |(name, _)| name);
        match unescape(name, true) {
            Some(name) if !name.eq_ignore_ascii_case("token") => item.to_owned(),
            Some(_token) => "token=<hidden>".to_owned(),
            None => "<hidden>".to_owned(),
        }
    };
    query.split('&').map(shown).collect::<Vec<_>>().join("&")
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number as Go's `strconv.ParseUint` reads it: digits alone. The error is Go's.
pub(super) fn parse_uint(text: &str) -> Result<u64, String> {
    // `parse` alone would take a plus sign.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let why = if is_number { "value out of range" } else { "invalid syntax" };
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

/// The path, decoded; fails on a broken escape and on characters that cannot be printed.
pub(super) fn decode_path(path: &str) -> Result<Cow<'_, str>, ErrorResponse> {
    let path = unescape(path, false).filter(|path| path.chars().all(is_printable));
    path.ok_or(ErrorResponse::UNPRINTABLE_PATH)
}

/// The shortest path with the meaning of `path`, if that is another one, as Go's servers redirect to it.
pub(super) fn cleaned(path: &str) -> Option<String> {
    if !path.contains("//") && !path.contains("/.") {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            named => parts.push(named),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    let clean = format!("/{}{end}", parts.join("/"));
    (clean != path).then_some(clean)
}

/// As Go's `unicode.IsPrint`, near enough: no control, no format and no space but the plain one.
fn is_printable(c: char) -> bool {
    let format = matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}');
    c.is_ascii_graphic() || c == ' ' || !(c.is_ascii() || c.is_control() || c.is_whitespace() || format)
}

/// Resolves `%xx`, and `+` where it means a space. `None` for a broken escape and for bytes that are not UTF-8.
fn unescape(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || (plus_is_space && byte == b'+')) {
        return Some(Cow::Borrowed(text));
    }
    unescape_bytes(text, plus_is_space).and_then(|bytes| String::from_utf8(bytes).ok()).map(Cow::Owned)
}

fn unescape_bytes(text: &str, plus_is_space: bool) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_without_a_value_are_there_and_empty() {
        let parameters = Parameters::parse(Some("stale&pretty=&tag=a&tag=b%2Bc+d&&x=1=2")).unwrap();
        assert!(parameters.has("stale") && parameters.has("pretty") && !parameters.has("consistent"));
        assert_eq!(parameters.filled("stale"), None);
        assert_eq!(parameters.all("tag").collect::<Vec<_>>(), ["a", "b+c d"]);
        assert_eq!(parameters.first("x"), Some("1=2"));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for query in ["a=%", "a=%4", "a=%zz", "%ff=1"] {
            assert!(Parameters::parse(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn paths_are_decoded_and_must_be_printable() {
        assert_eq!(decode_path("/v1/a%20b%2Fc+d").unwrap(), "/v1/a b/c+d");
        assert_eq!(decode_path("/v1/caf%C3%A9").unwrap(), "/v1/café");
        for path in ["/v1/%00", "/v1/%0a", "/v1/%e2%80%8b", "/v1/%ff", "/v1/%c2%a0", "/%"] {
            assert!(decode_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn doubled_slashes_and_dots_are_cleaned_away_and_nothing_else() {
        for (path, clean) in [
            ("//v1/catalog/nodes", Some("/v1/catalog/nodes")),
            ("/v1/./catalog//service/", Some("/v1/catalog/service/")),
            ("/v1/../../etc", Some("/etc")),
            ("//", Some("/")),
            ("/", None),
            ("/v1/catalog/service/.web", None),
            ("/v1/catalog/service/a..b/", None),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = cleaned(&text);
            let _ = Parameters::parse(Some(&text));
            let _ = decode_path(&text);
        }
    }
}
