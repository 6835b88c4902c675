//! One agent as a process: banner, signals, reload, leave, exit codes.
//!
//! As in Consul, SIGHUP reloads. SIGINT and SIGTERM leave gracefully where the settings say so, by default on clients,
//! and else end with code 1. A second signal ends at once with code 1.

use super::data_dir::Identity;
use super::{Agent, Reload, trust};
use crate::cli::ReloadFn;
use crate::config::{Config, ConfigError};
use crate::raft;
use crate::telemetry;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

enum End {
    Signal(Caught),
    /// `PUT /v1/agent/leave`
    Asked,
    Fatal(String),
}

/// A signal that ends the agent, and whether it means a graceful leave.
struct Caught {
    name: &'static str,
    graceful: bool,
}

/// Runs an agent to its end; the process's exit code.
pub fn run(config: Config, reload: ReloadFn) -> ExitCode {
    let started = telemetry::start(&config.log_level, config.log_json, config.log_file.as_ref());
    if let Err(message) = started.and_then(|()| telemetry::count()) {
        return failed(&message);
    }
    telemetry::overhear(raft::overheard);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the runtime could not be started: {error}")),
    };
    let reload: Reload = Arc::new(move || reload().map_err(|errors| one_line(&errors)));
    let code = runtime.block_on(serve(config, reload));
    // Blocking file operations that are left must not hold the process.
    runtime.shutdown_background();
    code
}

/// Judges the files that `config` names as a start does, without one: warnings, or why it would fail.
pub fn examine(config: &Config) -> Result<Vec<String>, String> {
    trust::Tls::of_files(config).map(|(_tls, remarks)| remarks)
}

fn one_line(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Prints to standard output. A closed pipe is no reason to stop.
pub(super) fn say(text: &str) {
    _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints why the process ends to standard error.
pub(super) fn failed(message: &str) -> ExitCode {
    _ = writeln!(std::io::stderr(), "==> {message}");
    ExitCode::FAILURE
}

async fn serve(config: Config, reload: Reload) -> ExitCode {
    let settings = config.clone();
    let mut signals = match Signals::listen(&config) {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("signals cannot be handled: {error}")),
    };
    let identity = match Identity::open(&config) {
        Ok(identity) => identity,
        Err(message) => return failed(&message),
    };
    say(&crate::config::banner(&settings, identity.node_id));
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    let agent = match Agent::start(identity, config, Some(reload)).await {
        Ok(agent) => agent,
        Err(message) => return failed(&message),
    };
    if let Some(path) = &settings.pid_file
        && let Err(error) = std::fs::write(path, format!("{}\n", std::process::id()))
    {
        agent.shutdown().await;
        return failed(&format!("cannot write pid_file {}: {error}", path.display()));
    }
    let end = until_end(&agent, &mut signals).await;
    let had_one = matches!(end, End::Signal(_));
    let code = tokio::select! {
        code = finish(agent, end, &settings) => code,
        name = signals.second(had_one) => {
            error!(signal = name, "second signal: ending at once");
            ExitCode::FAILURE
        }
    };
    if let Some(path) = &settings.pid_file
        && let Err(error) = std::fs::remove_file(path)
    {
        warn!(path = %path.display(), %error, "pid_file could not be removed");
    }
    code
}

async fn until_end(agent: &Agent, signals: &mut Signals) -> End {
    loop {
        tokio::select! {
            cause = agent.fatal() => return End::Fatal(cause),
            () = agent.leave_requested() => return End::Asked,
            caught = signals.next() => match caught {
                Some(caught) => return End::Signal(caught),
                None => {
                    if let Err(cause) = agent.reload().await {
                        error!(%cause, "reload refused; the old configuration stays");
                    }
                }
            },
        }
    }
}

async fn finish(agent: Agent, end: End, settings: &Config) -> ExitCode {
    let leaves = match &end {
        End::Fatal(cause) => {
            error!(%cause, "the agent cannot go on");
            false
        }
        End::Asked => {
            info!("leaving as asked");
            true
        }
        End::Signal(Caught { name, graceful }) => {
            let way = if *graceful { "gracefully leaving (a second signal ends at once)" } else { "stopping without leaving" };
            say(&format!("==> Caught signal: {name}; {way}\n"));
            *graceful
        }
    };
    if leaves {
        agent.leave(settings.leave_drain_time).await;
    }
    if matches!(end, End::Asked) {
        agent.leave_done();
    }
    agent.shutdown().await;
    match end {
        End::Fatal(cause) => failed(&cause),
        _ if leaves => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    leave_on_interrupt: bool,
    leave_on_terminate: bool,
    /// Handled so that a bound on file sizes fails a write and does not end the process.
    _file_size: Signal,
}

impl Signals {
    fn listen(config: &Config) -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            leave_on_interrupt: !config.skip_leave_on_interrupt,
            leave_on_terminate: config.leave_on_terminate,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// The next signal; none for a reload.
    async fn next(&mut self) -> Option<Caught> {
        tokio::select! {
            _ = self.hangup.recv() => None,
            _ = self.interrupt.recv() => Some(Caught { name: "interrupt", graceful: self.leave_on_interrupt }),
            _ = self.terminate.recv() => Some(Caught { name: "terminated", graceful: self.leave_on_terminate }),
        }
    }

    /// The second signal, which ends an ending agent at once. A service's stop command sends one after its `kontor leave`.
    async fn second(&mut self, had_one: bool) -> &'static str {
        if !had_one {
            let name = self.next_end().await;
            say(&format!("==> Caught signal: {name}; the agent is ending already (a second signal ends at once)\n"));
        }
        self.next_end().await
    }

    /// The next signal but those for a reload.
    async fn next_end(&mut self) -> &'static str {
        loop {
            if let Some(caught) = self.next().await {
                return caught.name;
            }
        }
    }
}
