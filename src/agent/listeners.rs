//! The listeners of the HTTP API, which follow the agent's addresses. [`steps`] decides, without I/O.

use crate::http::{Handshakes, HttpListener, Opener};
use crate::listener::{Listener, Mover, cannot_listen};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

#[derive(Debug)]
pub(super) struct MovableListener {
    /// The address as configured; none while the listener rests.
    asked: Option<SocketAddr>,
    mover: Mover,
    tls: Option<Handshakes>,
}

/// A step that brings the listeners to their wanted addresses.
#[derive(Debug, PartialEq, Eq)]
enum Rebind {
    Move(usize, SocketAddr),
    Rest(usize),
    Open(SocketAddr),
}

impl MovableListener {
    /// A listener on a bound socket, with its end for the server.
    pub(super) fn new(
        asked: SocketAddr,
        socket: TcpListener,
        tls: Option<Handshakes>,
    ) -> io::Result<(MovableListener, HttpListener)> {
        let (listener, mover) = Listener::new(socket)?;
        let served = match &tls {
            Some(config) => HttpListener::Tls(listener, Arc::clone(config)),
            None => HttpListener::Tcp(listener),
        };
        Ok((MovableListener { asked: Some(asked), mover, tls }, served))
    }

    /// The address that it really has.
    pub(super) fn at(&self) -> Option<SocketAddr> {
        self.mover.at()
    }

    async fn go(&mut self, to: SocketAddr) -> Result<(), String> {
        let port = if to.port() == 0 { self.at().map_or(0, |at| at.port()) } else { to.port() };
        self.mover.move_to(SocketAddr::new(to.ip(), port)).await.map_err(|error| cannot_listen(to, "HTTP", &error))?;
        self.asked = Some(to);
        Ok(())
    }
}

/// Has `doors`, plain or with TLS, listen at the `wanted` addresses; all failures.
pub(super) async fn follow(
    doors: &mut Vec<MovableListener>,
    wanted: &[SocketAddr],
    tls: Option<&Handshakes>,
    open: &Opener,
) -> Vec<String> {
    let mut causes = Vec::new();
    let asked: Vec<Option<SocketAddr>> = doors.iter().map(|door| door.asked).collect();
    for step in steps(&asked, wanted) {
        match step {
            Rebind::Move(at, to) => causes.extend(doors[at].go(to).await.err()),
            Rebind::Rest(at) => {
                doors[at].asked = None;
                doors[at].mover.rest();
            }
            Rebind::Open(to) => {
                match TcpListener::bind(to).await.and_then(|socket| MovableListener::new(to, socket, tls.cloned())) {
                    Ok((door, served)) => {
                        open(served);
                        doors.push(door);
                    }
                    Err(error) => causes.push(cannot_listen(to, "HTTP", &error)),
                }
            }
        }
    }
    causes
}

/// Listeners at wanted addresses stay. The others move to the new addresses, or rest.
fn steps(asked: &[Option<SocketAddr>], wanted: &[SocketAddr]) -> Vec<Rebind> {
    let mut added = wanted.iter().copied().filter(|addr| !asked.contains(&Some(*addr)));
    let free = asked.iter().enumerate().filter(|(_, addr)| addr.is_none_or(|addr| !wanted.contains(&addr)));
    let mut steps = Vec::new();
    for (at, addr) in free {
        match added.next() {
            Some(to) => steps.push(Rebind::Move(at, to)),
            None if addr.is_some() => steps.push(Rebind::Rest(at)),
            None => {}
        }
    }
    steps.extend(added.map(Rebind::Open));
    steps
}

/// The TLS settings that a further listener is opened with.
pub(super) fn tls_of(doors: &[MovableListener]) -> Option<Handshakes> {
    doors.iter().find_map(|door| door.tls.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 8500))
    }

    #[test]
    fn doors_stay_move_rest_and_are_opened() {
        let (one, two, three) = (at(1), at(2), at(3));
        assert_eq!(steps(&[Some(one), Some(two)], &[two, one]), []);
        assert_eq!(steps(&[Some(one), Some(two)], &[one, three]), [Rebind::Move(1, three)]);
        assert_eq!(steps(&[Some(one), Some(two)], &[two]), [Rebind::Rest(0)]);
        assert_eq!(steps(&[None, Some(two)], &[two, three]), [Rebind::Move(0, three)]);
        assert_eq!(steps(&[None, Some(two)], &[two]), []);
        assert_eq!(steps(&[Some(one)], &[one, two, three]), [Rebind::Open(two), Rebind::Open(three)]);
    }
}
