//! The listeners of the HTTP API, and how they follow addresses that come and go.
//!
//! `parts` binds them, `address_monitor` has them follow. What is to be done is decided in [`steps`],
//! without I/O.

use crate::http::{Handshakes, HttpListener, Opener};
use crate::listener::{Listener, Mover, cannot_listen};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// One TCP listener of the API.
#[derive(Debug)]
pub(super) struct MovableListener {
    /// As configured; nothing while it rests.
    asked: Option<SocketAddr>,
    mover: Mover,
    tls: Option<Handshakes>,
}

/// What brings the listeners to where they are to be.
#[derive(Debug, PartialEq, Eq)]
enum Rebind {
    Move(usize, SocketAddr),
    Rest(usize),
    Open(SocketAddr),
}

impl MovableListener {
    /// A door on a bound socket, with the end that is to be served.
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

    /// Where it listens really.
    pub(super) fn at(&self) -> Option<SocketAddr> {
        self.mover.at()
    }

    async fn go(&mut self, to: SocketAddr) -> Result<(), String> {
        let port = if to.port() == 0 { self.at().map_or(0, |at| at.port()) } else { to.port() };
        self.mover.move_to(SocketAddr::new(to.ip(), port)).await.map_err(|error| cannot(to, &error))?;
        self.asked = Some(to);
        Ok(())
    }
}

fn cannot(addr: SocketAddr, error: &io::Error) -> String {
    cannot_listen(addr, "HTTP", error)
}

/// Has `doors`, plain ones or those with TLS, listen where `wanted` says; every reason why one does not.
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
            Rebind::Move(at, to) => {
                if let Some(door) = doors.get_mut(at) {
                    causes.extend(door.go(to).await.err());
                }
            }
            Rebind::Rest(at) => {
                if let Some(door) = doors.get_mut(at) {
                    door.asked = None;
                    door.mover.rest();
                }
            }
            Rebind::Open(to) => {
                match TcpListener::bind(to).await.and_then(|socket| MovableListener::new(to, socket, tls.cloned())) {
                    Ok((door, served)) => {
                        open(served);
                        doors.push(door);
                    }
                    Err(error) => causes.push(cannot(to, &error)),
                }
            }
        }
    }
    causes
}

/// Doors whose address is wanted stay; of the others, one for each address that is new moves there.
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
