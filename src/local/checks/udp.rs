//! UDP checks: an empty datagram is sent, and silence is good news. Only what says that nobody is
//! there, such as ICMP's "port unreachable", is critical.

use super::connect::{Address, plain};
use super::finding::Finding;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// A UDP check.
#[derive(Clone, Debug)]
pub(super) struct UdpProbe {
    pub(super) target: String,
    pub(super) timeout: Duration,
}

impl UdpProbe {
    /// Asks once.
    pub(super) async fn run(&self) -> Finding {
        let success = || Finding::passing(format!("UDP connect {}: Success", self.target));
        match timeout(self.timeout, self.ask()).await {
            Ok(Ok(())) | Err(_) => success(),
            Ok(Err(why)) => Finding::critical(why),
        }
    }

    async fn ask(&self) -> Result<(), String> {
        let address = Address::parse(&self.target)?;
        let resolved = address.resolve("udp").await?;
        let addr = *resolved.first().ok_or("dial udp: no such host")?;
        exchange(addr).await.map_err(|(step, error)| format!("{step} udp {addr}: {}", plain(&error)))
    }
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
