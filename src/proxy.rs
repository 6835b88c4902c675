//! HTTP proxies of the environment, towards targets of health checks and handlers of watches. The rules are those of
//! Go's default transport, which Consul uses: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` or the same in lower case, and
//! no proxy for this host itself. `hyper-util` reads `NO_PROXY`: names with all below them, addresses, networks and
//! `*`, without ports.

use crate::defaults::PROXY_HEAD_BYTES;
use crate::http1;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::Builder;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::info;

/// The rules that choose a proxy for a request; by default none. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    matcher: Option<Arc<Matcher>>,
}

/// A proxy that is reached by plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address, without brackets.
    pub host: String,
    /// 80 by default.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Proxies {
    /// The rules of this process's environment, which is read once.
    pub fn of_environment() -> Proxies {
        static READ: LazyLock<Proxies> = LazyLock::new(|| {
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let value = |name: &str| set(name).or_else(|| set(&name.to_lowercase())).unwrap_or_default();
            let proxies = Proxies::new(&value("HTTP_PROXY"), &value("HTTPS_PROXY"), &value("NO_PROXY"));
            if let Some(matcher) = &proxies.matcher {
                info!(?matcher, "HTTP checks and HTTP handlers of watches go by the proxies of the environment");
            }
            proxies
        });
        READ.clone()
    }

    /// Proxy `http` for `http` URLs and `https` for `https` URLs; none for targets in `no`. An empty text is none.
    pub fn new(http: &str, https: &str, no: &str) -> Proxies {
        let any = !http.is_empty() || !https.is_empty();
        Proxies { matcher: any.then(|| Arc::new(Matcher::builder().http(http).https(https).no(no).build())) }
    }

    /// The proxy of requests to `host` (without brackets). The error is that of a proxy that cannot be used.
    pub fn before(&self, https: bool, host: &str) -> Result<Option<Proxy>, String> {
        let Some(matcher) = &self.matcher else { return Ok(None) };
        let ip: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return Ok(None);
        }
        let scheme = if https { "https" } else { "http" };
        let host = if ip.is_some_and(|ip| ip.is_ipv6()) { format!("[{host}]") } else { host.to_owned() };
        let target: Uri = format!("{scheme}://{host}/").parse().map_err(|error| format!("{host}: {error}"))?;
        let Some(found) = matcher.intercept(&target) else { return Ok(None) };
        let uri = found.uri();
        if uri.scheme_str() != Some("http") {
            return Err(format!("expected a proxy that is reached by http://, got {uri}; see HTTP_PROXY, HTTPS_PROXY, NO_PROXY"));
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Some(Proxy { host, port: uri.port_u16().unwrap_or(80), authorization: found.basic_auth().cloned() }))
    }
}

impl Proxy {
    /// Turns `stream`, a connection to the proxy, into a tunnel to `target` (`host:port`). The answer is bounded in
    /// bytes; the caller bounds the time.
    pub async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, target: &str) -> Result<S, String> {
        self.connect(stream, target).await.map_err(|why| format!("proxyconnect tcp: {why}"))
    }

    async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, target: &str) -> Result<S, String> {
        let mut request = Request::connect(target).header(HOST, target);
        if let Some(authorization) = &self.authorization {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| format!("{target}: {error}"))?;
        let mut builder = Builder::new();
        builder.title_case_headers(true).max_buf_size(PROXY_HEAD_BYTES);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        let asked = async {
            let (head, _body) = sender.send_request(request).await.map_err(|error| said(&error))?.into_parts();
            if head.status == StatusCode::OK { Ok(()) } else { Err(http1::status_line(&head)) }
        };
        let driven = async { connection.without_shutdown().await.map_err(|error| said(&error)) };
        let ((), connection) = tokio::try_join!(asked, driven)?;
        // The client speaks first in a tunnel.
        if !connection.read_buf.is_empty() {
            return Err("it answered more than it was asked".to_owned());
        }
        Ok(connection.io.into_inner())
    }
}

/// The reason that a proxy gave no usable answer.
fn said(error: &hyper::Error) -> String {
    match error.source() {
        _ if error.is_incomplete_message() => "EOF".to_owned(),
        _ if error.is_parse() && !error.is_parse_too_large() => "its answer is not HTTP/1".to_owned(),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn by(proxies: &Proxies, https: bool, host: &str) -> Option<String> {
        proxies.before(https, host).expect("can be used").map(|proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn the_environments_rules_say_who_goes_by_a_proxy() {
        assert_eq!(by(&Proxies::default(), false, "web.example"), None);
        let proxies = Proxies::new("http://p:3128", "q", "inner.example, 10.0.0.0/8,192.0.2.7");
        for (https, host, proxy) in [
            (false, "web.example", Some("p:3128")),
            (true, "web.example", Some("q:80")),
            (false, "inner.example", None),
            (true, "a.inner.example", None),
            (false, "notinner.example", Some("p:3128")),
            (false, "10.1.2.3", None),
            (false, "192.0.2.7", None),
            (true, "2001:db8::1", Some("q:80")),
        ] {
            assert_eq!(by(&proxies, https, host).as_deref(), proxy, "{https} {host}");
        }
        assert_eq!(by(&Proxies::new("p", "p", "*"), false, "web.example"), None);
        assert_eq!(by(&Proxies::new("p", "", ""), true, "web.example"), None, "each scheme has its own");
    }

    #[test]
    fn this_host_itself_is_never_reached_by_a_proxy() {
        let proxies = Proxies::new("p", "p", "");
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(by(&proxies, false, host), None, "{host}");
        }
    }

    #[test]
    fn a_password_is_for_the_proxy_and_shown_to_nobody() {
        let proxies = Proxies::new("http://user:secret@[2001:db8::1]:81", "socks5://s:1080", "");
        let proxy = proxies.before(false, "web.example").expect("good").expect("there");
        assert_eq!((proxy.host.as_str(), proxy.port), ("2001:db8::1", 81));
        assert_eq!(proxy.authorization.as_ref().map(HeaderValue::as_bytes), Some(&b"Basic dXNlcjpzZWNyZXQ="[..]));
        assert!(!format!("{proxies:?}{proxy:?}").contains("dXNlcjpzZWNyZXQ"), "{proxies:?}{proxy:?}");
        let why = proxies.before(true, "web.example").expect_err("no HTTP proxy");
        assert!(why.contains("got socks5://s:1080/"), "{why}");
    }

    /// The request to a proxy that answers `answer`, and the result.
    async fn tunnel(answer: &[u8]) -> (String, Result<(), String>) {
        let proxy = Proxy { host: "p".into(), port: 80, authorization: Some(HeaderValue::from_static("Basic eA==")) };
        let (here, mut there) = tokio::io::duplex(4096);
        let answer = answer.to_owned();
        let answering = tokio::spawn(async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(there.read_u8().await.expect("a request"));
            }
            _ = there.write_all(&answer).await;
            String::from_utf8(asked).expect("text")
        });
        let made = proxy.tunnel(here, "web.example:443").await.map(drop);
        (answering.await.expect("answered"), made)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_and_whatever_else_is_answered_is_an_error() {
        let (asked, made) = tunnel(b"HTTP/1.0 200 Connection established\r\nVia: p\r\n\r\n").await;
        assert_eq!(made, Ok(()));
        let expected = "CONNECT web.example:443 HTTP/1.1\r\nHost: web.example:443\r\nProxy-Authorization: Basic eA==\r\n\r\n";
        assert_eq!(asked, expected);
        let endless = [b"HTTP/1.1 200 OK\r\nX: ", [b'x'; 4 * PROXY_HEAD_BYTES].as_slice()].concat();
        for (answer, why) in [
            (&b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"[..], "403 Forbidden"),
            (b"HTTP/1.1 200 OK\r\n\r\nmore", "it answered more than it was asked"),
            (b"SSH-2.0-OpenSSH\r\n\r\n", "its answer is not HTTP/1"),
            (b"HTTP/1.1 200 OK\r\n", "EOF"),
            (&endless, "message head is too large"),
        ] {
            assert_eq!(tunnel(answer).await.1, Err(format!("proxyconnect tcp: {why}")));
        }
    }
}
