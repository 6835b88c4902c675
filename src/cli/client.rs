//! HTTP to an agent: one connection a request, over TCP, TLS or a Unix socket.
//!
//! Waits and bytes are bounded. There are no retries: the user decides.

use super::endpoint::{Address, Endpoint};
use super::tls_client;
use crate::defaults;
use crate::http1;
use crate::model::uri::Target;
use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header;
use hyper::{Method, Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) endpoint: Endpoint,
}

/// A call: method, path with parameters, and body.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    target: Target,
    body: Bytes,
}

impl Call {
    pub(super) fn get(path: &str) -> Call {
        Call { method: Method::GET, target: Target::new(path), body: Bytes::new() }
    }

    pub(super) fn put(path: &str) -> Call {
        Call { method: Method::PUT, ..Call::get(path) }
    }

    pub(super) fn post(path: &str) -> Call {
        Call { method: Method::POST, ..Call::get(path) }
    }

    pub(super) fn delete(path: &str) -> Call {
        Call { method: Method::DELETE, ..Call::get(path) }
    }

    pub(super) fn segment(self, segment: &str) -> Call {
        Call { target: self.target.segment(segment), ..self }
    }

    pub(super) fn raw_segment(self, segment: &[u8]) -> Call {
        Call { target: self.target.raw_segment(segment), ..self }
    }

    pub(super) fn param(self, name: &str, value: &str) -> Call {
        Call { target: self.target.param(name, value), ..self }
    }

    pub(super) fn maybe(self, name: &str, value: Option<&str>) -> Call {
        Call { target: self.target.maybe(name, value), ..self }
    }

    pub(super) fn body(self, body: Vec<u8>) -> Call {
        Call { body: body.into(), ..self }
    }
}

impl Client {
    /// Adds `dc` and `stale` of the flags, for calls that reach servers.
    pub(super) fn routed(&self, call: Call) -> Call {
        let call = call.maybe("dc", self.endpoint.datacenter.as_deref());
        if self.endpoint.stale { call.param("stale", "") } else { call }
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, String> {
        let target = call.target.0.clone();
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|error| format!("the answer to {target} is not what was expected: {error}"))
    }

    /// Does the call, and gives the body of the answer; nothing where it is 404 without a text: no such thing.
    pub(super) async fn find(&self, call: Call) -> Result<Option<Bytes>, String> {
        match self.exchange(call, defaults::CLI_ANSWER_TIMEOUT).await? {
            answer if answer.status() == StatusCode::NOT_FOUND && answer.body().is_empty() => Ok(None),
            answer => self.judge(answer).await.map(Some),
        }
    }

    /// Does the call. Any status but 200 is an error with the agent's text and its reason; for an unknown
    /// datacenter, with the known ones.
    pub(super) async fn send(&self, call: Call) -> Result<Bytes, String> {
        let answer = self.exchange(call, defaults::CLI_ANSWER_TIMEOUT).await?;
        self.judge(answer).await
    }

    async fn judge(&self, answer: Response<Bytes>) -> Result<Bytes, String> {
        let (head, body) = answer.into_parts();
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let mut error = format!("Unexpected response code: {} ({})", head.status.as_u16(), text.trim());
        if let Some(reason) = head.headers.get("X-Kontor-Reason").and_then(|reason| reason.to_str().ok()) {
            error = format!("{error}, {reason}");
        }
        match self.endpoint.datacenter.as_ref().filter(|_| text.contains("No path to datacenter")) {
            Some(dc) => Err(format!("{error}: datacenter {dc:?}{}", self.known_datacenters().await)),
            None => Err(error),
        }
    }

    /// The known datacenters, for an error; empty without an answer of the agent.
    async fn known_datacenters(&self) -> String {
        let listed = Box::pin(self.exchange(Call::get("/v1/catalog/datacenters"), defaults::CLI_ANSWER_TIMEOUT)).await;
        let names: Option<Vec<String>> = listed.ok().and_then(|answer| serde_json::from_slice(answer.body()).ok());
        names.map(|names| format!("; known are {}", names.join(", "))).unwrap_or_default()
    }

    /// Does the call within `limit` and gives the answer as it is.
    pub(super) async fn exchange(&self, call: Call, limit: Duration) -> Result<Response<Bytes>, String> {
        let connected = timeout(defaults::CLI_CONNECT_TIMEOUT, self.connect()).await;
        let stream = connected.unwrap_or_else(|_| Err("no answer".to_owned())).map_err(|error| self.unreachable(&error))?;
        let answered = timeout(limit, self.ask(stream, call)).await;
        answered.unwrap_or_else(|_| Err(self.unreachable("it accepted the connection and does not answer")))
    }

    /// The error for an agent that cannot be reached, with advice.
    fn unreachable(&self, error: &str) -> String {
        let place = match &self.endpoint.address {
            Address::Tcp(address) => address.clone(),
            Address::Unix(path) => format!("unix://{}", path.display()),
        };
        let advice = match (&self.endpoint.address, &self.endpoint.tls) {
            (Address::Tcp(_), Some(_)) => "Is it an HTTPS port, and do -ca-file, -client-cert and -tls-server-name fit it?",
            _ => "Start one (`kontor agent -dev`), or name its address with -http-addr or CONSUL_HTTP_ADDR (https:// for HTTPS)",
        };
        format!("no agent can be reached at {place}: {error}. {advice}")
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let failed = |error: std::io::Error| error.to_string();
        match (&self.endpoint.address, &self.endpoint.tls) {
            (Address::Unix(path), _) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
            (Address::Tcp(address), tls) => {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                match tls {
                    None => Ok(Box::new(stream)),
                    Some(options) => Ok(Box::new(tls_client::wrap(stream, address, options).await?)),
                }
            }
        }
    }

    async fn ask(&self, stream: Box<dyn Stream>, call: Call) -> Result<Response<Bytes>, String> {
        let request = self.request(call)?;
        let asked = http1::exchange(stream, request, |response| async {
            let (head, body) = response.into_parts();
            let body = Limited::new(body, defaults::CLI_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| format!("the answer was cut off: {error}"))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        });
        asked.await.map_err(|error| self.unreachable(&error.to_string()))?
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, String> {
        let host = match &self.endpoint.address {
            Address::Tcp(address) => address.as_str(),
            Address::Unix(_) => "127.0.0.1",
        };
        let mut request = Request::builder().method(call.method).uri(&call.target.0).header(header::HOST, host);
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if !self.endpoint.token.is_empty() {
            request = request.header("X-Consul-Token", &self.endpoint.token.0);
        }
        if !self.endpoint.auth.is_empty() {
            let coded = base64::engine::general_purpose::STANDARD.encode(&self.endpoint.auth.0);
            request = request.header(header::AUTHORIZATION, format!("Basic {coded}"));
        }
        // The error may not carry the header's value, which may be a token.
        request.body(Full::new(call.body)).map_err(|_| "the token or the address has characters that cannot be sent".to_owned())
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Token;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn client(address: Address) -> Client {
        let (token, datacenter) = (Token("secret".to_owned()), Some("dc 2".to_owned()));
        Client { endpoint: Endpoint { address, tls: None, token, auth: Token::default(), datacenter, stale: true } }
    }

    /// Answers one request with `answer`; the address, and the request in the end.
    async fn one_answer(answer: &'static str) -> (Address, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap().to_string());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, server)
    }

    #[tokio::test]
    async fn a_call_carries_token_datacenter_and_encoded_values() {
        let (address, server) = one_answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[\"a\"]").await;
        let client = client(address);
        let call = client.routed(Call::get("/v1/health/service").segment("a/b").maybe("near", None));
        let names: Vec<String> = client.json(call).await.unwrap();
        assert_eq!(names, ["a"]);
        let asked = server.await.unwrap();
        assert!(asked.starts_with("GET /v1/health/service/a%2Fb?dc=dc%202&stale= HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("x-consul-token: secret\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn any_other_status_is_an_error_with_the_agent_s_text() {
        let (address, _server) =
            one_answer("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 17\r\n\r\nNo cluster leader").await;
        let error = client(address).send(Call::get("/v1/x")).await.unwrap_err();
        assert_eq!(error, "Unexpected response code: 500 (No cluster leader)");
    }

    #[tokio::test]
    async fn the_reason_of_the_agent_is_told_too() {
        let answer = "HTTP/1.1 500 Internal Server Error\r\nx-kontor-reason: never-joined\r\ncontent-length: 21\r\n\r\nNo path to datacenter";
        let (address, _server) = one_answer(answer).await;
        let error = client(address).send(Call::get("/v1/x")).await.unwrap_err();
        assert_eq!(error, "Unexpected response code: 500 (No path to datacenter), never-joined: datacenter \"dc 2\"");
    }

    #[tokio::test]
    async fn a_cut_answer_is_an_error_and_not_a_short_one() {
        let (address, _server) = one_answer("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n[").await;
        assert!(client(address).send(Call::get("/v1/x")).await.is_err());
    }

    #[tokio::test]
    async fn nobody_there_says_where_and_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = client(Address::Tcp(free.clone())).send(Call::get("/v1/x")).await.unwrap_err();
        assert!(error.contains(&free) && error.contains("-http-addr"), "{error}");
        let error = client(Address::Unix("/nowhere.sock".into())).send(Call::get("/v1/x")).await.unwrap_err();
        assert!(error.contains("unix:///nowhere.sock"), "{error}");
    }
}
