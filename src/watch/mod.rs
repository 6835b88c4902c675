//! Watches: a view of the data is asked for again and again, and a handler is told of each change.
//!
//! `cli` follows one for `kontor watch`, `agent` those of the configuration. Both give a [`Source`]
//! that asks an agent's HTTP API; which question comes next and what is a change is decided in
//! `plan`, without I/O. `handler` tells scripts, `call` HTTP endpoints. This room never looks into
//! the catalog and never logs what a handler is told.

mod call;
mod handler;
mod output;
mod plan;

pub use handler::{Group, Output, Running, shell};
pub use plan::{Failure, News, Plan, Question, Told, Verdict};

use crate::config::defaults::WATCH_PAUSE;
use crate::model::request::BoxFuture;
use crate::model::watch::{Handler, Watch};

/// An agent's HTTP API.
pub trait Source: Send + Sync {
    /// Asks; the error is one line for the user. Dropping the future ends the question.
    fn ask(&self, question: Question) -> BoxFuture<Result<Told, String>>;
}

/// A watch that is followed.
#[derive(Debug)]
pub struct Watcher<S> {
    plan: Plan,
    source: S,
}

impl<S: Source> Watcher<S> {
    /// A watch that has heard nothing yet.
    pub fn new(watch: Watch, source: S) -> Watcher<S> {
        Watcher { plan: Plan::new(watch), source }
    }

    /// Waits for the next change. After a failure the caller waits as long as it says before it
    /// calls again.
    pub async fn next(&mut self) -> Result<News, Failure> {
        loop {
            let told = self.source.ask(self.plan.question()).await;
            match self.plan.answered(told)? {
                Verdict::Changed(news) => return Ok(news),
                Verdict::Unchanged => tokio::time::sleep(WATCH_PAUSE).await,
            }
        }
    }
}

/// Tells a handler of the configuration and waits until it has done its work; what it says of it is
/// the result, for the log. Dropping the future ends a script with all it has started.
pub async fn tell(handler: &Handler, news: &News) -> Result<String, String> {
    match handler {
        Handler::Args(args) => handler::run_captured(args, news).await,
        Handler::Shell(line) => handler::run_captured(&shell(line), news).await,
        Handler::Http(http) => call::send(http, news).await,
    }
}
