//! `kontor demo` federates two datacenters, answers for both, and cleans up after itself.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{PATIENCE, request, wait_until};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn the_demo_answers_for_both_datacenters_and_stops_on_a_signal() {
    // Away from the usual address and ports, which somebody's own agent may hold.
    let bind = rig::address().to_string();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kontor"))
        .args(["demo", "-bind", &bind, "-dc1-port=18500", "-dc2-port=19500"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for (port, dc) in [(18500, "dc2"), (19500, "dc1"), (18530, "dc2")] {
        let url = format!("http://{bind}:{port}/v1/health/service/web?dc={dc}");
        wait_until(&url, || {
            let reply = request("GET", &url, None)?;
            (reply.status == 200 && reply.json().as_array()?.len() == 1).then_some(())
        });
    }
    // The guide is printed when every agent has answered for both, which may be a moment later.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("press Ctrl-C") {
        assert!(output.read_line(&mut said).unwrap() > 0, "the demo ended early: {said}");
    }
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the demo did not stop");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(said.matches("    curl '").count(), 3, "{said}");
}
