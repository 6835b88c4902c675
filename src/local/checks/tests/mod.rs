//! Probes of every kind against real targets, good ones and bad ones.

mod commands;
mod docker;
mod http;
mod http2;
mod network;
mod tasks;
mod tls;

use super::finding::Finding;
use super::probe::{Probe, ProbeSettings};
use crate::model::check::CheckType;
use crate::proxy::Proxies;
use crate::tls::OutgoingTls;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A time limit that a target which does not answer will overrun.
const SHORT: Duration = Duration::from_millis(300);

fn settings() -> ProbeSettings {
    ProbeSettings { tls: OutgoingTls::of_system(), output_max: 4096, ..ProbeSettings::default() }
}

async fn probe(check: &CheckType) -> Finding {
    Probe::of(check, &settings()).expect("it is probed").run().await
}

/// Listens, and gives every connection to `talk`.
async fn target<F>(talk: impl Fn(TcpStream) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream));
        }
    });
    addr
}

/// An address on which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port")
}

/// A server of HTTP/1.1 that takes no request.
async fn refusing_http1() -> SocketAddr {
    target(|mut stream| async move {
        _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        request(&mut stream).await;
    })
    .await
}

/// A server that takes connections and says nothing.
async fn silent() -> SocketAddr {
    target(|stream| async move {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        drop(stream);
    })
    .await
}

/// Reads a request up to the end of its body.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                return text;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return text;
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
}
