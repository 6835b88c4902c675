//! `kontor agent`: flags become the same document that a configuration file is.
//!
//! Each flag is one row of [`FLAGS`]; `config` gives its value a meaning.

use super::ReloadFn;
use crate::config::{self, Config, ConfigError, Format, Sources};
use crate::defaults;
use Kind::{List, Number, Pairs, Switch, Text};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

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
type Flag = (&'static str, &'static str, Kind, &'static str);

const FLAGS: &[Flag] = &[
    ("server", "server", Switch, "Run as a server: hold the catalog and take part in its elections"),
    ("bootstrap-expect", "bootstrap_expect", Number, "Servers to wait for before the first election"),
    ("bootstrap", "bootstrap", Switch, "Be a cluster of one at once"),
    ("data-dir", "data_dir", Text, "Folder for everything that survives a restart; needed but with -dev"),
    ("node", "node_name", Text, "Name of this node, unique in its datacenter [default: the host's name]"),
    ("node-id", "node_id", Text, "Stable id of this node, a UUID [default: random, kept]"),
    ("node-meta", "node_meta", Pairs, "Metadata of this node as key:value; may be repeated"),
    ("datacenter", "datacenter", Text, "Datacenter of this agent [default: dc1]"),
    ("bind", "bind_addr", Text, "Address for agents of the datacenter [default: 0.0.0.0]"),
    ("advertise", "advertise_addr", Text, "Address told to agents of the datacenter [default: -bind]"),
    ("advertise-wan", "advertise_addr_wan", Text, "Address told to other datacenters [default: -advertise, else -serf-wan-bind]"),
    ("client", "client_addr", Text, "Addresses for HTTP, separated by spaces [default: 127.0.0.1]"),
    ("serf-lan-bind", "serf_lan", Text, "Address of the LAN pool [default: -bind]"),
    ("serf-wan-bind", "serf_wan", Text, "Address of the WAN pool and the bridge [default: -bind]"),
    ("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", List, "Networks that LAN members may be of; may be repeated"),
    ("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", List, "Networks that WAN members may be of; may be repeated"),
    ("http-port", "ports.http", Number, "HTTP port, -1 for none [default: 8500]"),
    ("https-port", "ports.https", Number, "HTTPS port, -1 for none [default: -1]"),
    ("dns-port", "ports.dns", Number, "DNS port; has no effect yet"),
    ("grpc-port", "ports.grpc", Number, "gRPC port; has no effect yet"),
    ("server-port", "ports.server", Number, "Port of requests (tcp) and of the bridge (udp) [default: 8300]"),
    ("serf-lan-port", "ports.serf_lan", Number, "Port of the LAN pool [default: 8301]"),
    ("serf-wan-port", "ports.serf_wan", Number, "Port of the WAN pool, -1 for none [default: 8302]"),
    ("join", "start_join", List, "The same as -retry-join"),
    ("retry-join", "retry_join", List, "Agent of the datacenter to join, tried until it answers; may be repeated"),
    ("join-wan", "start_join_wan", List, "The same as -retry-join-wan"),
    ("retry-join-wan", "retry_join_wan", List, "Server of another datacenter to join; may be repeated"),
    ("retry-interval", "retry_interval", Text, "Time between tries to join [default: 30s]"),
    ("retry-interval-wan", "retry_interval_wan", Text, "Time between tries to join the WAN [default: 30s]"),
    ("retry-max", "retry_max", Number, "Tries to join, 0 for ever [default: 0]"),
    ("retry-max-wan", "retry_max_wan", Number, "Tries to join the WAN, 0 for ever [default: 0]"),
    ("rejoin", "rejoin_after_leave", Switch, "Join known members again after a leave"),
    ("encrypt", "encrypt", Text, "Key that seals both pools, see `kontor keygen`"),
    ("domain", "domain", Text, "DNS domain [default: consul]"),
    ("ui", "ui", Switch, "Has no effect yet"),
    ("ui-content-path", "ui_content_path", Text, "Has no effect yet"),
    ("ui-dir", "ui_dir", Text, "Has no effect yet"),
    ("allow-write-http-from", "http_config.allow_write_http_from", List, "Networks that may write over HTTP; may be repeated"),
    ("default-query-time", "default_query_time", Text, "Wait of a blocking query that names none [default: 300s]"),
    ("max-query-time", "max_query_time", Text, "Longest wait of a blocking query [default: 600s]"),
    ("check_output_max_size", "check_output_max_size", Number, "Bytes of check output kept [default: 4096]"),
    ("log-level", "log_level", Text, "TRACE, DEBUG, INFO, WARN or ERR [default: INFO]"),
    ("log-json", "log_json", Switch, "Log as JSON"),
    ("log-file", "log_file", Text, "Log to this file as well, or to files in this folder if it ends in /"),
    ("log-rotate-bytes", "log_rotate_bytes", Number, "Bytes after which the next log file is begun [default: no bound]"),
    ("log-rotate-duration", "log_rotate_duration", Text, "Time after which the next log file is begun [default: 24h]"),
    ("log-rotate-max-files", "log_rotate_max_files", Number, "Older log files kept, 0 for all, -1 for none [default: 0]"),
    ("pid-file", "pid_file", Text, "File for the process id"),
    ("syslog", "enable_syslog", Switch, "Has no effect yet"),
    ("alt-domain", "alt_domain", Text, "Has no effect yet"),
    ("recursor", "recursors", List, "Has no effect yet"),
    ("enable-script-checks", "enable_script_checks", Switch, "Run script checks of configuration files and of the HTTP API"),
    ("enable-local-script-checks", "enable_local_script_checks", Switch, "Run script checks of configuration files"),
    ("disable-host-node-id", "disable_host_node_id", Switch, "Node ids are random in any case"),
    ("disable-keyring-file", "disable_keyring_file", Switch, "Has no effect yet"),
    ("primary-gateway", "primary_gateways", List, "Has no effect yet"),
    ("protocol", "protocol", Number, "Protocol of the pools: 2 or 3"),
    ("raft-protocol", "raft_protocol", Number, "Protocol of Raft: 3"),
    ("non-voting-server", "non_voting_server", Switch, "Has no effect yet"),
    ("segment", "segment", Text, "Not offered"),
];

/// Run an agent: a client, or with -server a server of its datacenter. It stops on SIGTERM and
/// SIGINT, and reads its configuration again on SIGHUP.
#[derive(Clone, Debug, Default)]
pub(super) struct AgentArgs {
    sources: Sources,
}

impl AgentArgs {
    /// Resolves the configuration and runs the agent, or shows all errors at once.
    pub(super) fn run(self, agent: fn(Config, ReloadFn) -> ExitCode) -> ExitCode {
        match config::resolve(&self.sources) {
            Ok(config) => {
                let sources = self.sources;
                agent(config, Arc::new(move || config::resolve(&sources)))
            }
            Err(errors) => super::finish(Err(refusal(&errors))),
        }
    }
}

fn refusal(errors: &[ConfigError]) -> String {
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    format!("the configuration cannot be used:{lines}")
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

fn argument((name, _, kind, help): &Flag) -> Arg {
    let arg = Arg::new(*name).long(*name).help(*help);
    match kind {
        Switch => switch(name, help),
        Text => arg.value_name("VALUE"),
        Number => arg.value_name("NUMBER").allow_negative_numbers(true).value_parser(value_parser!(i64)),
        List => arg.value_name("VALUE").action(ArgAction::Append),
        Pairs => arg.value_name("KEY:VALUE").action(ArgAction::Append),
    }
}

fn value_of((name, _, kind, _): &Flag, matches: &ArgMatches) -> Result<Option<Value>, String> {
    let texts = || matches.get_many::<String>(name).map(|values| values.cloned().collect::<Vec<_>>());
    Ok(match kind {
        Switch => matches.get_one::<bool>(name).map(|value| json!(value)),
        Number => matches.get_one::<i64>(name).map(|value| json!(value)),
        Text => matches.get_one::<String>(name).map(|value| json!(value)),
        List => texts().map(|values| json!(values)),
        Pairs => texts().map(|texts| texts.iter().map(|text| pair(name, text)).collect::<Result<_, _>>()).transpose()?,
    })
}

fn pair(name: &str, text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once(':').ok_or_else(|| format!("-{name}: expected key:value, got {text:?}"))?;
    Ok((key.to_owned(), json!(value)))
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
