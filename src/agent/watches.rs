//! The watches of the configuration, each followed by a task of its own for as long as it is
//! configured.
//!
//! They ask this agent's own HTTP API, without a socket, so that they see what every user sees. A
//! handler of a watch runs to its end before the watch asks anew, so it never runs twice at once and
//! is told the newest state next.

use crate::config::defaults::{WATCH_ANSWER_TIMEOUT, WATCH_HANDLER_SLOW};
use crate::http::Inside;
use crate::model::request::BoxFuture;
use crate::model::watch::{ConfiguredWatch, Handler};
use crate::shutdown::Shutdown;
use crate::telemetry::Trouble;
use crate::watch::{Failure, News, Question, Source, Told, Watcher};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, info, warn};

/// Follows what `wanted` says, each time it says something else; all end with `tasks`.
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

/// What is followed now.
#[derive(Debug)]
struct Watches {
    inside: Inside,
    tasks: Shutdown,
    /// Each with what ends it.
    running: Vec<(ConfiguredWatch, DropGuard)>,
}

impl Watches {
    /// Follows exactly these from now on. One that was followed already goes on as if nothing had
    /// been said.
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
#[derive(Debug)]
struct OwnApi(Inside);

impl Source for OwnApi {
    fn ask(&self, question: Question) -> BoxFuture<Result<Told, String>> {
        let inside = self.0.clone();
        Box::pin(async move {
            let asked = timeout(WATCH_ANSWER_TIMEOUT, inside.get(&question.target, &question.token)).await;
            let (status, index, body) =
                asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {WATCH_ANSWER_TIMEOUT:?}")))?;
            Ok(Told { status, index, body })
        })
    }
}

async fn follow(watch: ConfiguredWatch, api: impl Source) {
    let kind = watch.watch.view.kind();
    let mut watcher = Watcher::new(watch.watch, api);
    let mut trouble = Trouble::default();
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

/// No leader or no server is normal for a moment; a wrong question is wrong at once.
fn complain(kind: &str, failure: &Failure, trouble: &mut Trouble) {
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
    let told = loop {
        tokio::select! {
            told = &mut telling => break told,
            _ = slow.tick() => warn!(kind, handler = name(handler), "this handler runs long; its watch waits for it"),
        }
    };
    match told {
        Ok(output) => debug!(kind, handler = name(handler), index = news.index, %output, "watch handler told"),
        Err(error) => {
            metrics::counter!("kontor.watch.handler_failed").increment(1);
            warn!(kind, handler = name(handler), index = news.index, %error, "watch handler failed");
        }
    }
}

/// What tells it apart in the log. Arguments and addresses may hold secrets.
fn name(handler: &Handler) -> &str {
    match handler {
        Handler::Args(words) => words.first().map_or("", String::as_str),
        Handler::Shell(_) => "shell",
        Handler::Http(_) => "http",
    }
}
