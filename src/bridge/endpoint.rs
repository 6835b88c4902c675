//! The QUIC endpoint: one UDP socket that accepts and dials, without a default for any setting that matters.

use super::junk::CountingIds;
use super::quic_runtime::QuicRuntime;
use crate::defaults;
use crate::listener::cannot_listen;
use crate::tls::{BridgeIdentity, Trust, server_name};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, ClientConfig, Connecting, EndpointConfig, IdleTimeout, Runtime, ServerConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// The protocol that both sides must speak.
const ALPN: &[u8] = b"kontor-bridge/2";

/// A bound endpoint and its certificate; clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) quic: quinn::Endpoint,
    shown: Arc<ArcSwap<Shown>>,
    accepting: Arc<TransportConfig>,
    dialling: Arc<TransportConfig>,
    domain: String,
}

/// The settings of new handshakes.
#[derive(Debug)]
struct Shown {
    identity: BridgeIdentity,
    trust: Arc<Trust>,
}

impl Endpoint {
    /// Binds `bind`; the error names the obstacle.
    pub(super) fn bind(bind: SocketAddr, identity: BridgeIdentity, trust: Arc<Trust>, domain: &str) -> Result<Endpoint, String> {
        let accepting = Arc::new(transport(defaults::BRIDGE_MAX_STREAMS)?);
        // The dialling side asks; the other side has nothing to ask on this connection.
        let dialling = Arc::new(transport(0)?);
        let server = server_config(&identity, &trust, &accepting)?;
        let failed = |error: std::io::Error| cannot_listen(bind, "the bridge (udp)", &error);
        let runtime = Arc::new(QuicRuntime);
        let socket = socket(bind)?;
        let quic = quinn::Endpoint::new_with_abstract_socket(config(&identity), Some(server), socket, runtime).map_err(failed)?;
        let shown = Arc::new(ArcSwap::from_pointee(Shown { identity, trust }));
        Ok(Endpoint { quic, shown, accepting, dialling, domain: domain.to_owned() })
    }

    /// Sends and receives at `bind` from now on. Links that this side dialled go on from there.
    pub(super) fn move_to(&self, bind: SocketAddr) -> Result<(), String> {
        let moved = self.quic.rebind_abstract(socket(bind)?);
        moved.map_err(|error| cannot_listen(bind, "the bridge (udp)", &error))
    }

    /// Shows `identity` from now on. Connections that stand are not touched.
    pub(super) fn show(&self, identity: BridgeIdentity, trust: Arc<Trust>) -> Result<(), String> {
        self.quic.set_server_config(Some(server_config(&identity, &trust, &self.accepting)?));
        self.shown.store(Arc::new(Shown { identity, trust }));
        Ok(())
    }

    /// The trust by which peers are judged now.
    pub(super) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.shown.load().trust)
    }

    /// SHA-256 of the certificate that is shown.
    pub(super) fn fingerprint(&self) -> Option<String> {
        self.shown.load().identity.leaf_fingerprint()
    }

    /// Starts a handshake with a server of `dc`, known by `pins` if by any.
    pub(super) fn dial(&self, addr: SocketAddr, dc: &str, pins: &BTreeSet<String>) -> Result<Connecting, String> {
        let shown = self.shown.load_full();
        let mut tls = shown.identity.client_config(&shown.trust, dc, pins)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = QuicClientConfig::try_from(tls).map_err(|error| format!("QUIC: {error}"))?;
        let mut client = ClientConfig::new(Arc::new(tls));
        client.transport_config(Arc::clone(&self.dialling));
        self.quic.connect_with(client, addr, &server_name(dc, &self.domain)).map_err(|error| error.to_string())
    }
}

fn server_config(
    identity: &BridgeIdentity,
    trust: &Arc<Trust>,
    transport: &Arc<TransportConfig>,
) -> Result<ServerConfig, String> {
    let mut tls = identity.server_config(trust)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicServerConfig::try_from(tls).map_err(|error| format!("QUIC: {error}"))?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server
        .transport_config(Arc::clone(transport))
        .max_incoming(defaults::BRIDGE_MAX_INCOMING)
        .incoming_buffer_size(defaults::BRIDGE_INCOMING_BYTES / defaults::BRIDGE_MAX_INCOMING as u64)
        .incoming_buffer_size_total(defaults::BRIDGE_INCOMING_BYTES);
    Ok(server)
}

/// The reset keys come from the identity: a restarted server disowns its old connections at once.
fn config(identity: &BridgeIdentity) -> EndpointConfig {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &identity.reset_secret());
    let ids = hmac::sign(&secret, b"the key of connection ids");
    let ids = ids.as_ref().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(secret));
    config.cid_generator(move || Box::new(CountingIds(HashedConnectionIdGenerator::from_key(ids))));
    // A fixed bit tells QUIC from junk.
    config.grease_quic_bit(false);
    config
}

/// Settings for `streams` open streams of the other side: memory is set aside for each.
fn transport(streams: u32) -> Result<TransportConfig, String> {
    let idle = IdleTimeout::try_from(defaults::BRIDGE_IDLE_TIMEOUT).map_err(|error| format!("idle timeout: {error}"))?;
    let mut congestion = CubicConfig::default();
    congestion.initial_window(defaults::BRIDGE_INITIAL_WINDOW);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(defaults::BRIDGE_KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(defaults::BRIDGE_STREAM_WINDOW))
        .receive_window(VarInt::from_u32(defaults::BRIDGE_CONNECTION_WINDOW))
        .send_window(u64::from(defaults::BRIDGE_CONNECTION_WINDOW))
        .congestion_controller_factory(Arc::new(congestion))
        .datagram_receive_buffer_size(None)
        .initial_mtu(defaults::BRIDGE_MIN_MTU)
        .min_mtu(defaults::BRIDGE_MIN_MTU);
    Ok(transport)
}

fn socket(bind: SocketAddr) -> Result<Arc<dyn AsyncUdpSocket>, String> {
    let attempt = || {
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
        // A smaller buffer than wished for is granted silently or refused; both only cost speed.
        let _ = socket.set_recv_buffer_size(defaults::BRIDGE_SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(defaults::BRIDGE_SOCKET_BUFFER);
        socket.set_nonblocking(true)?;
        socket.bind(&bind.into())?;
        QuicRuntime.wrap_udp_socket(socket.into())
    };
    attempt().map_err(|error| cannot_listen(bind, "the bridge (udp)", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fit_each_other() {
        assert!(defaults::BRIDGE_IDLE_TIMEOUT > defaults::BRIDGE_KEEP_ALIVE * 2);
        assert!(defaults::BRIDGE_KEEP_ALIVE > defaults::BRIDGE_REST_INTERVAL);
        assert!(defaults::BRIDGE_DIAL_TIMEOUT < defaults::BRIDGE_PROGRESS_TIMEOUT);
        assert!(defaults::BRIDGE_PROGRESS_INTERVAL * 2 < defaults::BRIDGE_PROGRESS_TIMEOUT);
        assert!(transport(0).is_ok());
        assert!(defaults::BRIDGE_MAX_PARKED < defaults::BRIDGE_MAX_STREAMS as usize);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let identity = BridgeIdentity::self_made(None, "dc1", "consul").unwrap();
        let trust = Arc::new(identity.trust("dc1", "consul", false));
        let error = Endpoint::bind(addr, identity, trust, "consul").unwrap_err();
        assert!(error.contains(&addr.to_string()), "{error}");
    }
}
