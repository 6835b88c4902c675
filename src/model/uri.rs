//! Targets of requests, percent-encoded, and URIs of users as they may be shown.

use std::borrow::Cow;
use std::fmt::Write;

/// Appends `text` with all but RFC 3986's unreserved characters as `%XX`.
pub fn encode(text: &str, into: &mut String) {
    encode_bytes(text.as_bytes(), into);
}

fn encode_bytes(bytes: &[u8], into: &mut String) {
    for byte in bytes.iter().copied() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            _ = write!(into, "%{byte:02X}");
        }
    }
}

/// A request's target under construction: a path, and parameters behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub String);

impl Target {
    /// The target of a path that is spelled already.
    pub fn new(path: &str) -> Target {
        Target(path.to_owned())
    }

    /// Adds one percent-encoded segment to the path.
    pub fn segment(mut self, segment: &str) -> Target {
        self.0.push('/');
        encode(segment, &mut self.0);
        self
    }

    /// The same of any bytes.
    pub fn raw_segment(mut self, segment: &[u8]) -> Target {
        self.0.push('/');
        encode_bytes(segment, &mut self.0);
        self
    }

    /// Adds a parameter.
    pub fn param(mut self, name: &str, value: &str) -> Target {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        encode(value, &mut self.0);
        self
    }

    /// Adds a parameter when there is a value.
    pub fn maybe(self, name: &str, value: Option<&str>) -> Target {
        if let Some(value) = value { self.param(name, value) } else { self }
    }
}

/// `text` as it may be shown: a password in front of the host is hidden, as Go does.
pub fn shown(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => Cow::Owned(format!("{scheme}://{user}:xxxxx@{host}{}", &rest[authority.len()..])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(shown("http://user:secret@a:1/x?y=b@c"), "http://user:xxxxx@a:1/x?y=b@c");
        for harmless in ["http://a/x@y:z", "http://user@a/", "a:b@c", ""] {
            assert_eq!(shown(harmless), harmless);
        }
    }
}
