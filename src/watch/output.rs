//! The end of what a handler says: bounded however much it is.

use crate::config::defaults::WATCH_OUTPUT_BYTES;
use std::collections::VecDeque;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: VecDeque<u8>,
    total: u64,
}

impl Tail {
    /// Takes in what comes next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let last = &bytes[bytes.len().saturating_sub(WATCH_OUTPUT_BYTES)..];
        let surplus = (self.kept.len() + last.len()).saturating_sub(WATCH_OUTPUT_BYTES);
        self.kept.drain(..surplus);
        self.kept.extend(last);
    }

    /// All bytes that came.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The text, and a note where it is not all of it. Consul's form.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        let text = String::from_utf8_lossy(&[front, back].concat()).into_owned();
        match self.total > self.kept.len() as u64 {
            true => format!("Captured {} of {} bytes\n...\n{text}", self.kept.len(), self.total),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_all_are_counted() {
        let mut tail = Tail::default();
        tail.push(b"well");
        assert_eq!(tail.text(), "well");
        tail.push(&vec![b'a'; WATCH_OUTPUT_BYTES - 2]);
        tail.push(b"end");
        assert_eq!(tail.kept.len(), WATCH_OUTPUT_BYTES);
        let text = tail.text();
        assert!(
            text.starts_with(&format!("Captured 4096 of {} bytes\n...\naaa", tail.total())) && text.ends_with("aend"),
            "{text}"
        );
        tail.push(&vec![b'b'; 3 * WATCH_OUTPUT_BYTES]);
        assert!(tail.text().ends_with(&"b".repeat(WATCH_OUTPUT_BYTES)));
    }
}
