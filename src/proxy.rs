//! HTTP proxies before servers that belong to nobody here: targets of health checks, handlers of watches.
//!
//! `local` and `watch` ask which proxy a request goes by, connect to it, and have it open tunnels.
//! Go's default transport, which Consul uses, sets what is honoured: `HTTP_PROXY`, `HTTPS_PROXY` and
//! `NO_PROXY` or the same in lower case, and never for this host itself. `NO_PROXY` is read as
//! `hyper-util` does: names with all below them, addresses, networks and `*`, without ports.

use crate::defaults::PROXY_HEAD_BYTES;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::info;

const HEAD_END: &[u8] = b"\r\n\r\n";

/// Which requests go by which proxy; by default none does. Clones share the rules.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    matcher: Option<Arc<Matcher>>,
}

/// A proxy that is reached by plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address, without brackets.
    pub host: String,
    /// 80 where none is said.
    pub port: u16,
    /// What it is to be told in `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Proxies {
    /// Those of this process's environment, which is read once.
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

    /// `http` for requests to `http` URLs, `https` for those to `https` URLs, neither to what `no` names.
    /// An empty text is none.
    pub fn new(http: &str, https: &str, no: &str) -> Proxies {
        let any = !http.is_empty() || !https.is_empty();
        Proxies { matcher: any.then(|| Arc::new(Matcher::builder().http(http).https(https).no(no).build())) }
    }

    /// The proxy of requests to `host` (without brackets). The error says that there is one which cannot
    /// be used.
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
    /// Has it connect to `target` (`host:port`); `stream` leads to the proxy, and afterwards to there. Its
    /// answer is bounded in bytes, the caller bounds the time.
    pub async fn tunnel<S>(&self, stream: &mut S, target: &str) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend([b"Proxy-Authorization: ", authorization.as_bytes(), b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        let failed = |why: &str| format!("proxyconnect tcp: {why}");
        stream.write_all(&request).await.map_err(|error| failed(&error.to_string()))?;
        let (mut head, end) = (Vec::new(), |head: &[u8]| head.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END));
        let end = loop {
            if stream.read_buf(&mut head).await.map_err(|error| failed(&error.to_string()))? == 0 {
                return Err(failed("EOF"));
            }
            if let Some(at) = end(&head) {
                break at + HEAD_END.len();
            }
            if head.len() >= PROXY_HEAD_BYTES {
                return Err(failed("message head is too large"));
            }
        };
        let text = String::from_utf8_lossy(&head[..end]);
        let said = text.lines().next().and_then(|line| line.strip_prefix("HTTP/1.")?.split_once(' ')).map(|(_minor, said)| said);
        match said {
            None => Err(failed("its answer is not HTTP/1")),
            // Who asked speaks first in a tunnel.
            Some(said) if said.starts_with("200") && end < head.len() => Err(failed("it answered more than it was asked")),
            Some(said) if said.starts_with("200") => Ok(()),
            Some(said) => Err(failed(&said.chars().take(64).collect::<String>())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// What is said to a proxy that answers `answer`, and what comes of it.
    async fn tunnel(answer: &[u8]) -> (String, Result<(), String>) {
        let proxy = Proxy { host: "p".into(), port: 80, authorization: Some(HeaderValue::from_static("Basic eA==")) };
        let (mut here, mut there) = tokio::io::duplex(4096);
        let answer = answer.to_owned();
        let answering = tokio::spawn(async move {
            let mut asked = Vec::new();
            while !asked.ends_with(HEAD_END) {
                asked.push(there.read_u8().await.expect("a request"));
            }
            _ = there.write_all(&answer).await;
            String::from_utf8(asked).expect("text")
        });
        let made = proxy.tunnel(&mut here, "web.example:443").await;
        drop(here);
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
