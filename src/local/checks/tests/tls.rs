//! Checks over TLS: certificates that count, and those that do not.

use super::*;
use crate::tls::testing::{dated_cert, load};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

const VALID: [i32; 2] = [2020, 2049];

fn authority() -> (String, String) {
    crate::tls::create_ca("consul", 10, &[]).expect("an authority")
}

/// The settings of an agent that trusts `authority`.
fn trusting(authority: &(String, String)) -> ProbeSettings {
    let (cert, key) = dated_cert(authority, &["node1"], VALID);
    let tls = OutgoingTls::of_agent(load(&authority.0, &cert, &key), "node1".to_owned());
    ProbeSettings { tls, ..settings() }
}

/// A server that shows this certificate and speaks HTTP/1.1, or HTTP/2 where that is asked for.
async fn server((certificate, key): (String, String)) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    target(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                if let Ok(mut connection) = h2::server::handshake(stream).await {
                    while connection.accept().await.is_some() {}
                }
                return;
            }
            _ = stream.read(&mut [0; 4096]).await;
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell").await;
        }
    })
    .await
}

fn checks(addr: SocketAddr) -> [CheckType; 3] {
    let base = CheckType { interval: Duration::from_secs(10), ..CheckType::default() };
    [
        CheckType { http: format!("https://{addr}/"), ..base.clone() },
        CheckType { tcp: addr.to_string(), tcp_use_tls: true, ..base.clone() },
        CheckType { h2ping: addr.to_string(), ..base },
    ]
}

async fn said(check: &CheckType, settings: &ProbeSettings) -> Result<(), String> {
    let found = Probe::of(check, settings).expect("it is probed").run().await;
    if found.status == crate::model::check::CheckStatus::Passing { Ok(()) } else { Err(found.output) }
}

#[tokio::test]
async fn a_certificate_of_nobody_known_is_critical_unless_it_is_not_looked_at() {
    let addr = server(dated_cert(&authority(), &["127.0.0.1"], VALID)).await;
    for check in checks(addr) {
        let why = said(&check, &settings()).await.expect_err("refused");
        assert!(why.ends_with("x509: certificate signed by unknown authority"), "{why}");
        assert_eq!(said(&CheckType { tls_skip_verify: true, ..check }, &settings()).await, Ok(()));
    }
}

#[tokio::test]
async fn with_the_agents_authorities_the_name_and_the_dates_count() {
    let authority = authority();
    let settings = trusting(&authority);
    let good = server(dated_cert(&authority, &["node1"], VALID)).await;
    let expired = server(dated_cert(&authority, &["node1"], [2019, 2020])).await;
    for (check, expired) in checks(good).into_iter().zip(checks(expired)) {
        assert_eq!(said(&check, &settings).await, Ok(()));
        let other = CheckType { tls_server_name: "other".to_owned(), ..check };
        let why = said(&other, &settings).await.expect_err("refused");
        assert!(why.ends_with("x509: certificate is not valid for other"), "{why}");
        let why = said(&expired, &settings).await.expect_err("refused");
        assert!(why.ends_with("x509: certificate has expired or is not yet valid"), "{why}");
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_critical_and_so_is_what_says_nothing() {
    let (plain, silent) = (refusing_http1().await, silent().await);
    for addr in [plain, silent] {
        for check in checks(addr) {
            said(&CheckType { timeout: SHORT, ..check }, &settings()).await.expect_err("refused");
        }
    }
}

#[tokio::test]
async fn https_goes_through_a_tunnel_of_the_environments_proxy_and_speaks_tls_with_the_target() {
    let authority = authority();
    let server = server(dated_cert(&authority, &["web.example"], VALID)).await;
    let proxy = target(move |mut stream| async move {
        let asked = request(&mut stream).await;
        if !asked.starts_with("CONNECT web.example:8443 HTTP/1.1\r\n") {
            _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
            return;
        }
        let mut next = TcpStream::connect(server).await.expect("a server");
        _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        _ = tokio::io::copy_bidirectional(&mut stream, &mut next).await;
    })
    .await;
    let by = |proxy: SocketAddr| ProbeSettings { proxies: Proxies::new("", &proxy.to_string(), ""), ..trusting(&authority) };
    let name = "web.example".to_owned();
    let check = |url: &str| CheckType { http: url.to_owned(), tls_server_name: name.clone(), ..checks(server)[0].clone() };
    assert_eq!(said(&check("https://web.example:8443/"), &by(proxy)).await, Ok(()));
    let refused = said(&check("https://web.example/"), &by(proxy)).await;
    assert_eq!(refused, Err("Get \"https://web.example/\": proxyconnect tcp: 403 Forbidden".to_owned()));
    let gone = nobody().await;
    let why = said(&check("https://web.example/"), &by(gone)).await;
    let expected = format!("Get \"https://web.example/\": proxyconnect tcp: dial tcp {gone}: connect: connection refused");
    assert_eq!(why, Err(expected));
    // A silent proxy costs the check its time, and no more.
    let hasty = CheckType { timeout: SHORT, ..check("https://web.example/") };
    let why = said(&hasty, &by(silent().await)).await.expect_err("late");
    assert!(why.contains("context deadline exceeded"), "{why}");
}
