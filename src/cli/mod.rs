//! The command line: `kontor agent` runs one, everything else speaks HTTP to one.
//!
//! `main` calls [`run`] with the programs that only it may know: this room starts no agent itself.

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
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use client::Client;
use endpoint::ClientFlags;
use std::future::Future;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Reads the same files and flags anew, for SIGHUP and `agent/reload`.
pub type ReloadFn = Arc<dyn Fn() -> Result<Config, Vec<ConfigError>> + Send + Sync>;

/// What `main` can run and this room cannot.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// Runs an agent until it stops.
    pub agent: fn(Config, ReloadFn) -> ExitCode,
    /// What a start would make of the files that a configuration names: warnings, or why it would fail.
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
    Once(Box<Once>),
}

/// Commands that say something and end.
#[derive(Subcommand, Debug)]
enum Once {
    Members(members::MembersArgs),
    Catalog(catalog::CatalogArgs),
    Operator(operator::OperatorArgs),
    Federation(federation::FederationArgs),
    Info(info::InfoArgs),
    Join(membership::JoinArgs),
    Leave(membership::LeaveArgs),
    ForceLeave(membership::ForceLeaveArgs),
    Reload(membership::ReloadArgs),
    Rtt(rtt::RttArgs),
    Services(services::ServicesArgs),
    Maint(maint::MaintArgs),
    Watch(watch::WatchArgs),
    Validate(validate::ValidateArgs),
    Version(version::VersionArgs),
    Tls(tls::TlsArgs),
    Keygen(keygen::KeygenArgs),
}

impl Once {
    fn run(self, programs: Programs) -> Result<Done, String> {
        match self {
            Once::Members(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Catalog(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Operator(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Federation(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Info(args) => ask(&args.client, info::run),
            Once::Join(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Leave(args) => ask(&args.client, membership::leave),
            Once::ForceLeave(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Reload(args) => ask(&args.client, membership::reload),
            Once::Rtt(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Services(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Maint(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Watch(args) => ask(&args.client.clone(), |client| args.run(client)),
            Once::Validate(args) => args.run(programs.examine),
            Once::Version(args) => args.run(),
            Once::Tls(args) => args.run(),
            Once::Keygen(_) => keygen::run(),
        }
    }
}

/// The exit code where no command is named that is one: Consul's, and the shell's for the same.
const NO_SUCH_COMMAND: u8 = 127;

/// What a command has to say, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Done {
    /// For standard output, newline included.
    out: String,
    /// For standard error, newline included.
    err: String,
    code: u8,
}

impl Done {
    /// One line on standard output.
    fn line(text: impl Into<String>) -> Done {
        Done { out: text.into() + "\n", ..Done::default() }
    }

    /// Text that ends in a newline.
    fn text(out: String) -> Done {
        Done { out, ..Done::default() }
    }
}

/// Runs the command of `args` (the program's own name first) and gives its exit code.
pub fn run(args: Vec<String>, programs: Programs) -> ExitCode {
    // The name by which the program was called is not looked at: a symlink named consul is the same.
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
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(Cli { command: Command::Agent(args) }) => args.run(programs.agent),
        Ok(Cli { command: Command::Demo(options) }) => (programs.demo)(options),
        Ok(Cli { command: Command::Once(command) }) => finish(command.run(programs)),
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Where the terminal is gone there is nobody to tell.
            _ = error.print();
            match (asked_for, is_known) {
                (true, _) => ExitCode::SUCCESS,
                (false, true) => ExitCode::FAILURE,
                (false, false) => ExitCode::from(NO_SUCH_COMMAND),
            }
        }
    }
}

/// The grammar of all commands. Of a flag given twice the last one counts, as in Go.
fn parser() -> clap::Command {
    absent::listed(Cli::command().args_override_self(true))
}

/// Runs a command that speaks to an agent.
fn ask<F, R>(flags: &ClientFlags, command: F) -> Result<Done, String>
where
    F: FnOnce(Client) -> R,
    R: Future<Output = Result<Done, String>>,
{
    let client = Client::new(flags.endpoint()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(command(client))
}

fn finish(done: Result<Done, String>) -> ExitCode {
    let done = done.unwrap_or_else(|error| Done { err: format!("Error: {error}\n"), code: 1, ..Done::default() });
    // A reader that has gone (a closed pipe) is no failure of the command.
    _ = std::io::stderr().write_all(done.err.as_bytes());
    _ = std::io::stdout().write_all(done.out.as_bytes());
    _ = std::io::stdout().flush();
    ExitCode::from(done.code)
}

#[cfg(test)]
mod tests;
