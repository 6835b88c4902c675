//! Fails on an import against the arrows of `ARCHITECTURE.md`: which room may use which.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod circles;
mod modules;
mod operations;

use modules::modules;
use std::collections::BTreeMap;

/// What every room may use besides itself.
const EVERYWHERE: [&str; 9] = [
    "defaults",
    "model",
    "clock",
    "shutdown",
    "entrance",
    "listener",
    "udp",
    "telemetry::FailureThrottle",
    "telemetry::FailureThrottles",
];

/// What a room may use beyond that.
fn arrows() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("defaults", &[] as &[&str]),
        ("model", &[]),
        ("config", &[]),
        ("clock", &[]),
        ("cache", &[]),
        ("shutdown", &[]),
        ("telemetry", &[]),
        ("entrance", &[]),
        ("listener", &[]),
        ("udp", &[]),
        ("store", &[]),
        ("tls", &[]),
        ("http1", &[]),
        ("proxy", &["http1"]),
        ("gossip", &[]),
        ("rpc", &["tls"]),
        ("bridge", &["tls", "cache"]),
        ("raft", &["store"]),
        ("expiry", &[]),
        ("router", &["store", "raft", "rpc", "bridge", "gossip", "expiry", "cache"]),
        ("local", &["router", "gossip", "tls", "http1", "proxy"]),
        ("leader", &["raft", "store", "gossip", "expiry"]),
        ("http", &["router", "local", "gossip"]),
        ("watch", &["tls", "http1", "proxy"]),
        ("cli", &["config", "tls", "http1", "watch"]),
        (
            "agent",
            &[
                "bridge",
                "cli",
                "config",
                "expiry",
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

/// Whether `path` is `prefix` or in it.
fn is_in(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn no_room_uses_another_against_the_arrows() {
    let arrows = arrows();
    let mut wrong = Vec::new();
    for module in modules() {
        let room = module.room();
        let allowed = arrows.get(room).unwrap_or_else(|| panic!("{} is in no known room", module.file.display()));
        for path in &module.inside {
            let mut rooms = EVERYWHERE.iter().chain(*allowed).chain([&room]);
            if !rooms.any(|prefix| is_in(path, prefix)) {
                wrong.push(format!("{}: {path}", module.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the arrows:\n{}", wrong.join("\n"));
}

#[test]
fn plain_data_knows_no_tokio_and_the_store_reads_no_clock() {
    let mut wrong = Vec::new();
    for module in modules().iter().filter(|module| !module.is_test) {
        let mut refuse = |what: &str, fault: &str| {
            let mut paths = module.outside.iter().chain(&module.inside);
            if paths.any(|path| is_in(path, what) || path.ends_with(&format!("::{what}"))) {
                wrong.push(format!("{}: {fault}, {what}", module.file.display()));
            }
        };
        if module.room() == "model" {
            refuse("tokio", "a runtime");
        }
        if ["model", "store"].contains(&module.room()) {
            for clock in ["Instant::now", "SystemTime::now", "rand", "clock"] {
                refuse(clock, "a clock or randomness");
            }
        }
        if module.room() == "gossip" && !module.path.starts_with(&["gossip".to_owned(), "driver".to_owned()]) {
            refuse("tokio::net", "sockets outside the driver");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn code_after_tests_is_read_and_what_is_no_code_is_not() {
    let read = modules::read(
        r##"
        use crate::store::{self, View, rows::{Row, Key as K}};
        // crate::comment
        const TEXT: &str = "} crate::text '";
        #[cfg(test)]
        use crate::only::tests;
        struct Row<'a> { #[cfg(test)] seen: crate::seen::Seen<'a, u8>, kept: super::Kept }
        #[cfg(test)]
        mod tests { fn brace() -> char { '}' } fn named() { super::super::far() } }
        fn after() -> std::time::Instant { tokio::select! { _ = crate::last::wait() => Instant::now() } }
        "##,
    );
    let named = |is_test: bool| {
        let modules = read.iter().filter(|module| module.is_test == is_test);
        modules.flat_map(|module| module.inside.iter().map(String::as_str)).collect::<Vec<_>>()
    };
    assert_eq!(named(false), ["last::wait", "room::Kept", "store", "store::View", "store::rows::Key", "store::rows::Row"]);
    assert_eq!(named(true), ["room::far", "only::tests", "seen::Seen"]);
    assert!(read.iter().any(|module| !module.is_test && module.outside.contains("Instant::now")));
}
