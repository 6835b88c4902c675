//! What clients of Consul rely on, to the letter: codes, texts, headers, null and [].

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, request, wait_until};
use serde_json::{Value, json};

/// One server with a service, a node from outside, and nothing else.
fn agent(root: &std::path::Path) -> Agent {
    let agent = Plan::server(root, "dc1", "s1", 1).flag("-node-meta=rack:r1").start();
    agent.wait_for_leader();
    let web = json!({
        "Name": "web", "ID": "web1", "Port": 80, "Tags": ["v1", "Blue"], "Meta": {"env": "prod"},
        "Checks": [{"TTL": "10m", "Status": "passing"}, {"TTL": "10m"}],
    });
    assert_eq!(agent.put("/v1/agent/service/register", &web.to_string()).body, "");
    agent.wait_for("/v1/health/service/web", |rows| rows.as_array().unwrap().len() == 1);
    agent
}

#[test]
fn codes_and_texts_are_consul_s() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let table: &[(&str, &str, u16, &str)] = &[
        ("GET", "/v1/nothing/here", 404, "Invalid URL path: not a recognized HTTP API endpoint"),
        (
            "PUT",
            "/v1/agent/check/pass/none",
            404,
            "Unknown check ID \"none\". Ensure that the check ID is passed, not the check name.",
        ),
        (
            "PUT",
            "/v1/agent/service/deregister/none",
            404,
            "Unknown service ID \"none\". Ensure that the service ID is passed, not the service name.",
        ),
        ("GET", "/v1/coordinate/node/", 404, ""),
        ("GET", "/v1/coordinate/nodes?segment=alpha", 200, "[]"),
        ("GET", "/v1/agent/members?segment=alpha", 400, "Bad request: network segments are not offered, got \"alpha\""),
        ("GET", "/", 200, "Consul Agent"),
        ("GET", "/v1/catalog/nodes?wait=10&index=1", 400, "Invalid wait time"),
        ("GET", "/v1/catalog/nodes?index=x", 400, "Invalid index"),
        ("GET", "/v1/catalog/nodes?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("GET", "/v1/catalog/nodes?cached&consistent", 400, "Cannot specify ?cached with ?consistent, conflicting semantics."),
        ("GET", "/v1/catalog/nodes?max_stale=x", 400, "Invalid max_stale value \"x\""),
        ("GET", "/v1/health/service/web?passing=maybe", 400, "Invalid value for ?passing"),
        ("GET", "/v1/catalog/nodes?dc=nowhere", 500, "No path to datacenter"),
        ("GET", "/v1/catalog/node/unknown", 200, "null"),
        ("GET", "/v1/catalog/service/unknown", 200, "[]"),
        ("GET", "/v1/health/service/unknown", 200, "[]"),
        ("GET", "/v1/health/node/unknown", 200, "[]"),
        ("GET", "/v1/health/state/unknown", 200, "[]"),
        ("GET", "//v1/catalog/nodes", 301, ""),
        ("GET", "/v1/agent/health/service/id/", 400, "Bad request: Missing serviceID"),
        ("PUT", "/v1/agent/force-leave/none", 500, "agent: No node found with name 'none'"),
        ("GET", "/v1/coordinate/node/unknown", 404, ""),
        ("GET", "/v1/agent/service/unknown", 404, "unknown service ID: unknown"),
        ("PUT", "/v1/agent/maintenance", 400, "Missing value for enable"),
        ("PUT", "/v1/agent/maintenance?enable=x", 400, "Invalid value for enable: \"x\""),
        ("PUT", "/v1/agent/service/maintenance/none?enable=true", 404, "No service registered with ID \"none\""),
        ("GET", "/v1/acl/tokens", 401, "ACL support disabled"),
        (
            "DELETE",
            "/v1/operator/raft/peer",
            400,
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ),
        ("DELETE", "/v1/operator/raft/peer?id=a&address=b", 400, "Bad request: Must specify only one of ?id or ?address"),
        (
            "GET",
            "/v1/catalog/nodes?ns=x",
            400,
            "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
        ),
    ];
    for (method, path, status, body) in table {
        let reply = request(method, &agent.url(path), None).unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (*status, *body), "{method} {path}");
    }
    for method in ["POST", "HEAD", "DELETE"] {
        let reply = request(method, &agent.url("/v1/catalog/nodes"), None).unwrap();
        assert_eq!((reply.status, reply.header("Allow")), (405, "OPTIONS,GET"), "{method}");
    }
    let options = request("OPTIONS", &agent.url("/v1/agent/service/register"), None).unwrap();
    assert_eq!((options.status, options.header("Allow"), options.body.as_str()), (200, "OPTIONS,PUT", ""));
}

#[test]
fn what_is_not_offered_fails_with_a_sentence_and_is_never_an_empty_answer() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    for (method, path, said) in [
        ("PUT", "/v1/event/fire/a", "User events"),
        ("GET", "/v1/event/list", "User events"),
        ("GET", "/v1/snapshot", "Snapshots"),
        ("GET", "/v1/internal/ui/services", "web interface"),
        ("GET", "/v1/peerings", "Peering"),
        ("POST", "/v1/query", "Prepared queries"),
    ] {
        let reply = request(method, &agent.url(path), None).unwrap();
        assert_eq!(reply.status, 501, "{method} {path}: {}", reply.body);
        assert!(reply.body.contains(said) && reply.body.contains("not offered"), "{method} {path}: {}", reply.body);
        assert!(reply.header("X-Kontor-Reason").starts_with("not-offered: "), "{method} {path}");
    }
    let (code, out, err) = agent.cli(&["watch", "-type=event", "-name=a"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("User events"), "{err}");
    let (code, _, err) = agent.cli(&["snapshot", "save", "a"]);
    assert!(code == 1 && err.contains("Snapshots"), "{err}");
    for (line, code) in
        [(&["nonsense", "x"][..], 127), (&[], 127), (&["catalog", "nonsense"], 1), (&["members", "-segment=_all"], 0)]
    {
        assert_eq!(agent.cli(line).0, code, "{line:?}");
    }
}

#[test]
fn one_release_of_consul_is_told_wherever_tools_look() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let own = agent.get("/v1/agent/self").json();
    let told = own["Config"]["Version"].as_str().unwrap().to_owned();
    let mut parts = told.split('.').map(|part| part.parse::<u32>().unwrap());
    assert!((parts.next().unwrap(), parts.next().unwrap()) >= (1, 21), "{told}");
    let node = agent.wait_for("/v1/catalog/service/consul", |rows| rows[0]["ServiceMeta"]["version"].is_string());
    for (place, shown) in [
        ("Stats", &own["Stats"]["build"]["version"]),
        ("DebugConfig", &own["DebugConfig"]["Version"]),
        ("agent/version", &agent.get("/v1/agent/version").json()["HumanVersion"]),
        ("autopilot", &agent.get("/v1/operator/autopilot/health").json()["Servers"][0]["Version"]),
        ("service consul", &node[0]["ServiceMeta"]["version"]),
    ] {
        assert_eq!(shown, &json!(told), "{place}");
    }
    assert!(own["Member"]["Tags"]["build"].as_str().unwrap().starts_with(&format!("{told}:")));
    assert!(agent.cli(&["version"]).1.starts_with(&format!("Consul v{told}\n")));
    assert!(agent.cli(&["members"]).1.contains(&told));
}

#[test]
fn the_address_that_an_agent_tells_of_itself_is_one_that_it_can_be_joined_at() {
    let root = tempfile::tempdir().unwrap();
    let agent = Plan::server(root.path(), "dc1", "s1", 1).flag("-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==").start();
    agent.wait_for_leader();
    let reply = agent.get("/v1/agent/self");
    assert!(!reply.body.contains("MDEyMzQ1Njc4OWFiY2RlZg"), "no secret is shown");
    let shown = &reply.json()["DebugConfig"];
    let at = shown["SerfAdvertiseAddrLAN"].as_str().and_then(|address| address.strip_prefix("tcp://")).unwrap().to_owned();
    assert_eq!(agent.put(&format!("/v1/agent/join/{at}"), "").status, 200);
    assert_eq!(shown["SerfAdvertiseAddrWAN"], format!("tcp://{}:8302", agent.plan.address));
    assert_eq!(shown["RPCAdvertiseAddr"], format!("tcp://{}:8300", agent.plan.address));
    for name in ["EnableDebug", "ConnectEnabled", "ACLsEnabled", "PeeringEnabled"] {
        assert_eq!(shown[name], false, "{name}");
    }
    for name in ["GRPCPort", "GRPCTLSPort", "DNSPort"] {
        assert_eq!(shown[name], -1, "{name}");
    }
}

#[test]
fn requests_are_in_the_log_and_failed_ones_are_errors_without_any_token() {
    let root = tempfile::tempdir().unwrap();
    let agent = Plan::server(root.path(), "dc1", "s1", 1).flag("-log-level=debug").start();
    agent.wait_for_leader();
    assert_eq!(agent.get("/v1/catalog/nodes?token=s3cret&node-meta=a:b").status, 200);
    for _ in 0..3 {
        assert_eq!(agent.get("/v1/catalog/nodes?dc=nowhere&token=s3cret").status, 500);
    }
    assert_eq!((agent.get("/v1/event/list").status, agent.get("/v1/nothing").status), (501, 404));
    let lines = |log: &str, parts: &[&str]| log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
    let log = rig::wait_until("the last request in the log", || Some(agent.log()).filter(|log| log.contains("url=/v1/nothing")));
    let asked = "method=GET url=\"/v1/catalog/nodes?token=<hidden>&node-meta=a:b\" from=127.";
    assert_eq!(lines(&log, &["DEBUG", "Request finished", asked, "status=200", "latency="]), 1, "{log}");
    let asked = "method=GET url=\"/v1/catalog/nodes?dc=nowhere&token=<hidden>\" from=127.";
    let failed = ["ERROR", "Request error", asked, "status=500", "error=\"No path to datacenter\""];
    assert_eq!(lines(&log, &failed), 1, "told once, not three times: {log}");
    assert_eq!(lines(&log, &["Request finished", "dc=nowhere", "status=500"]), 3, "{log}");
    assert_eq!(lines(&log, &["ERROR", "/v1/event/list"]) + lines(&log, &["ERROR", "/v1/nothing"]), 0, "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn headers_tell_index_leader_age_and_consistency() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    for (flags, consistency) in [("", "leader"), ("?stale", "stale"), ("?consistent", "consistent")] {
        let reply = agent.get(&format!("/v1/catalog/nodes{flags}"));
        assert!(reply.index() >= 1);
        assert_eq!(reply.header("X-Consul-KnownLeader"), "true");
        assert!(reply.header("X-Consul-LastContact").parse::<u64>().is_ok());
        assert_eq!(reply.header("X-Consul-Effective-Consistency"), consistency);
        assert_eq!(reply.header("X-Consul-Query-Backend"), "blocking-query");
        assert_eq!(reply.header("Content-Type"), "application/json");
        assert_eq!(reply.header("X-Consul-Default-ACL-Policy"), "allow");
    }
    assert_eq!(agent.get("/v1/status/leader").header("X-Consul-Index"), "");
    let first = agent.get("/v1/health/service/web?cached");
    let second = agent.get("/v1/health/service/web?cached");
    assert_eq!((first.header("X-Cache"), second.header("X-Cache")), ("MISS", "HIT"));
    assert!(second.header("Age").parse::<u64>().is_ok() && first.header("Age").is_empty());
    let pretty = agent.get("/v1/catalog/services?pretty");
    assert!(pretty.body.starts_with("{\n    \"") && pretty.body.ends_with("}\n"), "{}", pretty.body);
}

#[test]
fn rows_have_consul_s_fields_in_consul_s_shapes() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let row = agent.get("/v1/catalog/service/web").json()[0].clone();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for field in [
        "ID",
        "Node",
        "Address",
        "Datacenter",
        "TaggedAddresses",
        "NodeMeta",
        "ServiceKind",
        "ServiceID",
        "ServiceName",
        "ServiceTags",
        "ServiceAddress",
        "ServiceWeights",
        "ServiceMeta",
        "ServicePort",
        "ServiceEnableTagOverride",
        "ServiceProxy",
        "ServiceConnect",
        "CreateIndex",
        "ModifyIndex",
    ] {
        assert!(row.get(field).is_some(), "{field} in {:?}", keys(&row));
    }
    assert_eq!(row["ServiceWeights"], json!({"Passing": 1, "Warning": 1}));
    assert_eq!(row["NodeMeta"]["rack"], "r1");
    assert_eq!(row["TaggedAddresses"]["lan"], agent.plan.address.to_string());
    let health = agent.get("/v1/health/service/web").json();
    assert_eq!(keys(&health[0]), ["Checks", "Node", "Service"]);
    let ids: Vec<&str> = health[0]["Checks"].as_array().unwrap().iter().map(|check| check["CheckID"].as_str().unwrap()).collect();
    for id in ["serfHealth", "service:web1:1", "service:web1:2"] {
        assert!(ids.contains(&id), "{ids:?}");
    }
    assert_eq!(agent.get("/v1/health/service/web?passing").json(), json!([]), "the second TTL check was never passed");
    let consul = agent.get("/v1/catalog/service/consul").json()[0].clone();
    assert_eq!((&consul["ServiceID"], &consul["ServicePort"]), (&json!("consul"), &json!(8300)));
    let own = agent.get("/v1/agent/self").json();
    assert_eq!(own["Config"]["Datacenter"], "dc1");
    assert!(
        own["Config"]["Server"].is_boolean() && own["Config"]["Version"].is_string() && own["Config"]["Revision"].is_string()
    );
    assert_eq!(own["Member"]["Status"], 1);
    for section in ["agent", "build", "consul", "raft", "runtime", "serf_lan", "serf_wan"] {
        assert!(own["Stats"][section].is_object(), "{section}");
    }
}

#[test]
fn what_is_registered_from_outside_with_the_least_has_consul_s_zero_values() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let ext =
        json!({"Node": "ext", "Address": "10.0.0.9", "Service": {"Service": "db"}, "Check": {"Name": "up", "ServiceID": "db"}});
    assert_eq!(agent.put("/v1/catalog/register", &ext.to_string()).body, "true");
    let row = agent.get("/v1/catalog/service/db").json()[0].clone();
    assert_eq!((&row["TaggedAddresses"], &row["NodeMeta"], &row["ServiceMeta"]), (&Value::Null, &Value::Null, &json!({})));
    assert_eq!((&row["ServiceID"], &row["ServiceTags"], &row["ServicePort"]), (&json!("db"), &json!([]), &json!(0)));
    let entry = agent.get("/v1/health/service/db").json()[0].clone();
    assert_eq!(entry["Service"]["Weights"], json!({"Passing": 1, "Warning": 1}));
    assert_eq!((&entry["Service"]["Tags"], &entry["Node"]["Meta"]), (&json!([]), &Value::Null));
    assert_eq!((&entry["Checks"][0]["CheckID"], &entry["Checks"][0]["Status"]), (&json!("up"), &json!("critical")));
    assert_eq!((&entry["Checks"][0]["ExposedPort"], &entry["Service"]["Port"]), (&json!(0), &Value::Null));
    assert_eq!(entry["Service"]["Proxy"], json!({"Mode": "", "MeshGateway": {}, "Expose": {}}));
    assert_eq!(agent.get("/v1/health/service/db?filter=Service.Port==0").json().as_array().unwrap().len(), 1);
    let index = row["ModifyIndex"].clone();
    assert_eq!(agent.put("/v1/catalog/register", &ext.to_string()).body, "true");
    assert_eq!(agent.get("/v1/catalog/service/db").json()[0]["ModifyIndex"], index, "the same again changes nothing");
}

#[test]
fn selections_by_tag_meta_filter_and_state_agree_with_consul() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let count = |path: &str| agent.get(path).json().as_array().unwrap().len();
    assert_eq!(count("/v1/catalog/service/web?tag=V1&tag=blue"), 1, "all tags, without regard to case");
    assert_eq!(count("/v1/catalog/service/web?tag=v1&tag=green"), 0);
    assert_eq!(count("/v1/catalog/service/web?node-meta=rack:r1"), 1);
    assert_eq!(count("/v1/catalog/service/web?node-meta=rack:r2"), 0);
    assert_eq!(count("/v1/health/service/web?filter=Service.Meta.env==prod"), 1);
    assert_eq!(count("/v1/health/service/web?filter=%22v1%22%20in%20Service.Tags%20and%20not%20Service.Port%20!=%2080"), 1);
    assert_eq!(count("/v1/health/service/web?filter=Checks.Status%20==%20critical"), 1);
    for path in ["/v1/health/service/web", "/v1/health/service/unknown", "/v1/agent/services", "/v1/agent/checks"] {
        assert_eq!(agent.get(&format!("{path}?filter=Colour==red")).status, 400, "{path}");
    }
    assert_eq!(count("/v1/health/service/web?filter=Service.Kind!=%22connect-proxy%22%20and%20Service.Kind==%22%22"), 1);
    assert_eq!(count("/v1/catalog/service/web?filter=ServiceConnect.Native==false"), 1);
    assert_eq!(count("/v1/health/state/critical"), 1);
    assert_eq!(count("/v1/health/state/ANY"), count("/v1/health/state/any"));
    assert_eq!(agent.get("/v1/catalog/services").json(), json!({"consul": [], "web": ["Blue", "v1"]}));
}

#[test]
fn maintenance_and_agent_health_speak_in_codes() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let code = |path: &str| agent.get(path).status;
    assert_eq!(code("/v1/agent/health/service/id/web1"), 503);
    assert_eq!(agent.put("/v1/agent/check/warn/service:web1:2?note=slow", "").status, 200);
    assert_eq!(code("/v1/agent/health/service/id/web1"), 429);
    assert_eq!(agent.put("/v1/agent/check/update/service:web1:2", "{\"status\": \"passing\", \"output\": \"fine\"}").status, 200);
    assert_eq!(code("/v1/agent/health/service/id/web1"), 200);
    assert_eq!(code("/v1/agent/health/service/name/web"), 200);
    assert_eq!(code("/v1/agent/health/service/id/none"), 404);
    assert_eq!(agent.put("/v1/agent/service/maintenance/web1?enable=true&reason=upgrade", "").status, 200);
    let reply = agent.get("/v1/agent/health/service/id/web1?format=text");
    assert_eq!((reply.status, reply.body.as_str()), (503, "maintenance"));
    agent.wait_for("/v1/health/service/web?passing", |rows| rows == &json!([]));
    assert_eq!(agent.put("/v1/agent/service/maintenance/web1?enable=false", "").status, 200);
    agent.wait_for("/v1/health/service/web?passing", |rows| rows.as_array().unwrap().len() == 1);
    let bad = agent.put("/v1/agent/check/update/service:web1:2", "{\"Status\": \"fine\"}");
    assert_eq!((bad.status, bad.body.as_str()), (400, "Invalid check status: 'fine'"));
}

#[test]
fn an_agent_s_own_service_is_watched_by_its_hash() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let first = agent.get("/v1/agent/service/web1");
    let hash = first.header("X-Consul-ContentHash").to_owned();
    assert!(!hash.is_empty() && first.json()["ContentHash"] == json!(hash));
    let path = format!("/v1/agent/service/web1?hash={hash}&wait=25s");
    let changed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.get(&path));
        let web = json!({"Name": "web", "ID": "web1", "Port": 81});
        assert_eq!(agent.put("/v1/agent/service/register", &web.to_string()).status, 200);
        waiting.join().unwrap()
    });
    assert_eq!(changed.json()["Port"], 81);
    assert_ne!(changed.header("X-Consul-ContentHash"), hash);
}

#[test]
fn registrations_survive_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    let id = agent.get("/v1/agent/self").json()["Config"]["NodeID"].clone();
    let plan = agent.plan.clone();
    assert_eq!(agent.get("/v1/agent/checks").json()["service:web1:1"]["Status"], "passing");
    assert_eq!(agent.put("/v1/agent/check/pass/service:web1:2?note=well", "").status, 200);
    let states = plan.data_dir.join("checks/state");
    wait_until("its word is kept", || std::fs::read_dir(&states).unwrap().next().is_some().then_some(()));
    agent.kill();
    let agent = plan.start();
    agent.wait_for_leader();
    assert_eq!(agent.get("/v1/agent/self").json()["Config"]["NodeID"], id);
    let checks = agent.get("/v1/agent/checks").json();
    assert_eq!(checks["service:web1:1"]["Status"], "critical", "nobody has spoken for it: {checks}");
    assert_eq!((&checks["service:web1:2"]["Status"], &checks["service:web1:2"]["Output"]), (&json!("passing"), &json!("well")));
    assert_eq!(agent.get("/v1/agent/services").json()["web1"]["Tags"], json!(["v1", "Blue"]));
}

#[test]
fn large_answers_are_compressed_when_asked_and_only_then() {
    let root = tempfile::tempdir().unwrap();
    let agent = agent(root.path());
    use std::io::{Read, Write};
    let ask = |encoding: &str, path: &str| {
        let mut socket = std::net::TcpStream::connect((agent.plan.address, 8500)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{encoding}\r\n").unwrap();
        let mut reply = Vec::new();
        socket.read_to_end(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.contains("\r\nX-Consul-Default-Acl-Policy: allow\r\n"), "names of headers are written as Go writes them");
        reply.to_ascii_lowercase()
    };
    let large = "/v1/agent/self";
    assert!(ask("Accept-Encoding: gzip\r\n", large).contains("content-encoding: gzip"));
    assert!(!ask("", large).contains("content-encoding"));
    assert!(!ask("Accept-Encoding: gzip\r\n", "/v1/catalog/datacenters").contains("content-encoding"));
}
