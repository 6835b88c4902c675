//! HTTP/2 checks: passing when a PING is acknowledged.

use super::connect::{Address, Tls, connect, within};
use super::finding::Finding;
use crate::defaults::CHECK_HEAD_LIST_BYTES;
use h2::Ping;
use h2::client::Builder;
use std::time::Duration;

/// An HTTP/2 ping check.
#[derive(Clone, Debug)]
pub(super) struct H2PingProbe {
    pub(super) target: String,
    pub(super) tls: Option<Tls>,
    pub(super) timeout: Duration,
}

impl H2PingProbe {
    /// Pings once.
    pub(super) async fn run(&self) -> Finding {
        match within(self.timeout, || "HTTP2 ping failed: context deadline exceeded".to_owned(), self.ping()).await {
            Ok(()) => Finding::passing("HTTP2 ping was successful"),
            Err(why) => Finding::critical(why),
        }
    }

    async fn ping(&self) -> Result<(), String> {
        let failed = |why: &str| format!("Failed to dial to {}: {why}", self.target);
        let address = Address::parse(&self.target).map_err(|why| failed(&why))?;
        let stream = connect(&address, self.tls.as_ref()).await.map_err(|why| failed(&why))?;
        let mut builder = Builder::new();
        builder.max_header_list_size(CHECK_HEAD_LIST_BYTES).enable_push(false);
        let (_sender, mut connection) = builder
            .handshake::<_, bytes::Bytes>(stream)
            .await
            .map_err(|error| format!("Failed to create client connection {error}"))?;
        let mut pings = connection.ping_pong().ok_or("Failed to create client connection")?;
        let failed = |error: h2::Error| format!("HTTP2 ping failed: {error}");
        tokio::select! {
            biased;
            pong = pings.ping(Ping::opaque()) => pong.map(|_pong| ()).map_err(failed),
            end = connection => Err(end.map_or_else(failed, |()| "HTTP2 ping failed: connection closed".to_owned())),
        }
    }
}
