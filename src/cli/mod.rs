//! The command line: `kontor agent` runs one, everything else speaks HTTP to one.
//!
//! `main` calls [`run`] with the programs that only it may know: this room starts no agent itself.

mod agent;
mod argv;
mod catalog;
mod client;
mod endpoint;
mod info;
mod keygen;
mod maint;
mod members;
mod membership;
mod operator;
mod rtt;
mod services;
mod table;
mod tls;
mod tls_client;
mod validate;
mod version;

use crate::config::{Config, ConfigError, defaults};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use client::Client;
use endpoint::ClientFlags;
use std::future::Future;
use std::io::Write;
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
    /// Runs two datacenters on this host until it is stopped.
    pub demo: fn(DemoOptions) -> ExitCode,
}

/// Two datacenters on one host, to look at: three servers and one client each, on addresses and
/// ports of their own, with sample services. Runs until interrupted.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "Example:\n  kontor demo\n  curl 'localhost:8500/v1/health/service/web?dc=dc2'")]
pub struct DemoOptions {
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
#[command(name = "kontor", bin_name = "kontor", disable_version_flag = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Agent(agent::AgentArgs),
    Members(members::MembersArgs),
    Catalog(catalog::CatalogArgs),
    Operator(operator::OperatorArgs),
    Info(info::InfoArgs),
    Join(membership::JoinArgs),
    Leave(membership::LeaveArgs),
    ForceLeave(membership::ForceLeaveArgs),
    Reload(membership::ReloadArgs),
    Rtt(rtt::RttArgs),
    Services(services::ServicesArgs),
    Maint(maint::MaintArgs),
    Validate(validate::ValidateArgs),
    Version(version::VersionArgs),
    Tls(tls::TlsArgs),
    Keygen(keygen::KeygenArgs),
    Demo(DemoOptions),
}

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
    let mut args = argv::normalise(args.into_iter().skip(1));
    if matches!(args.first().map(String::as_str), Some("--version" | "-v")) {
        args[0] = "version".to_owned();
    }
    let parsed = parser().try_get_matches_from(std::iter::once("kontor".to_owned()).chain(args));
    let command = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli.command,
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Where the terminal is gone there is nobody to tell.
            _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let done = match command {
        Command::Agent(args) => return args.run(programs.agent),
        Command::Demo(options) => return (programs.demo)(options),
        Command::Members(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Catalog(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Operator(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Info(args) => ask(&args.client, info::run),
        Command::Join(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Leave(args) => ask(&args.client, membership::leave),
        Command::ForceLeave(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Reload(args) => ask(&args.client, membership::reload),
        Command::Rtt(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Services(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Maint(args) => ask(&args.client.clone(), |client| args.run(client)),
        Command::Validate(args) => args.run(),
        Command::Version(args) => args.run(),
        Command::Tls(args) => args.run(),
        Command::Keygen(_) => keygen::run(),
    };
    finish(done)
}

/// The grammar of all commands. Of a flag given twice the last one counts, as in Go.
fn parser() -> clap::Command {
    Cli::command().args_override_self(true)
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
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let args = argv::normalise(line.split_whitespace().map(str::to_owned));
        let matches = parser().try_get_matches_from(std::iter::once("kontor".to_owned()).chain(args))?;
        Ok(Cli::from_arg_matches(&matches)?.command)
    }

    #[test]
    fn the_grammar_is_consistent() {
        parser().debug_assert();
    }

    #[test]
    fn consul_s_command_lines_are_understood() {
        for line in [
            "members -wan -detailed -status=alive",
            "members -http-addr=127.0.0.1:9500",
            "catalog datacenters",
            "catalog nodes -service web -near=_agent -node-meta a=b -detailed -datacenter dc2 -stale",
            "catalog services -tags -node n1",
            "operator raft list-peers",
            "operator raft list-peers -stale=true -http-addr http://127.0.0.1:1",
            "operator raft remove-peer -address=10.0.0.1:8300",
            "operator raft remove-peer -id 0bc1c4c3-5a9a-4a6a-9d1d-111111111111",
            "operator raft transfer-leader",
            "operator autopilot state -format=json",
            "info -token=x",
            "join -wan 10.0.0.1 10.0.0.2",
            "leave",
            "force-leave -prune n1",
            "rtt -wan n1.dc1 n2.dc2",
            "services register -name=web -port=80 -tag=a -tag=b -meta=k=v -tagged-address=lan=10.0.0.1:80",
            "services register web.hcl",
            "services deregister -id=web",
            "maint -enable -reason=why -service=web",
            "reload",
            "validate -quiet /etc/x",
            "version -format=json",
            "tls ca create -days=10 -domain=example",
            "tls cert create -server -dc dc2 -additional-dnsname=a -additional-ipaddress=10.0.0.1",
            "keygen",
            "demo",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in
            ["", "nonsense", "members -nonsense", "operator raft remove-peer", "join", "tls cert create", "agent x", "members x"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_demo_has_its_ports() {
        let Ok(Command::Demo(options)) = parse("demo -dc2-port 9600") else { panic!("no demo") };
        assert_eq!((options.dc1_port, options.dc2_port, options.data_dir), (8500, 9600, None));
    }
}
