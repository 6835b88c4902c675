//! Calls of HTTP endpoints at changes: the JSON as the body, the index in `X-Consul-Index`.
//!
//! A call has its own connection, and bounds of time and bytes. Redirects are not followed, since a watch has no use
//! for the answer.

use super::plan::News;
use crate::defaults::{WATCH_ANSWER_READ, WATCH_OUTPUT_BYTES};
use crate::http1;
use crate::model::tail::Tail;
use crate::model::watch::HttpHandler;
use crate::proxy::{Proxies, Proxy};
use crate::tls::OutgoingTls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, Uri, header};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Sends `news`; gives the end of the answer. A status other than success is an error.
pub(super) async fn send(handler: &HttpHandler, news: &News) -> Result<String, String> {
    send_by(&Proxies::of_environment(), handler, news).await
}

async fn send_by(proxies: &Proxies, handler: &HttpHandler, news: &News) -> Result<String, String> {
    let sent = timeout(handler.timeout, exchange(proxies, handler, news)).await;
    sent.unwrap_or_else(|_elapsed| Err(format!("no answer within {:?}", handler.timeout)))
}

async fn exchange(proxies: &Proxies, handler: &HttpHandler, news: &News) -> Result<String, String> {
    let wrong = |what: &str| format!("expected a URL such as http://127.0.0.1:9000/changed, got one {what}");
    let uri: Uri = handler.url.parse().map_err(|_invalid| wrong("that cannot be read"))?;
    let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else { return Err(wrong("without a host")) };
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let proxy = proxies.before(secure, &bare)?;
    let request = request(handler, news, &uri, authority.as_str(), proxy.as_ref().filter(|_| !secure))?;
    let next = proxy.as_ref().map_or((bare.as_str(), port), |proxy| (proxy.host.as_str(), proxy.port));
    let stream = TcpStream::connect(next).await.map_err(|error| format!("{} port {}: {error}", next.0, next.1))?;
    if !secure {
        return converse(stream, request).await;
    }
    let stream = match &proxy {
        Some(proxy) => proxy.tunnel(stream, &format!("{host}:{port}")).await?,
        None => stream,
    };
    let verify = !handler.tls_skip_verify;
    // This reads files of the host.
    let config = tokio::task::spawn_blocking(move || OutgoingTls::of_system().config(verify, false))
        .await
        .map_err(|error| error.to_string())??;
    let name = ServerName::try_from(bare.clone()).map_err(|_| wrong("whose host no certificate can carry"))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    converse(stream.map_err(|error| format!("TLS with {bare}: {error}"))?, request).await
}

/// The request to the endpoint, or to the `proxy` before it.
fn request(
    handler: &HttpHandler,
    news: &News,
    uri: &Uri,
    authority: &str,
    proxy: Option<&Proxy>,
) -> Result<Request<Full<Bytes>>, String> {
    // The text before an @ is for authentication, and no part of the host's name.
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let place = proxy.map_or_else(|| target.to_owned(), |_proxy| format!("http://{host}{target}"));
    let mut request = Request::builder()
        .method(handler.method.as_str())
        .uri(place)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header("X-Consul-Index", news.index);
    for (name, value) in &handler.headers {
        request = request.header(name, value);
    }
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.as_ref()) {
        request = request.header(header::PROXY_AUTHORIZATION, authorization);
    }
    // The error may not carry a header's value, which may be a secret.
    request.body(Full::new(news.data.clone())).map_err(|_| "its method or one of its headers cannot be sent".to_owned())
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, request: Request<Full<Bytes>>) -> Result<String, String> {
    let asked = http1::exchange(stream, request, |response| async {
        let status = response.status();
        let text = read(response).await;
        if status.is_success() { Ok(text) } else { Err(format!("it answered {status}: {text}")) }
    });
    asked.await.map_err(|error| error.to_string())?
}

/// The end of the body, or of the beginning of a long body.
async fn read(response: Response<Incoming>) -> String {
    let mut body = response.into_body();
    let mut tail = Tail::new(WATCH_OUTPUT_BYTES);
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(bytes) = frame.data_ref() {
            tail.write(bytes);
        }
        if tail.total() >= WATCH_ANSWER_READ {
            metrics::counter!("kontor.watch.answer_cut").increment(1);
            break;
        }
    }
    tail.noted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    fn handler(url: String) -> HttpHandler {
        HttpHandler {
            url,
            method: "PUT".to_owned(),
            headers: vec![("X-Mine".to_owned(), "a".to_owned()), ("X-Mine".to_owned(), "b".to_owned())],
            timeout: Duration::from_secs(20),
            tls_skip_verify: false,
        }
    }

    fn news() -> News {
        News { index: 42, data: Bytes::from_static(b"[1]") }
    }

    /// Takes one request up to `end`, and answers `answer`, endlessly or not; the address, and the request in the end.
    async fn serve(end: &'static str, answer: &'static str, endless: bool) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(end.as_bytes()) {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            while endless && stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            String::from_utf8(asked).unwrap()
        });
        (addr, task)
    }

    async fn server(answer: &'static str, endless: bool) -> (String, JoinHandle<String>) {
        let (addr, task) = serve("[1]", answer, endless).await;
        (format!("http://{addr}/changed?a=b"), task)
    }

    #[tokio::test]
    async fn the_change_is_the_body_and_the_index_a_header() {
        let (url, task) = server("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell", false).await;
        assert_eq!(send(&handler(url), &news()).await, Ok("well".to_owned()));
        let asked = task.await.unwrap().to_lowercase();
        assert!(asked.starts_with("put /changed?a=b http/1.1\r\n"), "{asked}");
        for line in ["x-consul-index: 42", "content-type: application/json", "x-mine: a", "x-mine: b", "content-length: 3"] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
        }
    }

    #[tokio::test]
    async fn a_proxy_of_the_environment_is_asked_and_opens_a_tunnel_to_what_speaks_tls() {
        let (addr, task) = serve("[1]", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell", false).await;
        let proxies = Proxies::new(&format!("http://user:pass@{addr}"), "", "");
        let there = handler("http://web.example:9000/changed?a=b".to_owned());
        assert_eq!(send_by(&proxies, &there, &news()).await, Ok("well".to_owned()));
        let asked = task.await.unwrap().to_lowercase();
        assert!(asked.starts_with("put http://web.example:9000/changed?a=b http/1.1\r\n"), "{asked}");
        for line in ["host: web.example:9000", "proxy-authorization: basic dxnlcjpwyxnz", "x-consul-index: 42"] {
            assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line}: {asked}");
        }

        let (addr, task) = serve("\r\n\r\n", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false).await;
        let proxies = Proxies::new("", &addr.to_string(), "");
        let why = send_by(&proxies, &handler("https://web.example/".to_owned()), &news()).await;
        assert_eq!(why, Err("proxyconnect tcp: 407 Proxy Authentication Required".to_owned()));
        assert!(task.await.unwrap().starts_with("CONNECT web.example:443 HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn another_status_and_nobody_there_are_errors_and_an_endless_answer_ends() {
        let (url, _task) = server("HTTP/1.1 500 Oh\r\ncontent-length: 3\r\n\r\nbad", false).await;
        assert_eq!(send(&handler(url), &news()).await, Err("it answered 500 Internal Server Error: bad".to_owned()));
        let (url, task) = server("HTTP/1.1 200 OK\r\n\r\n", true).await;
        let text = send(&handler(url), &news()).await.unwrap();
        assert!(text.starts_with("Captured 4096 of "), "{text}");
        task.await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}/", listener.local_addr().unwrap());
        let hasty = HttpHandler { timeout: Duration::from_millis(50), ..handler(silent.clone()) };
        assert_eq!(send(&hasty, &news()).await, Err("no answer within 50ms".to_owned()));
        drop(listener);
        assert!(send(&handler(silent), &news()).await.is_err());
    }

    #[tokio::test]
    async fn a_certificate_that_this_host_does_not_trust_is_refused_unless_told_otherwise() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    // Until the other side closes.
                    _ = stream.read_to_end(&mut Vec::new()).await;
                }
            }
        });
        assert!(send(&handler(url.clone()), &news()).await.is_err());
        assert_eq!(send(&HttpHandler { tls_skip_verify: true, ..handler(url) }, &news()).await, Ok(String::new()));
    }
}
