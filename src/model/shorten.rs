//! Texts that have to fit: into a header, a line of the log, a terminal.

use std::borrow::Cow;

const MORE: &str = "...";

/// `text` in at most `max` characters. A longer text ends between two words with `...`; a single word that is too long is
/// cut.
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(max) else { return Cow::Borrowed(text) };
    let room = text.char_indices().nth(max.saturating_sub(MORE.len())).map_or(end, |(room, _)| room);
    let (kept, rest) = text.split_at(room);
    let whole = match kept.rfind(char::is_whitespace) {
        _ if rest.starts_with(char::is_whitespace) => kept,
        Some(at) => &kept[..at],
        None => kept,
    };
    let whole = whole.trim_end().trim_end_matches([',', ';', ':', '(']);
    Cow::Owned(format!("{whole}{MORE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_ends_between_words() {
        assert_eq!(shorten("one two three", 13), "one two three");
        assert_eq!(shorten("one two three", 12), "one two...");
        assert_eq!(shorten("one two, three", 11), "one two...");
        assert_eq!(shorten("one two three", 10), "one two...");
        assert_eq!(shorten("one two three", 9), "one...");
        assert_eq!(shorten("Wörter über Wörter", 14), "Wörter über...");
    }

    #[test]
    fn what_has_no_words_is_cut_where_it_must_be() {
        assert_eq!(shorten(&"x".repeat(100), 10), "xxxxxxx...");
        assert_eq!(shorten("xxx", 0), "...");
        assert_eq!(shorten("", 0), "");
    }
}
