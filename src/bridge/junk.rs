//! Counters of datagrams at the bridge's socket that are no QUIC of its peers; quinn drops them without a word.
//!
//! `endpoint` puts both of these between quinn and the parts that it would use anyway.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, UdpPoller};
use quinn_proto::InvalidCid;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The least length of a QUIC packet: a first byte, and 20 bytes for a header and its seal (RFC 9000, sections 10.3 and 17).
const LEAST_BYTES: usize = 21;

/// Why a datagram is no QUIC of this protocol, by its first bytes. They are not secret and mean the same in every packet
/// (RFC 8999). A greased bit could not be distinguished from junk: `endpoint` does not offer that.
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

/// A socket that looks at received datagrams.
#[derive(Debug)]
pub(super) struct CountingSocket(pub(super) Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for CountingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let received = ready!(self.0.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter().zip(meta.iter()).take(received) {
            // The kernel may hand over several datagrams in one buffer.
            let datagrams = buf.get(..meta.len).unwrap_or_default().chunks(meta.stride.max(1));
            datagrams.filter_map(fault_of).for_each(count);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
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
