//! Counters of datagrams at the bridge's socket that are no QUIC of its peers; quinn drops them without a word.

use quinn::udp::RecvMeta;
use quinn::{ConnectionId, ConnectionIdGenerator};
use quinn_proto::InvalidCid;
use std::io::IoSliceMut;
use std::time::Duration;

/// The least length of a QUIC packet: a first byte, and 20 bytes for a header and its seal (RFC 9000, sections 10.3 and 17).
const LEAST_BYTES: usize = 21;

/// Why a datagram is no QUIC of this protocol, by its first bytes, which mean the same in every packet (RFC 8999).
fn fault_of(datagram: &[u8]) -> Option<&'static str> {
    const LONG: u8 = 0x80;
    const FIXED: u8 = 0x40;
    const VERSION: [u8; 4] = 1_u32.to_be_bytes();
    match datagram {
        _ if datagram.len() < LEAST_BYTES => Some("short"),
        [first, ..] if first & FIXED == 0 => Some("not QUIC"),
        [first, version @ ..] if first & LONG != 0 && !version.starts_with(&VERSION) => Some("version"),
        _ => None,
    }
}

fn count(kind: &'static str) {
    metrics::counter!("kontor.bridge.junk", "kind" => kind).increment(1);
}

/// Counts the junk among the datagrams received into `bufs`.
pub(super) fn count_in(bufs: &[IoSliceMut<'_>], meta: &[RecvMeta]) {
    for (buf, meta) in bufs.iter().zip(meta) {
        // The kernel may hand over several datagrams in one buffer.
        let datagrams = buf.get(..meta.len).unwrap_or_default().chunks(meta.stride.max(1));
        datagrams.filter_map(fault_of).for_each(count);
    }
}

/// Connection ids that count those not made here.
pub(super) struct CountingIds<G>(pub(super) G);

impl<G: ConnectionIdGenerator> ConnectionIdGenerator for CountingIds<G> {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0.generate_cid()
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.0.validate(id).inspect_err(|_invalid| count("connection id"))
    }

    fn cid_len(&self) -> usize {
        self.0.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.0.cid_lifetime()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_is_told_by_its_first_bytes() {
        let datagram = |start: &[u8]| [start, &[7; 40]].concat();
        assert_eq!(fault_of(&[]), Some("short"));
        assert_eq!(fault_of(&[0x40; 20]), Some("short"));
        assert_eq!(fault_of(&datagram(&[0x00])), Some("not QUIC"));
        assert_eq!(fault_of(&datagram(&[0xc0, 1, 2, 3, 4])), Some("version"));
        assert_eq!(fault_of(&datagram(&[0xc0, 0, 0, 0, 1])), None);
        assert_eq!(fault_of(&datagram(&[0x40])), None);
    }
}
