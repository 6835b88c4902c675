//! From an answer to the HTTP response: Consul's headers, indentation, compression.

use crate::defaults;
use crate::model::answer::{Answer, AnswerMeta, DatacenterPart, Found};
use crate::model::indent::indent;
use crate::model::query::Consistency;
use crate::model::shorten::shorten;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT_ENCODING, AGE, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, VARY};
use hyper::{Response, StatusCode};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::time::Duration;

/// The body of a response: one piece, in memory.
pub(super) type Body = http_body_util::Full<Bytes>;

const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");
const BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");
const CACHE: HeaderName = HeaderName::from_static("x-cache");
const PANIC: HeaderName = HeaderName::from_static("x-kontor-panic");
const DATACENTERS: HeaderName = HeaderName::from_static("x-kontor-datacenters");

/// Room for the headers of an answer, taken at once.
const USUAL_HEADERS: usize = 12;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Plain text, as Go's servers call it.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

#[derive(Debug, Default)]
pub(super) struct Reply {
    status: StatusCode,
    content: Content,
    meta: Option<AnswerMeta>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug, Default)]
enum Content {
    #[default]
    Empty,
    Json(Bytes),
    Text(String),
    /// Bytes of any kind, never indented.
    Bytes(Bytes),
}

impl Reply {
    /// 200 without a body.
    pub(super) fn empty() -> Reply {
        Reply::default()
    }

    /// 200 with JSON.
    pub(super) fn json(body: impl Into<Bytes>) -> Reply {
        Reply { content: Content::Json(body.into()), ..Reply::default() }
    }

    /// 200 with plain text.
    pub(super) fn text(body: impl Into<String>) -> Reply {
        Reply { content: Content::Text(body.into()), ..Reply::default() }
    }

    /// True if the thing asked for is there.
    pub(super) fn has_content(&self) -> bool {
        self.status == StatusCode::OK
    }

    /// The same bytes, as `application/octet-stream`.
    pub(super) fn into_bytes(mut self) -> Reply {
        if let Content::Json(bytes) = self.content {
            self.content = Content::Bytes(bytes);
        }
        self
    }

    /// The answer to a transaction that only looks. Its body tells what the headers of other answers do.
    pub(super) fn of_transaction(mut self) -> Reply {
        let Some(meta) = self.meta.take() else { return self };
        if let Content::Json(json) = &self.content {
            let known = &json[..json.len().saturating_sub(1)];
            let (age, leader) = (meta.last_contact.as_nanos(), meta.known_leader);
            let more = format!(
                ",\"Index\":0,\"LastContact\":{age},\"KnownLeader\":{leader},\"ConsistencyLevel\":\"\",\"NotModified\":false,\"Backend\":0}}"
            );
            self.content = Content::Json([known, more.as_bytes()].concat().into());
        }
        self.with_header(KNOWN_LEADER, known_leader(&meta)).with_header(LAST_CONTACT, last_contact(&meta))
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The same under another status.
    pub(super) fn with_status(mut self, status: StatusCode) -> Reply {
        self.status = status;
        self
    }

    /// The same with one more header.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.push((name, value));
        self
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        let (status, content) = match answer.meta.found {
            Found::No => (StatusCode::NOT_FOUND, Content::Empty),
            Found::Unhealthy => (StatusCode::TOO_MANY_REQUESTS, Content::Json(answer.body)),
            Found::Conflict => (StatusCode::CONFLICT, Content::Json(answer.body)),
            Found::Yes => (StatusCode::OK, Content::Json(answer.body)),
        };
        Reply { status, content, meta: Some(answer.meta), headers: Vec::new() }
    }
}

/// The form of an answer that the client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) pretty: bool,
    pub(super) gzip: bool,
}

/// True if the client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32));
        coding.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// Renders replies as responses; holds the compressed forms.
#[derive(Debug)]
pub(super) struct Renderer {
    /// By the hash of the plain bytes, which are kept too, so that equal hashes cannot mislead.
    compressed: moka::future::Cache<u64, (Bytes, Bytes)>,
    hasher: RandomState,
}

impl Renderer {
    pub(super) fn new() -> Renderer {
        let weight = |_: &u64, (plain, small): &(Bytes, Bytes)| u32::try_from(plain.len() + small.len()).unwrap_or(u32::MAX);
        let compressed = moka::future::Cache::builder()
            .max_capacity(defaults::HTTP_GZIP_CACHE)
            .weigher(weight)
            .time_to_idle(defaults::HTTP_GZIP_IDLE)
            .build();
        Renderer { compressed, hasher: RandomState::new() }
    }

    /// The response, without the headers that every answer has.
    pub(super) async fn render(&self, reply: Reply, form: Form) -> Response<Body> {
        let (bytes, kind) = match reply.content {
            Content::Empty => (Bytes::new(), None),
            Content::Json(json) if form.pretty => (Bytes::from(indent(&json)), Some(JSON)),
            Content::Json(json) => (json, Some(JSON)),
            Content::Text(text) => (Bytes::from(text), Some(TEXT)),
            Content::Bytes(bytes) => (bytes, Some(BYTES)),
        };
        let large = bytes.len() >= defaults::HTTP_GZIP_MIN;
        // Boxed, so that a parked watch has no room for the compression.
        let small = if large && form.gzip { Box::pin(self.gzip(&bytes)).await } else { None };
        let packed = small.is_some();
        let mut response = Response::new(Body::from(small.unwrap_or(bytes)));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, kind);
        }
        if large {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if packed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(meta) = &reply.meta {
            describe(headers, meta);
        }
        headers.extend(reply.headers);
        response
    }

    /// The compressed form of `plain`, made once for all who ask at the same time.
    async fn gzip(&self, plain: &Bytes) -> Option<Bytes> {
        let key = self.hasher.hash_one(plain);
        let made = self.compressed.try_get_with(key, async {
            let small = compress(plain.clone()).await?;
            Ok::<_, std::io::Error>((plain.clone(), small))
        });
        match made.await {
            Ok((of, small)) if of == *plain => Some(small),
            Ok(_another_body_with_this_hash) => compress(plain.clone()).await.ok(),
            Err(error) => {
                tracing::warn!(%error, "answer sent uncompressed");
                None
            }
        }
    }
}

/// Compresses here, or on a thread that may block where it takes long.
async fn compress(plain: Bytes) -> std::io::Result<Bytes> {
    if plain.len() < defaults::HTTP_GZIP_BLOCKING {
        return pack(&plain);
    }
    tokio::task::spawn_blocking(move || pack(&plain)).await.map_err(std::io::Error::other)?
}

/// At the fastest level: JSON shrinks well at any, and a watch waits for it.
fn pack(plain: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish().map(Bytes::from)
}

/// The headers about the origin of an answer.
fn describe(headers: &mut HeaderMap, meta: &AnswerMeta) {
    if meta.indexed {
        // Clients take index 0 for "no index" and would ask again without a pause.
        headers.insert(INDEX, HeaderValue::from(meta.index.max(1)));
        headers.insert(KNOWN_LEADER, known_leader(meta));
        headers.insert(LAST_CONTACT, last_contact(meta));
        headers.insert(CONSISTENCY, HeaderValue::from_static(consistency(meta.consistency)));
        headers.insert(BACKEND, HeaderValue::from_static("blocking-query"));
    }
    if let Some(cache) = &meta.cache {
        headers.insert(CACHE, HeaderValue::from_static(if cache.hit { "HIT" } else { "MISS" }));
        // An answer fetched just now from another datacenter has an age too.
        if cache.hit || !cache.age.is_zero() {
            headers.insert(AGE, HeaderValue::from(whole(cache.age, 1_000_000_000)));
        }
    }
    if let Some(panic) = &meta.panic {
        headers.insert(PANIC, HeaderValue::try_from(ascii(&panic.service)).unwrap_or(HeaderValue::from_static("")));
    }
    if let Some(parts) = &meta.datacenters {
        headers.insert(DATACENTERS, datacenters(parts));
    }
}

fn known_leader(meta: &AnswerMeta) -> HeaderValue {
    HeaderValue::from_static(if meta.known_leader { "true" } else { "false" })
}

fn last_contact(meta: &AnswerMeta) -> HeaderValue {
    HeaderValue::from(whole(meta.last_contact, 1_000_000))
}

/// `age` in units of `unit` nanoseconds, rounded up: the age in a header is never below the true one.
fn whole(age: Duration, unit: u128) -> u64 {
    u64::try_from(age.as_nanos().div_ceil(unit)).unwrap_or(u64::MAX)
}

/// A JSON list of the datacenters that were asked, nearest first.
fn datacenters(parts: &[DatacenterPart]) -> HeaderValue {
    let list: Vec<serde_json::Value> = parts.iter().map(datacenter_json).collect();
    HeaderValue::try_from(ascii(&serde_json::Value::from(list).to_string())).unwrap_or(HeaderValue::from_static("[]"))
}

/// The text in ASCII, as headers need it, with other characters as JSON's escapes.
fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c == ' ' || c.is_ascii_graphic() {
            ascii.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    ascii
}

fn datacenter_json(part: &DatacenterPart) -> serde_json::Value {
    match &part.error {
        Some(error) => {
            let error = shorten(error, defaults::HTTP_DATACENTER_ERROR_MAX);
            serde_json::json!({ "Datacenter": part.name, "Error": error })
        }
        None => serde_json::json!({ "Datacenter": part.name, "AgeMs": whole(part.age, 1_000_000), "Index": part.index }),
    }
}

fn consistency(mode: Consistency) -> &'static str {
    match mode {
        Consistency::Default => "leader",
        Consistency::Consistent => "consistent",
        Consistency::Stale => "stale",
    }
}
