//! What comes from outside may be anything: junk on every port, impossible requests, impossible
//! starts. Nothing crashes, nothing grows, and the user is told what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, wait_until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A cheap generator: the junk must be the same in every run.
struct Junk(u64);

impl Junk {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.0 >> 33) as u8
            })
            .collect()
    }
}

fn resident_kb(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// One server alone, known to answer.
fn lone_server(root: &std::path::Path) -> Agent {
    let server = Plan::server(root, "dc1", "s1", 1).start();
    server.wait_for_leader();
    server
}

/// Junk is counted where it came: 8300 udp, 8300 tcp, 8301 and 8302, 8500.
const COUNTED: [&str; 6] = [
    "kontor_bridge_junk{kind=\"not QUIC\"}",
    "kontor_bridge_junk{kind=\"version\"}",
    "kontor_bridge_junk{kind=\"connection id\"}",
    "kontor_rpc_connections_refused",
    "kontor_gossip_refused",
    "kontor_http_connections_broken",
];

#[test]
fn junk_on_every_port_neither_crashes_nor_grows_an_agent() {
    let root = tempfile::tempdir().unwrap();
    let server = lone_server(root.path());
    let at = |port: u16| SocketAddr::from((server.plan.address, port));
    let before = resident_kb(&server);
    let mut junk = Junk(42);
    let udp = UdpSocket::bind((rig::address(), 0)).unwrap();
    for round in 0..2_000 {
        for port in [8300, 8301, 8302] {
            // Over the largest datagram the kernel refuses to send; up to there it must be taken.
            udp.send_to(&junk.bytes(1 + round * 7 % 1400), at(port)).unwrap();
        }
    }
    for round in 0..100 {
        for port in [8300, 8301, 8302, 8500] {
            let mut socket = TcpStream::connect(at(port)).unwrap();
            socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
            // The agent may hang up in the middle; that is its right.
            let _ = socket.write_all(&junk.bytes(1 + round * 97 % 9000));
            if round % 3 == 0 {
                // A length that promises more than anybody should take.
                let _ = socket.write_all(&[0xff; 64]);
            }
        }
    }
    assert_eq!(server.get("/v1/agent/members").json().as_array().unwrap().len(), 1, "junk makes no member");
    assert_eq!(server.get("/v1/catalog/nodes").json().as_array().unwrap().len(), 1);
    wait_until("memory is given back", || (resident_kb(&server) < before + 40_000).then_some(()));
    let counted = server.get("/v1/agent/metrics?format=prometheus").body;
    for part in COUNTED {
        assert!(counted.lines().any(|line| line.starts_with(part)), "{part} is missing in\n{counted}");
    }
}

#[test]
fn a_replayed_datagram_of_another_pool_makes_no_member() {
    let root = tempfile::tempdir().unwrap();
    let server = lone_server(root.path());
    let other = Plan::server(root.path(), "dc1", "other", 1);
    // The other agent gossips with a socket of ours, and what it says is replayed to both ports.
    let ear = UdpSocket::bind((rig::address(), 8301)).unwrap();
    ear.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let other = other.flag(&format!("-retry-join={}", ear.local_addr().unwrap().ip())).start();
    other.wait_for_leader();
    let mut buffer = [0; 2048];
    for _ in 0..20 {
        if let Ok((length, _)) = ear.recv_from(&mut buffer) {
            ear.send_to(&buffer[..length], (server.plan.address, 8302)).unwrap();
        }
    }
    assert_eq!(server.get("/v1/agent/members?wan=1").json().as_array().unwrap().len(), 1);
}

#[test]
fn bodies_that_are_broken_too_large_or_unknown_are_told_so() {
    let root = tempfile::tempdir().unwrap();
    let server = lone_server(root.path());
    let broken = server.put("/v1/catalog/register", "{\"Node\": \"n\",\n \"Address\" 1}");
    assert_eq!(broken.status, 400);
    assert!(broken.body.contains("line 2"), "the position is told: {}", broken.body);
    let unknown = server.put("/v1/agent/service/register", "{\"Name\": \"x\", \"Colour\": 1}");
    assert_eq!((unknown.status, unknown.body.as_str()), (400, "Request decode failed: json: unknown field \"Colour\""));
    let mut socket = TcpStream::connect((server.plan.address, 8500)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(socket, "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n").unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(server.put("/v1/catalog/register", &deep).status, 400);
}

fn last_log_index(server: &Agent) -> u64 {
    server.get("/v1/agent/self").json()["Stats"]["raft"]["last_log_index"].as_str().unwrap().parse().unwrap()
}

#[test]
fn what_cannot_be_registered_costs_neither_memory_nor_entries_of_the_log() {
    let root = tempfile::tempdir().unwrap();
    let server = lone_server(root.path());
    let register = |members: &str| {
        let body = format!("{{\"Node\": \"n\", \"Address\": \"10.0.0.1\", {members}}}");
        server.put("/v1/catalog/register", &body)
    };
    let checks = |check: &str, count: usize| format!("\"Checks\": [{}]", vec![check; count].join(","));
    let (memory, index) = (resident_kb(&server), last_log_index(&server));
    for _ in 0..10 {
        let refused = register(&checks("{}", 330_000));
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains("more than 32768 values"), "{}", refused.body);
        let refused = register(&checks("{}", 10));
        assert_eq!((refused.status, refused.body.as_str()), (500, "Must provide a CheckID or a Name for each check"));
        // Within the bounds of a body, and too large with all that a check has.
        let refused = register(&checks("{\"Name\":\"c\"}", 16_000));
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains("send it in parts"), "{}", refused.body);
        // Every check would carry all tags.
        let service = format!("\"Service\": {{\"Service\": \"web\", \"Tags\": [\"{}\"]}}", "t".repeat(500_000));
        let refused = register(&format!("{service}, {}", checks("{\"Name\":\"c\",\"ServiceID\":\"web\"}", 1_000)));
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains("register fewer checks or tags"), "{}", refused.body);
    }
    // The leader writes on its own account from time to time.
    assert!(last_log_index(&server) < index + 10, "what is refused is no entry of the log");
    wait_until("memory is given back", || (resident_kb(&server) < memory + 100_000).then_some(()));
}

#[test]
fn opaque_json_is_what_it_was_by_way_of_every_agent_and_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::server(root.path(), "dc1", "s1", 1);
    let server = plan.start();
    server.wait_for_leader();
    let agent = Plan::client(root.path(), "dc1", "c1").join(&[&plan]).start();
    agent.wait_for("/v1/catalog/nodes", |nodes| nodes.as_array().is_some_and(|nodes| nodes.len() == 2));
    let raw = serde_json::json!({"$serde_json::private::RawValue": "{\"a\":1}", "n": [u64::MAX, i64::MIN, 7.36251576244645e+70]});
    let deep = (0..56).fold(serde_json::json!(1), |inner, _| serde_json::json!({"$serde_json::private::RawValue": inner}));
    let (raw, deep) = (serde_json::json!({"Config": raw}), serde_json::json!({"Config": deep}));
    for (name, proxy) in [("raw", &raw), ("deep", &deep)] {
        let outside = serde_json::json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": name, "Proxy": proxy}});
        assert_eq!(agent.put("/v1/catalog/register", &outside.to_string()).status, 200, "{name}");
        let own = serde_json::json!({"Name": format!("own-{name}"), "Proxy": proxy});
        assert_eq!(agent.put("/v1/agent/service/register", &own.to_string()).status, 200, "{name}");
    }
    let deeper =
        serde_json::json!({"Node": "n", "Address": "10.0.0.1", "Service": {"Service": "w", "Proxy": [[[[[[[[deep]]]]]]]]}});
    let refused = agent.put("/v1/catalog/register", &deeper.to_string());
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("nested deeper than 64 levels"), "{}", refused.body);
    // What is registered after it is not kept back.
    assert_eq!(agent.put("/v1/agent/service/register", "{\"Name\": \"last\"}").status, 200);
    let is_kept = |server: &Agent| {
        for (name, proxy) in [("raw", &raw), ("deep", &deep), ("own-raw", &raw), ("own-deep", &deep)] {
            let found = server.wait_for(&format!("/v1/catalog/service/{name}"), |rows| rows[0].is_object());
            assert_eq!(found[0]["ServiceProxy"]["Config"], proxy["Config"], "{name}");
        }
        server.wait_for("/v1/catalog/service/last", |rows| rows[0].is_object());
    };
    is_kept(&server);
    assert!(server.terminate().is_some());
    let server = plan.start();
    server.wait_for_leader();
    is_kept(&server);
}

/// Starts an agent that must not start: its exit code and what it said.
fn refused(plan: &Plan) -> (i32, String) {
    let agent = plan.start();
    let log = plan.data_dir.join("agent.log");
    let code = agent.wait().unwrap_or(-1);
    (code, std::fs::read_to_string(log).unwrap())
}

#[test]
fn impossible_starts_end_with_one_clear_line_and_a_code() {
    let root = tempfile::tempdir().unwrap();
    let server = lone_server(root.path());
    let same_port = Plan { address: server.plan.address, ..Plan::client(root.path(), "dc1", "same-port") };
    let (code, said) = refused(&same_port);
    assert_ne!(code, 0);
    assert!(said.contains("cannot listen on") && said.contains("8500"), "{said}");

    let same_dir = Plan { data_dir: server.plan.data_dir.clone(), ..Plan::client(root.path(), "dc1", "same-dir") };
    let (code, said) = refused(&same_dir);
    assert_ne!(code, 0);
    assert!(said.contains("in use by another agent"), "{said}");

    let owned = Plan::client(root.path(), "dc1", "owned");
    std::fs::create_dir_all(&owned.data_dir).unwrap();
    std::fs::write(owned.data_dir.join("node-id"), "40e4a748-2192-161a-0510-9bf59fe950b5").unwrap();
    let (code, said) = refused(&owned.clone().flag("-node-id=11111111-2192-161a-0510-9bf59fe950b5"));
    assert_ne!(code, 0);
    assert!(said.contains("belongs to node 40e4a748"), "{said}");

    let config = root.path().join("bad.hcl");
    std::fs::write(&config, "colour = \"red\"\ndatacenter = \"UPPER case\"\nports { http = 99999 }\n").unwrap();
    let (code, said) = refused(&Plan::client(root.path(), "dc1", "bad").flag(&format!("-config-file={}", config.display())));
    assert_eq!(code, 1);
    assert!(said.contains("invalid config key colour"), "{said}");

    let blocked = Plan::client(root.path(), "dc1", "blocked");
    let file = root.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let (code, said) = refused(&blocked.flag(&format!("-data-dir={}", file.join("below").display())));
    assert_ne!(code, 0);
    assert!(said.contains("cannot use"), "{said}");
}
