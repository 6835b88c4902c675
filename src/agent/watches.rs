//! The watches of the configuration, each followed by a task of its own while it is configured.
//!
//! Watches ask this agent's own HTTP API, without a socket. A handler never runs twice at once: the next query waits.

use crate::defaults::{WATCH_ANSWER_TIMEOUT, WATCH_HANDLER_SLOW};
use crate::http::Inside;
use crate::model::request::BoxFuture;
use crate::model::watch::{ConfiguredWatch, Handler, View, Watch};
use crate::shutdown::Shutdown;
use crate::telemetry::FailureThrottle;
use crate::watch::{Failure, News, Question, Response, Source, Watcher};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

/// Follows the `wanted` watches at each change; all end with `tasks`.
pub(super) async fn follow_all(mut wanted: watch::Receiver<Vec<ConfiguredWatch>>, inside: Inside, tasks: Shutdown) {
    let mut watches = Watches { inside, tasks, running: Vec::new() };
    loop {
        let now = wanted.borrow_and_update().clone();
        watches.apply(now);
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

#[derive(Debug)]
struct Watches {
    inside: Inside,
    tasks: Shutdown,
    /// Each with the guard that ends it.
    running: Vec<(ConfiguredWatch, DropGuard)>,
}

impl Watches {
    /// Follows exactly these watches from now on. Those under way go on.
    fn apply(&mut self, wanted: Vec<ConfiguredWatch>) {
        let mut before = std::mem::take(&mut self.running);
        for watch in wanted {
            let kept = before.iter().position(|(known, _)| *known == watch).map(|at| before.swap_remove(at));
            let running = kept.unwrap_or_else(|| (watch.clone(), self.start(watch)));
            self.running.push(running);
        }
        for (gone, _ends_here) in before {
            info!(kind = gone.watch.view.kind(), "watch removed");
        }
    }

    fn start(&self, watch: ConfiguredWatch) -> DropGuard {
        info!(kind = watch.watch.view.kind(), "watch started");
        let stop = CancellationToken::new();
        let (inside, ended) = (OwnApi(self.inside.clone()), stop.clone());
        self.tasks.spawn_until("watch", async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = follow(watch, inside) => {}
            }
        });
        stop.drop_guard()
    }
}

/// This agent's API, bounded in time.
#[derive(Clone, Debug)]
struct OwnApi(Inside);

impl Source for OwnApi {
    fn ask(&self, question: Question) -> BoxFuture<Result<Response, String>> {
        let inside = self.0.clone();
        Box::pin(async move {
            let asked = timeout(WATCH_ANSWER_TIMEOUT, inside.get(&question.target, &question.token)).await;
            let (status, index, body) =
                asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {WATCH_ANSWER_TIMEOUT:?}")))?;
            Ok(Response { status, index, body })
        })
    }
}

async fn follow(watch: ConfiguredWatch, api: impl Source + Clone) {
    let kind = watch.watch.view.kind();
    let mut trouble = FailureThrottle::default();
    born(&watch.watch, api.clone(), &mut trouble).await;
    let mut watcher = Watcher::new(watch.watch, api);
    loop {
        match watcher.next().await {
            Ok(news) => {
                if trouble.worked() {
                    info!(kind, "the watch is answered again");
                }
                metrics::counter!("kontor.watch.changes").increment(1);
                tell(kind, &watch.handler, &news).await;
            }
            Err(failure) => {
                metrics::counter!("kontor.watch.failures").increment(1);
                complain(kind, &failure, &mut trouble);
                sleep(failure.retry).await;
            }
        }
    }
}

/// Waits until the catalog of `watch` has a node: a handler would take a new cluster's empty one for a loss of all.
async fn born(watch: &Watch, api: impl Source, trouble: &mut FailureThrottle) {
    let kind = watch.view.kind();
    let mut nodes = Watcher::new(Watch { view: View::Nodes, filter: None, ..watch.clone() }, api);
    loop {
        match nodes.next().await {
            Ok(news) if news.data.as_ref() != b"[]" => return,
            Ok(_none_yet) => debug!(kind, "the catalog is empty yet; the watch waits for its first node"),
            // The watch itself will report it.
            Err(failure) if failure.is_of_the_question => return,
            Err(failure) => {
                metrics::counter!("kontor.watch.failures").increment(1);
                complain(kind, &failure, trouble);
                sleep(failure.retry).await;
            }
        }
    }
}

/// Logs a failure: a missing leader or server is normal for a moment, a wrong query is a warning at once.
fn complain(kind: &str, failure: &Failure, trouble: &mut FailureThrottle) {
    let Failure { text, retry, is_of_the_question } = failure;
    if trouble.failed(Instant::now().into_std()) || *is_of_the_question {
        warn!(kind, error = %text, ?retry, "watch errored; asking again");
    } else {
        debug!(kind, error = %text, ?retry, "watch errored; asking again");
    }
}

async fn tell(kind: &str, handler: &Handler, news: &News) {
    let telling = crate::watch::tell(handler, news);
    tokio::pin!(telling);
    let mut slow = interval_at(Instant::now() + WATCH_HANDLER_SLOW, WATCH_HANDLER_SLOW);
    let outcome = loop {
        tokio::select! {
            outcome = &mut telling => break outcome,
            _ = slow.tick() => warn!(kind, handler = name(handler), "this handler runs long; its watch waits for it"),
        }
    };
    match outcome {
        Ok(output) => debug!(kind, handler = name(handler), index = news.index, %output, "watch handler has run"),
        Err(error) => {
            metrics::counter!("kontor.watch.handler_failed").increment(1);
            warn!(kind, handler = name(handler), index = news.index, %error, "watch handler failed");
        }
    }
}

/// The handler's name for the log. Arguments and addresses may hold secrets.
fn name(handler: &Handler) -> &str {
    match handler {
        Handler::Args(words) => words.first().map_or("", String::as_str),
        Handler::Shell(_) => "shell",
        Handler::Http(_) => "http",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::{Value, json};
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    /// Gives these answers, and none after them.
    #[derive(Clone, Default)]
    struct Answers {
        left: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Source for Answers {
        fn ask(&self, question: Question) -> BoxFuture<Result<Response, String>> {
            let mut asked = self.asked.lock().expect("whole");
            asked.push(question.target);
            let index = Some(asked.len() as u64);
            let next = self.left.lock().expect("whole").pop_front();
            Box::pin(async move {
                let Some((status, body)) = next else { return std::future::pending().await };
                Ok(Response { status, index, body: Bytes::from_static(body.as_bytes()) })
            })
        }
    }

    async fn asked(watch: Value, answers: &[(u16, &'static str)]) -> Vec<String> {
        let Value::Object(params) = watch else { panic!("an object") };
        let api = Answers { left: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Answers::default() };
        let watch = ConfiguredWatch { watch: Watch::parse(params).expect("good"), handler: Handler::Args(vec!["true".into()]) };
        // Long enough for all the answers, the pauses after failures among them.
        _ = timeout(std::time::Duration::from_secs(3600), follow(watch, api.clone())).await;
        let asked = api.asked.lock().expect("whole");
        asked.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_asks_nothing_while_the_catalog_has_no_node() {
        let watch = json!({"type": "service", "service": "web", "stale": true});
        let answers = [(500, "No cluster leader"), (200, "[]"), (200, "[{}]")];
        let [first, second, third, fourth] = &asked(watch, &answers).await[..] else { panic!("four questions") };
        assert_eq!((first.as_str(), second), ("/v1/catalog/nodes?stale=", first));
        assert!(third.starts_with("/v1/catalog/nodes?stale=&index="), "{third}");
        assert_eq!(fourth, "/v1/health/service/web?stale=");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_with_a_watch_is_told_by_its_own_question() {
        let asked = asked(json!({"type": "services"}), &[(403, "Permission denied")]).await;
        assert_eq!(asked, ["/v1/catalog/nodes", "/v1/catalog/services"]);
    }
}
