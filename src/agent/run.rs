//! One agent as a process: banner, signals, reload, leave, exit codes.
//!
//! As Consul does: SIGHUP reloads; SIGINT and SIGTERM leave gracefully where the settings say so
//! (clients on SIGTERM, clients on SIGINT, servers on neither), and end with code 1 where not;
//! a second signal ends at once with code 1.

use super::data_dir::Identity;
use super::{Agent, Reload, trust};
use crate::cli::ReloadFn;
use crate::config::{Config, ConfigError};
use crate::raft;
use crate::telemetry;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

/// Why the agent ends.
enum End {
    /// A signal, and whether it means a graceful leave.
    Signal { name: &'static str, graceful: bool },
    /// `PUT /v1/agent/leave`
    Asked,
    /// It cannot go on.
    Fatal(String),
}

/// Runs an agent until it is told to stop; the process's exit code.
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
    // What is left are blocking file operations at most; they must not hold the process.
    runtime.shutdown_background();
    code
}

/// What a start would make of the files that `config` names: warnings, or why it would fail. Makes none.
pub fn examine(config: &Config) -> Result<Vec<String>, String> {
    trust::Tls::of_files(config).map(|(_tls, remarks)| remarks)
}

fn one_line(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Prints to standard output. A reader that has gone is no reason to stop.
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
    let had_one = matches!(end, End::Signal { .. });
    let code = tokio::select! {
        code = finish(agent, end, &settings) => code,
        name = signals.second(had_one) => {
            error!(signal = name, "second signal: ending at once");
            ExitCode::FAILURE
        }
    };
    if let Some(path) = &settings.pid_file {
        remove_pid_file(path);
    }
    code
}

async fn until_end(agent: &Agent, signals: &mut Signals) -> End {
    loop {
        tokio::select! {
            cause = agent.fatal() => return End::Fatal(cause),
            () = agent.leave_requested() => return End::Asked,
            event = signals.next() => match event {
                Event::Reload => match agent.reload().await {
                    Ok(()) => {}
                    Err(cause) => error!(%cause, "reload refused; the old configuration stays"),
                },
                Event::End { name, graceful } => return End::Signal { name, graceful },
            },
        }
    }
}

async fn finish(agent: Agent, end: End, settings: &Config) -> ExitCode {
    match end {
        End::Fatal(cause) => {
            error!(%cause, "the agent cannot go on");
            agent.shutdown().await;
            failed(&cause)
        }
        End::Asked => {
            info!("leaving as asked");
            agent.leave(settings.leave_drain_time).await;
            agent.leave_done();
            agent.shutdown().await;
            ExitCode::SUCCESS
        }
        End::Signal { name, graceful: true } => {
            say(&format!("==> Caught signal: {name}; gracefully leaving (a second signal ends at once)\n"));
            agent.leave(settings.leave_drain_time).await;
            agent.shutdown().await;
            ExitCode::SUCCESS
        }
        End::Signal { name, graceful: false } => {
            say(&format!("==> Caught signal: {name}; stopping without leaving\n"));
            agent.shutdown().await;
            ExitCode::FAILURE
        }
    }
}

fn remove_pid_file(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        warn!(path = %path.display(), %error, "pid_file could not be removed");
    }
}

enum Event {
    Reload,
    End { name: &'static str, graceful: bool },
}

/// The signals of an agent, with what they mean for this one.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
    leave_on_interrupt: bool,
    leave_on_terminate: bool,
    /// Only there so that a file that may not grow is an error of its write and not the end of the process.
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

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.hangup.recv() => Event::Reload,
            _ = self.interrupt.recv() => Event::End { name: "interrupt", graceful: self.leave_on_interrupt },
            _ = self.terminate.recv() => Event::End { name: "terminated", graceful: self.leave_on_terminate },
        }
    }

    /// The signal that ends at once what ends already. The first one is not it: whoever asked for a leave
    /// before, `kontor leave` in a service's stop command, has it followed by one.
    async fn second(&mut self, had_one: bool) -> &'static str {
        if !had_one {
            let name = self.next_end().await;
            say(&format!("==> Caught signal: {name}; the agent is ending already (a second signal ends at once)\n"));
        }
        self.next_end().await
    }

    /// The next signal that is not for a reload.
    async fn next_end(&mut self) -> &'static str {
        loop {
            if let Event::End { name, .. } = self.next().await {
                return name;
            }
        }
    }
}
