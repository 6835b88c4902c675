//! The last bytes of an output, of a check or a handler, in memory of a fixed size.

use std::collections::VecDeque;

/// Takes any number of bytes and keeps the last ones.
#[derive(Debug)]
pub struct Tail {
    kept: VecDeque<u8>,
    max: usize,
    total: u64,
}

impl Tail {
    pub fn new(max: usize) -> Tail {
        Tail { kept: VecDeque::new(), max, total: 0 }
    }

    /// Takes `bytes`, and drops as many of the oldest ones as is needed.
    pub fn write(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let bytes = &bytes[bytes.len().saturating_sub(self.max)..];
        let over = (self.kept.len() + bytes.len()).saturating_sub(self.max);
        self.kept.drain(..over);
        self.kept.extend(bytes);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn text(&mut self) -> String {
        let bytes: &[u8] = self.kept.make_contiguous();
        // A character cut in half at the front is not a wrong one.
        let cut =
            if self.total > bytes.len() as u64 { bytes.iter().take(3).take_while(|byte| is_inside(**byte)).count() } else { 0 };
        String::from_utf8_lossy(&bytes[cut..]).into_owned()
    }

    /// The bytes kept, with Consul's note when there were more.
    pub fn noted(&mut self) -> String {
        let (kept, total) = (self.kept.len(), self.total);
        let text = self.text();
        if total > kept as u64 { format!("Captured {kept} of {total} bytes\n...\n{text}") } else { text }
    }
}

/// The byte continues a character of UTF-8.
fn is_inside(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(max: usize, writes: &[&str]) -> Tail {
        let mut tail = Tail::new(max);
        writes.iter().for_each(|bytes| tail.write(bytes.as_bytes()));
        tail
    }

    #[test]
    fn the_last_bytes_are_kept_and_the_others_counted() {
        assert_eq!(tail(5, &["abc"]).noted(), "abc");
        assert_eq!(tail(5, &["abc", "de"]).noted(), "abcde");
        assert_eq!(tail(5, &["abc", "def"]).noted(), "Captured 5 of 6 bytes\n...\nbcdef");
        assert_eq!(tail(5, &["abc", "0123456789"]).noted(), "Captured 5 of 13 bytes\n...\n56789");
        assert_eq!(tail(0, &["abc"]).noted(), "Captured 0 of 3 bytes\n...\n");
    }

    #[test]
    fn a_flood_takes_no_more_memory_and_no_character_is_shown_in_half() {
        let mut flood = Tail::new(10);
        for _ in 0..10_000 {
            flood.write(&[b'x'; 1000]);
        }
        assert!(flood.kept.capacity() < 100);
        assert_eq!(flood.total(), 10_000_000);
        assert_eq!(tail(3, &["éé"]).text(), "é");
        let mut bytes = Tail::new(10);
        bytes.write(&[0xff, b'a']);
        assert_eq!(bytes.text(), "\u{fffd}a");
    }
}
