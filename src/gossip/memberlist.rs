//! The beginnings of Consul's gossip, to recognise its agents; the two protocols do not join each other.
//! A message of memberlist begins with a byte for its kind; most go on with a MessagePack map.

/// The description of a peer that speaks it.
pub(super) const CONSUL: &str = "speaks Consul's gossip, not Kontor's; agents of both do not join each other";

/// The kinds of messages, by their first byte.
mod kind {
    pub(super) const PING: u8 = 0;
    pub(super) const PUSH_PULL: u8 = 6;
    pub(super) const COMPOUND: u8 = 7;
    pub(super) const USER: u8 = 8;
    pub(super) const COMPRESSED: u8 = 9;
    pub(super) const ENCRYPTED: u8 = 10;
    pub(super) const CHECKED: u8 = 12;
    pub(super) const ERROR: u8 = 13;
    pub(super) const LABEL: u8 = 244;
}

/// The question to a peer that hangs up; to Consul it begins a sealed message, and is answered with an error.
pub(super) const QUESTION: [u8; 5] = [kind::ENCRYPTED, 0x4b, 0xd7, 0, 0];

/// The longest sealed message that memberlist sends: 20 MiB, whose length has this byte at most.
const MAX_LENGTH_BYTE: u8 = 1;

/// True for the beginning of a stream of Consul's.
pub(super) fn begins_stream(first: [u8; 4]) -> bool {
    match first[0] {
        kind::ENCRYPTED => first[1] <= MAX_LENGTH_BYTE,
        kind::LABEL => first[1] > 0,
        kind::PUSH_PULL | kind::USER | kind::COMPRESSED | kind::ERROR => is_map(first[1]),
        kind::PING => is_map(first[1]) && is_text(first[2]),
        _ => false,
    }
}

/// True for the first byte of an answer of Consul's.
pub(super) fn begins_answer(first: u8) -> bool {
    matches!(first, kind::ERROR | kind::ENCRYPTED | kind::PUSH_PULL | kind::COMPRESSED)
}

/// True for a datagram of Consul's. A sealed one has no mark.
pub(super) fn is_datagram(bytes: &[u8]) -> bool {
    match bytes {
        [kind::CHECKED, _, _, _, _, rest @ ..] => is_plain(rest),
        [kind::LABEL, length, rest @ ..] => rest.get(usize::from(*length)..).is_some_and(is_plain),
        _ => is_plain(bytes),
    }
}

fn is_plain(bytes: &[u8]) -> bool {
    match bytes {
        [kind::COMPOUND, count, rest @ ..] => {
            let lengths = 2 * usize::from(*count);
            let announced: usize =
                rest.chunks_exact(2).take(usize::from(*count)).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1])).sum();
            *count > 0 && lengths + announced == rest.len()
        }
        [first, map, text, ..] => *first <= kind::ERROR && is_map(*map) && is_text(*text),
        _ => false,
    }
}

/// An error that the joining agent of Consul shows to its user.
pub(super) fn refusal() -> Vec<u8> {
    let text = format!("this agent {}", CONSUL.replace("Consul's gossip, not Kontor's", "Kontor's gossip, not Consul's"));
    let mut answer = vec![kind::ERROR, 0x81, 0xa5];
    answer.extend_from_slice(b"Error");
    // A text of up to 255 bytes.
    answer.push(0xd9);
    answer.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    answer.extend(text.bytes().take(usize::from(u8::MAX)));
    answer
}

fn is_map(byte: u8) -> bool {
    matches!(byte, 0x81..=0x8f)
}

fn is_text(byte: u8) -> bool {
    matches!(byte, 0xa1..=0xbf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_of_consul_are_told_from_frames() {
        // A push/pull, one that is compressed, one that is sealed, the fallback ping, and a label.
        for first in [[6, 0x83, 0xa5, b'N'], [9, 0x82, 0xa4, b'A'], [10, 0, 0, 0x40], [0, 0x86, 0xa4, b'N'], [244, 3, b'a', b'b']]
        {
            assert!(begins_stream(first), "{first:?}");
        }
        for frame in [[0, 0, 1, 0], [0, 0x10, 0, 0], [1, 0, 0, 0], *b"GET ", [0x16, 3, 1, 2]] {
            assert!(!begins_stream(frame), "{frame:?}");
        }
        let [first, second, third, fourth, _] = QUESTION;
        assert!(!begins_stream([first, second, third, fourth]), "an agent of Kontor that asks is none of Consul");
    }

    #[test]
    fn the_packets_of_consul_are_told_from_junk() {
        let ping = [&[0, 0x82, 0xa5][..], b"SeqNo", &[1, 0xa4], b"Node"].concat();
        let compound = [&[7, 1, 0, 14][..], &ping].concat();
        assert_eq!(ping.len(), 14);
        for packet in [
            ping.clone(),
            [&[12, 1, 2, 3, 4][..], &ping].concat(),
            compound.clone(),
            [&[244, 2, b'l', b'b'][..], &compound].concat(),
        ] {
            assert!(is_datagram(&packet), "{packet:?}");
        }
        for junk in [&b""[..], b"\x00", b"hello", &[7, 1, 0, 99, 1], &[0, 0, 0], &[12, 1, 2]] {
            assert!(!is_datagram(junk), "{junk:?}");
        }
    }

    #[test]
    fn the_refusal_is_one_short_text() {
        let answer = refusal();
        assert_eq!(answer.len(), 10 + usize::from(answer[9]));
        assert!(
            String::from_utf8_lossy(&answer)
                .ends_with("speaks Kontor's gossip, not Consul's; agents of both do not join each other")
        );
    }
}
