//! UDP checks: silence is good news. Only a refusal, such as ICMP's "port unreachable", is critical.

use super::connect::{Address, Target, plain};
use super::finding::Finding;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::UdpSocket;
use tokio::time::timeout;

pub(super) async fn probe(target: &Target) -> Finding {
    let silent = |_elapsed| Ok(());
    let asked = timeout(target.timeout, ask(&target.address)).await.unwrap_or_else(silent);
    Finding::of(asked.map(|()| format!("UDP connect {}: Success", target.address)))
}

async fn ask(address: &str) -> Result<(), String> {
    let resolved = Address::parse(address)?.resolve("udp").await?;
    let addr = *resolved.first().ok_or("dial udp: no such host")?;
    exchange(addr).await.map_err(|(step, error)| format!("{step} udp {addr}: {}", plain(&error)))
}

/// Sends to `addr` and waits for an answer, for ever.
async fn exchange(addr: SocketAddr) -> Result<(), (&'static str, io::Error)> {
    let any = match addr {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(|error| ("dial", error))?;
    socket.connect(addr).await.map_err(|error| ("dial", error))?;
    socket.send(&[]).await.map_err(|error| ("write", error))?;
    // Longer answers are cut by the system; their content does not matter.
    socket.recv(&mut [0; 1]).await.map_err(|error| ("read", error))?;
    Ok(())
}
