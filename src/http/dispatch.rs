//! The way of every request: admission, its endpoint, and the form of the answer.

use super::HttpSettings;
use super::ask::{Call, Endpoint, Pending, ready};
use super::body::RequestBody;
use super::error::{ErrorResponse, header_text};
use super::log::{Asked, RequestLog};
use super::options;
use super::parameters::{Parameters, cleaned, decode_bytes, decode_path};
use super::respond::{Body, Form, Renderer, Reply, takes_gzip};
use super::table::{self, Route};
use crate::model::kv::KvKey;
use crate::model::part::Part;
use crate::model::request::BoxFuture;
use http_body_util::Either;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) type Run = Box<dyn Fn(Endpoint, Call) -> Pending + Send + Sync>;

/// The place that a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PathMatch {
    /// A line of the table.
    Route(usize),
    /// A subtree, but for a slash at the end; Go's servers redirect there.
    MissingSlash,
    /// `/`
    Index,
    Nothing,
}

impl PathMatch {
    /// The line of the table; `usize::MAX` for every other place.
    fn line(self) -> usize {
        if let PathMatch::Route(number) = self { number } else { usize::MAX }
    }
}

pub(super) struct Dispatch {
    settings: Arc<HttpSettings>,
    routes: Vec<Route>,
    places: matchit::Router<PathMatch>,
    renderer: Renderer,
    headers: Vec<(HeaderName, HeaderValue)>,
    log: RequestLog,
    run: Run,
}

impl Dispatch {
    pub(super) fn new(settings: Arc<HttpSettings>, run: Run) -> Dispatch {
        let (headers, routes) = (headers_of_every_answer(&settings), table::routes());
        let (places, renderer, log) = (places(&routes), Renderer::new(), RequestLog::default());
        Dispatch { settings, routes, places, renderer, headers, log, run }
    }

    /// Answers one request, which is consumed before the answer is awaited: a parked watch does not keep it in memory.
    pub(super) fn answer(
        self: &Arc<Self>,
        request: Request<RequestBody>,
        from: Option<IpAddr>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let mut form = Form { pretty: self.settings.always_pretty, gzip: takes_gzip(request.headers()) };
        let place = self.places.at(request.uri().path()).map_or(PathMatch::Nothing, |found| *found.value);
        let asked = Box::new(Asked::new(request.method(), request.uri(), from, place.line()));
        let is_head = request.method() == Method::HEAD;
        let work = self.begin(place, request, from, &mut form).unwrap_or_else(|refusal| ready(Err(refusal)));
        let dispatch = Arc::clone(self);
        async move {
            let mut response = match work.await {
                Ok(reply) => dispatch.renderer.render(reply, form).await,
                Err(refusal) => {
                    dispatch.log.refused(&asked, &refusal);
                    refusal.into_response()
                }
            };
            for (name, value) in &dispatch.headers {
                response.headers_mut().insert(name, value.clone());
            }
            RequestLog::finished(&asked, response.status());
            sized(response, is_head)
        }
    }

    fn begin(
        &self,
        place: PathMatch,
        request: Request<RequestBody>,
        from: Option<IpAddr>,
        form: &mut Form,
    ) -> Result<Pending, ErrorResponse> {
        let (head, body) = request.into_parts();
        if let Some(route) = self.key_route(place) {
            return self.to_endpoint(route, Arguments::key(route, head.uri.path())?, (head, body), from, form);
        }
        if let Some(path) = cleaned(head.uri.path()) {
            return Ok(ready(Ok(redirect(&path, head.uri.query()))));
        }
        let path = decode_path(head.uri.path())?;
        let route = match place {
            PathMatch::Route(number) => self.routes.get(number).ok_or_else(|| ErrorResponse::unknown_path(&path))?,
            PathMatch::MissingSlash => return Ok(ready(Ok(redirect(&format!("{}/", head.uri.path()), head.uri.query())))),
            PathMatch::Index => return Ok(ready(Ok(self.index()))),
            PathMatch::Nothing => return Err(self.nothing_at(&path)),
        };
        let argument = path.strip_prefix(route.path).unwrap_or_default().to_owned();
        let arguments = Arguments { path: path.into_owned(), argument, key: KvKey::default() };
        self.to_endpoint(route, arguments, (head, body), from, form)
    }

    /// The route of a place where the rest of the path is a key.
    fn key_route(&self, place: PathMatch) -> Option<&Route> {
        self.routes.get(place.line()).filter(|route| route.takes_key)
    }

    /// Takes a request to the endpoint of its route.
    fn to_endpoint(
        &self,
        route: &Route,
        arguments: Arguments,
        (head, body): (Parts, RequestBody),
        from: Option<IpAddr>,
        form: &mut Form,
    ) -> Result<Pending, ErrorResponse> {
        let Arguments { path, argument, key } = arguments;
        let parameters = Parameters::parse(head.uri.query())?;
        form.pretty |= parameters.has("pretty");
        self.admit(&path, &head.method, from)?;
        if head.method == Method::OPTIONS {
            let allow = HeaderValue::try_from(route.allow()).unwrap_or(HeaderValue::from_static("OPTIONS"));
            return Ok(ready(Ok(Reply::empty().with_header(ALLOW, allow))));
        }
        let (needs, endpoint) = route.endpoint(&head.method)?;
        options::refuse_namespaces(&parameters, &head.headers)?;
        let call = Call { argument, key, parameters, headers: head.headers, body };
        needs.permit(&call.principal())?;
        Ok((self.run)(endpoint, call))
    }

    /// Refuses blocked paths, and writes from networks that may not write.
    fn admit(&self, path: &str, method: &Method, client: Option<IpAddr>) -> Result<(), ErrorResponse> {
        if self.settings.block_endpoints.iter().any(|blocked| path.starts_with(blocked.as_str())) {
            return Err(ErrorResponse::BLOCKED);
        }
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let allowed = &self.settings.allow_write_from;
        // A client without an address is not within the networks that may write.
        let within = |ip: IpAddr| allowed.iter().any(|net| net.contains(&ip));
        if reads || allowed.is_empty() || client.is_some_and(within) { Ok(()) } else { Err(ErrorResponse::RESTRICTED) }
    }

    /// The refusal for a `path` that leads nowhere.
    fn nothing_at(&self, path: &str) -> ErrorResponse {
        let is_ui = self.settings.ui_path.as_deref().is_some_and(|ui| path.starts_with(ui));
        if is_ui { ErrorResponse::not_offered(Part::Ui) } else { ErrorResponse::unknown_path(path) }
    }

    fn index(&self) -> Reply {
        match &self.settings.ui_path {
            Some(path) => redirect(path, None),
            None => Reply::text("Consul Agent"),
        }
    }
}

/// The parts of a path beside its route.
struct Arguments {
    /// All of it, for rules about paths.
    path: String,
    argument: String,
    key: KvKey,
}

impl Arguments {
    /// Those of a route where the rest of the path is a key, byte by byte.
    fn key(route: &Route, path: &str) -> Result<Arguments, ErrorResponse> {
        let rest = path.strip_prefix(route.path).unwrap_or_default();
        let key = KvKey::from(decode_bytes(rest)?);
        Ok(Arguments { path: format!("{}{}", route.path, key.text()), argument: String::new(), key })
    }
}

/// The service of the accept loop. Its futures are boxed, so that a connection without a request is small.
pub(super) fn service(
    dispatch: Arc<Dispatch>,
) -> impl Fn(Request<Incoming>, Option<IpAddr>) -> BoxFuture<Response<Body>> + Clone + Send + Sync + 'static {
    move |request, client| Box::pin(dispatch.answer(request.map(Either::Left), client))
}

/// The places of all paths, with the redirects of Go's servers. Conflicting lines of the table show at the start.
fn places(routes: &[Route]) -> matchit::Router<PathMatch> {
    let mut places = matchit::Router::new();
    let mut add = |path: String, place| {
        if let Err(error) = places.insert(path.as_str(), place) {
            panic!("the table of endpoints at {path}: {error}");
        }
    };
    for (number, route) in routes.iter().enumerate() {
        add(route.path.to_owned(), PathMatch::Route(number));
        if let Some(path) = route.subtree() {
            add(format!("{path}/{{*argument}}"), PathMatch::Route(number));
            if !routes.iter().any(|other| other.path == path) {
                add(path.to_owned(), PathMatch::MissingSlash);
            }
        }
    }
    add("/".to_owned(), PathMatch::Index);
    places
}

/// The answer with its length, and without its body for HEAD.
fn sized(mut response: Response<Body>, is_head: bool) -> Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if is_head {
        *response.body_mut() = Body::default();
    }
    response
}

fn redirect(path: &str, query: Option<&str>) -> Reply {
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Reply::empty().with_status(StatusCode::MOVED_PERMANENTLY).with_header(LOCATION, header_text(&target))
}

/// Consul's fixed headers, and those of `http_config.response_headers`.
fn headers_of_every_answer(settings: &HttpSettings) -> Vec<(HeaderName, HeaderValue)> {
    let policy = HeaderName::from_static("x-consul-default-acl-policy");
    let mut headers = vec![(policy, HeaderValue::from_static("allow"))];
    if settings.translate_wan_addrs {
        let translate = HeaderName::from_static("x-consul-translate-addresses");
        headers.push((translate, HeaderValue::from_static("true")));
    }
    for (name, value) in &settings.response_headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => tracing::error!(%name, %value, "response_headers: not a header, left out"),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::super::listen::serve_with;
    use super::super::listen::tests::{bound, exchange};
    use super::*;
    use crate::defaults;
    use crate::model::answer::{Answer, AnswerMeta, CacheUse, DatacenterPart, Found};
    use crate::model::command::Register;
    use crate::model::query::Consistency;
    use crate::shutdown::Shutdown;
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn settings() -> HttpSettings {
        let (node_name, datacenter) = ("here".to_owned(), "dc1".to_owned());
        let block_endpoints = vec!["/v1/agent/self".to_owned()];
        let response_headers = BTreeMap::from([("X-Mine".to_owned(), "yes".to_owned())]);
        HttpSettings { node_name, datacenter, block_endpoints, response_headers, ..HttpSettings::default() }
    }

    async fn served(settings: HttpSettings, run: Run) -> (SocketAddr, Shutdown) {
        let shutdown = Shutdown::new();
        let (listener, address) = bound().await;
        let dispatch = Arc::new(Dispatch::new(Arc::new(settings), run));
        serve_with(vec![listener], Arc::default(), &shutdown, service(dispatch));
        (address, shutdown)
    }

    /// Serves `answer` at every endpoint.
    async fn with_answer(settings: HttpSettings, answer: Answer) -> (SocketAddr, Shutdown) {
        served(settings, Box::new(move |_, _| Box::pin(std::future::ready(Ok(answer.clone().into()))))).await
    }

    /// Head, in lower case, and body of the answer.
    async fn ask(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
        let (line, rest) = request.split_once('\n').unwrap_or((request, ""));
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}\r\n");
        let answer = exchange(address, request.as_bytes()).await;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    }

    const OUTSIDE: &str = "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'";
    const NO_NAMESPACES: &str = "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature";

    #[tokio::test]
    async fn paths_methods_and_namespaces_are_refused_as_consul_refuses_them() {
        let (address, _shutdown) = with_answer(settings(), Answer::default()).await;
        for (request, status, header, body) in [
            ("HEAD /v1/catalog/nodes", 405, "allow: options,get", ""),
            ("PUT /v1/catalog/nodes", 405, "allow: options,get", "method PUT not allowed"),
            ("OPTIONS /v1/catalog/register", 200, "allow: options,put", ""),
            ("GET /v1/unknown", 404, "", "Invalid URL path: not a recognized HTTP API endpoint"),
            ("GET /catalog/nodes", 404, "", OUTSIDE),
            ("POST /v1/kv/a", 405, "allow: options,get,put,delete", "method POST not allowed"),
            ("OPTIONS /v1/kv/a", 200, "allow: options,get,put,delete", ""),
            ("GET /v1/kv", 301, "location: /v1/kv/", ""),
            ("PUT /v1/snapshot", 501, "x-kontor-reason: not-offered: snapshot", Part::Snapshots.sentence()),
            ("PUT /v1/acl/tokens", 405, "allow: options,get", "method PUT not allowed"),
            ("GET /v1/acl/unknown", 404, "", "Invalid URL path: not a recognized HTTP API endpoint"),
            ("GET /v1/health/service?dc=x", 301, "location: /v1/health/service/?dc=x", ""),
            ("GET //v1/catalog/nodes?dc=x", 301, "location: /v1/catalog/nodes?dc=x", ""),
            ("GET /v1/health/service/%00", 400, "", ""),
            ("GET /v1/catalog/nodes?a=%zz", 500, "", ""),
            ("GET /v1/agent/self", 403, "", "Endpoint is blocked by agent configuration"),
            ("GET /v1/catalog/nodes?ns=a", 400, "", NO_NAMESPACES),
            ("GET /", 200, "text/plain", "Consul Agent"),
        ] {
            let (head, content) = ask(address, request).await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}");
            assert!(head.contains(header) && head.contains("x-mine: yes"), "{request}: {head}");
            assert_eq!(String::from_utf8_lossy(&content), body, "{request}");
        }
    }

    #[tokio::test]
    async fn writes_come_only_from_the_networks_allowed() {
        let from = |net: &str| HttpSettings { allow_write_from: vec![net.parse().unwrap()], ..settings() };
        let (address, _shutdown) = with_answer(from("10.0.0.0/8"), Answer::default()).await;
        assert_eq!(ask(address, "PUT /v1/catalog/register").await.1, b"Access is restricted");
        assert!(ask(address, "GET /v1/catalog/nodes").await.0.starts_with("http/1.1 200"));
        let (address, _shutdown) = with_answer(from("127.0.0.0/8"), Answer::default()).await;
        assert!(ask(address, "PUT /v1/catalog/register").await.0.starts_with("http/1.1 200"));
    }

    #[tokio::test]
    async fn the_web_interface_is_where_the_root_leads_when_it_is_on() {
        let settings = HttpSettings { ui_path: Some("/ui/".to_owned()), ..settings() };
        let (address, _shutdown) = with_answer(settings, Answer::default()).await;
        let (head, _) = ask(address, "GET /").await;
        assert!(head.starts_with("http/1.1 301") && head.contains("location: /ui/"), "{head}");
        let (head, text) = ask(address, "GET /ui/dc1/services").await;
        assert!(head.starts_with("http/1.1 501"), "{head}");
        assert_eq!(text, Part::Ui.sentence().as_bytes());
    }

    #[tokio::test]
    async fn everything_that_is_not_offered_says_so_under_each_of_its_methods() {
        let run: Run = Box::new(|_, _| panic!("nothing is to be asked"));
        let (address, _shutdown) = served(HttpSettings { block_endpoints: Vec::new(), ..settings() }, run).await;
        for (path, methods, part) in super::super::absent::ABSENT {
            for method in *methods {
                let path = if path.ends_with('/') { format!("{path}x/y") } else { (*path).to_owned() };
                let (head, text) = ask(address, &format!("{method} {path}")).await;
                assert!(head.starts_with("http/1.1 501") && head.contains("content-type: text/plain"), "{method} {path}: {head}");
                assert_eq!(text, part.sentence().as_bytes(), "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn the_datacenters_of_a_merged_answer_are_told_in_ascii() {
        let age = Duration::from_micros(40_001);
        let part = |name: &str, error: Option<String>| DatacenterPart { name: name.to_owned(), age, index: 7, error };
        let parts =
            [part("dc2", None), part("dc3", Some("\"\u{e9}\u{1f600}\u{7f}\n".to_owned())), part("dc4", Some("x".repeat(999)))];
        let meta = AnswerMeta { datacenters: Some(parts.into()), ..AnswerMeta::default() };
        let (address, _shutdown) = with_answer(settings(), Answer { meta, body: Bytes::from_static(b"[]") }).await;
        let (head, _) = ask(address, "GET /v1/catalog/nodes?dc=*").await;
        let line = head.lines().find_map(|line| line.strip_prefix("x-kontor-datacenters: ")).unwrap();
        let list: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(list[0], serde_json::json!({"datacenter": "dc2", "agems": 41, "index": 7}), "in lower case here");
        assert_eq!(list[1]["error"], "\"\u{e9}\u{1f600}\u{7f}\n");
        assert_eq!(list[2]["error"].as_str().unwrap().len(), crate::defaults::HTTP_DATACENTER_ERROR_MAX);
    }

    #[tokio::test]
    async fn an_answer_carries_consul_s_headers_even_when_nothing_is_found() {
        let meta = AnswerMeta {
            indexed: true,
            known_leader: true,
            last_contact: Duration::from_millis(12),
            consistency: Consistency::Stale,
            found: Found::No,
            cache: Some(CacheUse { hit: true, age: Duration::from_millis(3900) }),
            ..AnswerMeta::default()
        };
        let (address, _shutdown) = with_answer(settings(), Answer { meta, body: Bytes::from_static(b"null") }).await;
        let (head, body) = ask(address, "GET /v1/coordinate/node/x").await;
        for line in [
            "http/1.1 404",
            "x-consul-index: 1\r",
            "x-consul-knownleader: true",
            "x-consul-lastcontact: 12",
            "x-consul-effective-consistency: stale",
            "x-consul-query-backend: blocking-query",
            "x-consul-default-acl-policy: allow",
            "x-cache: hit",
            "age: 4\r",
            "content-length: 0",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(body.is_empty());
    }

    #[tokio::test]
    async fn pretty_indents_as_go_does_and_changes_nothing_else() {
        let body = Bytes::from_static(br#"{"b":[1.50,{}],"a":"x\"{,\\","c":[]}"#);
        let answer = Answer { body, ..Answer::default() };
        let (address, _shutdown) = with_answer(settings(), answer).await;
        let expected = "{\n    \"b\": [\n        1.50,\n        {}\n    ],\n    \"a\": \"x\\\"{,\\\\\",\n    \"c\": []\n}\n";
        assert_eq!(String::from_utf8(ask(address, "GET /v1/catalog/nodes?pretty").await.1).unwrap(), expected);
    }

    #[tokio::test]
    async fn large_answers_are_compressed_when_asked_for_and_small_ones_never() {
        let body = Bytes::from(format!("[{:?}]", "web".repeat(defaults::HTTP_GZIP_MIN)));
        let large = Answer { body: body.clone(), ..Answer::default() };
        let (address, _shutdown) = with_answer(settings(), large).await;
        let gzip = "GET /v1/catalog/nodes\nAccept-Encoding: br, gzip;q=0.5\r\n";
        for _ in 0..2 {
            let (head, packed) = ask(address, gzip).await;
            assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
            assert_eq!(plain, body);
        }
        for request in ["GET /v1/catalog/nodes", "GET /v1/catalog/nodes\nAccept-Encoding: gzip;q=0\r\n"] {
            assert_eq!(ask(address, request).await.1, body);
        }
        let (address, _shutdown) = with_answer(settings(), Answer { body: Bytes::from_static(b"[]"), ..Answer::default() }).await;
        assert_eq!(ask(address, gzip).await.1, b"[]");
    }

    #[tokio::test]
    async fn bodies_are_bounded_whether_their_size_is_told_or_not() {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let run: Run = Box::new(move |_, call| {
            let count = Arc::clone(&count);
            Box::pin(async move {
                let register: Register = body::decode(call.body).await?;
                count.fetch_add(register.node.len(), Ordering::Relaxed);
                Ok(Reply::json("true"))
            })
        });
        let (address, _shutdown) = served(settings(), run).await;
        let put = |headers: &str, body: &str| format!("PUT /v1/catalog/register\n{headers}\r\n\r\n{body}");
        let declared = put("Content-Length: 9999999", "");
        assert!(ask(address, &declared).await.0.starts_with("http/1.1 413"));
        let chunk = format!("{:x}\r\n{}\r\n", defaults::HTTP_MAX_BODY, " ".repeat(defaults::HTTP_MAX_BODY));
        let undeclared = put("Transfer-Encoding: chunked", &format!("{chunk}1\r\n \r\n0\r\n"));
        assert!(ask(address, &undeclared).await.0.starts_with("http/1.1 413"));
        let (head, text) = ask(address, &put("Content-Length: 9", "{\"Node\":\n")).await;
        assert!(head.starts_with("http/1.1 400"));
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("Request decode failed: EOF while parsing a value at line 2"), "{text}");
        assert_eq!(read.load(Ordering::Relaxed), 0);
        assert_eq!(ask(address, &put("Content-Length: 13", "{\"node\":\"n1\"}")).await.1, b"true");
        assert_eq!(read.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_parked_watch_holds_little_here() {
        fn size<F>(_answer: impl Fn(&Arc<Dispatch>, Request<RequestBody>) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(|dispatch, request| dispatch.answer(request, None));
        assert!(size <= 640, "{size} bytes");
    }
}
