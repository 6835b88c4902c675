//! HTTP and HTTPS checks: 2xx is passing, 429 warning, everything else critical. Redirects are followed as Go's client
//! does. An endless body is cut at its bound and leaves the status as it is.

use super::connect::{Tls, connect, connect_by};
use super::exchange::{Answer, ask};
use super::finding::Finding;
use super::url::Url;
use crate::defaults::{CHECK_BODY_BYTES, CHECK_REDIRECTS};
use crate::http1::status_line;
use crate::model::check::{CheckStatus, CheckType};
use crate::model::duration;
use crate::model::uri::shown;
use crate::proxy::{Proxies, Proxy};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use std::time::Duration;
use tokio::time::timeout;

const AGENT: HeaderValue = HeaderValue::from_static("Consul Health Check");
const ANY_TEXT: HeaderValue = HeaderValue::from_static("text/plain, text/*, */*");

#[derive(Debug)]
pub(super) struct HttpProbe {
    /// The user's text, but for a password.
    target: String,
    method: String,
    /// The first request, or the reason that there is none.
    first: Result<Exchange, String>,
    follows: bool,
    tls: Tls,
    proxies: Proxies,
    timeout: Duration,
    output_max: usize,
}

/// One request of a probe: the first, or that of a redirect.
#[derive(Clone, Debug)]
struct Exchange {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpProbe {
    /// The probe of `check`. A mistake in it is the finding of each run, as in Consul.
    pub(super) fn new(check: &CheckType, tls: Tls, proxies: Proxies, timeout: Duration, output_max: usize) -> HttpProbe {
        let method = if check.method.is_empty() { "GET".to_owned() } else { check.method.clone() };
        HttpProbe {
            target: shown(&check.http).into_owned(),
            first: Exchange::first(check, &method),
            method,
            follows: !check.disable_redirects,
            tls,
            proxies,
            timeout,
            output_max,
        }
    }

    pub(super) async fn run(&self) -> Finding {
        let mut answer = Answer::new(self.output_max, CHECK_BODY_BYTES);
        let asked = match &self.first {
            Ok(first) => timeout(self.timeout, self.follow(first.clone(), &mut answer)).await,
            Err(why) => Ok(Err(why.clone())),
        };
        if asked.is_err() {
            metrics::counter!("kontor.checks.timed_out").increment(1);
        }
        let Some(head) = &answer.head else {
            let late = || "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned();
            let why = asked.unwrap_or_else(|_elapsed| Err(late())).err().unwrap_or_default();
            return Finding::critical(format!("{} {:?}: {why}", title(&self.method), self.target));
        };
        let status = match head.status {
            status if status.is_success() => CheckStatus::Passing,
            StatusCode::TOO_MANY_REQUESTS => CheckStatus::Warning,
            _ => CheckStatus::Critical,
        };
        let note = match asked {
            Ok(Ok(())) => String::new(),
            Ok(Err(why)) => format!("\n(the body is not complete: {why})"),
            Err(_elapsed) => format!("\n(the body is not complete: it took longer than {})", duration::format(self.timeout)),
        };
        let (line, body) = (status_line(head), answer.body.text());
        Finding::new(status, format!("HTTP {} {}: {line} Output: {body}{note}", self.method, self.target))
    }

    /// Asks, and follows redirects, until there is an answer.
    async fn follow(&self, mut step: Exchange, answer: &mut Answer) -> Result<(), String> {
        for _ in 0..CHECK_REDIRECTS {
            let (address, tls) = (&step.url.address, step.url.https.then_some(&self.tls));
            let proxy = self.proxies.before(step.url.https, &address.host)?;
            let stream = match &proxy {
                None => connect(address, tls).await?,
                Some(proxy) => connect_by(proxy, address, tls).await?,
            };
            let asked = proxy.filter(|_| !step.url.https);
            ask(stream, step.request(asked.as_ref())?, answer, |head| self.place(head).is_none()).await?;
            let Some(head) = &answer.head else { return Ok(()) };
            let Some(place) = self.place(head) else { return Ok(()) };
            let next = step.next(head.status, place);
            *answer = Answer::new(self.output_max, CHECK_BODY_BYTES);
            step = next?;
        }
        metrics::counter!("kontor.checks.redirects_refused").increment(1);
        Err(format!("stopped after {CHECK_REDIRECTS} redirects"))
    }

    /// The location of an answer that redirects, where redirects are followed.
    fn place<'a>(&self, head: &'a Parts) -> Option<&'a str> {
        let leads = matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        head.headers.get(LOCATION).filter(|_| self.follows && leads)?.to_str().ok()
    }
}

impl Exchange {
    fn first(check: &CheckType, method: &str) -> Result<Exchange, String> {
        let url = Url::parse(&check.http)?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_error| format!("net/http: invalid method {method:?}"))?;
        let mut headers = HeaderMap::new();
        for (name, values) in &check.header {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_error| format!("net/http: invalid header field name {name:?}"))?;
            for value in values {
                // The value may be a secret: the error does not show it.
                let value = HeaderValue::from_str(value)
                    .map_err(|_error| format!("net/http: invalid header field value for {name:?}"))?;
                headers.append(name.clone(), value);
            }
        }
        headers.entry(USER_AGENT).or_insert(AGENT);
        headers.entry(ACCEPT).or_insert(ANY_TEXT);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(Exchange { url, method, headers, body: Bytes::from(check.body.clone()) })
    }

    /// The request to the target itself, or to the proxy that asks it.
    fn request(&self, proxy: Option<&Proxy>) -> Result<Request<Full<Bytes>>, String> {
        let path = &self.url.path;
        let place = proxy.map_or_else(|| path.clone(), |_proxy| format!("http://{}{path}", self.url.host));
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = place.parse().map_err(|error| format!("cannot be read as a URL: {error}"))?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(&self.url.host).map_err(|_error| "no Host in request URL".to_owned())?;
            headers.insert(HOST, host);
        }
        if let Some(user) = self.url.authorization().filter(|_| !headers.contains_key(AUTHORIZATION)) {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&user).map_err(|_error| "invalid user in the URL".to_owned())?);
        }
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        Ok(request)
    }

    /// The request that a redirect to `place` asks for.
    fn next(self, status: StatusCode, place: &str) -> Result<Exchange, String> {
        let (url, names_host) =
            self.url.join(place).map_err(|why| format!("failed to parse Location header {:?}: {why}", shown(place)))?;
        let Exchange { mut method, mut headers, mut body, .. } = self;
        if names_host {
            headers.remove(HOST);
        }
        if url.address.host != self.url.address.host {
            // Secrets for one host are not shown to another.
            headers.remove(AUTHORIZATION);
            headers.remove(COOKIE);
        }
        if !matches!(status.as_u16(), 307 | 308) {
            body = Bytes::new();
            if method != Method::HEAD {
                method = Method::GET;
            }
        }
        Ok(Exchange { url, method, headers, body })
    }
}

/// `Get` for `GET`, as Go's errors begin.
fn title(method: &str) -> String {
    let mut letters = method.chars();
    letters.next().map_or_else(String::new, |first| format!("{first}{}", letters.as_str().to_lowercase()))
}
