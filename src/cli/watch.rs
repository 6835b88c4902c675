//! `kontor watch`: show a view of the data, or run a program each time it changes.

use super::Done;
use super::client::{Call, Client};
use super::endpoint::parse_bool;
use crate::defaults::{WATCH_ANSWER_TIMEOUT, WATCH_END_GRACE};
use crate::model::duration;
use crate::model::indent::indent;
use crate::model::request::BoxFuture;
use crate::model::watch::Watch;
use crate::watch::{Failure, News, Output, Question, Response, Running, Source, Watcher, shell};
use clap::Args;
use serde_json::Map;
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

/// Show a view of the data, or run a program each time it changes
///
/// Without a program, prints the view as JSON and ends. With one, runs it at once and on every
/// change: the JSON on its standard input, the index in CONSUL_INDEX. A program that fails ends the
/// watch with code 1; SIGINT and SIGTERM are passed on to it and end the watch with code 0.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  kontor watch -type=nodes\n  kontor watch -type=service -service=web -passingonly=true ./reload-proxy.sh"
)]
pub(super) struct WatchArgs {
    /// View to watch: key, keyprefix, services, nodes, service, checks or event
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Key to watch; for type key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Prefix of the keys to watch; for type keyprefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Service to watch; for types service and checks
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Tag that instances must have, may be repeated; for type service
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Count only instances that pass all their checks; for type service
    #[arg(long, value_name = "BOOL")]
    passingonly: Option<String>,
    /// State of the checks to watch; for type checks
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Name of the events to watch; for type event
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Expression that the rows must meet; for types services, nodes, service and checks
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Run the program by a shell, that of SHELL or /bin/sh
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    shell: Option<bool>,
    /// Program to run on changes, with its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

impl WatchArgs {
    pub(super) async fn run(self, client: Client) -> Result<Done, String> {
        let watch = self.watch(&client)?;
        let kind = watch.view.kind();
        if kind.starts_with("connect_") {
            return Err(format!("Type {kind} is not supported in the CLI tool"));
        }
        let words = match self.shell.unwrap_or(true) {
            _ if self.program.is_empty() => None,
            true => Some(shell(&self.program.join(" "))),
            false => Some(self.program),
        };
        let asked = client.send(Call::get("/v1/agent/self")).await;
        asked.map_err(|error| format!("Error querying Consul agent: {error}"))?;
        let watcher = Watcher::new(watch, AgentApi(Arc::new(client)));
        follow(kind, watcher, words.as_deref(), Signals::listen()?).await
    }

    /// The watch by its parameters, as in a file.
    fn watch(&self, client: &Client) -> Result<Watch, String> {
        let mut params = Map::new();
        for (name, value) in [
            ("type", self.kind.as_deref()),
            ("key", self.key.as_deref()),
            ("prefix", self.prefix.as_deref()),
            ("service", self.service.as_deref()),
            ("state", self.state.as_deref()),
            ("name", self.name.as_deref()),
            ("filter", self.filter.as_deref()),
            ("datacenter", client.endpoint.datacenter.as_deref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                params.insert(name.to_owned(), value.into());
            }
        }
        if !self.tag.is_empty() {
            params.insert("tag".to_owned(), self.tag.clone().into());
        }
        if client.endpoint.stale {
            params.insert("stale".to_owned(), true.into());
        }
        if let Some(text) = self.passingonly.as_deref().filter(|text| !text.is_empty()) {
            let passing_only = parse_bool(text).map_err(|error| format!("Failed to parse passingonly flag: {error}"))?;
            params.insert("passingonly".to_owned(), passing_only.into());
        }
        Watch::parse(params)
    }
}

/// Shows the first answer, or runs `words` for each.
async fn follow(
    kind: &str,
    mut watcher: Watcher<AgentApi>,
    words: Option<&[String]>,
    mut signals: Signals,
) -> Result<Done, String> {
    let mut was_answered = false;
    loop {
        let next = tokio::select! {
            next = watcher.next() => next,
            _ended = signals.next() => return Ok(Done::default()),
        };
        match (next, words) {
            (Ok(news), None) => return Ok(Done::text(String::from_utf8_lossy(&indent(&news.data)).into_owned())),
            (Ok(news), Some(words)) => {
                was_answered = true;
                if tell(words, &news, &mut signals).await?.is_break() {
                    return Ok(Done::default());
                }
            }
            // A repeated query would be refused again.
            (Err(failure), _) if failure.is_of_the_question && !was_answered => return Err(failure.text),
            (Err(failure), _) => {
                let Failure { text, retry, .. } = failure;
                // The terminal may be gone.
                _ = writeln!(std::io::stderr(), "Watch (type: {kind}) errored: {text}, retry in {}", duration::format(retry));
                tokio::select! {
                    () = sleep(retry) => {}
                    _ended = signals.next() => return Ok(Done::default()),
                }
            }
        }
    }
}

/// Runs the program for one change, with the signals that come meanwhile passed on to it. A signal
/// ends the watch; the program has a moment to end by itself, then it is killed with all it started.
async fn tell(words: &[String], news: &News, signals: &mut Signals) -> Result<ControlFlow<()>, String> {
    let started = Running::start(words, news, Output::Inherited);
    let mut running = started.map_err(|error| format!("Error starting handler: {error}"))?;
    let group = running.group();
    let ended = running.wait();
    tokio::pin!(ended);
    tokio::select! {
        status = &mut ended => match status {
            Ok(status) if status.success() => Ok(ControlFlow::Continue(())),
            Ok(status) => Err(format!("Error executing handler: {status}")),
            Err(error) => Err(format!("Error executing handler: {error}")),
        },
        interrupt = signals.next() => {
            if let Some(group) = group {
                if interrupt { group.interrupt() } else { group.terminate() }
            }
            // A handler that is dropped before its end is killed.
            _ = timeout(WATCH_END_GRACE, &mut ended).await;
            Ok(ControlFlow::Break(()))
        }
    }
}

/// The agent that the flags name.
#[derive(Debug)]
struct AgentApi(Arc<Client>);

impl Source for AgentApi {
    fn ask(&self, question: Question) -> BoxFuture<Result<Response, String>> {
        let client = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = client.exchange(Call::get(&question.target), WATCH_ANSWER_TIMEOUT).await?;
            let index = answer.headers().get("X-Consul-Index").and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Response { status: answer.status().as_u16(), index, body: answer.into_body() })
        })
    }
}

/// The signals that end a watch.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be handled: {error}"));
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The next one; whether it is SIGINT.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
        }
    }
}
