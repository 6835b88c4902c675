//! Tokio as quinn uses it, with fewer wakes of a thread for an idle link: its socket reports arrivals alone, and a timer
//! that is put off leaves nothing at its old time.

use super::junk;
use crate::udp::UdpSocket;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::time::{Sleep, sleep_until};

/// Tokio's runtime that is current where it is used.
#[derive(Debug)]
pub(super) struct QuicRuntime;

impl Runtime for QuicRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(Timer(Box::pin(sleep_until(at.into()))))
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Arc::new(Socket { io: UdpSocket::new(socket)?, state }))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// A timer that is most often put off and seldom runs out.
#[derive(Debug)]
struct Timer(Pin<Box<Sleep>>);

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        let at = at.into();
        if at > self.0.deadline() {
            // Tokio keeps a timer that is put off where it was, and wakes for it there.
            self.0.set(sleep_until(at));
        } else {
            self.0.as_mut().reset(at);
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(self.0.as_mut(), cx)
    }
}

#[derive(Debug)]
struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, wait: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.send(self.io.get().into(), transmit)
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let received = ready!(self.io.poll_recv(cx, |socket| self.state.recv(socket.into(), bufs, meta)))?;
        junk::count_in(bufs, meta.get(..received).unwrap_or_default());
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

type Wait = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// One sender's wait for room.
struct Room {
    socket: Arc<Socket>,
    wait: Option<Wait>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Room { socket, wait } = &mut *self;
        let waiting = wait.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.io.writable().await })
        });
        let outcome = ready!(waiting.as_mut().poll(cx));
        *wait = None;
        Poll::Ready(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_timer_runs_out_at_the_time_it_was_set_to_last() {
        let start = tokio::time::Instant::now();
        let at = |millis| (start + Duration::from_millis(millis)).into_std();
        let mut timer = QuicRuntime.new_timer(at(30));
        let runs_out = async |timer: &mut Pin<Box<dyn AsyncTimer>>| {
            std::future::poll_fn(|cx| timer.as_mut().poll(cx)).await;
            start.elapsed().as_millis()
        };
        timer.as_mut().reset(at(600));
        assert_eq!(runs_out(&mut timer).await, 600);
        timer.as_mut().reset(at(2_000));
        timer.as_mut().reset(at(700));
        assert_eq!(runs_out(&mut timer).await, 700);
    }

    #[tokio::test]
    async fn a_sender_waits_for_room_any_number_of_times() {
        let socket = QuicRuntime.wrap_udp_socket(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let mut room = socket.create_io_poller();
        for _ in 0..2 {
            std::future::poll_fn(|cx| room.as_mut().poll_writable(cx)).await.unwrap();
        }
    }
}
