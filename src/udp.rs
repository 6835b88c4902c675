//! A UDP socket that wakes a thread for datagrams that arrive, and not for room to send.
//!
//! Tokio's own socket is registered for both. The kernel reports room after each datagram that has left, so each datagram
//! of an idle agent wakes a thread once more. `gossip` and `bridge` hardly ever wait for room.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket of the runtime that it is made in.
#[derive(Debug)]
pub struct UdpSocket {
    io: AsyncFd<std::net::UdpSocket>,
}

impl UdpSocket {
    /// Binds `addr`.
    pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::new(std::net::UdpSocket::bind(addr)?)
    }

    /// Takes over a bound socket.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket { io: registered(socket, Interest::READABLE)? })
    }

    /// The socket itself. A call on it never waits, and fails with [`io::ErrorKind::WouldBlock`] instead.
    pub fn get(&self) -> &std::net::UdpSocket {
        self.io.get_ref()
    }

    /// The bound address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get().local_addr()
    }

    /// The next datagram: its bytes in `buffer`, as many as have room there, and its sender. Safe to drop.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.async_io(Interest::READABLE, |socket| socket.recv_from(buffer)).await
    }

    /// A datagram that has arrived already, as [`UdpSocket::recv_from`] gives it.
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.try_io(Interest::READABLE, |socket| socket.recv_from(buffer))
    }

    /// Sends one datagram, after waiting for room where there is none.
    pub async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        loop {
            match self.get().send_to(bytes, to) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                sent => return sent,
            }
        }
    }

    /// Polls for datagrams with `receive`, which fails with [`io::ErrorKind::WouldBlock`] where none has arrived.
    pub fn poll_recv<T>(
        &self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(&std::net::UdpSocket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut ready = ready!(self.io.poll_read_ready(cx))?;
            if let Ok(received) = ready.try_io(|io| receive(io.get_ref())) {
                return Poll::Ready(received);
            }
        }
    }

    /// Resolves once there is room to send. The wait has a descriptor of its own, for as long as it lasts.
    pub async fn writable(&self) -> io::Result<()> {
        let same = registered(self.get().try_clone()?, Interest::WRITABLE)?;
        same.writable().await?.retain_ready();
        Ok(())
    }
}

/// `socket`, registered with the current runtime for `interest` alone.
#[expect(deprecated, reason = "its successor is unsafe for types that change their descriptor, which this one never does")]
fn registered(socket: std::net::UdpSocket, interest: Interest) -> io::Result<AsyncFd<std::net::UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn pair() -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (bind(), bind())
    }

    #[tokio::test]
    async fn datagrams_arrive_one_by_one_and_then_none() {
        let (one, other) = pair();
        let to = other.local_addr().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(other.try_recv_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.send_to(b"first", to).await.unwrap();
        one.send_to(b"second", to).await.unwrap();
        let from = one.local_addr().unwrap();
        assert_eq!(other.recv_from(&mut buffer).await.unwrap(), (5, from));
        assert_eq!(other.recv_from(&mut buffer).await.unwrap(), (6, from));
        assert_eq!(&buffer[..6], b"second");
        assert_eq!(other.try_recv_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(other.recv_from(&mut buffer).now_or_never().is_none());
        one.send_to(b"third", to).await.unwrap();
        assert_eq!(other.recv_from(&mut buffer).await.unwrap().0, 5);
    }

    /// The events that the runtime of `socket` is registered for, as the kernel lists them.
    #[cfg(target_os = "linux")]
    fn events_of(socket: &UdpSocket) -> u32 {
        use std::os::fd::AsRawFd;
        let number = socket.get().as_raw_fd().to_string();
        let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        let texts = infos.filter_map(|info| std::fs::read_to_string(info.ok()?.path()).ok());
        let watched = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).find_map(|line| {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace();
            let is_it = words.next()? == number && words.next()? == "events:";
            u32::from_str_radix(words.next()?, 16).ok().filter(|_| is_it)
        });
        watched.unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_reports_arrivals_and_not_room() {
        const IN: u32 = 1;
        const OUT: u32 = 4;
        let (one, other) = pair();
        assert_eq!(events_of(&one) & (IN | OUT), IN);
        let both = Interest::READABLE | Interest::WRITABLE;
        let theirs = UdpSocket { io: registered(other.io.into_inner(), both).unwrap() };
        assert_eq!(events_of(&theirs) & (IN | OUT), IN | OUT, "the test sees the difference");
        one.writable().await.unwrap();
        assert_eq!(events_of(&one) & (IN | OUT), IN);
    }
}
