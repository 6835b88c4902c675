//! `kontor demo`: two datacenters in one process, three servers and one client each, with sample services.
//!
//! The agents are real and use real sockets. Their folder is removed at the end unless `-data-dir` names one.

use super::Agent;
use super::run::{failed, say};
use crate::cli::DemoOptions;
use crate::config::{Config, Sources, resolve};
use crate::local::Source;
use crate::model::definition::ServiceDefinition;
use crate::model::operation::{CatalogRead, Read};
use crate::model::principal::Principal;
use crate::model::query::{Freshness, Identity, Query};
use crate::telemetry;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const DATACENTERS: [&str; 2] = ["dc1", "dc2"];
/// The agents of each, in steps of ten ports.
const AGENTS: [(&str, bool); 4] = [("s1", true), ("s2", true), ("s3", true), ("c1", false)];
/// Time to federate before the demo fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for the agents to stop: they hand nothing over.
const STOP: Duration = Duration::from_millis(400);
/// Time between looks for missing agents.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the demo until a signal stops it.
pub fn run(options: DemoOptions) -> ExitCode {
    if let Err(message) = telemetry::start("err", false, None) {
        return failed(&message);
    }
    match run_in(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => failed(&message),
    }
}

fn run_in(options: &DemoOptions) -> Result<(), String> {
    let folder = Folder::open(options.data_dir.as_deref())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("the runtime could not be started: {error}"))?;
    let outcome = runtime.block_on(demo(options, &folder.path));
    // An agent still at work ends as in a crash, which is safe.
    runtime.shutdown_timeout(STOP / 2);
    outcome
}

async fn demo(options: &DemoOptions, folder: &Path) -> Result<(), String> {
    let started = Instant::now();
    say("==> Starting two datacenters: three servers and one client each\n");
    let mut agents = Vec::new();
    let outcome = tokio::select! {
        outcome = play(&mut agents, options, folder, started) => outcome,
        outcome = stop_signal() => outcome,
    };
    say("==> Stopping\n");
    let stops: Vec<_> = agents.into_iter().map(|agent| tokio::spawn(agent.shutdown())).collect();
    let all = async {
        for stop in stops {
            stop.await.map_err(|error| error.to_string())?;
        }
        Ok::<_, String>(())
    };
    tokio::time::timeout(STOP, all).await.unwrap_or(Ok(()))?;
    outcome
}

/// Starts the agents, and waits until they answer for each other; then runs on until it is dropped.
async fn play(agents: &mut Vec<Agent>, options: &DemoOptions, folder: &Path, started: Instant) -> Result<(), String> {
    for dc in DATACENTERS {
        for (name, server) in AGENTS {
            agents.push(Agent::bind(plan(options, folder, dc, name, server)?, None).await?);
        }
    }
    let agents: &[Agent] = agents;
    register_samples(agents).await?;
    // Clients know no leader.
    let leads = |agent: &Agent| agent.raft().is_none() || agent.router().leader_addr().is_some();
    wait_for(async || {
        let missing: Vec<&str> = agents.iter().filter(|agent| !leads(agent)).map(Agent::node_name).collect();
        let error = || format!("expected a leader in each datacenter; still missing at {}", missing.join(", "));
        if missing.is_empty() { Ok(()) } else { Err(error()) }
    })
    .await?;
    say(&format!("==> Both datacenters have a leader ({:.1} s)\n", started.elapsed().as_secs_f64()));
    for agent in agents {
        for dc in DATACENTERS {
            until_answered(agent, dc).await?;
        }
    }
    say(&format!("==> They see each other and answer for each other ({:.1} s)\n\n", started.elapsed().as_secs_f64()));
    print_guide(agents);
    std::future::pending().await
}

/// One sample service at each client: `web` in both datacenters, `db` in the second alone.
async fn register_samples(agents: &[Agent]) -> Result<(), String> {
    let clients: Vec<&Agent> = agents.iter().filter(|agent| agent.raft().is_none()).collect();
    for (number, client) in clients.iter().enumerate() {
        let names: &[(&str, u16)] = if number == 0 { &[("web", 8080)] } else { &[("web", 8080), ("db", 5432)] };
        for (name, port) in names {
            let definition = ServiceDefinition {
                name: (*name).to_owned(),
                port: *port,
                tags: vec!["demo".to_owned()],
                ..ServiceDefinition::default()
            };
            client.local().add_service(definition, Source::Api, false).await.map_err(|fault| fault.to_string())?;
        }
    }
    Ok(())
}

/// Waits until `look` succeeds, and fails with its last error.
async fn wait_for(mut look: impl AsyncFnMut() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Err(error) if Instant::now() > deadline => return Err(format!("after {PATIENCE:?}: {error}")),
            Err(_) => tokio::time::sleep(LOOK).await,
            Ok(()) => return Ok(()),
        }
    }
}

async fn until_answered(agent: &Agent, dc: &str) -> Result<(), String> {
    let read = Read::Catalog(CatalogRead::Service { name: "web".to_owned(), lookup: crate::model::operation::Lookup::Plain });
    let identity = Identity { dc: Some(dc.to_owned()), ..Identity::new(read, Principal::anonymous()) };
    let query = Query::of(identity, Freshness::default());
    wait_for(async || match agent.router().query(query.clone()).await {
        Ok(answer) if answer.body.len() > 2 => Ok(()),
        Ok(_) => Err(format!("{} got no answer of {dc}: no instance yet", agent.node_name())),
        Err(fault) => Err(format!("{} got no answer of {dc}: {fault}", agent.node_name())),
    })
    .await
}

fn print_guide(agents: &[Agent]) {
    let mut shown = agents.iter();
    for dc in DATACENTERS {
        for (agent, (_, server)) in shown.by_ref().take(AGENTS.len()).zip(AGENTS) {
            let role = if server { "server" } else { "client" };
            if let Some(http) = agent.http_addrs().first() {
                say(&format!("    {dc}  {:<3} {role}  http://{http}\n", agent.node_name()));
            }
        }
    }
    if let Some(http) = agents.first().and_then(|agent| agent.http_addrs().first()) {
        say("\nTry:\n");
        say(&format!("    curl '{http}/v1/health/service/web?dc=dc2'\n"));
        say(&format!("    curl '{http}/v1/catalog/service/db?dc=dc2&stale'\n"));
        say(&format!("    curl '{http}/v1/catalog/datacenters'\n"));
        say(&format!("    kontor members -wan -http-addr={http}\n\n"));
    }
    say("==> Running; press Ctrl-C to stop\n");
}

async fn stop_signal() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| format!("signals cannot be handled: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The configuration of one agent, on ports of its own.
fn plan(options: &DemoOptions, folder: &Path, dc: &str, name: &str, server: bool) -> Result<Config, String> {
    let ports = Ports::of(options, dc, name)?;
    let at = |port| SocketAddr::new(options.bind, port).to_string();
    let others = servers().filter(|other| *other != name);
    let lan: Vec<String> = others.map(|other| Ok(at(Ports::of(options, dc, other)?.lan))).collect::<Result<_, String>>()?;
    let first = Ports::of(options, DATACENTERS[0], "s1")?;
    let wan: Vec<String> = (server && dc != DATACENTERS[0]).then(|| at(first.wan)).into_iter().collect();
    let flags: Value = json!({
        "server": server,
        "bootstrap_expect": if server { servers().count() } else { 0 },
        "datacenter": dc,
        "node_name": name,
        "data_dir": folder.join(dc).join(name),
        "bind_addr": options.bind,
        "client_addr": options.bind,
        "ports": {"http": ports.http, "dns": -1, "server": ports.server, "serf_lan": ports.lan, "serf_wan": ports.wan},
        "retry_join": lan,
        "retry_interval": "200ms",
        "retry_join_wan": wan,
        "retry_interval_wan": "200ms",
    });
    let sources = Sources { flags, ..Sources::default() };
    let mut config = resolve(&sources).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    config.fast_gossip = true;
    Ok(config)
}

fn servers() -> impl Iterator<Item = &'static str> {
    AGENTS.iter().filter(|(_, server)| *server).map(|(name, _)| *name)
}

/// The ports of one agent: as far from its HTTP port as Consul's are, ten further an agent.
struct Ports {
    http: u16,
    server: u16,
    lan: u16,
    wan: u16,
}

impl Ports {
    fn of(options: &DemoOptions, dc: &str, name: &str) -> Result<Ports, String> {
        let first = if dc == DATACENTERS[0] { options.dc1_port } else { options.dc2_port };
        let place = AGENTS.iter().position(|(other, _)| *other == name).unwrap_or_default() as u16;
        let http = first.checked_add(10 * place).filter(|http| *http > 1224);
        let http = http.ok_or_else(|| format!("expected an HTTP port between 1225 and 65505 for {dc}, got {first}"))?;
        Ok(Ports { http, server: http - 200, lan: http - 199, wan: http - 198 })
    }
}

/// The folder of the agents' data; removed at the end when it is the demo's own.
struct Folder {
    path: PathBuf,
    own: bool,
}

impl Folder {
    fn open(wanted: Option<&Path>) -> Result<Folder, String> {
        let path = match wanted {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("kontor-demo-{}", std::process::id())),
        };
        std::fs::create_dir_all(&path).map_err(|error| format!("cannot use {}: {error}", path.display()))?;
        Ok(Folder { path, own: wanted.is_none() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.own
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            let _ = failed(&format!("{} could not be removed: {error}", self.path.display()));
        }
    }
}
