//! Log lines of requests: each at DEBUG once it is answered, and an error for each that this side has failed, once in a
//! while where it repeats. No token is ever written.

use super::error::ErrorResponse;
use super::parameters::without_token;
use crate::defaults::{HTTP_FAILURE_REPEAT, HTTP_LOGGED_URL_MAX};
use crate::model::duration;
use crate::telemetry::{FailureThrottle, FailureThrottles};
use hyper::{Method, StatusCode, Uri};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A request as it is logged. A parked one keeps nothing else.
#[derive(Debug)]
pub(super) struct Asked {
    method: Method,
    url: String,
    from: Option<IpAddr>,
    /// The line of the table that it led to.
    line: usize,
    since: Instant,
}

impl Asked {
    pub(super) fn new(method: &Method, uri: &Uri, from: Option<IpAddr>, line: usize) -> Asked {
        Asked { method: method.clone(), url: logged_url(uri.path(), uri.query()), from, line, since: Instant::now() }
    }
}

/// The address as it may be logged: without token, and of bounded length.
fn logged_url(path: &str, query: Option<&str>) -> String {
    // These paths carried a token in older releases, whose clients are still in use.
    let secret = ["/v1/acl/info/", "/v1/acl/clone/", "/v1/acl/destroy/"].into_iter().find(|prefix| path.starts_with(prefix));
    let mut url = secret.map_or_else(|| path.to_owned(), |prefix| format!("{prefix}<hidden>"));
    if let Some(query) = query {
        url.push('?');
        url.push_str(&without_token(query));
    }
    if url.len() > HTTP_LOGGED_URL_MAX {
        url = url.chars().take(HTTP_LOGGED_URL_MAX).chain(['…']).collect();
    }
    url
}

/// Writes the lines, and throttles repeated failures.
#[derive(Debug)]
pub(super) struct RequestLog {
    /// By line of the table and status, which bound their number.
    failures: FailureThrottles<(usize, StatusCode)>,
}

impl Default for RequestLog {
    fn default() -> RequestLog {
        RequestLog { failures: FailureThrottles::new(FailureThrottle::at_once(HTTP_FAILURE_REPEAT), Duration::MAX, usize::MAX) }
    }
}

impl RequestLog {
    /// Logs a request that was answered with `status`.
    pub(super) fn finished(asked: &Asked, status: StatusCode) {
        let Asked { method, url, from, since, .. } = asked;
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (from, latency) = (source(*from), duration::format(Duration::from_micros(micros)));
        tracing::debug!(%method, %url, %from, status = status.as_u16(), %latency, "Request finished");
    }

    /// Logs a refused request if this side has failed.
    pub(super) fn refused(&self, asked: &Asked, refusal: &ErrorResponse) {
        let status = refusal.status;
        // The agent is well, though it does not offer the endpoint.
        if !status.is_server_error() || status == StatusCode::NOT_IMPLEMENTED {
            return;
        }
        metrics::counter!("kontor.http.requests_failed").increment(1);
        let Asked { method, url, from, line, .. } = asked;
        let Some(before) = self.worth_telling((*line, status), Instant::now()) else { return };
        let (from, error) = (source(*from), &*refusal.body);
        if before == 0 {
            tracing::error!(%method, %url, %from, status = status.as_u16(), error, "Request error");
        } else {
            tracing::error!(%method, %url, %from, status = status.as_u16(), error, not_told = before, "Request error");
        }
    }

    /// The failures of the kind that were not logged before this one; `None` when this one is not to be logged.
    fn worth_telling(&self, kind: (usize, StatusCode), now: Instant) -> Option<u64> {
        let failure = self.failures.failed(kind, now);
        failure.is_due.then_some(failure.unreported)
    }
}

fn source(from: Option<IpAddr>) -> String {
    from.map_or_else(|| "unix".to_owned(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_token_is_in_what_is_logged() {
        for (path, query, expected) in [
            ("/v1/kv/a", None, "/v1/kv/a"),
            ("/v1/kv/a", Some("token=s3cret&raw"), "/v1/kv/a?token=<hidden>&raw"),
            ("/v1/kv/a", Some("raw&%74oken=s3cret"), "/v1/kv/a?raw&token=<hidden>"),
            ("/v1/kv/a", Some("dc=dc1&TOKEN=s3cret"), "/v1/kv/a?dc=dc1&token=<hidden>"),
            ("/v1/kv/a", Some("%zz=s3cret"), "/v1/kv/a?<hidden>"),
            ("/v1/acl/info/s3cret", Some("dc=dc1"), "/v1/acl/info/<hidden>?dc=dc1"),
        ] {
            assert_eq!(logged_url(path, query), expected);
        }
        let long = logged_url(&"é".repeat(HTTP_LOGGED_URL_MAX), None);
        assert_eq!(long.chars().count(), HTTP_LOGGED_URL_MAX + 1, "cut, and not in the middle of a letter");
    }

    #[test]
    fn a_failure_is_told_at_once_and_then_once_in_a_while_with_its_count() {
        let (log, start) = (RequestLog::default(), Instant::now());
        let kind = (3, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(log.worth_telling(kind, start), Some(0));
        assert_eq!(log.worth_telling(kind, start), None);
        assert_eq!(log.worth_telling((3, StatusCode::SERVICE_UNAVAILABLE), start), Some(0), "another kind");
        assert_eq!(log.worth_telling((4, kind.1), start), Some(0), "another endpoint");
        assert_eq!(log.worth_telling(kind, start + HTTP_FAILURE_REPEAT / 2), None);
        assert_eq!(log.worth_telling(kind, start + HTTP_FAILURE_REPEAT), Some(2));
        assert_eq!(log.worth_telling(kind, start + HTTP_FAILURE_REPEAT * 2), Some(0));
    }
}
