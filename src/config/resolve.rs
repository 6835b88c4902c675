//! From files and flags to a [`Config`]: defaults, checks, and all errors at once.
//!
//! Every rule that makes a value impossible is here, in `network`, `safety` or `federation`.

use super::baseline::baseline;
use super::chooser::{Chooser, Found};
use super::file::{AutopilotStanza, File, HealthStanza, HttpConfig, Performance};
use super::interfaces::Host;
use super::places::Places;
use super::problems::{ConfigError, Problems};
use super::sources::Sources;
use super::values::{datacenter, set, within};
use super::{Config, Join, federation, network, safety, template, unix_sockets};
use crate::defaults;
use crate::model::autopilot::AutopilotConfig;
use crate::model::log_file::LogFile;
use crate::model::member::cloud_provider;
use std::path::{Path, PathBuf};

/// Reads all sources and resolves them on this host.
pub fn resolve(sources: &Sources) -> Result<Config, Vec<ConfigError>> {
    let host = Host::read().map_err(|message| vec![ConfigError { source: String::new(), at: None, message }])?;
    resolve_on(sources, &host)
}

/// Reads all sources and resolves them as if on `host`.
pub fn resolve_on(sources: &Sources, host: &Host) -> Result<Config, Vec<ConfigError>> {
    let mut problems = Problems::default();
    let file = sources.read(&mut problems);
    let mut config = baseline();
    config.dev = sources.dev;
    role(&file, &mut config, &mut problems);
    identity(&file, host, &mut config, &mut problems);
    let mut chooser = Chooser::new(host, Found::new());
    network::addresses(&file, &mut chooser, &mut config, &mut problems);
    config.places = Places::new(&file, chooser);
    membership(&file, host, &mut config, &mut problems);
    requests(&file, &mut config, &mut problems);
    raft(&file, &mut config, &mut problems);
    http(&file, &mut config, &mut problems);
    logging(&file, &mut config, &mut problems);
    safety::resolve(&file, &mut config, &mut problems);
    federation::resolve(&file, &mut config, &mut problems);
    unix_sockets::resolve(file.unix_sockets.clone().unwrap_or_default(), &mut config, &mut problems);
    open_files(host, &config, &mut problems);
    config.services = [&file.service, &file.services].into_iter().flatten().flatten().cloned().collect();
    config.checks = [&file.check, &file.checks].into_iter().flatten().flatten().cloned().collect();
    checks(&file, &mut config, &mut problems);
    config.watches = file.watches.unwrap_or_default();
    if config.watches.len() > defaults::WATCHES_MAX {
        problems.error(format!("watches: expected at most {}, got {}", defaults::WATCHES_MAX, config.watches.len()));
    }
    if !problems.errors.is_empty() {
        return Err(problems.errors);
    }
    config.warnings = problems.warnings;
    Ok(config)
}

fn path(text: Option<&str>) -> Option<PathBuf> {
    text.filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// Server or client, the begin of a cluster, and the folder for state.
fn role(file: &File, config: &mut Config, problems: &mut Problems) {
    config.server = file.server.unwrap_or(config.dev);
    config.fast_gossip = config.dev;
    let bootstrap = file.bootstrap.unwrap_or(false);
    let expect: u32 = within(file.bootstrap_expect, "bootstrap_expect", (0, i64::from(i32::MAX)), problems).unwrap_or(0);
    problems.errors_of([
        (expect > 0 && bootstrap, "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive"),
        (expect > 0 && !config.server, "'bootstrap_expect > 0' requires 'server = true'"),
        (bootstrap && !config.server, "'bootstrap = true' requires 'server = true'"),
        (config.dev && expect > 1, "'bootstrap_expect > 1' cannot be met by an agent in dev mode, which is a cluster of one"),
    ]);
    if expect > 1 && expect.is_multiple_of(2) {
        problems
            .warn(format!("bootstrap_expect is {expect}: an even number of servers tolerates no more failures than one less"));
    }
    config.bootstrap_expect = if bootstrap || (config.dev && config.server) { 1 } else { expect };
    config.data_dir = path(file.data_dir.as_deref()).filter(|_| !config.dev);
    match &config.data_dir {
        None if !config.dev => problems.error("data_dir cannot be empty"),
        Some(dir) if dir.exists() && !dir.is_dir() => problems.error(format!("data_dir {:?} is not a directory", dir.display())),
        _ => {}
    }
    config.pid_file = path(file.pid_file.as_deref());
}

fn identity(file: &File, host: &Host, config: &mut Config, problems: &mut Problems) {
    if let Some(name) = file.datacenter.as_deref() {
        config.datacenter = datacenter(name, "datacenter", problems);
    }
    config.primary_datacenter = match file.primary_datacenter.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => datacenter(name, "primary_datacenter", problems),
        None => config.datacenter.clone(),
    };
    config.node_name = file.node_name.clone().unwrap_or_else(|| host.name.clone());
    if config.node_name.is_empty() {
        problems.error("node_name cannot be empty. Must provide a name or let it be the name of this host");
    } else if config.node_name.chars().any(char::is_control) || config.node_name.len() > defaults::NODE_NAME_BYTES {
        let most = defaults::NODE_NAME_BYTES;
        problems
            .error(format!("node_name: expected at most {most} bytes without control characters, got {:?}", config.node_name));
    } else if !config.node_name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        problems.warn(format!(
            "node_name {:?} is not discoverable by DNS: it has more than letters, digits and dashes",
            config.node_name
        ));
    }
    if let Some(id) = file.node_id.as_deref().filter(|id| !id.is_empty()) {
        config.node_id = id.parse().map_err(|error| problems.error(format!("node_id: {error}"))).ok();
    }
    config.node_meta = file.node_meta.clone().unwrap_or_default();
    node_meta(config, problems);
    if let Some(domain) = file.domain.as_deref() {
        config.domain = domain.trim_end_matches('.').to_lowercase();
        if config.domain.is_empty() || config.domain.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-' && c != '.') {
            problems.error(format!("domain: expected a DNS name such as consul, got {domain:?}"));
        }
    }
}

fn node_meta(config: &Config, problems: &mut Problems) {
    if config.node_meta.len() > defaults::NODE_META_PAIRS {
        problems.error(format!("node_meta cannot contain more than {} key/value pairs", defaults::NODE_META_PAIRS));
    }
    for (key, value) in &config.node_meta {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || !key.chars().all(word) || key.len() > defaults::NODE_META_KEY_BYTES {
            problems.error(format!("node_meta: expected a key of at most 128 letters, digits, - and _, got {key:?}"));
        } else if key.starts_with("consul-") {
            problems.error(format!("node_meta: keys that start with consul- are reserved, got {key:?}"));
        }
        if value.len() > defaults::NODE_META_VALUE_BYTES {
            problems.error(format!("node_meta: the value of {key:?} is longer than {} bytes", defaults::NODE_META_VALUE_BYTES));
        }
    }
}

fn membership(file: &File, host: &Host, config: &mut Config, problems: &mut Problems) {
    join(&mut config.join_lan, [&file.start_join, &file.retry_join], host, problems);
    join(&mut config.join_wan, [&file.start_join_wan, &file.retry_join_wan], host, problems);
    set(&mut config.join_lan.interval, file.retry_interval);
    set(&mut config.join_wan.interval, file.retry_interval_wan);
    set(&mut config.join_lan.max, within(file.retry_max, "retry_max", (0, i64::from(i32::MAX)), problems));
    set(&mut config.join_wan.max, within(file.retry_max_wan, "retry_max_wan", (0, i64::from(i32::MAX)), problems));
    for (interval, key) in [(config.join_lan.interval, "retry_interval"), (config.join_wan.interval, "retry_interval_wan")] {
        if interval.is_zero() {
            problems.error(format!("{key}: expected more than 0, such as 30s"));
        }
    }
    config.serf_lan_allowed_cidrs = network::cidrs(file.serf_lan_allowed_cidrs.as_ref(), "serf_lan_allowed_cidrs", problems);
    config.serf_wan_allowed_cidrs = network::cidrs(file.serf_wan_allowed_cidrs.as_ref(), "serf_wan_allowed_cidrs", problems);
    config.leave_on_terminate = file.leave_on_terminate.unwrap_or(!config.server);
    config.skip_leave_on_interrupt = file.skip_leave_on_interrupt.unwrap_or(config.server);
    set(&mut config.rejoin_after_leave, file.rejoin_after_leave);
    set(&mut config.reconnect_timeout, file.reconnect_timeout);
    config.advertise_reconnect_timeout = file.advertise_reconnect_timeout.filter(|timeout| !timeout.is_zero());
    if config.server && config.advertise_reconnect_timeout.is_some() {
        problems.error("advertise_reconnect_timeout can only be used on a client");
    }
    set(&mut config.reconnect_timeout_wan, file.reconnect_timeout_wan);
    set(&mut config.translate_wan_addrs, file.translate_wan_addrs);
}

/// Both kinds of join make one list, since every address is tried again until it answers.
fn join(join: &mut Join, lists: [&Option<Vec<String>>; 2], host: &Host, problems: &mut Problems) {
    for address in lists.into_iter().flatten().flatten() {
        if template::is_template(address) {
            match template::expand(address, host) {
                Ok(expanded) if expanded.unmatched.is_empty() => {
                    join.retry.extend(expanded.text.split_whitespace().map(str::to_owned));
                }
                Ok(expanded) => expanded.unmatched.iter().for_each(|cause| problems.error(format!("retry_join: {cause}"))),
                Err(error) => problems.error(format!("retry_join: {error}")),
            }
        } else if let Some(provider) = cloud_provider(address) {
            problems.warn(format!(
                "retry_join: provider={provider} is tried in vain, since no cloud auto-join is offered; name addresses or DNS names in its place"
            ));
            join.retry.push(address.clone());
        } else if address.trim().is_empty() {
            problems.error("retry_join: expected an address or a DNS name, got an empty one");
        } else if !join.retry.contains(address) {
            join.retry.push(address.clone());
        }
    }
}

fn requests(file: &File, config: &mut Config, problems: &mut Problems) {
    set(&mut config.default_query_time, file.default_query_time);
    set(&mut config.max_query_time, file.max_query_time);
    set(&mut config.discovery_max_stale, file.discovery_max_stale);
    let HealthStanza { observe, panic_threshold } = file.health.clone().unwrap_or_default();
    set(&mut config.health_observe, observe);
    set(&mut config.health_panic_threshold, within(panic_threshold, "health.panic_threshold", (0, 100), problems));
    set(&mut config.check_update_interval, file.check_update_interval);
    let bounds = (1, i64::from(i32::MAX));
    set(&mut config.check_output_max_size, within(file.check_output_max_size, "check_output_max_size", bounds, problems));
    set(&mut config.discard_check_output, file.discard_check_output);
    set(&mut config.session_ttl_min, file.session_ttl_min);
    let limits = file.limits.clone().unwrap_or_default();
    let value = within(limits.kv_max_value_size, "limits.kv_max_value_size", defaults::KV_MAX_VALUE_BOUNDS, problems);
    set(&mut config.kv_max_value, value);
    let request = within(limits.txn_max_req_len, "limits.txn_max_req_len", defaults::KV_MAX_VALUE_BOUNDS, problems);
    set(&mut config.txn_max_request, request);
    let connections = file.limits.as_ref().and_then(|limits| limits.http_max_conns_per_client);
    set(&mut config.http_max_conns_per_client, within(connections, "limits.http_max_conns_per_client", bounds, problems));
}

/// Refuses too low a limit of open files, with Consul's text: connections would fail many times a second.
fn open_files(host: &Host, config: &Config, problems: &mut Problems) {
    let connections = config.http_max_conns_per_client;
    let needed = connections as u64 + defaults::OPEN_FILES_OWN;
    if let Some(most) = host.open_files.filter(|most| *most < needed && !problems.elsewhere) {
        problems.error(format!(
            "system allows a max of {most} file descriptors, but limits.http_max_conns_per_client: {connections} needs at least \
             {needed}; raise it with ulimit -n or LimitNOFILE"
        ));
    }
}

fn checks(file: &File, config: &mut Config, problems: &mut Problems) {
    set(&mut config.enable_script_checks, file.enable_script_checks);
    set(&mut config.enable_local_script_checks, file.enable_local_script_checks);
    set(&mut config.enable_agent_tls_for_checks, file.enable_agent_tls_for_checks);
    let fenced = file.http_config.as_ref().is_some_and(|http| http.allow_write_http_from.is_some());
    if config.enable_script_checks && !fenced {
        problems.warn(
            "enable_script_checks without ACLs and without http_config.allow_write_http_from lets everybody who reaches the HTTP API run any command here; use enable_local_script_checks instead",
        );
    }
    config.enable_local_script_checks |= config.enable_script_checks;
    scripts(config, problems);
    let has_tls = config.tls.ca_file.is_some() || config.tls.ca_path.is_some() || config.tls.cert_file.is_some();
    if config.enable_agent_tls_for_checks && !has_tls {
        problems.warn("enable_agent_tls_for_checks has no effect without ca_file, ca_path or cert_file");
    }
}

/// Judges the scripts and services that checks of files name, as an agent does when it registers them.
fn scripts(config: &Config, problems: &mut Problems) {
    let of_services = config.services.iter().flat_map(|service| service.check.iter().chain(&service.checks));
    for check in of_services.chain(&config.checks) {
        let Some(program) = check.script_args.first() else { continue };
        if !config.enable_local_script_checks {
            problems.error(
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
            );
            return;
        }
        if check.docker_container_id.is_empty() && program.starts_with('/') && !Path::new(program).exists() {
            problems.warn(format!("the script {program} is not on this machine; its check would be critical"));
        }
    }
    let ids: Vec<&str> = config.services.iter().map(|it| if it.id.is_empty() { &*it.name } else { &*it.id }).collect();
    for check in config.checks.iter().filter(|check| !check.service_id.is_empty() && !ids.contains(&&*check.service_id)) {
        problems.warn(format!(
            "the check {} is of the service {}, which no file defines; an agent starts only where that was registered over HTTP",
            check.name, check.service_id
        ));
    }
}

fn raft(file: &File, config: &mut Config, problems: &mut Problems) {
    let Performance { raft_multiplier, leave_drain_time, rpc_hold_timeout } = file.performance.clone().unwrap_or_default();
    let bounds = (1, i64::from(defaults::RAFT_MULTIPLIER_MAX));
    set(&mut config.raft_multiplier, within(raft_multiplier, "performance.raft_multiplier", bounds, problems));
    set(&mut config.leave_drain_time, leave_drain_time);
    set(&mut config.rpc_hold_timeout, rpc_hold_timeout);
    let bounds = (1, i64::MAX);
    set(&mut config.raft_snapshot_entries, within(file.raft_snapshot_threshold, "raft_snapshot_threshold", bounds, problems));
    set(&mut config.raft_trailing_logs, within(file.raft_trailing_logs, "raft_trailing_logs", (0, i64::MAX), problems));
    let least = defaults::RAFT_TRAILING_ENTRIES;
    if config.raft_trailing_logs < least {
        problems.warn(format!(
            "raft_trailing_logs is raised from {} to {least}, the least this agent keeps",
            config.raft_trailing_logs
        ));
        config.raft_trailing_logs = least;
    }
    autopilot(file.autopilot.clone().unwrap_or_default(), &mut config.autopilot, problems);
}

fn autopilot(stanza: AutopilotStanza, autopilot: &mut AutopilotConfig, problems: &mut Problems) {
    let bounds = (0, i64::from(i32::MAX));
    set(&mut autopilot.cleanup_dead_servers, stanza.cleanup_dead_servers);
    set(&mut autopilot.last_contact_threshold, stanza.last_contact_threshold);
    set(&mut autopilot.max_trailing_logs, within(stanza.max_trailing_logs, "autopilot.max_trailing_logs", bounds, problems));
    set(&mut autopilot.min_quorum, within(stanza.min_quorum, "autopilot.min_quorum", bounds, problems));
    set(&mut autopilot.server_stabilization_time, stanza.server_stabilization_time);
}

fn http(file: &File, config: &mut Config, problems: &mut Problems) {
    let HttpConfig { block_endpoints, response_headers, allow_write_http_from, use_cache } =
        file.http_config.clone().unwrap_or_default();
    set(&mut config.block_endpoints, block_endpoints);
    set(&mut config.response_headers, response_headers);
    set(&mut config.use_cache, use_cache);
    config.allow_write_http_from = network::cidrs(allow_write_http_from.as_ref(), "http_config.allow_write_http_from", problems);
    for (name, value) in &config.response_headers {
        if hyper::header::HeaderName::try_from(name).is_err() || hyper::header::HeaderValue::try_from(value).is_err() {
            problems.error(format!("http_config.response_headers: {name:?} is no header with a value that can be sent"));
        }
    }
    let ui_config = file.ui_config.clone().unwrap_or_default();
    if file.ui_dir.as_deref().is_some_and(|dir| !dir.is_empty()) {
        problems.warn("ui_dir is accepted and has no effect yet");
    }
    if ui_config.enabled.or(file.ui).unwrap_or(false) {
        problems.warn("ui is accepted and has no effect yet: there are no pages to serve");
    }
    if ui_config.enabled.or(file.ui).unwrap_or(config.dev) {
        let path = ui_config.content_path.or_else(|| file.ui_content_path.clone()).unwrap_or_else(|| "/ui/".to_owned());
        let inner = path.trim_matches('/');
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '/';
        if inner.is_empty() || !inner.chars().all(word) || inner == "v1" || inner.starts_with("v1/") {
            problems.error(format!(
                "ui_config.content_path: expected a path of letters, digits, - and _ that is not under /v1/, got {path:?}"
            ));
        }
        config.ui_path = Some(format!("/{inner}/"));
    }
}

fn logging(file: &File, config: &mut Config, problems: &mut Problems) {
    let level = file.log_level.as_deref().unwrap_or(if config.dev { "DEBUG" } else { "INFO" }).to_uppercase();
    config.log_level = match level.as_str() {
        "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" => level,
        "ERR" => "ERROR".to_owned(),
        _ => {
            problems.error(format!("log_level: expected one of TRACE, DEBUG, INFO, WARN, ERR, got {level:?}"));
            level
        }
    };
    set(&mut config.log_json, file.log_json);
    config.log_file = log_file(file, problems);
}

/// As in Consul, a name with a slash at its end is a folder's; so is the name of an existing folder.
fn log_file(file: &File, problems: &mut Problems) -> Option<LogFile> {
    let bounds = (0, i64::MAX);
    let max_bytes = within(file.log_rotate_bytes, "log_rotate_bytes", bounds, problems).unwrap_or(0);
    let max_age = file.log_rotate_duration.filter(|age| !age.is_zero()).unwrap_or(defaults::LOG_ROTATE_DURATION);
    let max_files = file.log_rotate_max_files.filter(|count| *count != 0).map(|count| usize::try_from(count).unwrap_or(0));
    let named = path(file.log_file.as_deref())?;
    let is_timed = file.log_file.as_deref().is_some_and(|name| name.ends_with('/')) || named.is_dir();
    let name = named.file_name().filter(|_| !is_timed).map(|name| name.to_string_lossy().into_owned());
    let folder = if is_timed { named } else { named.parent().unwrap_or(Path::new("")).to_owned() };
    let name = name.unwrap_or_else(|| defaults::LOG_FILE_NAME.to_owned());
    Some(LogFile { folder, name, is_timed, max_bytes, max_age, max_files })
}

#[cfg(test)]
mod tests;
