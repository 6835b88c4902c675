//! What the tests stand on: agents as processes of the built binary, each on a loopback address
//! of its own with Consul's usual ports, and the HTTP client that asks them.
#![allow(dead_code, reason = "each test binary uses a part of the rig")]

pub mod namespace;
pub mod relay;
pub mod story;
pub mod target;
pub mod wan;

use serde_json::Value;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a condition may take to come true. Generous: it bounds a hang, it measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What agents log: everything that helps to understand a failed test; where speed is measured, what
/// users have by default.
const LOG_LEVEL: &str = if cfg!(debug_assertions) { "debug" } else { "info" };

/// A loopback address nobody else in this test run uses: `127.a.b.c` by process and count.
pub fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    Ipv4Addr::new(127, 16 + (process >> 8) as u8 % 200, process as u8, 1 + (count % 250) as u8)
}

/// An agent to be: its address, its flags, its data directory.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    pub dc: String,
    pub address: Ipv4Addr,
    pub data_dir: PathBuf,
    pub flags: Vec<String>,
    /// Beyond the environment of the test.
    pub env: Vec<(&'static str, PathBuf)>,
}

impl Plan {
    /// A server of `dc` with `-bootstrap-expect`.
    pub fn server(root: &Path, dc: &str, name: &str, expect: u32) -> Plan {
        Plan::client(root, dc, name).flag("-server").flag(&format!("-bootstrap-expect={expect}"))
    }

    /// A client of `dc`.
    pub fn client(root: &Path, dc: &str, name: &str) -> Plan {
        let data_dir = root.join(format!("{dc}-{name}"));
        Plan { name: name.to_owned(), dc: dc.to_owned(), address: address(), data_dir, flags: Vec::new(), env: Vec::new() }
    }

    /// One more flag.
    pub fn flag(mut self, flag: &str) -> Plan {
        self.flags.push(flag.to_owned());
        self
    }

    /// One more variable of its environment.
    pub fn with_env(mut self, name: &'static str, value: &Path) -> Plan {
        self.env.push((name, value.to_owned()));
        self
    }

    /// Joins these agents over the LAN pool.
    pub fn join(self, others: &[&Plan]) -> Plan {
        others.iter().fold(self, |plan, other| plan.flag(&format!("-retry-join={}", other.address)))
    }

    /// Joins these agents over the WAN pool.
    pub fn join_wan(self, others: &[&Plan]) -> Plan {
        others.iter().fold(self, |plan, other| plan.flag(&format!("-retry-join-wan={}", other.address)))
    }

    /// Has it read these settings too, from a file in its data directory.
    pub fn settings(self, settings: &Value) -> Plan {
        std::fs::create_dir_all(&self.data_dir).unwrap();
        let file = self.data_dir.join("settings.json");
        std::fs::write(&file, settings.to_string()).unwrap();
        self.flag(&format!("-config-file={}", file.display()))
    }

    /// The same agent, data and all, at a new address.
    pub fn moved(&self) -> Plan {
        Plan { address: address(), ..self.clone() }
    }

    /// Starts it.
    pub fn start(&self) -> Agent {
        std::fs::create_dir_all(&self.data_dir).unwrap();
        let log = File::options().create(true).append(true).open(self.data_dir.join("agent.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
        command
            .args(["agent", "-retry-interval=500ms", "-retry-interval-wan=500ms"])
            .arg(format!("-log-level={LOG_LEVEL}"))
            .arg(format!("-node={}", self.name))
            .arg(format!("-datacenter={}", self.dc))
            .arg(format!("-bind={}", self.address))
            .arg(format!("-client={}", self.address))
            .arg(format!("-data-dir={}", self.data_dir.display()))
            .args(&self.flags)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Agent { child: command.spawn().unwrap(), plan: self.clone() }
    }
}

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    pub plan: Plan,
}

impl Agent {
    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name, as `kill` does.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success(), "signal {name}");
    }

    /// Waits for its end; the exit code.
    pub fn wait(mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{} did not end", self.plan.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGTERM, and the exit code.
    pub fn terminate(self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its API.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:8500{path}", self.plan.address)
    }

    /// GET without judging the status.
    pub fn try_get(&self, path: &str) -> Option<Reply> {
        request("GET", &self.url(path), None)
    }

    /// GET; the connection must work.
    pub fn get(&self, path: &str) -> Reply {
        self.try_get(path).unwrap_or_else(|| panic!("{}: GET {path}: no answer", self.plan.name))
    }

    /// PUT without judging anything.
    pub fn try_put(&self, path: &str, body: &str) -> Option<Reply> {
        request("PUT", &self.url(path), Some(body))
    }

    /// PUT; the connection must work.
    pub fn put(&self, path: &str, body: &str) -> Reply {
        self.try_put(path, body).unwrap_or_else(|| panic!("{}: PUT {path}: no answer", self.plan.name))
    }

    /// Waits until GET answers 200 with JSON that `good` accepts.
    pub fn wait_for(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        wait_until(&format!("{}: GET {path}", self.plan.name), || {
            let reply = self.try_get(path)?;
            let json = (reply.status == 200).then(|| reply.json())?;
            good(&json).then_some(json)
        })
    }

    /// Waits until it knows a leader and answers by it.
    pub fn wait_for_leader(&self) -> String {
        self.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().is_some_and(|nodes| !nodes.is_empty()));
        self.wait_for("/v1/status/leader", |leader| leader != "").as_str().unwrap().to_owned()
    }

    /// Runs a command of the command line against it: exit code, standard output, standard error.
    pub fn cli(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_kontor"))
            .args(arguments)
            .env("CONSUL_HTTP_ADDR", format!("{}:8500", self.plan.address))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.plan.data_dir.join("agent.log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(25).collect();
            eprintln!("--- the last lines of {} ({}):", self.plan.name, self.plan.dc);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// A header, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// `X-Consul-Index`
    pub fn index(&self) -> u64 {
        self.header("X-Consul-Index").parse().unwrap()
    }
}

/// A client that keeps its connections and gives up on an answer after `patience`.
pub fn client(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(patience))
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .build()
        .into()
}

/// One request; nothing when there was no answer.
pub fn request(method: &str, url: &str, body: Option<&str>) -> Option<Reply> {
    request_by(&client(Duration::from_secs(30)), method, url, body)
}

/// One request by this client; nothing when there was no answer.
pub fn request_by(client: &ureq::Agent, method: &str, url: &str, body: Option<&str>) -> Option<Reply> {
    let request = ureq::http::Request::builder().method(method).uri(url).body(body.unwrap_or_default().to_owned()).unwrap();
    let mut response = client.run(request).ok()?;
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let body = response.body_mut().read_to_string().ok()?;
    Some(Reply { status: response.status().as_u16(), headers, body })
}

/// Tries until `attempt` gives something; fails with `what` after [`PATIENCE`].
pub fn wait_until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "not true within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running datacenter of three servers (and clients, if wanted).
#[derive(Debug)]
pub struct Datacenter {
    pub servers: Vec<Agent>,
    pub clients: Vec<Agent>,
}

impl Datacenter {
    /// Plans three servers that join each other.
    pub fn plans(root: &Path, dc: &str) -> Vec<Plan> {
        Datacenter::plans_of(root, dc, 3)
    }

    /// Plans so many servers that join each other.
    pub fn plans_of(root: &Path, dc: &str, servers: u32) -> Vec<Plan> {
        let plans: Vec<Plan> = (1..=servers).map(|number| Plan::server(root, dc, &format!("s{number}"), servers)).collect();
        let known: Vec<&Plan> = plans.iter().collect();
        plans.iter().map(|plan| plan.clone().join(&known)).collect()
    }

    /// Starts three servers and `clients` clients, and waits until all are in the catalog.
    pub fn start(root: &Path, dc: &str, clients: usize) -> Datacenter {
        Datacenter::start_with(root, dc, clients, |plan| plan)
    }

    /// The same, with every plan changed by `change` first.
    pub fn start_with(root: &Path, dc: &str, clients: usize, change: impl Fn(Plan) -> Plan) -> Datacenter {
        let plans = Datacenter::plans(root, dc);
        let known: Vec<&Plan> = plans.iter().collect();
        let client_plans: Vec<Plan> =
            (1..=clients).map(|number| Plan::client(root, dc, &format!("c{number}")).join(&known)).collect();
        let servers: Vec<Agent> = plans.iter().map(|plan| change(plan.clone()).start()).collect();
        let clients: Vec<Agent> = client_plans.into_iter().map(|plan| change(plan).start()).collect();
        let datacenter = Datacenter { servers, clients };
        datacenter.settle();
        datacenter
    }

    /// Every agent of it.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.servers.iter().chain(&self.clients)
    }

    /// Waits until every agent sees every agent passing.
    pub fn settle(&self) {
        let all = self.servers.len() + self.clients.len();
        for agent in self.servers.iter().chain(&self.clients) {
            agent.wait_for("/v1/health/state/passing", |checks| {
                let alive = |check: &&Value| check["CheckID"] == "serfHealth";
                checks.as_array().is_some_and(|checks| checks.iter().filter(alive).count() >= all)
            });
        }
    }

    /// Where the leader is in `servers`.
    pub fn leader(&self) -> usize {
        wait_until("a leader that is one of ours", || {
            self.servers.iter().find_map(|server| {
                let reply = server.try_get("/v1/status/leader")?;
                let address = reply.body.trim_matches('"').to_owned();
                self.servers.iter().position(|other| format!("{}:8300", other.plan.address) == address)
            })
        })
    }
}
