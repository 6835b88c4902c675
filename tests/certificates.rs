//! Certificates that are replaced while agents run: whatever shows them shows the new ones, nothing
//! that stands is dropped, and the log tells when they are over.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a failed step is a failed test")]

mod rig;

use rig::{Agent, Plan, wait_until};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of one certificate authority, made as users make them.
struct Authority(PathBuf);

impl Authority {
    fn new(root: &Path, name: &str) -> Authority {
        let folder = root.join(name);
        std::fs::create_dir(&folder).unwrap();
        let authority = Authority(folder);
        authority.run("tls ca create");
        authority
    }

    fn run(&self, line: &str) {
        let status = Command::new(env!("CARGO_BIN_EXE_kontor")).args(line.split(' ')).current_dir(&self.0).status();
        assert!(status.unwrap().success(), "{line}");
    }

    fn file(&self) -> PathBuf {
        self.0.join("consul-agent-ca.pem")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    /// A new certificate for a server of `dc`, put with its key where the agents of `dc` look for them.
    fn give(&self, root: &Path, dc: &str, days: u32) {
        self.give_kind(root, "server", dc, days);
    }

    fn give_kind(&self, root: &Path, kind: &str, dc: &str, days: u32) {
        self.run(&format!("tls cert create -{kind} -dc={dc} -days={days}"));
        let made = |part: &str| self.0.join(format!("{dc}-{kind}-consul-0{part}.pem"));
        for (from, to) in [(made(""), "cert"), (made("-key"), "key")] {
            std::fs::rename(from, root.join(format!("{dc}-{to}.pem"))).unwrap();
        }
    }
}

fn trust(root: &Path, dc: &str, authorities: &[&Authority]) {
    let all: String = authorities.iter().map(|authority| authority.text()).collect();
    std::fs::write(root.join(format!("{dc}-ca.pem")), all).unwrap();
}

fn plan(root: &Path, dc: &str) -> Plan {
    let path = |name: &str| root.join(format!("{dc}-{name}.pem")).display().to_string();
    Plan::server(root, dc, "s1", 1).settings(&json!({
        "ca_file": path("ca"), "cert_file": path("cert"), "key_file": path("key"), "ports": {"https": 8501},
    }))
}

/// The certificate that the bridge shows.
fn fingerprint(agent: &Agent) -> String {
    agent.get("/v1/agent/self").json()["Stats"]["bridge"]["fingerprint"].as_str().unwrap().to_owned()
}

/// Whether the HTTPS port shows a certificate of this authority.
fn https_is_of(agent: &Agent, authority: &Authority) -> bool {
    https_shows(agent, authority, "server")
}

/// The same of a certificate of this kind.
fn https_shows(agent: &Agent, authority: &Authority, kind: &str) -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_kontor"))
        .args(["info", &format!("-http-addr=https://{}:8501", agent.plan.address)])
        .args([&format!("-ca-file={}", authority.file().display()), &format!("-tls-server-name={kind}.{}.consul", agent.plan.dc)])
        .output();
    output.unwrap().status.success()
}

/// The link to dc2, as it stands at `agent`: since when, and that it does.
fn link(agent: &Agent) -> String {
    let seen = agent.wait_for("/v1/federation/dc2", |seen| seen["Datacenters"][0]["Servers"][0]["Link"] == "up");
    seen["Datacenters"][0]["Servers"][0]["Since"].as_str().unwrap().to_owned()
}

#[test]
fn certificates_put_in_the_place_of_others_are_taken_up_and_no_link_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (old, new) = (Authority::new(root, "old"), Authority::new(root, "new"));
    for (dc, days) in [("dc1", 365), ("dc2", 20)] {
        trust(root, dc, &[&old]);
        old.give(root, dc, days);
    }
    let one = plan(root, "dc1").start();
    let two = plan(root, "dc2").join_wan(&[&one.plan]).start();
    for agent in [&one, &two] {
        agent.wait_for_leader();
        assert!(https_is_of(agent, &old) && !https_is_of(agent, &new));
        assert!(agent.log().contains("certificate in use"), "the CA's and, for one, its own");
    }
    assert!(two.log().contains("certificate is over soon") && !one.log().contains("certificate is over soon"));
    let since = link(&one);
    let before = [fingerprint(&one), fingerprint(&two)];

    // First both authorities are trusted, then the certificates are of the new one: nobody reloads.
    for dc in ["dc1", "dc2"] {
        trust(root, dc, &[&old, &new]);
        new.give(root, dc, 365);
    }
    for (agent, before) in [&one, &two].into_iter().zip(&before) {
        wait_until("the bridge shows the new one", || (fingerprint(agent) != *before).then_some(()));
        wait_until("so does HTTPS", || (https_is_of(agent, &new) && !https_is_of(agent, &old)).then_some(()));
        assert!(agent.log().contains("certificates have changed; the new ones are shown from now on"));
    }
    assert_eq!(one.get("/v1/catalog/nodes?dc=dc2").status, 200);
    assert_eq!(link(&one), since, "the link is the one that stood before");
    assert!(!one.log().contains("link down"), "it was never down");

    // What is no certificate is told, and changes nothing.
    let shown = fingerprint(&one);
    std::fs::write(root.join("dc1-cert.pem"), "junk").unwrap();
    wait_until("it is told", || one.log().contains("cannot be used; those from before stay").then_some(()));
    assert_eq!((fingerprint(&one), https_is_of(&one, &new)), (shown, true));
    assert_eq!(link(&one), since);

    // Who comes now trusts the new authority alone, and is trusted for its certificate of it.
    let plan = two.plan.clone();
    two.kill();
    trust(root, "dc2", &[&new]);
    let two = plan.start();
    two.wait_for_leader();
    one.wait_for("/v1/catalog/nodes?dc=dc2", |nodes| nodes.as_array().unwrap().len() == 1);
    two.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 1);
}

/// The fingerprint that a server tells in the WAN pool.
fn told(agent: &Agent) -> Option<String> {
    let members = agent.get("/v1/agent/members?wan=1").json();
    let own = members.as_array().unwrap().iter().find(|member| member["Tags"]["dc"] == agent.plan.dc.as_str()).unwrap();
    own["Tags"]["bridge"].as_str().map(|pin| format!("sha256:{pin}"))
}

#[test]
fn a_bridge_that_requires_the_authority_never_falls_back_to_fingerprints_by_a_renewal() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let authority = Authority::new(root, "old");
    trust(root, "dc1", &[&authority]);
    authority.give(root, "dc1", 365);
    let one = plan(root, "dc1").start();
    one.wait_for_leader();
    let before = fingerprint(&one);
    authority.give_kind(root, "client", "dc1", 365);
    wait_until("HTTPS shows the new one", || https_shows(&one, &authority, "client").then_some(()));
    wait_until("the bridge says so", || one.log().contains("the bridge goes on with the certificate from before").then_some(()));
    assert_eq!((fingerprint(&one), told(&one)), (before, None));
}

#[test]
fn a_certificate_that_the_bridge_cannot_show_is_taken_elsewhere_and_the_bridge_shows_its_own_key() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let (old, new) = (Authority::new(root, "old"), Authority::new(root, "new"));
    trust(root, "dc1", &[&old]);
    old.give(root, "dc1", 365);
    let file = root.join("more.json");
    std::fs::write(&file, json!({"bridge": {"require_ca": false}}).to_string()).unwrap();
    let more = format!("-config-file={}", file.display());
    let one = plan(root, "dc1").flag(&more).start();
    one.wait_for_leader();
    let of_the_old = fingerprint(&one);
    assert_eq!(told(&one), None);

    old.give_kind(root, "client", "dc1", 365);
    wait_until("HTTPS shows the new one", || (https_shows(&one, &old, "client") && !https_is_of(&one, &old)).then_some(()));
    let own = fingerprint(&one);
    assert_ne!(own, of_the_old);
    wait_until("the others are told", || (told(&one).as_ref() == Some(&own)).then_some(()));
    assert!(one.log().contains("the bridge shows a key of its own"));

    // Whom this server takes is told by the authorities of the day.
    trust(root, "dc2", &[&new, &old]);
    new.give(root, "dc2", 365);
    let two = plan(root, "dc2").flag(&more).join_wan(&[&one.plan]).start();
    two.wait_for_leader();
    wait_until("dc2 is not trusted", || {
        let seen = one.get("/v1/federation/dc2").body;
        seen.contains("tls-refused").then_some(())
    });
    trust(root, "dc1", &[&old, &new]);
    link(&one);
    two.wait_for("/v1/catalog/nodes?dc=dc1", |nodes| nodes.as_array().unwrap().len() == 1);
    assert_eq!(fingerprint(&one), own, "its key stays");

    new.give(root, "dc1", 365);
    wait_until("HTTPS shows the good one", || https_is_of(&one, &new).then_some(()));
    wait_until("and so does the bridge", || (told(&one).is_none() && fingerprint(&one) != own).then_some(()));
}
