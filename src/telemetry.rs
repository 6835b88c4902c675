//! The log and the counters of the process. Log lines (`line`) go to standard output and, if one is named, to a file
//! (`rotation`), as text or JSON, at a level that can change.

mod line;
mod overhear;
mod rotation;
mod failure_throttle;
mod troubles;

pub use failure_throttle::FailureThrottle;
pub use overhear::{Listener, overhear};
pub use troubles::FailureThrottles;

use crate::model::log_file::LogFile;
use line::Lines;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use overhear::Overhearing;
use rotation::RotatedFile;
use std::sync::{Mutex, OnceLock};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();
static COUNTERS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts the counters of everything refused, dropped, retried or lost in the process.
pub fn count() -> Result<(), String> {
    let handle =
        PrometheusBuilder::new().install_recorder().map_err(|error| format!("counting could not be started: {error}"))?;
    // A second start in one process has failed above already.
    _ = COUNTERS.set(handle);
    Ok(())
}

/// All counters in Prometheus's text form; empty before [`count`].
pub fn counters() -> String {
    COUNTERS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Starts logging. `level` is one of Consul's: trace, debug, info, warn, err (or error).
pub fn start(level: &str, json: bool, file: Option<&LogFile>) -> Result<(), String> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let writer = match file {
        None => BoxMakeWriter::new(std::io::stdout),
        Some(plan) => BoxMakeWriter::new(std::io::stdout.and(Mutex::new(RotatedFile::open(plan.clone())?))),
    };
    let colours = file.is_none() && !json && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let lines = fmt::layer().event_format(Lines { json }).with_ansi(colours).with_writer(writer);
    let started = tracing_subscriber::registry().with(filter).with(Overhearing).with(lines).try_init();
    started.map_err(|error| format!("logging could not be started: {error}"))?;
    // A second start in one process has failed above already.
    _ = LEVEL.set(handle);
    Ok(())
}

/// Changes the level of a running process; without a log it does nothing.
pub fn set_level(level: &str) -> Result<(), String> {
    let filter = filter(level)?;
    LEVEL.get().map_or(Ok(()), |handle| handle.reload(filter).map_err(|error| error.to_string()))
}

fn filter(level: &str) -> Result<Targets, String> {
    let own = match level.to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" => "warn",
        "err" | "error" => "error",
        other => return Err(format!("expected log_level trace, debug, info, warn or err, got {other:?}")),
    };
    // Warnings of libraries are enough. Openraft warns of each late heartbeat and crossed vote, which every election
    // has, and calls a message during its stop an error: Kontor's own lines of Raft stand for them.
    let libraries = match own {
        "trace" => "debug",
        "debug" => "warn",
        "error" => "error,openraft=off",
        _ => "warn,openraft=off",
    };
    format!("{libraries},kontor={own}").parse().map_err(|error| format!("log_level {level:?}: {error}"))
}

/// A subscriber for all threads, for tests that read the log. Tracing decides whether a log line has a subscriber when
/// it first reaches the line, which may happen in another test.
#[cfg(test)]
pub(crate) fn hear_all() {
    // The second test finds the first one's.
    _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_of_consul_are_taken_and_others_are_named() {
        for level in ["TRACE", "debug", "Info", "warn", "err", "ERROR"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        assert!(filter("loud").unwrap_err().contains("loud"));
    }
}
