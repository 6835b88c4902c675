//! A TCP listener that can move to another address while it is served. `agent` keeps its [`Mover`] and moves it when the
//! host's address has changed. Open connections are not touched.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Debug)]
pub struct Listener {
    /// `None` while it rests.
    socket: Option<TcpListener>,
    place: Arc<BoundSocket>,
}

/// The end that moves it; clones move the same one.
#[derive(Clone, Debug)]
pub struct Mover {
    place: Arc<BoundSocket>,
}

/// The wanted place of a listener; the newest wins.
#[derive(Debug, Default)]
struct BoundSocket {
    wanted: Mutex<Wanted>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct Wanted {
    at: Option<SocketAddr>,
    /// The socket that the listener has not taken yet; `None` in it has it rest.
    next: Option<Option<TcpListener>>,
}

/// The text of a failure to listen at `addr`, with advice.
pub fn cannot_listen(addr: SocketAddr, what: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; is another agent using it?",
        io::ErrorKind::AddrNotAvailable => "; this host has no such address: name one that `ip addr` shows, or a template",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need the capability CAP_NET_BIND_SERVICE",
        _ => "",
    };
    format!("cannot listen on {addr} for {what}: {error}{hint}")
}

impl Listener {
    /// A listener on a bound socket. It stays there once its mover is dropped.
    pub fn new(socket: TcpListener) -> io::Result<(Listener, Mover)> {
        let wanted = Mutex::new(Wanted { at: Some(socket.local_addr()?), next: None });
        let place = Arc::new(BoundSocket { wanted, moved: Notify::new() });
        Ok((Listener { socket: Some(socket), place: Arc::clone(&place) }, Mover { place }))
    }

    /// The next connection, at whichever place the listener then is. Safe to drop.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            if let Some(next) = self.place.lock().next.take() {
                self.socket = next;
            }
            let accepting = async {
                match &self.socket {
                    Some(socket) => socket.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.place.moved.notified() => {}
                accepted = accepting => return accepted,
            }
        }
    }
}

impl Mover {
    /// The present address; `None` while it rests.
    pub fn at(&self) -> Option<SocketAddr> {
        self.place.lock().at
    }

    /// Binds `addr` and accepts there. On error the listener stays at its place.
    pub async fn move_to(&self, addr: SocketAddr) -> io::Result<()> {
        self.replace(TcpListener::bind(addr).await?)
    }

    /// Accepts on this socket from now on.
    pub fn replace(&self, socket: TcpListener) -> io::Result<()> {
        let at = socket.local_addr()?;
        self.set(Some(at), Some(socket));
        Ok(())
    }

    /// Accepts nowhere until the next move.
    pub fn rest(&self) {
        self.set(None, None);
    }

    fn set(&self, at: Option<SocketAddr>, socket: Option<TcpListener>) {
        *self.place.lock() = Wanted { at, next: Some(socket) };
        self.place.moved.notify_one();
    }
}

impl BoundSocket {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bound() -> (Listener, Mover) {
        Listener::new(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_address_of_another_host_has_a_hint_of_its_own() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = TcpListener::bind(elsewhere).await.unwrap_err();
        let text = cannot_listen(elsewhere, "HTTP", &error);
        assert!(text.contains("this host has no such address") && !text.contains("another agent"), "{text}");
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let holder = std::net::TcpListener::bind(taken);
        let _held = holder.unwrap();
        let error = TcpListener::bind(taken).await.unwrap_err();
        assert!(cannot_listen(taken, "HTTP", &error).ends_with("is another agent using it?"));
    }

    #[tokio::test]
    async fn it_accepts_where_it_was_moved_to_and_no_longer_where_it_was() {
        let (mut listener, mover) = bound().await;
        let old = mover.at().unwrap();
        let (accepted, first) = tokio::join!(listener.accept(), TcpStream::connect(old));
        assert_eq!(accepted.unwrap().1, first.unwrap().local_addr().unwrap());
        // It is moved while it waits at the old address.
        let accepting = tokio::spawn(async move { (listener.accept().await.unwrap().1, listener) });
        tokio::task::yield_now().await;
        mover.move_to("127.0.0.2:0".parse().unwrap()).await.unwrap();
        let new = mover.at().unwrap();
        let second = TcpStream::connect(new).await.unwrap();
        let (peer, mut listener) = accepting.await.unwrap();
        assert_eq!(peer, second.local_addr().unwrap());
        assert!(TcpStream::connect(old).await.is_err());
        mover.rest();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), listener.accept()).await.is_err());
        assert!(mover.at().is_none() && TcpStream::connect(new).await.is_err());
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_leaves_it_where_it_is() {
        let (mut listener, mover) = bound().await;
        let at = mover.at().unwrap();
        // A documentation address is on no host.
        assert!(mover.move_to("192.0.2.1:1".parse().unwrap()).await.is_err());
        assert_eq!(mover.at(), Some(at));
        drop(mover);
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(at));
        assert_eq!(accepted.unwrap().1, connected.unwrap().local_addr().unwrap());
    }
}
