//! The wrapping of every gossip packet, UDP and TCP: pool, datacenter, sender, seal.
//!
//! `core` opens each packet here before the membership protocol sees it, because to that every valid packet is a join. No
//! bytes make it panic.
//!
//! ```text
//! magic 2 | version 1 | flags 1 | nonce 12 (sealed only) | body | tag 16 (sealed only)
//! body: node id 16 | session 8 | number 8 | dc length 1 | dc | payload
//! ```
//! The nonce is random; a key is good for about 2^32 packets of the whole pool. Session and number count only with a key:
//! without one they prove nothing.

use super::Pool;
use super::horizon::Horizon;
use super::replay::{Carrier, ReplayGuard, Stale};
use crate::defaults;
use crate::model::ids::NodeId;
use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;
use std::sync::Arc;

const MAGIC: [u8; 2] = [0x4b, 0xd7];
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4;
const SEALED: u8 = 1;
const WAN: u8 = 2;
const STREAM: u8 = 4;
/// The flags of a note, which stand in no other packet.
const NOTE: u8 = 0x80;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// Not a packet of this protocol, or a damaged one.
    Junk,
    /// Larger than any packet.
    Oversized,
    /// Of an unknown version.
    Version,
    /// Of the other pool.
    Pool,
    /// Not sealed with our key, or sealed where we have none.
    Key,
    /// Of another datacenter.
    Datacenter(String),
    /// Seen before.
    Replayed,
    /// Of an earlier life of this sender than the known one.
    Outlived { sender: NodeId, session: u64 },
    /// Of a life that begins too far ahead of now.
    Ahead,
    /// Of an address that has not shown an agent yet.
    Unproven,
    /// The other side refuses this one.
    Reported(Note),
}

impl Rejection {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Rejection::Junk => "junk",
            Rejection::Oversized => "oversized",
            Rejection::Version => "version",
            Rejection::Pool => "pool",
            Rejection::Key => "key",
            Rejection::Datacenter(_) => "datacenter",
            Rejection::Replayed => "replayed",
            Rejection::Outlived { .. } => "outlived",
            Rejection::Ahead => "ahead",
            Rejection::Unproven => "unproven",
            Rejection::Reported(_) => "told",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Rejection::Key => {
                "its packets do not open with our encrypt key, or one side has none; `encrypt` must be the same on both"
            }
            Rejection::Pool => "it is of the other pool; is the port right? LAN and WAN have one each",
            Rejection::Version => "it speaks another version of Kontor's gossip",
            Rejection::Junk => "its packets are not Kontor's gossip",
            Rejection::Reported(Note::Key) => {
                "it refuses what is not sealed with its encrypt key, or sealed where it has none; both need the same encrypt key"
            }
            Rejection::Reported(Note::Pool) => {
                "it refuses what is of the other pool; is the port right? LAN and WAN have one each"
            }
            Rejection::Reported(Note::Version) => "it speaks another version of Kontor's gossip, and refuses this one",
            Rejection::Datacenter(dc) => return write!(f, "it is of datacenter '{dc}'"),
            other => other.label(),
        };
        f.write_str(text)
    }
}

/// A note to a peer without the same key or pool. Any sender may have written it; it is shown and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Key,
    Pool,
    Version,
}

impl Note {
    const ALL: [Note; 3] = [Note::Key, Note::Pool, Note::Version];

    /// The frame of a refusal; `None` for refusals without a note.
    pub(super) fn frame(refusal: &Rejection) -> Option<Vec<u8>> {
        let note = match refusal {
            Rejection::Key => Note::Key,
            Rejection::Pool => Note::Pool,
            Rejection::Version => Note::Version,
            _ => return None,
        };
        Some(vec![MAGIC[0], MAGIC[1], VERSION, NOTE, note as u8])
    }

    fn read(header: [u8; HEADER_BYTES], rest: &[u8]) -> Option<Note> {
        let [number] = rest else { return None };
        Note::ALL.into_iter().find(|note| header[..2] == MAGIC && header[3] == NOTE && *note as u8 == *number)
    }
}

pub(super) fn is_ours(first: [u8; 2]) -> bool {
    first == MAGIC
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub sender: NodeId,
    pub datacenter: String,
    pub payload: Vec<u8>,
}

pub(super) struct Envelope {
    pool: Pool,
    datacenter: String,
    me: NodeId,
    session: u64,
    /// The newest numbers of datagrams and of stream frames, apart: hundreds of datagrams lie between two frames.
    numbers: [u64; 2],
    key: Option<LessSafeKey>,
    guard: ReplayGuard,
    horizon: Arc<Horizon>,
}

impl Envelope {
    /// `session` should be greater than that of any earlier start of this agent.
    pub(super) fn new(
        pool: Pool,
        datacenter: &str,
        me: NodeId,
        session: u64,
        key: Option<&[u8]>,
        horizon: Arc<Horizon>,
    ) -> Result<Envelope, String> {
        if datacenter.is_empty() || datacenter.len() > defaults::GOSSIP_DC_BYTES {
            return Err(format!("expected a datacenter of 1 to {} bytes, got {datacenter:?}", defaults::GOSSIP_DC_BYTES));
        }
        Ok(Envelope {
            pool,
            datacenter: datacenter.to_owned(),
            me,
            session,
            numbers: [0; 2],
            key: key.map(key_of).transpose()?,
            guard: ReplayGuard::new(defaults::GOSSIP_MAX_REPLAY_SENDERS),
            horizon,
        })
    }

    /// Seals in another session from now on: this agent begins another life.
    pub(super) fn begin(&mut self, session: u64) {
        (self.session, self.numbers) = (session, [0; 2]);
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// Counts on from `number`, as a forger does.
    #[cfg(test)]
    pub(super) fn number_from(&mut self, number: u64) {
        self.numbers = [number; 2];
    }

    /// Wraps a payload; fails only where the system has no randomness.
    pub(super) fn seal(&mut self, carrier: Carrier, payload: &[u8]) -> Result<Vec<u8>, Rejection> {
        let number = &mut self.numbers[carrier as usize];
        *number += 1;
        let number = *number;
        let header = self.header(carrier);
        let mut body = Vec::with_capacity(payload.len() + defaults::GOSSIP_ENVELOPE_BYTES);
        body.extend_from_slice(&self.me.as_u128().to_be_bytes());
        body.extend_from_slice(&self.session.to_be_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        body.push(u8::try_from(self.datacenter.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(self.datacenter.as_bytes());
        body.extend_from_slice(payload);
        let mut packet = header.to_vec();
        if let Some(key) = &self.key {
            let mut nonce = [0; NONCE_LEN];
            aws_lc_rs::rand::fill(&mut nonce).map_err(|_unspecified| Rejection::Key)?;
            key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut body)
                .map_err(|_unspecified| Rejection::Key)?;
            packet.extend_from_slice(&nonce);
        }
        packet.extend_from_slice(&body);
        Ok(packet)
    }

    pub(super) fn open(&mut self, carrier: Carrier, packet: &[u8]) -> Result<Opened, Rejection> {
        let bound = match carrier {
            Carrier::Datagram => defaults::GOSSIP_DATAGRAM_BYTES,
            Carrier::Stream => defaults::GOSSIP_FRAME_BYTES,
        };
        if packet.len() > bound {
            return Err(Rejection::Oversized);
        }
        let (header, rest) = packet.split_first_chunk::<HEADER_BYTES>().ok_or(Rejection::Junk)?;
        if header[..2] != MAGIC {
            return Err(Rejection::Junk);
        }
        if let Some(note) = Note::read(*header, rest).filter(|_| carrier == Carrier::Stream) {
            return Err(Rejection::Reported(note));
        }
        if header[2] != VERSION {
            return Err(Rejection::Version);
        }
        let expected = self.header(carrier);
        if (header[3] ^ expected[3]) & !SEALED == WAN {
            return Err(Rejection::Pool);
        }
        if (header[3] ^ expected[3]) == SEALED {
            return Err(Rejection::Key);
        }
        if header[3] != expected[3] {
            return Err(Rejection::Junk);
        }
        let body = self.unseal(*header, rest)?;
        self.read_body(carrier, &body)
    }

    fn unseal(&self, header: [u8; HEADER_BYTES], rest: &[u8]) -> Result<Vec<u8>, Rejection> {
        let Some(key) = &self.key else { return Ok(rest.to_vec()) };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Rejection::Junk)?;
        let mut body = sealed.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(header), &mut body);
        let length = opened.map_err(|_unspecified| Rejection::Key)?.len();
        body.truncate(length);
        Ok(body)
    }

    fn read_body(&mut self, carrier: Carrier, body: &[u8]) -> Result<Opened, Rejection> {
        let (sender, rest) = body.split_first_chunk::<16>().ok_or(Rejection::Junk)?;
        let (session, rest) = rest.split_first_chunk::<8>().ok_or(Rejection::Junk)?;
        let (number, rest) = rest.split_first_chunk::<8>().ok_or(Rejection::Junk)?;
        let (length, rest) = rest.split_first().ok_or(Rejection::Junk)?;
        let length = usize::from(*length);
        if length > defaults::GOSSIP_DC_BYTES || length > rest.len() {
            return Err(Rejection::Junk);
        }
        let (dc, payload) = rest.split_at(length);
        let datacenter = std::str::from_utf8(dc).map_err(|_utf8| Rejection::Junk)?.to_owned();
        let sender = NodeId::from_u128(u128::from_be_bytes(*sender));
        // A stream is admitted to receive the reason; a datagram has no way to answer.
        if self.pool == Pool::Lan && carrier == Carrier::Datagram && datacenter != self.datacenter {
            return Err(Rejection::Datacenter(datacenter));
        }
        self.refuse_stale(sender, carrier, u64::from_be_bytes(*session), u64::from_be_bytes(*number))?;
        Ok(Opened { sender, datacenter, payload: payload.to_vec() })
    }

    fn refuse_stale(&mut self, sender: NodeId, carrier: Carrier, session: u64, number: u64) -> Result<(), Rejection> {
        // A session too far ahead is not remembered: the sender's own would be refused afterwards.
        if self.key.is_none() || !self.horizon.admits(session) {
            return Ok(());
        }
        self.guard.take(sender, carrier, session, number).map_err(|stale| match stale {
            Stale::Seen => Rejection::Replayed,
            Stale::Outlived(session) => Rejection::Outlived { sender, session },
        })
    }

    fn header(&self, carrier: Carrier) -> [u8; HEADER_BYTES] {
        let mut flags = 0;
        if self.key.is_some() {
            flags |= SEALED;
        }
        if self.pool == Pool::Wan {
            flags |= WAN;
        }
        if carrier == Carrier::Stream {
            flags |= STREAM;
        }
        [MAGIC[0], MAGIC[1], VERSION, flags]
    }
}

fn key_of(bytes: &[u8]) -> Result<LessSafeKey, String> {
    let algorithm = match bytes.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        32 => &AES_256_GCM,
        other => return Err(format!("expected an encrypt key of 16, 24 or 32 bytes, got {other}")),
    };
    UnboundKey::new(algorithm, bytes).map(LessSafeKey::new).map_err(|_unspecified| "the encrypt key was not accepted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Option<&[u8]> = Some(&[7; 32]);

    fn lan(id: u128, key: Option<&[u8]>) -> Envelope {
        envelope(Pool::Lan, "dc1", id, key)
    }

    fn envelope(pool: Pool, dc: &str, id: u128, key: Option<&[u8]>) -> Envelope {
        Envelope::new(pool, dc, NodeId::from_u128(id), 1, key, Arc::default()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_each_key_size() {
        for key in [None, Some(&[7u8; 16][..]), Some(&[7u8; 24][..]), Some(&[7u8; 32][..])] {
            let packet = lan(1, key).seal(Carrier::Datagram, b"hello").unwrap();
            let opened = lan(2, key).open(Carrier::Datagram, &packet).unwrap();
            assert_eq!((opened.payload, opened.sender), (b"hello".to_vec(), NodeId::from_u128(1)));
        }
        assert!(Envelope::new(Pool::Lan, "dc1", NodeId::default(), 1, Some(&[0; 15]), Arc::default()).is_err());
    }

    #[test]
    fn each_kind_of_stranger_is_told_apart() {
        let mut here = lan(1, KEY);
        let refusals = [
            (envelope(Pool::Wan, "dc1", 2, KEY), Rejection::Pool),
            (lan(3, None), Rejection::Key),
            (envelope(Pool::Lan, "dc1", 4, Some(&[8; 32])), Rejection::Key),
            (envelope(Pool::Lan, "dc2", 5, KEY), Rejection::Datacenter("dc2".to_owned())),
        ];
        for (mut stranger, refusal) in refusals {
            let packet = stranger.seal(Carrier::Datagram, b"hello").unwrap();
            assert_eq!(here.open(Carrier::Datagram, &packet), Err(refusal));
        }
        assert_eq!(here.open(Carrier::Datagram, &[0; 1401]), Err(Rejection::Oversized));
    }

    #[test]
    fn a_packet_opens_once_and_on_its_own_carrier_only() {
        let mut here = lan(1, KEY);
        let packet = lan(2, KEY).seal(Carrier::Datagram, b"hello").unwrap();
        assert_eq!(here.open(Carrier::Stream, &packet), Err(Rejection::Junk));
        assert!(here.open(Carrier::Datagram, &packet).is_ok());
        assert_eq!(here.open(Carrier::Datagram, &packet), Err(Rejection::Replayed));
    }

    fn numbered(key: Option<&[u8]>, session: u64, number: u64) -> Vec<u8> {
        let mut forged = lan(2, key);
        forged.begin(session);
        forged.number_from(number);
        forged.seal(Carrier::Datagram, b"forged").unwrap()
    }

    #[test]
    fn no_session_and_no_number_that_anybody_writes_makes_a_sender_unheard() {
        let mut here = lan(1, None);
        for forged in [numbered(None, u64::MAX, 7), numbered(None, 1, u64::MAX - 1)] {
            assert!(here.open(Carrier::Datagram, &forged).is_ok());
        }
        assert!(here.open(Carrier::Datagram, &numbered(None, 1, 1)).is_ok());
    }

    #[test]
    fn a_session_far_ahead_is_not_remembered_even_of_one_who_has_the_key() {
        let mut here = lan(1, KEY);
        assert!(here.open(Carrier::Datagram, &numbered(KEY, u64::MAX, 7)).is_ok());
        assert!(here.open(Carrier::Datagram, &numbered(KEY, 1, 1)).is_ok());
        assert!(here.open(Carrier::Datagram, &numbered(KEY, 5, 1)).is_ok());
        let outlived = Rejection::Outlived { sender: NodeId::from_u128(2), session: 5 };
        assert_eq!(here.open(Carrier::Datagram, &numbered(KEY, 1, 2)), Err(outlived), "one that can be is");
    }

    #[test]
    fn a_frame_that_waited_while_many_datagrams_went_out_is_not_taken_for_a_replay() {
        let mut here = lan(1, KEY);
        let mut there = lan(2, KEY);
        let waiting = there.seal(Carrier::Stream, b"first").unwrap();
        for _ in 0..1000 {
            let _ = there.seal(Carrier::Datagram, b"probe");
        }
        let second = there.seal(Carrier::Stream, b"second").unwrap();
        assert!(here.open(Carrier::Stream, &second).is_ok());
        assert!(here.open(Carrier::Stream, &waiting).is_ok());
        assert_eq!(here.open(Carrier::Stream, &waiting), Err(Rejection::Replayed));
    }

    #[test]
    fn a_refusal_is_told_without_a_key_and_only_on_a_stream() {
        let mut here = lan(1, KEY);
        let note = Note::frame(&Rejection::Key).unwrap();
        assert_eq!(here.open(Carrier::Stream, &note), Err(Rejection::Reported(Note::Key)));
        assert_eq!(here.open(Carrier::Datagram, &note), Err(Rejection::Junk));
        assert!(Rejection::Reported(Note::Key).to_string().contains("same encrypt key"));
        assert_eq!(Note::frame(&Rejection::Junk), None);
    }

    #[test]
    fn the_longest_datacenter_fits_the_reserve() {
        let dc = "d".repeat(defaults::GOSSIP_DC_BYTES);
        let packet = envelope(Pool::Lan, &dc, 1, KEY).seal(Carrier::Datagram, b"").unwrap();
        assert!(packet.len() < defaults::GOSSIP_ENVELOPE_BYTES);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_flipped_bit_opens(junk in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..60, bit in 0u8..8) {
            let mut here = lan(1, KEY);
            prop_assert!(here.open(Carrier::Datagram, &junk).is_err());
            prop_assert!(here.open(Carrier::Stream, &junk).is_err());
            let mut plain = lan(1, None);
            let _ = plain.open(Carrier::Datagram, &junk);
            let mut packet = lan(2, KEY).seal(Carrier::Datagram, b"payload").unwrap();
            let at = at % packet.len();
            packet[at] ^= 1 << bit;
            prop_assert!(here.open(Carrier::Datagram, &packet).is_err());
            prop_assert!(here.open(Carrier::Datagram, &packet[..at]).is_err());
        }
    }
}
