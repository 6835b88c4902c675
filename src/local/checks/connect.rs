//! Connections to probed targets: names looked up, TCP, TLS. Errors read as Consul's do. Callers bound the time.

use crate::defaults::CHECK_LOOKUPS;
use crate::proxy::Proxy;
use crate::tls::OutgoingTls;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use rustls_pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `host:port`, with brackets around an IPv6 address.
    pub(super) fn parse(text: &str) -> Result<Address, String> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("address {text}: missing port in address"));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return Err(format!("address {text}: too many colons in address"));
        }
        let port = port.parse().map_err(|_error| format!("address {text}: invalid port {port:?}"))?;
        // Go dials this host where none is given.
        let host = match bracketed.unwrap_or(host) {
            "" => "localhost",
            host => host,
        };
        Ok(Address { host: host.to_owned(), port })
    }

    /// The addresses of its host, looked up anew; the error is that of a `network`.
    pub(super) async fn resolve(&self, network: &str) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = self.host.parse() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let failed = |why: &str| format!("dial {network}: lookup {}: {why}", self.host);
        match look_up(self.host.clone(), self.port).await {
            Ok(found) if found.is_empty() => Err(failed("no such host")),
            Ok(found) => Ok(found),
            Err(error) => {
                let text = plain(&error);
                let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
                Err(failed(if why == "Name or service not known" { "no such host" } else { why }))
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) settings: OutgoingTls,
    pub(super) verify: bool,
    pub(super) http2: bool,
    /// The name that the certificate must carry; empty for the target's.
    pub(super) server_name: String,
}

/// The target of a network check.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// `host:port`; a gRPC check adds `/service`.
    pub(super) address: String,
    pub(super) tls: Option<Tls>,
    pub(super) timeout: Duration,
}

impl Target {
    /// Connects, with TLS where the check asks for it.
    pub(super) async fn connect(&self) -> Result<Stream, String> {
        connect(&Address::parse(&self.address)?, self.tls.as_ref()).await
    }
}

/// A connection without TLS, or with it.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Connects to `address`, with TLS where `tls` is given.
pub(super) async fn connect(address: &Address, tls: Option<&Tls>) -> Result<Stream, String> {
    shake(address, tls, dial(address).await?).await
}

/// Connects to `proxy`. With TLS the proxy opens a tunnel to `address`, without TLS it takes requests.
pub(super) async fn connect_by(proxy: &Proxy, address: &Address, tls: Option<&Tls>) -> Result<Stream, String> {
    let next = Address { host: proxy.host.clone(), port: proxy.port };
    let tcp = dial(&next).await.map_err(|why| format!("proxyconnect tcp: {why}"))?;
    match tls {
        Some(_) => shake(address, tls, proxy.tunnel(tcp, &address.to_string()).await?).await,
        None => Ok(Stream::Left(tcp)),
    }
}

async fn shake(address: &Address, tls: Option<&Tls>, tcp: TcpStream) -> Result<Stream, String> {
    match tls {
        None => Ok(Stream::Left(tcp)),
        Some(tls) => Ok(Stream::Right(Box::new(tls.shake(address, tcp).await?))),
    }
}

/// Asks the system for the addresses of a name, [`CHECK_LOOKUPS`] names at a time: each holds a thread until it is answered.
async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    static ROOM: Semaphore = Semaphore::const_new(CHECK_LOOKUPS);
    let room = match ROOM.try_acquire() {
        Ok(room) => room,
        Err(_full) => {
            metrics::counter!("kontor.checks.lookups_waited").increment(1);
            ROOM.acquire().await.map_err(io::Error::other)?
        }
    };
    let asked = tokio::spawn(async move {
        let found = lookup_host((host, port)).await.map(Iterator::collect);
        drop(room);
        found
    });
    asked.await.map_err(io::Error::other)?
}

/// The first of the addresses that takes a connection.
async fn dial(address: &Address) -> Result<TcpStream, String> {
    let mut failed = String::new();
    for addr in address.resolve("tcp").await? {
        match TcpStream::connect(addr).await {
            Ok(stream) => {
                // Every write is a whole request: waiting for more only costs time.
                _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = format!("dial tcp {addr}: connect: {}", plain(&error)),
        }
    }
    Err(failed)
}

impl Tls {
    async fn shake(&self, address: &Address, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let own = Some(self.server_name.as_str()).filter(|name| !name.is_empty());
        let name = own.or(self.settings.server_name()).unwrap_or(&address.host);
        let server_name =
            ServerName::try_from(name.to_owned()).map_err(|_error| format!("tls: {name:?} is no name of a certificate"))?;
        let config = self.settings.config(self.verify, self.http2)?;
        TlsConnector::from(config).connect(server_name, stream).await.map_err(|error| tls_error(&error, name))
    }
}

/// The reason that a handshake failed, with Go's words for a certificate that does not count.
fn tls_error(error: &io::Error, name: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(why)) => format!("x509: {}", certificate_error(why, name)),
        Some(TlsError::AlertReceived(AlertDescription::CertificateRequired)) => {
            "remote error: tls: certificate required".to_owned()
        }
        Some(other) => format!("tls: {other}"),
        None => format!("tls: {}", plain(error)),
    }
}

fn certificate_error(why: &CertificateError, name: &str) -> String {
    match why {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not valid for {name}")
        }
        other => other.to_string(),
    }
}

/// An error of the system without Rust's number behind it.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let bare = text.split(" (os error").next().unwrap_or(&text);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => bare.to_owned(),
    }
}

/// `work`, or `late` when it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    late: impl FnOnce() -> String,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    timeout(limit, work).await.unwrap_or_else(|_elapsed| {
        metrics::counter!("kontor.checks.timed_out").increment(1);
        Err(late())
    })
}
