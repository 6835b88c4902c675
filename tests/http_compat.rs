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
        ("GET", "/v1/nothing/here", 404, ""),
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
