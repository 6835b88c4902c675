//! Watches: a view of the data is queried again and again, and a handler is run at each change.
//!
//! `cli` and `agent` give a [`Source`], which asks an agent's HTTP API. `plan` makes the queries and finds changes,
//! without I/O. `handler` runs scripts, `call` calls HTTP endpoints. Data of handlers is never logged.

mod call;
mod handler;
mod plan;

pub use handler::{Group, Output, Running, shell};
pub use plan::{Failure, News, Plan, Question, Response, Verdict};

use crate::defaults::WATCH_PAUSE;
use crate::model::request::BoxFuture;
use crate::model::watch::{Handler, Watch};

/// An agent's HTTP API.
pub trait Source: Send + Sync {
    /// Asks; the error is one line for the user. Dropping the future ends the query.
    fn ask(&self, question: Question) -> BoxFuture<Result<Response, String>>;
}

#[derive(Debug)]
pub struct Watcher<S> {
    plan: Plan,
    source: S,
}

impl<S: Source> Watcher<S> {
    pub fn new(watch: Watch, source: S) -> Watcher<S> {
        Watcher { plan: Plan::new(watch), source }
    }

    /// Waits for the next change. After a failure the caller waits for its `retry` before it calls again.
    pub async fn next(&mut self) -> Result<News, Failure> {
        loop {
            let response = self.source.ask(self.plan.question()).await;
            match self.plan.answered(response)? {
                Verdict::Changed(news) => return Ok(news),
                Verdict::Unchanged => tokio::time::sleep(WATCH_PAUSE).await,
            }
        }
    }
}

/// Runs a handler to its end; the result is its output, for the log. Dropping the future ends a script with all its
/// children.
pub async fn tell(handler: &Handler, news: &News) -> Result<String, String> {
    match handler {
        Handler::Args(args) => handler::run_captured(args, news).await,
        Handler::Shell(line) => handler::run_captured(&shell(line), news).await,
        Handler::Http(http) => call::send(http, news).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::time::Instant;

    /// These answers, each after its time in seconds; then none.
    #[derive(Default)]
    struct Script {
        answers: Mutex<VecDeque<(u64, Result<Response, String>)>>,
        asked: Mutex<Vec<String>>,
    }

    impl Source for &'static Script {
        fn ask(&self, question: Question) -> BoxFuture<Result<Response, String>> {
            self.asked.lock().unwrap().push(question.target);
            let next = self.answers.lock().unwrap().pop_front();
            Box::pin(async move {
                let Some((seconds, answer)) = next else { return std::future::pending().await };
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                answer
            })
        }
    }

    fn script(answers: Vec<(u64, Result<Response, String>)>) -> &'static Script {
        Box::leak(Box::new(Script { answers: Mutex::new(answers.into()), asked: Mutex::default() }))
    }

    fn response(index: u64, body: &'static str) -> Result<Response, String> {
        Ok(Response { status: 200, index: Some(index), body: Bytes::from_static(body.as_bytes()) })
    }

    fn watcher(script: &'static Script) -> Watcher<&'static Script> {
        let serde_json::Value::Object(params) = json!({"type": "nodes"}) else { panic!("an object") };
        Watcher::new(Watch::parse(params).unwrap(), script)
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_nothing_is_passed_over_without_a_storm_of_questions() {
        let mut answers = vec![(0, response(3, "[1]"))];
        answers.extend((4..54).map(|index| (0, response(index, "[1]"))));
        answers.push((30, response(60, "[2]")));
        let script = script(answers);
        let mut watcher = watcher(script);
        let news = |index, data: &'static str| Ok(News { index, data: Bytes::from_static(data.as_bytes()) });
        let start = Instant::now();
        assert_eq!(watcher.next().await, news(3, "[1]"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(watcher.next().await, news(60, "[2]"));
        assert!(start.elapsed() >= Duration::from_secs(30) + 50 * WATCH_PAUSE);
        let asked = script.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 52);
        assert_eq!(asked[0], "/v1/catalog/nodes");
        assert_eq!(asked[51], "/v1/catalog/nodes?index=53&wait=5m0s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_with_its_pause_and_what_is_known_is_not_told_again() {
        let gone = || (0, Err("gone".to_owned()));
        let script = script(vec![(0, response(3, "[1]")), gone(), gone(), (0, response(3, "[1]")), (5, response(4, "[]"))]);
        let mut watcher = watcher(script);
        watcher.next().await.unwrap();
        assert_eq!(watcher.next().await.unwrap_err().retry, Duration::from_secs(5));
        assert_eq!(watcher.next().await.unwrap_err().retry, Duration::from_secs(20));
        assert_eq!(watcher.next().await.unwrap().index, 4);
        assert_eq!(script.asked.lock().unwrap()[3], "/v1/catalog/nodes", "not a blocking one");
    }
}
