//! The older dialect of HCL that Consul's users write, made the one that the parser knows.
//!
//! The older one allows quoted keys, keys with dots, several settings on one line, with or without
//! commas, and blocks within the objects of a list.
//! `file` tries this only on text that the parser has refused, so text of today never comes here.

use serde_json::Value;

/// What encloses a place in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A file or a block: settings and blocks.
    Body,
    /// A list.
    List,
    /// An object that is a value: settings with commas or lines between them.
    Object,
}

/// Begins a name that stands for a key which is no name today; its bytes follow in hex. [`restored`]
/// puts the key back.
const STANDS_FOR: &str = "k\u{b7}";

/// The text with keys of settings unquoted and every setting on a line of its own; nothing for
/// text with heredocs, whose lines mean something.
pub(super) fn modernise(text: &str) -> Option<String> {
    if text.contains("<<") {
        return None;
    }
    let mut modern = String::with_capacity(text.len() + 64);
    let mut places = vec![Place::Body];
    // The last character that is neither space nor part of a comment.
    let mut last = '\n';
    // Whether a setting has had its value, so that what comes next on its line is another one.
    let mut is_set = false;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let place = places.last().copied().unwrap_or(Place::Body);
        let length = match next {
            '"' => string_length(rest),
            '#' => line_length(rest),
            '/' if rest.starts_with("//") => line_length(rest),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if is_word(next) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => next.len_utf8(),
        };
        let (token, tail) = rest.split_at(length);
        rest = tail;
        let is_value = place != Place::List && matches!(last, '=' | ':');
        if place != Place::List && is_set && (next == '"' || is_word(next)) {
            modern.push('\n');
            is_set = false;
        }
        match next {
            '"' if place == Place::Body && last != '=' => modern.push_str(&key(token, tail)),
            _ if place == Place::Body && last != '=' && token.contains('.') => modern.push_str(&key(token, tail)),
            '{' if place == Place::Body && last != '=' => {
                places.push(Place::Body);
                modern.push_str("{\n");
            }
            '{' | '[' => {
                if place == Place::Object && !is_value {
                    modern.push('=');
                }
                places.push(if next == '[' { Place::List } else { Place::Object });
                modern.push(next);
            }
            '}' | ']' => {
                // The outermost place stays, however many closing ones there are.
                if places.len() > 1 {
                    places.pop();
                }
                modern.push_str(if place == Place::Body { "\n}\n" } else { token });
                is_set = place != Place::Body && places.last() != Some(&Place::List);
            }
            ',' if place == Place::Body => modern.push('\n'),
            _ => modern.push_str(token),
        }
        if is_value && (next == '"' || is_word(next)) {
            is_set = true;
        } else if next == '\n' || next == ',' {
            is_set = false;
        }
        if !next.is_whitespace() && !token.starts_with('#') && !token.starts_with("//") && !token.starts_with("/*") {
            last = next;
        }
    }
    Some(modern)
}

/// A part of a name, a number, true or false.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A key as the parser takes it: without its quotes, or as the name that stands for it.
fn key(token: &str, tail: &str) -> String {
    if !tail.trim_start().starts_with(['=', '{']) || token.contains('\\') {
        return token.to_owned();
    }
    let inner = token.trim_matches('"');
    let is_name = inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && inner.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let hex = || inner.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    if is_name { inner.to_owned() } else { format!("{STANDS_FOR}{}", hex()) }
}

/// What was parsed from a [`modernise`]d text, with its keys as they were written.
pub(super) fn restored(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().map(|(key, value)| (written(&key).unwrap_or(key), restored(value))).collect(),
        Value::Array(list) => list.into_iter().map(restored).collect(),
        other => other,
    }
}

/// The key that a name stands for, if it stands for one.
fn written(name: &str) -> Option<String> {
    let hex = name.strip_prefix(STANDS_FOR)?;
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    String::from_utf8((0..hex.len()).step_by(2).map(pair).collect::<Option<_>>()?).ok()
}

/// The bytes of the string that `text` starts with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

fn line_length(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn quoted_keys_and_blocks_on_one_line_mean_what_they_meant() {
        let old = r#"
            "datacenter" = "dc1" # a "comment" = {
            ports { http = 8500, "dns" = 8600 } // another {
            "node_meta" { "a-b" = "x, { y" }
            retry_join = ["a", "b"], server = true
            service { name = "web", tags = ["a", "b"], meta = { "k.k" = "v" } }
            performance { raft_multiplier = 2 leave_drain_time = "1s" rpc_hold_timeout = "7s" }
            services = [ { name = "s", port = 1 }, { name = "t" port = 2 tags = ["a" ] check { ttl = "1s" notes = "n" } meta = { a = "b" } } ]
            telemetry { disable_compat_1.9 = true "a.b" = "c.d" } dns_config { service_ttl { "*" = "1s" "web*" = "2s" } } limits { rpc_rate = 1.5 }
            check { name = "c" "args" = ["a b", "c"] meta { a = -1.5 } ttl = "1s" /* = x */ notes = "" }
        "#;
        assert!(hcl::from_str::<Value>(old).is_err());
        let modern = restored(hcl::from_str(&modernise(old).unwrap()).unwrap());
        let expected = json!({
            "datacenter": "dc1", "ports": {"http": 8500, "dns": 8600}, "node_meta": {"a-b": "x, { y"},
            "retry_join": ["a", "b"], "server": true,
            "service": {"name": "web", "tags": ["a", "b"], "meta": {"k.k": "v"}},
            "performance": {"raft_multiplier": 2, "leave_drain_time": "1s", "rpc_hold_timeout": "7s"},
            "services": [
                {"name": "s", "port": 1},
                {"name": "t", "port": 2, "tags": ["a"], "check": {"ttl": "1s", "notes": "n"}, "meta": {"a": "b"}}
            ],
            "telemetry": {"disable_compat_1.9": true, "a.b": "c.d"}, "dns_config": {"service_ttl": {"*": "1s", "web*": "2s"}}, "limits": {"rpc_rate": 1.5},
            "check": {"name": "c", "args": ["a b", "c"], "meta": {"a": -1.5}, "ttl": "1s", "notes": ""}
        });
        assert_eq!(modern, expected);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,64}|[\\[\\]{}\",=#/*\\\\a \n]{0,64}") {
            let _ = modernise(&text);
        }
    }
}
