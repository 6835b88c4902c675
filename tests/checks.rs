//! Checks that an agent runs, from the registration to what the catalog answers.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::target::Target;
use rig::{Agent, Plan, wait_until};
use serde_json::{Value, json};

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
