//! HTTP to an agent: one connection a request, over TCP, TLS or a Unix socket.
//!
//! Used by every command but `agent`, `demo`, `validate`, `tls`, `keygen` and `version`. Waits and
//! bytes are bounded; there are no retries, a user at a terminal decides that.

use super::endpoint::{Address, Endpoint};
use super::tls_client;
use crate::defaults;
use crate::http1;
use crate::model::uri;
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

/// An agent to ask.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
}

/// A call: path and parameters. `dc` and `stale` of the flags are added for those that take them.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    target: String,
    body: Bytes,
}

impl Call {
    /// Reads.
    pub(super) fn get(path: &str) -> Call {
        Call { method: Method::GET, target: path.to_owned(), body: Bytes::new() }
    }

    /// Writes, with an empty body.
    pub(super) fn put(path: &str) -> Call {
        Call { method: Method::PUT, ..Call::get(path) }
    }

    /// Does something that is no resource.
    pub(super) fn post(path: &str) -> Call {
        Call { method: Method::POST, ..Call::get(path) }
    }

    /// Removes.
    pub(super) fn delete(path: &str) -> Call {
        Call { method: Method::DELETE, ..Call::get(path) }
    }

    /// Adds one percent-encoded segment to the path.
    pub(super) fn segment(mut self, segment: &str) -> Call {
        self.target.push('/');
        uri::encode(segment, &mut self.target);
        self
    }

    /// Adds a parameter.
    pub(super) fn param(mut self, name: &str, value: &str) -> Call {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        uri::encode(value, &mut self.target);
        self
    }

    /// Adds a parameter when there is a value.
    pub(super) fn maybe(self, name: &str, value: Option<&str>) -> Call {
        match value {
            Some(value) => self.param(name, value),
            None => self,
        }
    }

    /// Sets the body.
    pub(super) fn body(mut self, body: Vec<u8>) -> Call {
        self.body = Bytes::from(body);
        self
    }
}

impl Client {
    /// A client of `endpoint`.
    pub(super) fn new(endpoint: Endpoint) -> Client {
        Client { endpoint }
    }

    /// Adds `dc` and `stale` as the flags say: for calls that reach servers.
    pub(super) fn routed(&self, call: Call) -> Call {
        let call = call.maybe("dc", self.endpoint.datacenter.as_deref());
        if self.endpoint.stale { call.param("stale", "") } else { call }
    }

    /// Does the call and reads the answer's JSON.
    pub(super) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, String> {
        let target = call.target.clone();
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|error| format!("the answer to {target} is not what was expected: {error}"))
    }

    /// Does the call; any status but 200 is an error with the agent's text and its reason. Of a datacenter that
    /// nobody knows it is told which are known.
    pub(super) async fn send(&self, call: Call) -> Result<Bytes, String> {
        let (head, body) = self.exchange(call, defaults::CLI_ANSWER_TIMEOUT).await?.into_parts();
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let mut error = format!("Unexpected response code: {} ({})", head.status.as_u16(), text.trim());
        if let Some(reason) = head.headers.get("X-Kontor-Reason").and_then(|reason| reason.to_str().ok()) {
            error = format!("{error}, {reason}");
        }
        match self.datacenter().filter(|_| text.contains("No path to datacenter")) {
            Some(dc) => Err(format!("{error}: datacenter {dc:?}{}", self.known_datacenters().await)),
            None => Err(error),
        }
    }

    /// Which datacenters there are, for those who have named another one; nothing where the agent does not say.
    async fn known_datacenters(&self) -> String {
        let listed = Box::pin(self.exchange(Call::get("/v1/catalog/datacenters"), defaults::CLI_ANSWER_TIMEOUT)).await;
        let names: Option<Vec<String>> = listed.ok().and_then(|answer| serde_json::from_slice(answer.body()).ok());
        names.map(|names| format!("; known are {}", names.join(", "))).unwrap_or_default()
    }

    /// The datacenter that the flags name.
    pub(super) fn datacenter(&self) -> Option<&str> {
        self.endpoint.datacenter.as_deref()
    }

    /// Whether the flags let any server answer.
    pub(super) fn stale(&self) -> bool {
        self.endpoint.stale
    }

    /// Does the call and gives the answer as it is; it may take up to `limit`.
    pub(super) async fn exchange(&self, call: Call, limit: Duration) -> Result<Response<Bytes>, String> {
        let connected = timeout(defaults::CLI_CONNECT_TIMEOUT, self.connect()).await;
        let stream = connected.unwrap_or_else(|_| Err("no answer".to_owned())).map_err(|error| self.unreachable(&error))?;
        let answered = timeout(limit, self.ask(stream, call)).await;
        answered.unwrap_or_else(|_| Err(self.unreachable("it accepted the connection and does not answer")))
    }

    /// What to do when there is nobody.
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
        match &self.endpoint.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| error.to_string())?;
                Ok(Box::new(stream))
            }
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                match &self.endpoint.tls {
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
        let mut request = Request::builder().method(call.method).uri(&call.target).header(header::HOST, host);
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

/// A connection of any kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Token;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn client(address: Address) -> Client {
        Client::new(Endpoint {
            address,
            tls: None,
            token: Token("secret".to_owned()),
            auth: Token::default(),
            datacenter: Some("dc 2".to_owned()),
            stale: true,
        })
    }

    /// Answers one request with `answer` and gives back what was asked.
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
