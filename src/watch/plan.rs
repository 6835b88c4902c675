//! The next query of a watch, and whether an answer is a change: without I/O and clock.

use crate::defaults::{WATCH_RETRY, WATCH_RETRY_MAX, WATCH_WAIT};
use crate::model::duration;
use crate::model::ids::Token;
use crate::model::json::elements;
use crate::model::uri::Target;
use crate::model::watch::{View, Watch};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};
use sha2::{Digest, Sha256};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Path and query of a GET.
    pub target: String,
    /// Its token; none when empty.
    pub token: Token,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// `X-Consul-Index`
    pub index: Option<u64>,
    pub body: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The handler is to be run.
    Changed(News),
    /// The handler knows the data already.
    Unchanged,
}

/// The input of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub index: u64,
    /// JSON, without a newline at its end.
    pub data: Bytes,
}

/// A query without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line for the user.
    pub text: String,
    /// Time before the next query.
    pub retry: Duration,
    /// True when the query itself is wrong, so that it can succeed only after a change of the agent.
    pub is_of_the_question: bool,
}

#[derive(Debug)]
pub struct Plan {
    watch: Watch,
    /// The index that the next query waits beyond; 0 for an answer at once.
    index: u64,
    /// The hash of the handler's last input.
    hash: Option<[u8; 32]>,
    /// The newest event that the handler knows.
    event: Option<String>,
    failures: u32,
}

impl Plan {
    pub fn new(watch: Watch) -> Plan {
        Plan { watch, index: 0, hash: None, event: None, failures: 0 }
    }

    /// The next query. It blocks, at the agent, until the answer differs from the last one.
    pub fn question(&self) -> Question {
        let Watch { view, datacenter, stale, filter, token } = &self.watch;
        let mut target = target(view).maybe("dc", datacenter.as_deref()).maybe("stale", stale.then_some(""));
        target = target.maybe("filter", filter.as_deref());
        if self.index > 0 {
            target = target.param("index", &self.index.to_string()).param("wait", &duration::format(WATCH_WAIT));
        }
        Question { target: target.0, token: token.clone() }
    }

    /// Takes in the answer to the last query.
    pub fn answered(&mut self, response: Result<Response, String>) -> Result<Verdict, Failure> {
        let judged = response.map_err(|text| (text, false)).and_then(|response| self.judge(response));
        match judged {
            Ok(verdict) => {
                self.failures = 0;
                Ok(verdict)
            }
            Err((text, is_of_the_question)) => {
                self.failures = self.failures.saturating_add(1);
                // Changes meanwhile are unknown, so the next query is answered at once.
                self.index = 0;
                let retry = WATCH_RETRY.saturating_mul(self.failures.saturating_mul(self.failures)).min(WATCH_RETRY_MAX);
                Err(Failure { text, retry, is_of_the_question })
            }
        }
    }

    fn judge(&mut self, response: Response) -> Result<Verdict, (String, bool)> {
        let of_keys = matches!(self.watch.view, View::Key(_) | View::KeyPrefix(_));
        // A missing key has an index, a missing path has none.
        let is_absent = response.status == 404 && of_keys && response.index.is_some();
        if response.status != 200 && !is_absent {
            let body = String::from_utf8_lossy(&response.body);
            let why = match (response.status, body.trim()) {
                (404, "") => format!("the agent has no {}", self.watch.view_path()),
                (_, text) => text.to_owned(),
            };
            let is_refused = (400..500).contains(&response.status) && response.status != 429;
            // A part that is not offered stays so.
            let is_of_the_question = is_refused || response.status == 501;
            return Err((format!("Unexpected response code: {} ({why})", response.status), is_of_the_question));
        }
        let Some(index) = response.index else {
            let path = self.watch.view_path();
            return Err((format!("the answer to {path} has no X-Consul-Index, so its changes cannot be waited for"), true));
        };
        let data = if is_absent { Some(Bytes::from_static(b"null")) } else { self.data(response.body)? };
        let is_event = matches!(self.watch.view, View::Event(_));
        // An index that went back belongs to other data. Indexes of events have no order.
        self.index = if index < self.index && !is_event { 0 } else { index.max(1) };
        let Some(data) = data else { return Ok(Verdict::Unchanged) };
        let hash = Some(Sha256::digest(&data).into());
        if self.hash == hash {
            return Ok(Verdict::Unchanged);
        }
        // The same event twice is another one each time.
        self.hash = hash.filter(|_| !is_event);
        Ok(Verdict::Changed(News { index, data }))
    }

    /// The handler's input of an answer; none without new events.
    fn data(&mut self, body: Bytes) -> Result<Option<Bytes>, (String, bool)> {
        let read = match &self.watch.view {
            View::Key(_) => entry(&body),
            View::KeyPrefix(_) => entries(&body),
            View::Event(_) => self.new_events(&body),
            // Any whole JSON.
            _ => serde_json::from_slice::<IgnoredAny>(&body).map(|_whole| Some(body)),
        };
        read.map_err(|error| (format!("the answer to {} is not what was expected: {error}", self.watch.view_path()), false))
    }

    fn new_events(&mut self, body: &[u8]) -> serde_json::Result<Option<Bytes>> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "ID")]
            id: String,
        }
        let listed = elements(text(body)?)?;
        let id = |event: &&str| serde_json::from_str::<Event>(event).map(|event| event.id);
        let ids: Vec<String> = listed.iter().map(id).collect::<Result<_, _>>()?;
        let known = self.event.as_ref().and_then(|last| ids.iter().rposition(|id| id == last));
        let news = &listed[known.map_or(0, |at| at + 1)..];
        let is_first = self.event.is_none() && self.index == 0;
        if let Some(newest) = ids.last() {
            self.event = Some(newest.clone());
        }
        // As with all views, the first answer counts even when it is empty.
        Ok((is_first || !news.is_empty()).then(|| list(news)))
    }
}

impl Watch {
    /// The endpoint, for errors.
    fn view_path(&self) -> String {
        let target = target(&self.view).0;
        target.split('?').next().unwrap_or_default().to_owned()
    }
}

/// The endpoint of a view.
fn target(view: &View) -> Target {
    match view {
        View::Key(key) => Target::new("/v1/kv").segment(key),
        View::KeyPrefix(prefix) => Target::new("/v1/kv").segment(prefix).param("recurse", ""),
        View::Services => Target::new("/v1/catalog/services"),
        View::Nodes => Target::new("/v1/catalog/nodes"),
        View::Service { name, tags, passing_only } => {
            let service = Target::new("/v1/health/service").segment(name);
            tags.iter().fold(service, |target, tag| target.param("tag", tag)).maybe("passing", passing_only.then_some("1"))
        }
        View::ChecksOf(service) => Target::new("/v1/health/checks").segment(service),
        View::ChecksIn(state) => Target::new("/v1/health/state").segment(state),
        View::Event(name) => Target::new("/v1/event/list").maybe("name", Some(name.as_str()).filter(|name| !name.is_empty())),
        View::ConnectRoots => Target::new("/v1/agent/connect/ca/roots"),
        View::ConnectLeaf(service) => Target::new("/v1/agent/connect/ca/leaf").segment(service),
    }
}

/// The only entry of a list.
fn entry(body: &[u8]) -> serde_json::Result<Option<Bytes>> {
    let first = elements(text(body)?)?.first().map(|entry| with_session(entry)).transpose()?;
    Ok(Some(first.map_or(Bytes::from_static(b"null"), Bytes::from)))
}

fn entries(body: &[u8]) -> serde_json::Result<Option<Bytes>> {
    let entries: Vec<String> = elements(text(body)?)?.into_iter().map(with_session).collect::<Result<_, _>>()?;
    Ok(Some(list(&entries)))
}

/// An entry with a `Session`, which Consul's watches show even of a free key.
fn with_session(entry: &str) -> serde_json::Result<String> {
    #[derive(Deserialize)]
    struct Held {
        #[serde(rename = "Session")]
        session: Option<String>,
    }
    let held: Held = serde_json::from_str(entry)?;
    Ok(match entry.strip_suffix('}') {
        Some(open) if held.session.is_none() && open.contains(':') && !open.contains("\"Session\"") => {
            format!("{},\"Session\":\"\"}}", open.trim_end())
        }
        _ => entry.to_owned(),
    })
}

fn text(body: &[u8]) -> serde_json::Result<&str> {
    std::str::from_utf8(body).map_err(serde_json::Error::custom)
}

fn list(items: &[impl AsRef<str>]) -> Bytes {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(",")).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(params: Value) -> Plan {
        let Value::Object(params) = params else { panic!("not an object: {params}") };
        Plan::new(Watch::parse(params).unwrap())
    }

    fn nodes() -> Plan {
        plan(json!({"type": "nodes"}))
    }

    fn response(index: u64, body: &str) -> Result<Response, String> {
        Ok(Response { status: 200, index: Some(index), body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    fn refused(status: u16, body: &'static str) -> Result<Response, String> {
        Ok(Response { status, index: None, body: Bytes::from_static(body.as_bytes()) })
    }

    fn changed(index: u64, data: &str) -> Result<Verdict, Failure> {
        Ok(Verdict::Changed(News { index, data: Bytes::copy_from_slice(data.as_bytes()) }))
    }

    #[test]
    fn each_view_is_asked_for_as_the_api_wants_it() {
        for (params, target) in [
            (json!({"type": "key", "key": "a/b c"}), "/v1/kv/a%2Fb%20c"),
            (json!({"type": "keyprefix", "prefix": "a/"}), "/v1/kv/a%2F?recurse="),
            (json!({"type": "services", "stale": true}), "/v1/catalog/services?stale="),
            (json!({"type": "nodes", "datacenter": "dc2"}), "/v1/catalog/nodes?dc=dc2"),
            (
                json!({"type": "service", "service": "web", "tag": ["a", "b"], "passingonly": true, "filter": "x == 1"}),
                "/v1/health/service/web?tag=a&tag=b&passing=1&filter=x%20%3D%3D%201",
            ),
            (json!({"type": "checks"}), "/v1/health/state/any"),
            (json!({"type": "checks", "service": "web"}), "/v1/health/checks/web"),
            (json!({"type": "event"}), "/v1/event/list"),
            (json!({"type": "event", "name": "deploy"}), "/v1/event/list?name=deploy"),
            (json!({"type": "connect_roots"}), "/v1/agent/connect/ca/roots"),
            (json!({"type": "connect_leaf", "service": "web"}), "/v1/agent/connect/ca/leaf/web"),
        ] {
            assert_eq!(plan(params).question().target, target);
        }
    }

    #[test]
    fn only_what_differs_is_told_and_the_index_follows() {
        let mut nodes = nodes();
        assert_eq!(nodes.answered(response(5, "[1]")), changed(5, "[1]"));
        assert_eq!(nodes.question().target, "/v1/catalog/nodes?index=5&wait=5m0s");
        assert_eq!(nodes.answered(response(5, "[1]")), Ok(Verdict::Unchanged));
        assert_eq!(nodes.answered(response(8, "[1]")), Ok(Verdict::Unchanged));
        assert!(nodes.question().target.contains("index=8"));
        assert_eq!(nodes.answered(response(9, "[1,2]")), changed(9, "[1,2]"));
    }

    #[test]
    fn an_index_that_goes_back_starts_over() {
        let mut nodes = nodes();
        assert_eq!(nodes.answered(response(50, "[1]")), changed(50, "[1]"));
        assert_eq!(nodes.answered(response(3, "[2]")), changed(3, "[2]"));
        assert_eq!(nodes.question().target, "/v1/catalog/nodes");
        assert_eq!(nodes.answered(response(3, "[2]")), Ok(Verdict::Unchanged));
        assert!(nodes.question().target.contains("index=3"));
    }

    #[test]
    fn failures_wait_longer_each_time_and_what_is_known_is_not_told_again() {
        let mut nodes = nodes();
        assert_eq!(nodes.answered(response(5, "[1]")), changed(5, "[1]"));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let failure = nodes.answered(refused(500, "No cluster leader")).unwrap_err();
            assert_eq!(failure.text, "Unexpected response code: 500 (No cluster leader)");
            assert!(!failure.is_of_the_question);
            waits.push(failure.retry.as_secs());
        }
        assert_eq!(waits, [5, 20, 45, 80, 125, 180, 180, 180]);
        assert_eq!(nodes.question().target, "/v1/catalog/nodes", "it is answered at once");
        assert_eq!(nodes.answered(response(5, "[1]")), Ok(Verdict::Unchanged));
        assert_eq!(nodes.answered(Err("gone".to_owned())).unwrap_err().retry, WATCH_RETRY);
    }

    #[test]
    fn an_endpoint_that_is_not_there_is_told_apart_from_a_key_that_is_not_there() {
        let mut key = plan(json!({"type": "key", "key": "a"}));
        let failure = key.answered(refused(501, "The key/value store is not offered yet")).unwrap_err();
        assert!(failure.is_of_the_question, "asking again does not help");
        assert_eq!(failure.text, "Unexpected response code: 501 (The key/value store is not offered yet)");
        let failure = key.answered(refused(404, "")).unwrap_err();
        assert_eq!(failure.text, "Unexpected response code: 404 (the agent has no /v1/kv/a)");
        assert!(failure.is_of_the_question);
        let absent = Ok(Response { status: 404, index: Some(7), body: Bytes::new() });
        assert_eq!(key.answered(absent), changed(7, "null"));
        let failure = nodes().answered(Ok(Response { index: None, ..response(1, "[]").unwrap() })).unwrap_err();
        assert!(failure.text.contains("X-Consul-Index"), "{}", failure.text);
        assert!(nodes().answered(response(1, "[1")).unwrap_err().text.contains("not what was expected"));
    }

    #[test]
    fn a_key_is_told_alone_and_with_its_session() {
        let mut key = plan(json!({"type": "key", "key": "a"}));
        let body = r#"[{"Key":"a","Value":"aGV5","ModifyIndex":4}]"#;
        assert_eq!(key.answered(response(4, body)), changed(4, r#"{"Key":"a","Value":"aGV5","ModifyIndex":4,"Session":""}"#));
        let held = r#"[{"Key":"a","Session":"s"}]"#;
        assert_eq!(key.answered(response(5, held)), changed(5, r#"{"Key":"a","Session":"s"}"#));
        let mut prefix = plan(json!({"type": "keyprefix", "prefix": "a"}));
        let body = r#"[{"Key":"a"},{"Key":"ab","Session":"s"}]"#;
        assert_eq!(prefix.answered(response(4, body)), changed(4, r#"[{"Key":"a","Session":""},{"Key":"ab","Session":"s"}]"#));
        assert!(prefix.answered(response(5, "[1]")).is_err());
    }

    #[test]
    fn of_events_only_the_new_ones_are_told_whatever_their_index() {
        let mut events = plan(json!({"type": "event"}));
        assert_eq!(events.answered(response(1, "[]")), changed(1, "[]"));
        assert_eq!(events.answered(response(900, r#"[{"ID":"a"}]"#)), changed(900, r#"[{"ID":"a"}]"#));
        assert_eq!(
            events.answered(response(7, r#"[{"ID":"a"},{"ID":"b"},{"ID":"c"}]"#)),
            changed(7, r#"[{"ID":"b"},{"ID":"c"}]"#)
        );
        assert_eq!(events.question().target, "/v1/event/list?index=7&wait=5m0s");
        assert_eq!(events.answered(response(7, r#"[{"ID":"a"},{"ID":"b"},{"ID":"c"}]"#)), Ok(Verdict::Unchanged));
        events.answered(Err("gone".to_owned())).unwrap_err();
        assert_eq!(events.answered(response(7, r#"[{"ID":"b"},{"ID":"c"}]"#)), Ok(Verdict::Unchanged));
        // The ones that were missed may have pushed the known one out of the ring.
        assert_eq!(events.answered(response(8, r#"[{"ID":"x"},{"ID":"y"}]"#)), changed(8, r#"[{"ID":"x"},{"ID":"y"}]"#));
    }
}
