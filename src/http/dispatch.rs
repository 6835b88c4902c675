//! What every request goes through, whatever it asks: who may ask, where it leads, how it is sent.
//!
//! `listen` calls [`Dispatch::answer`] for each request. It knows no endpoint; the work itself is
//! the function it was made with, so that all of this can be tried without an agent.

use super::HttpSettings;
use super::ask::{Call, Endpoint, Pending};
use super::error::{Refusal, header_text};
use super::options;
use super::parameters::{Parameters, decode_path};
use super::respond::{Body, Form, Renderer, Reply, takes_gzip};
use super::table::{Found, Table};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;

/// Runs an endpoint.
pub(super) type Run = Box<dyn Fn(Endpoint, Call) -> Pending + Send + Sync>;

/// Answers requests.
pub(super) struct Dispatch {
    settings: Arc<HttpSettings>,
    table: Table,
    renderer: Renderer,
    /// The headers that every answer has.
    headers: Vec<(HeaderName, HeaderValue)>,
    run: Run,
}

impl Dispatch {
    /// Answers by `run`.
    pub(super) fn new(settings: Arc<HttpSettings>, run: Run) -> Dispatch {
        let headers = headers_of_every_answer(&settings);
        Dispatch { settings, table: Table::new(), renderer: Renderer::new(), headers, run }
    }

    /// Answers one request of `client`; there is no address on a Unix socket.
    pub(super) async fn answer(&self, request: Request<Incoming>, client: Option<IpAddr>) -> Response<Body> {
        let mut form = Form { pretty: self.settings.always_pretty, gzip: takes_gzip(request.headers()) };
        let mut response = match self.reply(request, client, &mut form) {
            Ok(Step::Run(endpoint, call)) => match (self.run)(endpoint, *call).await {
                Ok(reply) => self.renderer.render(reply, form).await,
                Err(refusal) => refusal.into_response(),
            },
            Ok(Step::Reply(reply)) => self.renderer.render(*reply, form).await,
            Err(refusal) => refusal.into_response(),
        };
        for (name, value) in &self.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response
    }

    /// What is to be done for a request, short of doing it.
    fn reply(&self, request: Request<Incoming>, client: Option<IpAddr>, form: &mut Form) -> Result<Step, Refusal> {
        let (head, body) = request.into_parts();
        let path = decode_path(head.uri.path())?;
        let (route, argument) = match self.table.find(&path) {
            Found::Route(route, argument) => (route, argument),
            Found::MissingSlash => return Ok(Step::reply(redirect(&format!("{}/", head.uri.path()), head.uri.query()))),
            Found::Nothing if path == "/" => return Ok(Step::reply(self.index())),
            Found::Nothing => return Err(Refusal::unknown_path()),
        };
        let parameters = Parameters::parse(head.uri.query())?;
        form.pretty |= parameters.has("pretty");
        self.admit(&path, &head.method, client)?;
        if head.method == Method::OPTIONS {
            let allow = HeaderValue::try_from(route.allow()).unwrap_or(HeaderValue::from_static("OPTIONS"));
            return Ok(Step::reply(Reply::empty().with_header(ALLOW, allow)));
        }
        let endpoint = route.endpoint(&head.method).ok_or_else(|| Refusal::method_not_allowed(&head.method, route.allow()))?;
        options::refuse_namespaces(&parameters, &head.headers)?;
        // The query may hold a token, so the path alone is logged.
        tracing::debug!(method = %head.method, path = %path, "request");
        let call = Call { argument: argument.to_owned(), parameters, headers: head.headers, body };
        Ok(Step::Run(endpoint, Box::new(call)))
    }

    /// Refuses blocked paths, and writes from where nobody may write.
    fn admit(&self, path: &str, method: &Method, client: Option<IpAddr>) -> Result<(), Refusal> {
        if self.settings.block_endpoints.iter().any(|blocked| path.starts_with(blocked.as_str())) {
            return Err(Refusal::blocked());
        }
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let allowed = &self.settings.allow_write_from;
        // Without an address nothing shows that the client is within the networks that may write.
        let within = |ip: IpAddr| allowed.iter().any(|net| net.contains(&ip));
        if reads || allowed.is_empty() || client.is_some_and(within) { Ok(()) } else { Err(Refusal::restricted()) }
    }

    /// `GET /`
    fn index(&self) -> Reply {
        match &self.settings.ui_path {
            Some(path) => redirect(path, None),
            None => Reply::text("Consul Agent"),
        }
    }
}

/// What is to be done for a request.
enum Step {
    /// Run an endpoint. Boxed, because this outlives nothing and would weigh on every parked watch.
    Run(Endpoint, Box<Call>),
    /// Send what is already known.
    Reply(Box<Reply>),
}

impl Step {
    fn reply(reply: Reply) -> Step {
        Step::Reply(Box::new(reply))
    }
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
