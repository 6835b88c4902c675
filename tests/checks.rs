//! Checks that an agent runs, from the registration to what the catalog answers.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::target::Target;
use rig::{Agent, Plan, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn register(agent: &Agent, service: &Value) -> (u16, String) {
    let reply = agent.put("/v1/agent/service/register", &service.to_string());
    (reply.status, reply.body)
}

fn wait_for_status(agent: &Agent, check: &str, status: &str) -> Value {
    let found = agent.wait_for("/v1/health/state/any", |checks| {
        checks.as_array().is_some_and(|all| all.iter().any(|one| one["CheckID"] == check && one["Status"] == status))
    });
    found.as_array().unwrap().iter().find(|one| one["CheckID"] == check).unwrap().clone()
}

fn passing(agent: &Agent, service: &str) -> usize {
    agent.get(&format!("/v1/health/service/{service}?passing")).json().as_array().unwrap().len()
}

#[test]
fn a_check_is_run_its_status_reaches_the_catalog_and_it_goes_on_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::start();
    let plan = Plan::server(root.path(), "dc1", "s1", 1);
    let agent = plan.start();
    agent.wait_for_leader();
    let url = format!("http://{}/health", target.addr);
    let web = json!({"Name": "web", "Check": {"HTTP": url, "Interval": "1s"}});
    assert_eq!(register(&agent, &web), (200, String::new()));
    let check = wait_for_status(&agent, "service:web", "passing");
    assert_eq!(check["Output"], format!("HTTP GET {url}: 200 As Told Output: said"));
    assert_eq!((&check["Type"], &check["ServiceName"]), (&json!("http"), &json!("web")));
    assert_eq!(passing(&agent, "web"), 1);

    target.says(503);
    wait_for_status(&agent, "service:web", "critical");
    assert_eq!(passing(&agent, "web"), 0);
    target.says(429);
    wait_for_status(&agent, "service:web", "warning");

    agent.kill();
    target.says(200);
    let agent = plan.start();
    agent.wait_for_leader();
    wait_for_status(&agent, "service:web", "passing");
    agent.put("/v1/agent/service/deregister/web", "");
    wait_until("the check to go", || {
        let checks = agent.get("/v1/agent/checks").json();
        checks.as_object().is_some_and(|checks| !checks.contains_key("service:web")).then_some(())
    });
}

#[test]
fn checks_of_files_are_run_and_scripts_only_where_they_are_allowed() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::start();
    let settings = json!({
        "enable_local_script_checks": true,
        "services": [{"name": "db", "checks": [
            {"tcp": target.addr.to_string(), "interval": "500ms"},
            {"args": ["sh", "-c", "echo nearly; exit 1"], "interval": "1s"},
            {"alias_service": "db2"},
        ]}, {"name": "db2", "check": {"udp": target.addr.to_string(), "interval": "1s", "timeout": "100ms", "status": "passing"}}],
        "check": {"name": "twice", "http": format!("http://{}", target.addr), "interval": "1s", "failures_before_critical": 2},
    });
    let plan = Plan::server(root.path(), "dc1", "s1", 1).settings(&settings);
    let agent = plan.start();
    agent.wait_for_leader();
    let tcp = wait_for_status(&agent, "service:db:1", "passing");
    assert_eq!(tcp["Output"], format!("TCP connect {}: Success", target.addr));
    assert_eq!(wait_for_status(&agent, "service:db:2", "warning")["Output"], "nearly\n");
    // Nobody takes datagrams there.
    let udp = wait_for_status(&agent, "service:db2", "critical");
    assert_eq!(udp["Output"], format!("read udp {}: connection refused", target.addr));
    wait_for_status(&agent, "service:db:3", "critical");
    wait_for_status(&agent, "twice", "passing");
    target.says(500);
    wait_for_status(&agent, "twice", "critical");
    assert!(agent.log().contains("check has interval below minimum"));

    let scripted = json!({"Name": "mine", "Check": {"Args": ["true"], "Interval": "1s"}});
    let refused = "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";
    assert_eq!(register(&agent, &scripted), (500, refused.to_owned()));
    assert!(!agent.get("/v1/agent/services").body.contains("mine"));
    assert_eq!(agent.terminate(), Some(1));

    let agent = plan.clone().flag("-enable-script-checks").start();
    agent.wait_for_leader();
    assert_eq!(register(&agent, &scripted), (200, String::new()));
    wait_for_status(&agent, "service:mine", "passing");
}

#[test]
fn an_alias_of_another_node_follows_it() {
    let root = tempfile::tempdir().unwrap();
    let server = Plan::server(root.path(), "dc1", "s1", 1);
    let client = Plan::client(root.path(), "dc1", "c1").join(&[&server]);
    let (server, client) = (server.start(), client.start());
    server.wait_for_leader();
    let alias = json!({"Name": "of-web", "AliasNode": "c1", "AliasService": "web"});
    assert_eq!(server.put("/v1/agent/check/register", &alias.to_string()).status, 200);
    wait_for_status(&server, "of-web", "critical");
    let web = json!({"Name": "web", "Check": {"TTL": "1h", "Status": "passing"}});
    assert_eq!(register(&client, &web), (200, String::new()));
    let check = wait_for_status(&server, "of-web", "passing");
    assert_eq!(check["Output"], "All checks passing.");
    client.put("/v1/agent/check/warn/service:web?note=slow", "");
    let check = wait_for_status(&server, "of-web", "warning");
    assert_eq!(check["Output"], "Aliased check \"Service 'web' check\" failing: slow");
}

#[test]
fn http_checks_go_by_the_proxy_of_the_agents_environment() {
    let root = tempfile::tempdir().unwrap();
    // To whoever asks for another host it is the proxy, and what it answers is taken for that host's answer.
    let (proxy, direct) = (Target::start(), Target::start());
    let value = format!("http://{}", proxy.addr);
    let plan = Plan::server(root.path(), "dc1", "s1", 1).with_env("http_proxy", std::path::Path::new(&value));
    let agent = plan.start();
    agent.wait_for_leader();
    let check = |name: &str, url: String| {
        let body = json!({"Name": name, "HTTP": url, "Interval": "1s"}).to_string();
        assert_eq!(agent.put("/v1/agent/check/register", &body).status, 200);
    };
    check("far", "http://web.invalid/health".to_owned());
    check("near", format!("http://{}/health", direct.addr));
    let far = wait_for_status(&agent, "far", "passing");
    assert_eq!(far["Output"], "HTTP GET http://web.invalid/health: 200 As Told Output: said");
    proxy.says(502);
    wait_for_status(&agent, "far", "critical");
    // Of this host itself the proxy is not asked.
    direct.says(429);
    wait_for_status(&agent, "near", "warning");
}

#[test]
fn who_registers_reads_it_next_through_a_client_too() {
    let root = tempfile::tempdir().unwrap();
    let server = Plan::server(root.path(), "dc1", "s1", 1);
    let client = Plan::client(root.path(), "dc1", "c1").join(&[&server]);
    let (server, client) = (server.start(), client.start());
    server.wait_for_leader();
    client.wait_for("/v1/catalog/node/c1", |node| !node.is_null());
    // The agent waits for half a second at most; on a machine so slow nothing is promised.
    let patience = Duration::from_millis(500);
    let mut seen = 0;
    for number in 0..20 {
        for (agent, name) in [(&client, "c1"), (&server, "s1")] {
            let service = format!("web-{number}-{name}");
            let has = || agent.get(&format!("/v1/health/service/{service}")).json().as_array().unwrap().len();
            let checks = || agent.get(&format!("/v1/health/node/{name}")).body.contains("beside");
            let steps: [(String, Value, &dyn Fn() -> bool); 4] = [
                ("service/register".to_owned(), json!({"Name": service, "Check": {"TTL": "1h"}}), &|| has() == 1),
                ("check/register".to_owned(), json!({"Name": "beside", "TTL": "1h"}), &checks),
                ("check/deregister/beside".to_owned(), Value::Null, &|| !checks()),
                (format!("service/deregister/{service}"), Value::Null, &|| has() == 0),
            ];
            for (path, body, done) in steps {
                let start = Instant::now();
                let body = if body.is_null() { String::new() } else { body.to_string() };
                assert_eq!(agent.put(&format!("/v1/agent/{path}"), &body).status, 200);
                let took = start.elapsed();
                if took < patience {
                    assert!(done(), "{path} was answered after {took:?} and is not to be seen");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 0, "every answer took half a second");
}

#[test]
fn secrets_of_checks_are_shown_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let target = Target::start();
    let url = format!("http://user:s3cret@{}/health", target.addr);
    let check = |observers: u32| {
        json!({
            "HTTP": url, "Method": "POST", "Interval": "1s", "Observers": observers,
            "Header": {"Authorization": ["Bearer s3cret"]}, "Body": "{\"token\": \"s3cret\"}",
        })
    };
    let mut in_file = check(0);
    in_file["Name"] = "of-file".into();
    in_file.as_object_mut().unwrap().remove("Observers");
    let plan = Plan::server(root.path(), "dc1", "s1", 1).settings(&json!({"checks": [in_file], "discard_check_output": false}));
    let agent = plan.start();
    agent.wait_for_leader();
    assert_eq!(register(&agent, &json!({"Name": "web", "Token": "s3cret", "Check": check(0)})).0, 200);
    assert_eq!(register(&agent, &json!({"Name": "voted", "Check": check(3)})).0, 200);
    for id in ["service:web", "of-file"] {
        wait_for_status(&agent, id, "passing");
        target.says(500);
        wait_for_status(&agent, id, "critical");
        target.says(200);
    }
    wait_for_status(&agent, "service:voted", "critical");
    assert!(agent.log().contains("check is now critical"));
    let places = [
        "health/service/web",
        "health/service/voted",
        "health/checks/web",
        "health/checks/voted",
        "health/node/s1",
        "health/state/any",
        "health/votes/service:voted",
        "catalog/node/s1",
        "catalog/node-services/s1",
        "agent/checks",
        "agent/services",
        "agent/service/web",
        "agent/health/service/id/web",
        "agent/health/service/name/voted",
        "agent/self",
        "agent/metrics",
    ];
    for place in places {
        let body = agent.get(&format!("/v1/{place}")).body;
        assert!(!body.contains("s3cret"), "{place}: {body}");
    }
    let leaks: Vec<String> = agent.log().lines().filter(|line| line.contains("s3cret")).map(str::to_owned).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    let rows = agent.get("/v1/health/checks/web").json();
    assert_eq!(rows[0]["Definition"], json!({}), "as in Consul");
    let own = agent.get("/v1/agent/checks").json();
    assert_eq!(own["service:web"]["Definition"]["Header"], json!({"Authorization": ["<hidden>"]}));
}
