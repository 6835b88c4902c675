//! Watches: `kontor watch` and those of the configuration, with real agents; keys and events against
//! a server that answers as Consul does. And definition files read anew, by their exact differences.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, PATIENCE, Plan, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A server that answers a few paths, blocking queries included, and remembers what it was sent.
#[derive(Clone)]
struct Consul {
    address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    /// Path with its parameters but `index` and `wait`, to index and body; no body for 404.
    answers: BTreeMap<String, (u64, Option<String>)>,
    /// Grows when all data is replaced, which wakes everybody who waits.
    restored: u64,
    /// What was asked, with all parameters.
    asked: Vec<String>,
    /// Headers in lower case, and body, of each POST.
    posts: Vec<(String, String)>,
}

impl Consul {
    fn start() -> Consul {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let consul = Consul { address, state: Arc::default() };
        let serving = consul.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let consul = serving.clone();
                std::thread::spawn(move || consul.converse(stream));
            }
        });
        consul.set("/v1/agent/self", 1, Some("{}"));
        consul
    }

    fn set(&self, target: &str, index: u64, body: Option<&str>) {
        self.state.0.lock().unwrap().answers.insert(target.to_owned(), (index, body.map(str::to_owned)));
        self.state.1.notify_all();
    }

    /// The same, after all data was replaced.
    fn restore(&self, target: &str, index: u64, body: Option<&str>) {
        self.state.0.lock().unwrap().restored += 1;
        self.set(target, index, body);
    }

    /// Waits until somebody asks with this in the target.
    fn wait_for_question(&self, part: &str) {
        wait_until(part, || self.state.0.lock().unwrap().asked.iter().any(|target| target.contains(part)).then_some(()));
    }

    fn posts(&self) -> Vec<(String, String)> {
        self.state.0.lock().unwrap().posts.clone()
    }

    fn converse(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        if head.starts_with("POST") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            self.state.0.lock().unwrap().posts.push((head, String::from_utf8(body).unwrap()));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            return;
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (blocking, others): (Vec<&str>, Vec<&str>) = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .partition(|pair| pair.starts_with("index=") || pair.starts_with("wait="));
        let known = blocking.iter().find_map(|pair| pair.strip_prefix("index=")?.parse().ok());
        let asked = if others.is_empty() { path.to_owned() } else { format!("{path}?{}", others.join("&")) };
        let mut state = self.state.0.lock().unwrap();
        state.asked.push(target.clone());
        let restored = state.restored;
        let is_known = |state: &mut State| {
            if state.restored != restored {
                return false;
            }
            let index = state.answers.get(&asked).map(|(index, _)| *index);
            // The index of events is compared for equality only.
            known
                .is_some_and(|known: u64| if path.starts_with("/v1/event") { index == Some(known) } else { index <= Some(known) })
        };
        let (state, _) = self.state.1.wait_timeout_while(state, PATIENCE, is_known).unwrap();
        let answer = match state.answers.get(&asked) {
            Some((index, Some(body))) => {
                format!("200 OK\r\nX-Consul-Index: {index}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            Some((index, None)) => format!("404 Not Found\r\nX-Consul-Index: {index}\r\nContent-Length: 0\r\n\r\n"),
            None => "404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        drop(state);
        // A watch that was ended meanwhile does not listen any more.
        _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes());
    }
}

/// `kontor watch`, with its standard error for the test's.
fn watch(address: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.arg("watch").args(arguments).env("CONSUL_HTTP_ADDR", address).env_remove("SHELL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Exit code, standard output and standard error of a watch that ends by itself.
fn watched(address: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    let output = command.arg("watch").args(arguments).env("CONSUL_HTTP_ADDR", address).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The exit code of a process that is about to end.
fn code(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

/// A line for the shell that appends index and JSON to `file`.
fn noting(file: &Path) -> String {
    format!("data=$(cat); echo \"$CONSUL_INDEX $data\" >> {}", file.display())
}

fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until `file` has this many lines; the JSON of each.
fn told(file: &Path, count: usize) -> Vec<Value> {
    let lines =
        wait_until(&format!("{count} lines in {}", file.display()), || Some(lines(file)).filter(|lines| lines.len() >= count));
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines.iter().map(|line| serde_json::from_str(line.split_once(' ').unwrap().1).unwrap()).collect()
}

/// Waits for a process that a script has told of in `file`, and for its end.
fn pid_in(file: &Path) -> String {
    wait_until("a pid file", || std::fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))).trim().to_owned()
}

fn wait_for_end(pid: &str) {
    wait_until("the end of a handler's child", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
}

fn server(root: &Path, settings: &Value) -> Agent {
    let agent = Plan::server(root, "dc1", "s1", 1).settings(settings).start();
    agent.wait_for("/v1/catalog/service/consul", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1));
    agent
}

fn rewrite(agent: &Agent, settings: &Value) {
    std::fs::write(agent.plan.data_dir.join("settings.json"), settings.to_string()).unwrap();
}

fn register(agent: &Agent, definition: &Value) {
    assert_eq!(agent.put("/v1/agent/service/register", &definition.to_string()).status, 200);
}

#[test]
fn without_a_program_the_view_is_printed_once() {
    let root = tempfile::tempdir().unwrap();
    let agent = server(root.path(), &json!({}));
    register(&agent, &json!({"Name": "web", "Tags": ["a", "b"], "Port": 80, "Check": {"TTL": "10m", "Status": "passing"}}));
    agent.wait_for("/v1/health/service/web", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1));
    let address = format!("{}:8500", agent.plan.address);
    let shown = |arguments: &[&str]| -> Value {
        let (code, out, err) = watched(&address, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        assert!(out.ends_with('\n'), "{out:?}");
        serde_json::from_str(&out).unwrap()
    };
    assert_eq!(shown(&["-type=services"]), json!({"consul": [], "web": ["a", "b"]}));
    assert_eq!(shown(&["-type", "nodes"])[0]["Node"], "s1");
    assert_eq!(shown(&["-type=service", "-service=web", "-tag=a", "-tag=b", "-passingonly", "true"])[0]["Service"]["Port"], 80);
    assert_eq!(shown(&["-type=service", "-service=web", "-tag=c"]), json!([]));
    assert_eq!(shown(&["-type=service", "-service=web", "-filter=Service.Port == 81", "-stale"]), json!([]));
    assert_eq!(shown(&["-type=checks", "-service=web"])[0]["CheckID"], "service:web");
    assert_eq!(shown(&["-type=checks", "-state=critical"]), json!([]));
    assert_eq!(shown(&["-type=checks"]).as_array().unwrap().len(), 2);
    let (_, out, _) = watched(&address, &["-type=services"]);
    assert_eq!(out, "{\n    \"consul\": [],\n    \"web\": [\n        \"a\",\n        \"b\"\n    ]\n}\n");

    let refused = |arguments: &[&str], text: &str| {
        let (code, out, err) = watched(&address, arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(err.contains(text), "{arguments:?}: {err}");
    };
    refused(&[], "Watch type must be specified");
    refused(&["-type=weather"], "Unsupported watch type: weather");
    refused(&["-type=service"], "Must specify a single service to watch");
    refused(&["-type=service", "-service=web", "-passingonly=perhaps"], "Failed to parse passingonly flag");
    refused(&["-type=nodes", "-key=a"], "Invalid parameters: [key]");
    refused(&["-type=connect_roots"], "Type connect_roots is not supported in the CLI tool");
    refused(&["-type=service", "-service=web", "-filter=oh no"], "Unexpected response code: 400");
    let (code, _, err) = watched("127.0.0.1:1", &["-type=nodes"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("Error querying Consul agent"), "{err}");
}

#[test]
fn a_program_runs_once_for_each_change() {
    let root = tempfile::tempdir().unwrap();
    let consul = Consul::start();
    let (file, target) = (root.path().join("told"), "/v1/kv/a%2Fb");
    consul.set(target, 5, None);
    let child = watch(&consul.address, &["-type=key", "-key=a/b", &noting(&file)]);
    assert_eq!(told(&file, 1), [Value::Null]);
    let entry = |index: u64, value: &str| format!(r#"[{{"Key":"a/b","Value":"{value}","CreateIndex":7,"ModifyIndex":{index}}}]"#);
    consul.set(target, 7, Some(&entry(7, "YQ==")));
    let news = told(&file, 2);
    assert_eq!(news[1]["Value"], "YQ==");
    assert_eq!(news[1]["Session"], "");
    assert!(lines(&file)[1].starts_with("7 "), "the index");
    // The index moves and nothing else does; then it goes back, with other data.
    consul.set(target, 9, Some(&entry(7, "YQ==")));
    consul.wait_for_question("index=9");
    consul.restore(target, 2, Some(&entry(2, "Yg==")));
    assert_eq!(told(&file, 3)[2]["Value"], "Yg==");
    signal(child.id(), "TERM");
    assert_eq!(code(child), Some(0));
}

#[test]
fn of_a_prefix_all_keys_and_of_events_the_new_ones_are_told() {
    let root = tempfile::tempdir().unwrap();
    let consul = Consul::start();
    let (keys, events) = (root.path().join("keys"), root.path().join("events"));
    consul.set("/v1/kv/a%2F?recurse=", 5, Some(r#"[{"Key":"a/x","Value":null}]"#));
    consul.set("/v1/event/list?name=deploy", 900, Some(r#"[{"ID":"1","Name":"deploy"}]"#));
    let prefix = watch(&consul.address, &["-type=keyprefix", "-prefix=a/", &noting(&keys)]);
    let event = watch(&consul.address, &["-type=event", "-name=deploy", &noting(&events)]);
    assert_eq!(told(&keys, 1)[0][0]["Key"], "a/x");
    assert_eq!(told(&events, 1)[0][0]["ID"], "1");
    consul.set("/v1/kv/a%2F?recurse=", 6, Some(r#"[{"Key":"a/x","Value":null},{"Key":"a/y","Value":"YQ=="}]"#));
    assert_eq!(told(&keys, 2)[1].as_array().unwrap().len(), 2);
    consul.set("/v1/event/list?name=deploy", 3, Some(r#"[{"ID":"1","Name":"deploy"},{"ID":"2","Name":"deploy"}]"#));
    assert_eq!(told(&events, 2)[1], json!([{"ID": "2", "Name": "deploy"}]));
    for child in [prefix, event] {
        signal(child.id(), "INT");
        assert_eq!(code(child), Some(0));
    }
}

#[test]
fn endpoints_that_an_agent_does_not_have_are_told_at_once() {
    let consul = Consul::start();
    for (arguments, path) in [
        (["-type=key", "-key=a"], "/v1/kv/a"),
        (["-type=keyprefix", "-prefix=a"], "/v1/kv/a"),
        (["-type=event", "-name=a"], "/v1/event/list"),
    ] {
        let (code, _, err) = watched(&consul.address, &arguments);
        assert_eq!(code, Some(1));
        assert!(err.contains(&format!("Unexpected response code: 404 (the agent has no {path})")), "{err}");
    }
}

#[test]
fn a_program_that_fails_ends_the_watch_and_one_that_runs_ends_with_it() {
    let root = tempfile::tempdir().unwrap();
    let consul = Consul::start();
    consul.set("/v1/catalog/nodes", 5, Some("[]"));
    let (code_of_failed, _, err) = watched(&consul.address, &["-type=nodes", "exit 7"]);
    assert_eq!(code_of_failed, Some(1));
    assert!(err.contains("Error executing handler: exit status: 7"), "{err}");
    let (missing, _, err) = watched(&consul.address, &["-type=nodes", "-shell=false", "/nowhere/handler", "-x"]);
    assert_eq!(missing, Some(1));
    assert!(err.contains("Error starting handler: /nowhere/handler"), "{err}");

    // Without a shell, flags and all are the program's own. It and its child do not mind SIGTERM.
    let file = root.path().join("pid");
    let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait; wait", file.display());
    let child = watch(&consul.address, &["-type=nodes", "-shell=false", "/bin/sh", "-c", &script]);
    let pid = pid_in(&file);
    signal(child.id(), "TERM");
    assert_eq!(code(child), Some(0));
    wait_for_end(&pid);
}

#[test]
fn a_configured_watch_is_told_each_change_once() {
    let root = tempfile::tempdir().unwrap();
    let (by_args, by_shell) = (root.path().join("args"), root.path().join("shell"));
    let consul = Consul::start();
    let http = json!({"path": format!("http://{}/changed", consul.address), "header": {"X-Mine": ["a"]}, "timeout": "30s"});
    let agent = server(
        root.path(),
        &json!({"watches": [
            {"type": "services", "args": ["/bin/sh", "-c", noting(&by_args)]},
            {"type": "services", "handler": noting(&by_shell), "token": "t"},
            {"type": "service", "service": "web", "handler_type": "http", "http_handler_config": http},
        ]}),
    );
    let last = |file: &Path| lines(file).last().cloned().unwrap_or_default();
    let settled = r#"{"consul":[]}"#;
    wait_until("the first view", || (last(&by_args).ends_with(settled) && last(&by_shell).ends_with(settled)).then_some(()));
    wait_until("the first call", || consul.posts().iter().any(|(_, body)| body == "[]").then_some(()));
    let before = lines(&by_args).len();

    let web = json!({"Name": "web", "Tags": ["a"], "Check": {"TTL": "10m"}});
    register(&agent, &web);
    assert_eq!(told(&by_args, before + 1).last().unwrap(), &json!({"consul": [], "web": ["a"]}));
    let (head, body) = wait_until("the call of web", || consul.posts().into_iter().find(|(_, body)| body.contains("\"web\"")));
    assert!(head.starts_with("post /changed http/1.1") && head.contains("\r\nx-mine: a\r\n"), "{head}");
    let index: u64 = head.lines().find_map(|line| line.strip_prefix("x-consul-index: ")).unwrap().parse().unwrap();
    assert!(index > 1);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()[0]["Service"]["ID"], "web");

    // The same again is no change; the next line is of the next real one.
    register(&agent, &web);
    assert_eq!(agent.put("/v1/agent/check/pass/service:web", "").status, 200);
    agent.wait_for("/v1/health/service/web?passing", |rows| rows.as_array().is_some_and(|rows| rows.len() == 1));
    register(&agent, &json!({"Name": "api"}));
    assert_eq!(told(&by_args, before + 2).last().unwrap(), &json!({"consul": [], "web": ["a"], "api": []}));
    assert_eq!(agent.put("/v1/agent/service/deregister/web", "").status, 200);
    assert_eq!(told(&by_args, before + 3).last().unwrap(), &json!({"consul": [], "api": []}));
    wait_until("the last line by the shell", || last(&by_shell).ends_with(r#"{"api":[],"consul":[]}"#).then_some(()));
    let passing = |body: &str| body.contains(r#""CheckID":"service:web""#) && !body.contains(r#""Status":"critical""#);
    let calls = wait_until("the last call", || Some(consul.posts()).filter(|posts| posts.last().unwrap().1 == "[]"));
    assert_eq!(calls.iter().filter(|(_, body)| passing(body)).count(), 1, "{calls:#?}");
    assert!(!agent.log().contains("watch handler failed"));
}

#[test]
fn a_reload_starts_what_is_new_ends_what_is_gone_and_lets_the_others_go_on() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { root.path().join(name) };
    let (kept, added, pid) = (file("kept"), file("added"), file("pid"));
    let keep = json!({"type": "services", "args": ["/bin/sh", "-c", noting(&kept)]});
    let hanging = format!("sleep 600 & echo $! > {}; wait", pid.display());
    let agent = server(root.path(), &json!({"watches": [{"type": "nodes", "args": ["/bin/sh", "-c", hanging]}, keep]}));
    let hung = pid_in(&pid);
    wait_until("the first view", || lines(&kept).last().is_some_and(|line| line.ends_with(r#"{"consul":[]}"#)).then_some(()));
    let before = lines(&kept).len();

    rewrite(&agent, &json!({"watches": [{"type": "key"}]}));
    let (code, _, err) = agent.cli(&["reload"]);
    assert_eq!(code, 1);
    assert!(err.contains("watches[0]: Must specify a single key to watch"), "{err}");
    rewrite(&agent, &json!({"watches": [keep, {"type": "services", "args": ["/bin/sh", "-c", noting(&added)]}]}));
    agent.signal("HUP");
    wait_for_end(&hung);
    assert_eq!(told(&added, 1), [json!({"consul": []})]);
    register(&agent, &json!({"Name": "web"}));
    let expected = json!({"consul": [], "web": []});
    assert_eq!(told(&kept, before + 1).last(), Some(&expected), "the one that stays was not told again by the reload");
    assert_eq!(told(&added, 2).last(), Some(&expected));

    // At its end the agent takes along what runs.
    std::fs::remove_file(&pid).unwrap();
    rewrite(&agent, &json!({"watches": [{"type": "nodes", "args": ["/bin/sh", "-c", hanging]}]}));
    agent.signal("HUP");
    let hung = pid_in(&pid);
    assert_eq!(agent.terminate(), Some(1));
    wait_for_end(&hung);
}

#[test]
fn definition_files_read_anew_change_exactly_what_differs() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("conf.d");
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let ttl = "check { id = \"web-ttl\" ttl = \"10m\" }";
    write("web.hcl", &format!("service {{ name = \"web\" port = 80 {ttl} }}"));
    write("api.json", r#"{"service": {"name": "api", "port": 1}}"#);
    write(
        "old.json",
        r#"{"services": [{"name": "old", "port": 2}], "check": {"id": "disk", "name": "disk", "ttl": "10m", "status": "passing"}}"#,
    );
    write("notes.txt", "not for us");
    let agent = Plan::server(root.path(), "dc1", "s1", 1).flag(&format!("-config-dir={}", folder.display())).start();
    let is_there = |rows: &Value| rows.as_array().is_some_and(|rows| rows.len() == 1);
    for name in ["web", "api", "old"] {
        agent.wait_for(&format!("/v1/catalog/service/{name}"), is_there);
    }
    assert_eq!(agent.put("/v1/agent/check/update/web-ttl", r#"{"Status": "passing", "Output": "well"}"#).status, 200);
    assert_eq!(agent.put("/v1/agent/service/maintenance/api?enable=true&reason=moved", "").status, 200);
    register(&agent, &json!({"Name": "mine"}));
    let web = agent.wait_for("/v1/health/service/web?passing", is_there);

    write("api.json", r#"{"service": {"name": "api", "port": 9}}"#);
    write("new.json", r#"{"service": {"name": "new"}}"#);
    std::fs::remove_file(folder.join("old.json")).unwrap();
    agent.signal("HUP");
    agent.wait_for("/v1/catalog/service/api", |rows| rows[0]["ServicePort"] == 9);
    agent.wait_for("/v1/catalog/service/new", is_there);
    agent.wait_for("/v1/catalog/service/old", |rows| rows == &json!([]));
    agent.wait_for("/v1/catalog/service/mine", is_there);
    let checks = agent.get("/v1/agent/checks").json();
    assert!(checks["disk"].is_null(), "{checks}");
    assert_eq!((&checks["web-ttl"]["Status"], &checks["web-ttl"]["Output"]), (&json!("passing"), &json!("well")));
    assert_eq!(checks["_service_maintenance:api"]["Notes"], "moved", "the operator's word stays");
    assert_eq!(agent.get("/v1/health/service/web?passing").json()[0]["Service"], web[0]["Service"], "it was not written again");
    let own = |rows: &Value| rows[0]["Checks"].as_array().unwrap().iter().find(|check| check["CheckID"] == "web-ttl").cloned();
    assert_eq!(own(&agent.get("/v1/health/service/web").json()), own(&web));

    write("new.json", r#"{"service": {"name": "new", "colour": 1}}"#);
    assert_eq!(agent.cli(&["reload"]).0, 1);
    assert!(agent.get("/v1/agent/services").json()["new"].is_object(), "what is broken changes nothing");
}

#[test]
fn maintenance_shows_in_health_codes_and_takes_out_of_passing_answers() {
    let root = tempfile::tempdir().unwrap();
    let agent =
        server(root.path(), &json!({"service": {"name": "web", "id": "web1", "check": {"ttl": "10m", "status": "passing"}}}));
    let passing = |count: usize| {
        agent.wait_for("/v1/health/service/web?passing", |rows| rows.as_array().is_some_and(|rows| rows.len() == count));
    };
    let codes = || {
        let one = agent.get("/v1/agent/health/service/id/web1?format=text");
        let all = agent.get("/v1/agent/health/service/name/web");
        assert_eq!(one.header("X-Consul-Reason"), one.body);
        (one.status, one.body, all.status)
    };
    passing(1);
    assert_eq!(codes(), (200, "passing".to_owned(), 200));
    assert_eq!(agent.put("/v1/agent/check/warn/service:web1", "").status, 200);
    assert_eq!(codes(), (429, "warning".to_owned(), 429));
    assert_eq!(agent.put("/v1/agent/check/pass/service:web1", "").status, 200);
    for (command, disable) in [
        (vec!["maint", "-enable", "-service=web1", "-reason=repair"], vec!["maint", "-disable", "-service=web1"]),
        (vec!["maint", "-enable", "-reason=repair"], vec!["maint", "-disable"]),
    ] {
        assert_eq!(agent.cli(&command).0, 0);
        passing(0);
        assert_eq!(codes(), (503, "maintenance".to_owned(), 503));
        assert!(agent.cli(&["maint"]).1.contains("Reason: repair"));
        assert_eq!(agent.cli(&disable).0, 0);
        passing(1);
        assert_eq!(codes().0, 200);
    }
    assert_eq!(agent.get("/v1/agent/health/service/id/none").status, 404);
    let enable = |query: &str| agent.put(&format!("/v1/agent/maintenance{query}"), "");
    assert_eq!((enable("").status, enable("").body.as_str()), (400, "Missing value for enable"));
    assert_eq!(enable("?enable=maybe").body, "Invalid value for enable: \"maybe\"");
    let unknown = agent.put("/v1/agent/service/maintenance/none?enable=true", "");
    assert_eq!((unknown.status, unknown.body.as_str()), (404, "No service registered with ID \"none\""));
}
