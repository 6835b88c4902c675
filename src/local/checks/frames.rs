//! Unpacks the output of a command in a container: frames, each with a head of eight bytes. Pure.

use crate::model::tail::Tail;

const HEAD: usize = 8;

/// The place in the frames that a body has reached.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: Vec<u8>,
    /// Bytes of the frame that are still to come.
    rest: usize,
}

impl Frames {
    /// Takes the next bytes, cut anywhere, and gives their content to `output`.
    pub(super) fn unpack(&mut self, mut bytes: &[u8], output: &mut Tail) {
        while !bytes.is_empty() {
            if self.rest == 0 {
                let (head, after) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = after;
                // The stream, three bytes of nothing, and the length.
                if let [_, _, _, _, a, b, c, d] = self.head[..] {
                    self.rest = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.head.clear();
                }
            } else {
                let (data, after) = bytes.split_at(bytes.len().min(self.rest));
                output.write(data);
                self.rest -= data.len();
                bytes = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unpacked_wherever_they_are_cut() {
        let bytes = b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x00\x02\0\0\0\0\0\0\x04 err";
        for size in 1..bytes.len() {
            let (mut frames, mut output) = (Frames::default(), Tail::new(100));
            bytes.chunks(size).for_each(|part| frames.unpack(part, &mut output));
            assert_eq!(output.noted(), "out err");
        }
    }
}
