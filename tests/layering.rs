//! Fails on an import against the arrows of `ARCHITECTURE.md`: which room may use which.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What every room may use besides itself.
const EVERYWHERE: [&str; 7] = ["defaults", "model", "clock", "shutdown", "entrance", "listener", "telemetry::Trouble"];

/// What a room may use beyond that.
fn arrows() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("defaults", &[] as &[&str]),
        ("model", &[]),
        ("config", &[]),
        ("clock", &[]),
        ("shutdown", &[]),
        ("telemetry", &[]),
        ("entrance", &[]),
        ("listener", &[]),
        ("store", &[]),
        ("tls", &[]),
        ("proxy", &[]),
        ("gossip", &[]),
        ("rpc", &["tls"]),
        ("bridge", &["tls"]),
        ("raft", &["store"]),
        ("router", &["store", "raft", "rpc", "bridge", "gossip"]),
        ("local", &["router", "gossip", "tls", "proxy"]),
        ("leader", &["raft", "store", "gossip"]),
        ("http", &["router", "local", "gossip"]),
        ("watch", &["tls", "proxy"]),
        ("cli", &["config", "tls", "watch"]),
        (
            "agent",
            &[
                "bridge",
                "cli",
                "config",
                "gossip",
                "http",
                "leader",
                "local",
                "proxy",
                "raft",
                "router",
                "rpc",
                "store",
                "telemetry",
                "tls",
                "watch",
            ],
        ),
    ])
}

/// Rooms that know nothing of tokio, and the one file of gossip that may.
const WITHOUT_TOKIO: [&str; 1] = ["model"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with the room it is in.
fn files() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    paths
        .into_iter()
        .filter_map(|path| {
            let inside = path.strip_prefix(&src).unwrap().to_owned();
            let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let room = first.trim_end_matches(".rs").to_owned();
            let code = fs::read_to_string(&path).unwrap();
            (!["main", "lib"].contains(&room.as_str())).then_some((room, inside, code))
        })
        .collect()
}

/// The paths after `crate::` in `code`, comments left out.
fn crate_paths(code: &str) -> Vec<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let text: String = lines.collect::<Vec<_>>().join("\n");
    text.match_indices("crate::")
        .map(|(at, found)| {
            let rest = &text[at + found.len()..];
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect()
        })
        .collect()
}

#[test]
fn no_room_uses_another_against_the_arrows() {
    let arrows = arrows();
    let mut wrong = Vec::new();
    for (room, file, code) in files() {
        let allowed = arrows.get(room.as_str()).unwrap_or_else(|| panic!("{} is in no known room", file.display()));
        for path in crate_paths(&code) {
            let target = path.split("::").next().unwrap_or_default();
            let everywhere = EVERYWHERE.iter().any(|prefix| path == *prefix || path.starts_with(&format!("{prefix}::")));
            if !(target == room || everywhere || allowed.contains(&target)) {
                wrong.push(format!("{}: crate::{path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the arrows:\n{}", wrong.join("\n"));
}

#[test]
fn plain_data_knows_no_tokio_and_the_store_reads_no_clock() {
    let mut wrong = Vec::new();
    for (room, file, code) in files() {
        let code: String = code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let uses = |what: &str| code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(what));
        if WITHOUT_TOKIO.contains(&room.as_str()) && uses("tokio") {
            wrong.push(format!("{}: tokio", file.display()));
        }
        if ["model", "store"].contains(&room.as_str()) && (uses("Instant::now") || uses("SystemTime::now") || uses("use rand")) {
            wrong.push(format!("{}: a clock or randomness", file.display()));
        }
        let driver = ["driver", "tests"].iter().any(|part| file.to_string_lossy().contains(part));
        if room == "gossip" && uses("tokio::net") && !driver {
            wrong.push(format!("{}: sockets outside the driver", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
