//! The command line: `kontor agent` runs an agent, most other commands speak HTTP to one.
//!
//! `main` calls [`run`] with the programs that only it knows: this room starts no agent itself.

mod absent;
mod agent;
mod argv;
mod autopilot;
mod catalog;
mod client;
mod endpoint;
mod federation;
mod federation_pages;
mod info;
mod keygen;
mod kv;
mod kv_entry;
mod maint;
mod members;
mod membership;
mod operator;
mod pem_file;
mod rtt;
mod services;
mod table;
mod tls;
mod tls_client;
mod tls_init;
mod validate;
mod version;
mod watch;

use crate::config::{Config, ConfigError};
use crate::defaults;
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use client::Client;
use endpoint::ClientFlags;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Reads the same files and flags anew, for SIGHUP and `agent/reload`.
pub type ReloadFn = Arc<dyn Fn() -> Result<Config, Vec<ConfigError>> + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub struct Programs {
    pub agent: fn(Config, ReloadFn) -> ExitCode,
    /// Judges the files that a configuration names as a start does: warnings, or why the start would fail.
    pub examine: fn(&Config) -> Result<Vec<String>, String>,
    /// Runs two datacenters on this host until it is stopped.
    pub demo: fn(DemoOptions) -> ExitCode,
}

/// Two datacenters on this host, to look at
///
/// Three servers and one client each, on addresses and ports of their own, with sample services.
/// Prints where they are, and runs until interrupted.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "Example:\n  kontor demo\n  curl 'localhost:8500/v1/health/service/web?dc=dc2'")]
pub struct DemoOptions {
    /// Address that all agents bind
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
    /// HTTP port of the first agent of dc1
    #[arg(long, value_name = "PORT", default_value_t = defaults::DEMO_HTTP_PORTS[0])]
    pub dc1_port: u16,
    /// HTTP port of the first agent of dc2
    #[arg(long, value_name = "PORT", default_value_t = defaults::DEMO_HTTP_PORTS[1])]
    pub dc2_port: u16,
    /// Folder for the state of all agents; a temporary one that is removed at the end when not given
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// Kontor: the service catalog of a datacenter and the gateway between datacenters, with the
/// interfaces of Consul.
#[derive(Parser, Debug)]
#[command(
    name = "kontor",
    bin_name = "kontor",
    disable_version_flag = true,
    after_help = "Flags are written with one dash or two, and with '=' or a space before their value.\n\
                  Commands speak to the agent at CONSUL_HTTP_ADDR, by default 127.0.0.1:8500."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Agent(agent::AgentArgs),
    Demo(DemoOptions),
    #[command(flatten)]
    Asking(Box<Asking>),
    Validate(validate::ValidateArgs),
    Version(version::VersionArgs),
    #[command(subcommand)]
    Tls(tls::TlsCommand),
    /// Make a key for `encrypt`, which seals the gossip of a cluster
    #[command(after_help = "Example:\n  kontor agent -encrypt=$(kontor keygen) …")]
    Keygen,
}

/// Commands that ask an agent, which [`ClientFlags`] name.
#[derive(Subcommand, Debug)]
enum Asking {
    Members(members::MembersArgs),
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    #[command(subcommand)]
    Federation(federation::FederationCommand),
    /// Show the agent's statistics, by section.
    #[command(after_help = "Example:\n  kontor info")]
    Info,
    Kv(kv::KvArgs),
    Join(membership::JoinArgs),
    /// Make the agent leave its datacenter and stop.
    #[command(after_help = "Example:\n  kontor leave")]
    Leave,
    ForceLeave(membership::ForceLeaveArgs),
    /// Make the agent read its configuration files again.
    #[command(after_help = "Example:\n  kontor reload")]
    Reload,
    Rtt(rtt::RttArgs),
    #[command(subcommand)]
    Services(services::ServicesCommand),
    Maint(maint::MaintArgs),
    Watch(watch::WatchArgs),
}

impl Asking {
    async fn run(self, client: Client) -> Result<Done, String> {
        match self {
            Asking::Members(args) => args.run(client).await,
            Asking::Catalog(command) => command.run(client).await,
            Asking::Operator(command) => command.run(client).await,
            Asking::Federation(command) => command.run(client).await,
            Asking::Info => info::run(client).await,
            Asking::Kv(args) => args.run(client).await,
            Asking::Join(args) => args.run(client).await,
            Asking::Leave => membership::order(client, "/v1/agent/leave", "Graceful leave complete").await,
            Asking::ForceLeave(args) => args.run(client).await,
            Asking::Reload => membership::order(client, "/v1/agent/reload", "Configuration reload triggered").await,
            Asking::Rtt(args) => args.run(client).await,
            Asking::Services(command) => command.run(client).await,
            Asking::Maint(args) => args.run(client).await,
            Asking::Watch(args) => args.run(client).await,
        }
    }
}

/// The exit code for an unknown command: Consul's, and the shell's.
const NO_SUCH_COMMAND: u8 = 127;

/// The output of a command, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Done {
    /// For standard output, newline included.
    out: String,
    /// For standard output, where it is no text.
    bytes: Vec<u8>,
    /// For standard error, newline included.
    err: String,
    code: u8,
}

impl Done {
    fn line(text: impl Into<String>) -> Done {
        Done { out: text.into() + "\n", ..Done::default() }
    }

    fn bytes(bytes: Vec<u8>) -> Done {
        Done { bytes, ..Done::default() }
    }

    fn text(out: String) -> Done {
        Done { out, ..Done::default() }
    }
}

/// Runs the command of `args`, of which the first is the program's name, and gives its exit code.
pub fn run(args: Vec<String>, programs: Programs) -> ExitCode {
    // The name of the program does not matter: a symlink named consul is the same.
    let mut args = argv::normalise(argv::set_apart(args.into_iter().skip(1).collect(), &parser()));
    if matches!(args.first().map(String::as_str), Some("--version" | "-v")) {
        args[0] = "version".to_owned();
    }
    let parser = parser();
    let is_known = args.first().is_some_and(|first| first.starts_with('-') || parser.find_subcommand(first).is_some());
    let parsed = parser.try_get_matches_from(std::iter::once("kontor".to_owned()).chain(args));
    if let Some(done) = parsed.as_ref().ok().and_then(absent::said) {
        return finish(Ok(done));
    }
    match parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?.command, matches))) {
        Ok((Command::Agent(args), _)) => args.run(programs.agent),
        Ok((Command::Demo(options), _)) => (programs.demo)(options),
        Ok((Command::Asking(command), matches)) => finish(ask(*command, &matches)),
        Ok((Command::Validate(args), _)) => finish(args.run(programs.examine)),
        Ok((Command::Version(args), _)) => finish(args.run()),
        Ok((Command::Tls(command), _)) => finish(command.run()),
        Ok((Command::Keygen, _)) => finish(keygen::run()),
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // The terminal may be gone.
            _ = error.print();
            match (asked_for, is_known) {
                (true, _) => ExitCode::SUCCESS,
                (false, true) => ExitCode::FAILURE,
                (false, false) => ExitCode::from(NO_SUCH_COMMAND),
            }
        }
    }
}

/// The grammar of all commands. Of a repeated flag the last value counts, as in Go.
fn parser() -> clap::Command {
    let with_flags = |command: clap::Command| match Asking::has_subcommand(command.get_name()) {
        true => ClientFlags::augment_args(command).next_help_heading(None),
        false => command,
    };
    absent::listed(Cli::command().args_override_self(true).mut_subcommands(with_flags))
}

/// Runs a command against the agent that the flags in `matches` name.
fn ask(command: Asking, matches: &ArgMatches) -> Result<Done, String> {
    let flags = matches.subcommand().map(|(_, matches)| ClientFlags::from_arg_matches(matches)).transpose();
    let client = Client { endpoint: flags.map_err(|error| error.to_string())?.unwrap_or_default().endpoint()? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(command.run(client))
}

fn finish(done: Result<Done, String>) -> ExitCode {
    let done = done.unwrap_or_else(|error| Done { err: format!("Error: {error}\n"), code: 1, ..Done::default() });
    // A closed pipe is no failure of the command.
    _ = std::io::stderr().write_all(done.err.as_bytes());
    _ = std::io::stdout().write_all(done.out.as_bytes());
    _ = std::io::stdout().write_all(&done.bytes);
    _ = std::io::stdout().flush();
    ExitCode::from(done.code)
}

#[cfg(test)]
mod tests;
