//! HTTP/2 checks: passing when a PING is acknowledged.

use super::connect::{Target, within};
use super::finding::Finding;
use crate::defaults::CHECK_HEAD_LIST_BYTES;
use bytes::Bytes;
use h2::Ping;
use h2::client::Builder;

pub(super) async fn probe(target: &Target) -> Finding {
    let late = || "HTTP2 ping failed: context deadline exceeded".to_owned();
    let acknowledged = within(target.timeout, late, ping(target)).await;
    Finding::of(acknowledged.map(|()| "HTTP2 ping was successful"))
}

async fn ping(target: &Target) -> Result<(), String> {
    let stream = target.connect().await.map_err(|why| format!("Failed to dial to {}: {why}", target.address))?;
    let mut builder = Builder::new();
    builder.max_header_list_size(CHECK_HEAD_LIST_BYTES).enable_push(false);
    let handshake = builder.handshake::<_, Bytes>(stream).await;
    let (_sender, mut connection) = handshake.map_err(|error| format!("Failed to create client connection {error}"))?;
    let mut pings = connection.ping_pong().ok_or("Failed to create client connection")?;
    let failed = |error: h2::Error| format!("HTTP2 ping failed: {error}");
    tokio::select! {
        biased;
        pong = pings.ping(Ping::opaque()) => pong.map(|_pong| ()).map_err(failed),
        end = connection => Err(end.map_or_else(failed, |()| "HTTP2 ping failed: connection closed".to_owned())),
    }
}
