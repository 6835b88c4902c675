//! Text as a part of a URI. Whoever builds a request's target (`cli`, `watch`) spells it this way.

use std::fmt::Write;

/// Appends `text` with all but RFC 3986's unreserved characters as `%XX`.
pub fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            _ = write!(into, "%{byte:02X}");
        }
    }
}
