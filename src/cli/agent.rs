//! `kontor agent`: flags become the same document that a configuration file is.
//!
//! Each flag is one row of [`FLAGS`]; what its value means is decided in `config`.

use super::ReloadFn;
use crate::config::{self, Config, ConfigError, Format, Sources};
use crate::defaults;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Switch,
    Text,
    Number,
    /// May be given several times.
    List,
    /// `key:value`, may be given several times.
    Pairs,
}

/// A flag, the key it stands for, and its help.
struct Flag(&'static str, &'static str, Kind, &'static str);

const FLAGS: &[Flag] = &[
    Flag("server", "server", Kind::Switch, "Run as a server: hold the catalog and take part in its elections"),
    Flag("bootstrap-expect", "bootstrap_expect", Kind::Number, "Servers to wait for before the first election"),
    Flag("bootstrap", "bootstrap", Kind::Switch, "Be a cluster of one at once"),
    Flag("data-dir", "data_dir", Kind::Text, "Folder for everything that survives a restart; needed but with -dev"),
    Flag("node", "node_name", Kind::Text, "Name of this node, unique in its datacenter [default: the host's name]"),
    Flag("node-id", "node_id", Kind::Text, "Stable id of this node, a UUID [default: random, kept]"),
    Flag("node-meta", "node_meta", Kind::Pairs, "Metadata of this node as key:value; may be repeated"),
    Flag("datacenter", "datacenter", Kind::Text, "Datacenter of this agent [default: dc1]"),
    Flag("bind", "bind_addr", Kind::Text, "Address for agents of the datacenter [default: 0.0.0.0]"),
    Flag("advertise", "advertise_addr", Kind::Text, "Address told to agents of the datacenter [default: -bind]"),
    Flag(
        "advertise-wan",
        "advertise_addr_wan",
        Kind::Text,
        "Address told to other datacenters [default: -advertise, else -serf-wan-bind]",
    ),
    Flag("client", "client_addr", Kind::Text, "Addresses for HTTP, separated by spaces [default: 127.0.0.1]"),
    Flag("serf-lan-bind", "serf_lan", Kind::Text, "Address of the LAN pool [default: -bind]"),
    Flag("serf-wan-bind", "serf_wan", Kind::Text, "Address of the WAN pool and the bridge [default: -bind]"),
    Flag("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", Kind::List, "Networks that LAN members may be of; may be repeated"),
    Flag("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", Kind::List, "Networks that WAN members may be of; may be repeated"),
    Flag("http-port", "ports.http", Kind::Number, "HTTP port, -1 for none [default: 8500]"),
    Flag("https-port", "ports.https", Kind::Number, "HTTPS port, -1 for none [default: -1]"),
    Flag("dns-port", "ports.dns", Kind::Number, "DNS port; has no effect yet"),
    Flag("grpc-port", "ports.grpc", Kind::Number, "gRPC port; has no effect yet"),
    Flag("server-port", "ports.server", Kind::Number, "Port of requests (tcp) and of the bridge (udp) [default: 8300]"),
    Flag("serf-lan-port", "ports.serf_lan", Kind::Number, "Port of the LAN pool [default: 8301]"),
    Flag("serf-wan-port", "ports.serf_wan", Kind::Number, "Port of the WAN pool, -1 for none [default: 8302]"),
    Flag("join", "start_join", Kind::List, "The same as -retry-join"),
    Flag("retry-join", "retry_join", Kind::List, "Agent of the datacenter to join, tried until it answers; may be repeated"),
    Flag("join-wan", "start_join_wan", Kind::List, "The same as -retry-join-wan"),
    Flag("retry-join-wan", "retry_join_wan", Kind::List, "Server of another datacenter to join; may be repeated"),
    Flag("retry-interval", "retry_interval", Kind::Text, "Time between tries to join [default: 30s]"),
    Flag("retry-interval-wan", "retry_interval_wan", Kind::Text, "Time between tries to join the WAN [default: 30s]"),
    Flag("retry-max", "retry_max", Kind::Number, "Tries to join, 0 for ever [default: 0]"),
    Flag("retry-max-wan", "retry_max_wan", Kind::Number, "Tries to join the WAN, 0 for ever [default: 0]"),
    Flag("rejoin", "rejoin_after_leave", Kind::Switch, "Join known members again after a leave"),
    Flag("encrypt", "encrypt", Kind::Text, "Key that seals both pools, see `kontor keygen`"),
    Flag("domain", "domain", Kind::Text, "DNS domain [default: consul]"),
    Flag("ui", "ui", Kind::Switch, "Has no effect yet"),
    Flag("ui-content-path", "ui_content_path", Kind::Text, "Has no effect yet"),
    Flag("ui-dir", "ui_dir", Kind::Text, "Has no effect yet"),
    Flag(
        "allow-write-http-from",
        "http_config.allow_write_http_from",
        Kind::List,
        "Networks that may write over HTTP; may be repeated",
    ),
    Flag("default-query-time", "default_query_time", Kind::Text, "Wait of a blocking query that names none [default: 300s]"),
    Flag("max-query-time", "max_query_time", Kind::Text, "Longest wait of a blocking query [default: 600s]"),
    Flag("check_output_max_size", "check_output_max_size", Kind::Number, "Bytes of check output kept [default: 4096]"),
    Flag("log-level", "log_level", Kind::Text, "TRACE, DEBUG, INFO, WARN or ERR [default: INFO]"),
    Flag("log-json", "log_json", Kind::Switch, "Log as JSON"),
    Flag("log-file", "log_file", Kind::Text, "Log to this file as well, or to files in this folder if it ends in /"),
    Flag(
        "log-rotate-bytes",
        "log_rotate_bytes",
        Kind::Number,
        "Bytes after which the next log file is begun [default: no bound]",
    ),
    Flag("log-rotate-duration", "log_rotate_duration", Kind::Text, "Time after which the next log file is begun [default: 24h]"),
    Flag(
        "log-rotate-max-files",
        "log_rotate_max_files",
        Kind::Number,
        "Older log files kept, 0 for all, -1 for none [default: 0]",
    ),
    Flag("pid-file", "pid_file", Kind::Text, "File for the process id"),
    Flag("syslog", "enable_syslog", Kind::Switch, "Has no effect yet"),
    Flag("alt-domain", "alt_domain", Kind::Text, "Has no effect yet"),
    Flag("recursor", "recursors", Kind::List, "Has no effect yet"),
    Flag(
        "enable-script-checks",
        "enable_script_checks",
        Kind::Switch,
        "Run script checks of configuration files and of the HTTP API",
    ),
    Flag("enable-local-script-checks", "enable_local_script_checks", Kind::Switch, "Run script checks of configuration files"),
    Flag("disable-host-node-id", "disable_host_node_id", Kind::Switch, "Node ids are random in any case"),
    Flag("disable-keyring-file", "disable_keyring_file", Kind::Switch, "Has no effect yet"),
    Flag("primary-gateway", "primary_gateways", Kind::List, "Has no effect yet"),
    Flag("protocol", "protocol", Kind::Number, "Protocol of the pools: 2 or 3"),
    Flag("raft-protocol", "raft_protocol", Kind::Number, "Protocol of Raft: 3"),
    Flag("non-voting-server", "non_voting_server", Kind::Switch, "Has no effect yet"),
    Flag("segment", "segment", Kind::Text, "Not offered"),
];

/// Run an agent: a client, or with -server a server of its datacenter. It stops on SIGTERM and
/// SIGINT, and reads its configuration again on SIGHUP.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentArgs {
    sources: Sources,
}

impl AgentArgs {
    /// Resolves the configuration and runs the agent; all that is wrong with it is told at once.
    pub(super) fn run(self, agent: fn(Config, ReloadFn) -> ExitCode) -> ExitCode {
        match config::resolve(&self.sources) {
            Ok(config) => {
                let sources = self.sources;
                agent(config, Arc::new(move || config::resolve(&sources)))
            }
            Err(errors) => {
                _ = super::finish(Err(refusal(&errors)));
                ExitCode::FAILURE
            }
        }
    }
}

fn refusal(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
    format!("the configuration cannot be used:\n{}", lines.join("\n"))
}

impl clap::Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        let about = "Run an agent: a client, or with -server a server of its datacenter";
        let example = "Examples:\n  kontor agent -dev\n  \
             kontor agent -server -bootstrap-expect 3 -data-dir /var/lib/kontor -node s1 -bind 10.0.0.1 -retry-join 10.0.0.2\n  \
             kontor agent -config-dir /etc/kontor.d\n\n\
             Files and flags have Consul's names; of the same setting a later file wins over an earlier one, and flags win over files. \
             SIGHUP reads files again; SIGTERM and SIGINT stop the agent.";
        let own = [
            switch("dev", "Run a cluster of one in memory on 127.0.0.1, to try things out"),
            Arg::new("config-file")
                .long("config-file")
                .visible_alias("config-dir")
                .value_name("PATH")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Configuration file, or a folder of *.hcl and *.json; may be repeated, later ones win"),
            Arg::new("config-format")
                .long("config-format")
                .value_name("FORMAT")
                .help("hcl or json, for files whose name does not tell"),
            Arg::new("hcl")
                .long("hcl")
                .value_name("HCL")
                .action(ArgAction::Append)
                .help("A piece of configuration; may be repeated"),
        ];
        command.about(about).after_help(example).args(own).args(FLAGS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        AgentArgs::augment_args(command)
    }
}

impl clap::FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<AgentArgs, clap::Error> {
        let refused = |message: String| clap::Error::raw(clap::error::ErrorKind::InvalidValue, message + "\n");
        let format = matches.get_one::<String>("config-format").map(|name| Format::named(name)).transpose().map_err(refused)?;
        let mut document = Map::new();
        for flag in FLAGS {
            if let Some(value) = value_of(flag, matches).map_err(refused)? {
                put(&mut document, flag.1, value);
            }
        }
        let sources = Sources {
            paths: matches.get_many("config-file").into_iter().flatten().cloned().collect(),
            format,
            inline: matches.get_many("hcl").into_iter().flatten().cloned().collect(),
            flags: Value::Object(document),
            dev: matches.get_one("dev").copied().unwrap_or(false),
            environment: std::env::var(defaults::CONFIG_VARIABLE).ok(),
            elsewhere: false,
        };
        Ok(AgentArgs { sources })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = AgentArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name("BOOL")
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .value_parser(value_parser!(bool))
}

fn argument(Flag(name, _, kind, help): &Flag) -> Arg {
    let arg = Arg::new(*name).long(*name).help(*help);
    match kind {
        Kind::Switch => switch(name, help),
        Kind::Text => arg.value_name("VALUE"),
        Kind::Number => arg.value_name("NUMBER").allow_negative_numbers(true).value_parser(value_parser!(i64)),
        Kind::List => arg.value_name("VALUE").action(ArgAction::Append),
        Kind::Pairs => arg.value_name("KEY:VALUE").action(ArgAction::Append),
    }
}

/// What was given for a flag, as a value of the document.
fn value_of(Flag(name, _, kind, _): &Flag, matches: &ArgMatches) -> Result<Option<Value>, String> {
    let texts = || matches.get_many::<String>(name).map(|values| values.cloned().collect::<Vec<_>>());
    Ok(match kind {
        Kind::Switch => matches.get_one::<bool>(name).map(|value| json!(value)),
        Kind::Number => matches.get_one::<i64>(name).map(|value| json!(value)),
        Kind::Text => matches.get_one::<String>(name).map(|value| json!(value)),
        Kind::List => texts().map(|values| json!(values)),
        Kind::Pairs => match texts() {
            None => None,
            Some(texts) => {
                let pairs: Result<Map<String, Value>, String> = texts
                    .iter()
                    .map(|text| {
                        let (key, value) =
                            text.split_once(':').ok_or_else(|| format!("-{name}: expected key:value, got {text:?}"))?;
                        Ok((key.to_owned(), json!(value)))
                    })
                    .collect();
                Some(Value::Object(pairs?))
            }
        },
    })
}

/// Puts a value under a key that may name a stanza before a point.
fn put(document: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => _ = document.insert(key.to_owned(), value),
        Some((stanza, name)) => {
            if let Value::Object(inner) = document.entry(stanza).or_insert_with(|| json!({})) {
                inner.insert(name.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::argv;
    use crate::config::{Host, HttpAddress, Interface, resolve_on};
    use clap::{Args, FromArgMatches};

    fn sources(line: &str) -> Result<Sources, clap::Error> {
        let args = argv::normalise(line.split_whitespace().map(str::to_owned));
        let command = AgentArgs::augment_args(Command::new("agent")).args_override_self(true);
        Ok(AgentArgs::from_arg_matches(&command.try_get_matches_from(args)?)?.sources)
    }

    fn resolved(line: &str) -> Config {
        let eth0 = Interface::up("eth0", "10.0.0.7".parse().unwrap(), 24);
        resolve_on(&sources(line).unwrap(), &Host { name: "h".to_owned(), interfaces: vec![eth0], ..Host::default() }).unwrap()
    }

    #[test]
    fn the_command_lines_that_consul_s_users_have_work_to_the_letter() {
        let first =
            resolved("agent -server -bootstrap-expect 3 -data-dir /tmp/consul -node=s1 -bind=170.200.7.30 -ui -client=0.0.0.0");
        assert!(first.server);
        assert_eq!((first.bootstrap_expect, first.node_name.as_str()), (3, "s1"));
        assert_eq!(first.data_dir, Some("/tmp/consul".into()));
        assert_eq!((first.bind, first.advertise), ("170.200.7.30".parse().unwrap(), "170.200.7.30".parse().unwrap()));
        assert_eq!(first.ui_path.as_deref(), Some("/ui/"));
        assert_eq!(first.http, [HttpAddress::Tcp("0.0.0.0:8500".parse().unwrap())]);
        assert_eq!(first.warnings, ["ui is accepted and has no effect yet: there are no pages to serve"]);
        let second =
            resolved("agent -server -data-dir /tmp/consul -node=s2 -bind=170.200.7.20 -ui -client=0.0.0.0 -join 170.200.7.30");
        assert_eq!((second.server, second.bootstrap_expect), (true, 0));
        assert_eq!(second.join_lan.retry, ["170.200.7.30"]);
        let client = resolved("agent -data-dir /tmp/consul -node=c1 -bind=170.200.7.50 -ui -client=0.0.0.0 -join 170.200.7.30");
        assert!(!client.server);
        assert_eq!(client.bridge, "170.200.7.50:8300".parse().unwrap());
    }

    #[test]
    fn switches_lists_numbers_and_pairs_are_read_as_go_reads_them() {
        let config = resolved(
            "agent -data-dir=/d -server=false -join a -join=b -retry-join c -dns-port -1 -http-port=8501 \
             -node-meta rack:1 -node-meta=url:http://x -datacenter DC9 -datacenter DC2",
        );
        assert!(!config.server);
        assert_eq!(config.join_lan.retry, ["a", "b", "c"]);
        assert!(config.dns.is_empty());
        assert_eq!(config.node_meta["url"], "http://x");
        assert_eq!((config.node_meta["rack"].as_str(), config.datacenter.as_str()), ("1", "dc2"));
        for wrong in
            ["agent -no-such-flag", "agent -node-meta x", "agent -http-port x", "agent -server=maybe", "agent -config-format=xml"]
        {
            assert!(sources(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_and_folders_keep_the_order_they_are_given_in() {
        let sources = sources("agent -dev -config-dir /b -config-file=/a.hcl -config-dir=/c").unwrap();
        assert_eq!(sources.paths, [PathBuf::from("/b"), "/a.hcl".into(), "/c".into()]);
        assert!(sources.dev);
    }
}
