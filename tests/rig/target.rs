//! What checks of a test look at.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// An HTTP server that answers every request with a status that can be changed.
pub struct Target {
    pub addr: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Target {
    pub fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, status) = (listener.local_addr().unwrap(), Arc::new(AtomicU16::new(200)));
        let shown = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                _ = stream.read(&mut [0; 2048]);
                let status = shown.load(Ordering::SeqCst);
                _ = write!(stream, "HTTP/1.1 {status} As Told\r\nContent-Length: 4\r\n\r\nsaid");
            }
        });
        Target { addr, status }
    }

    pub fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}
