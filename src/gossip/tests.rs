//! The pool on real sockets, with fast settings, on the loopback address.

use super::info::tests::tags;
use super::*;

/// The deadline of every wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn settings(name: &str, dc: &str) -> GossipSettings {
    GossipSettings {
        pool: Pool::Lan,
        name: name.to_owned(),
        node_id: NodeId::random(),
        datacenter: dc.to_owned(),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        tags: tags(dc, "consul"),
        encrypt: None,
        snapshot: None,
        retry_join: Vec::new(),
        retry_interval: Duration::from_millis(300),
        retry_max: 0,
        rejoin_after_leave: false,
        fast: true,
        reconnect_timeout: Duration::from_secs(72 * 3600),
        allowed_cidrs: Vec::new(),
    }
}

struct Agent {
    gossip: Gossip,
    shutdown: Shutdown,
}

impl Agent {
    async fn start(settings: GossipSettings) -> Agent {
        let shutdown = Shutdown::new();
        Agent { gossip: Gossip::start(settings, &shutdown).await.unwrap(), shutdown }
    }

    async fn joined(settings: GossipSettings, first: &Agent) -> Agent {
        let agent = Agent::start(settings).await;
        assert_eq!(agent.gossip.join(&[first.address()]).await.unwrap().answered, 1);
        agent
    }

    fn address(&self) -> String {
        self.gossip.local_addr().to_string()
    }

    async fn kill(self) {
        self.shutdown.drain(PATIENCE).await.unwrap();
    }

    async fn sees(&self, what: &str, condition: impl Fn(&Roster) -> bool) {
        let mut changes = self.gossip.changes();
        let seen = tokio::time::timeout(PATIENCE, changes.wait_for(|roster| condition(roster))).await;
        assert!(seen.is_ok(), "{what}: {:?}", self.gossip.roster());
    }

    async fn sees_status(&self, name: &str, status: MemberStatus) {
        self.sees(name, |roster| roster.members.get(name).is_some_and(|member| member.status == status)).await;
    }
}

#[tokio::test]
async fn ten_nodes_all_see_all() {
    let mut agents = vec![Agent::start(settings("n0", "dc1")).await];
    for number in 1..10 {
        agents.push(Agent::joined(settings(&format!("n{number}"), "dc1"), &agents[0]).await);
    }
    for agent in &agents {
        agent.sees("all ten", |roster| roster.alive().count() == 10).await;
    }
    assert_eq!(agents[3].gossip.stats()["members"], "10");
    agents[0].gossip.set_tag("new", Some("1".to_owned()));
    for agent in &agents {
        agent.sees("new tags", |roster| roster.members["n0"].tag("new") == "1").await;
    }
}

#[tokio::test]
async fn a_wrong_datacenter_is_refused_with_both_names() {
    let here = Agent::start(settings("here", "dc1")).await;
    let there = Agent::start(settings("there", "dc2")).await;
    let error = there.gossip.join(&[here.address()]).await.unwrap_err().to_string();
    assert!(error.ends_with("Member 'there' part of wrong datacenter 'dc2'; expected 'dc1'"), "{error}");
    assert_eq!(here.gossip.roster().members.len(), 1);
}

#[tokio::test]
async fn the_wan_pool_refuses_clients() {
    let server = GossipSettings { pool: Pool::Wan, ..settings("s1.dc1", "dc1") };
    let client = GossipSettings { pool: Pool::Wan, tags: tags("dc2", "node"), ..settings("c1.dc2", "dc2") };
    let error = Gossip::start(client, &Shutdown::new()).await.unwrap_err().to_string();
    assert!(error.ends_with("Member 'c1.dc2' is not a server"), "{error}");
    let (one, two) = (Agent::start(server).await, GossipSettings { pool: Pool::Wan, ..settings("s1.dc2", "dc2") });
    let two = Agent::joined(two, &one).await;
    one.sees_status("s1.dc2", MemberStatus::Alive).await;
    two.sees_status("s1.dc1", MemberStatus::Alive).await;
}

#[tokio::test]
async fn an_encrypted_pool_refuses_plain_and_takes_its_own() {
    let key = Some(vec![9; 16]);
    let first = Agent::start(GossipSettings { encrypt: key.clone(), ..settings("first", "dc1") }).await;
    let plain = Agent::start(settings("plain", "dc1")).await;
    let error = plain.gossip.join(&[first.address()]).await.unwrap_err().to_string();
    assert!(error.contains("same encrypt key"), "{error}");
    let second = Agent::joined(GossipSettings { encrypt: key, ..settings("second", "dc1") }, &first).await;
    first.sees("two", |roster| roster.alive().count() == 2).await;
    assert_eq!(second.gossip.stats()["encrypted"], "true");
    assert!(!first.gossip.roster().members.contains_key("plain"));
}

#[tokio::test]
async fn who_leaves_is_left_and_who_is_killed_is_failed() {
    let first = Agent::start(settings("first", "dc1")).await;
    let (leaver, victim) =
        (Agent::joined(settings("leaver", "dc1"), &first).await, Agent::joined(settings("victim", "dc1"), &first).await);
    first.sees("three", |roster| roster.alive().count() == 3).await;
    leaver.gossip.leave().await;
    leaver.kill().await;
    first.sees_status("leaver", MemberStatus::Left).await;
    victim.sees_status("leaver", MemberStatus::Left).await;
    victim.kill().await;
    first.sees_status("victim", MemberStatus::Failed).await;
    first.gossip.force_leave("victim", false).await.unwrap();
    first.sees_status("victim", MemberStatus::Left).await;
    let error = first.gossip.force_leave("nobody", false).await.unwrap_err();
    assert_eq!(error.to_string(), "No node found with name 'nobody'");
}

#[tokio::test]
async fn a_restart_with_a_new_port_replaces_the_old_and_rejoins_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let first = Agent::start(settings("first", "dc1")).await;
    let mine = GossipSettings { snapshot: Some(folder.path().join("local.snapshot")), ..settings("mine", "dc1") };
    let before = Agent::joined(mine.clone(), &first).await;
    before.sees("two", |roster| roster.alive().count() == 2).await;
    let old = before.gossip.local_addr();
    before.kill().await;
    let after = Agent::start(mine).await;
    after.sees("two again", |roster| roster.alive().count() == 2).await;
    let new = after.gossip.local_addr();
    first.sees("the new address", |roster| roster.alive().any(|member| member.name == "mine" && member.addr == new)).await;
    assert_ne!(old, new);
}

#[tokio::test]
async fn retry_join_goes_on_until_somebody_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let early = Agent::start(GossipSettings { retry_join: vec![place.to_string()], ..settings("early", "dc1") }).await;
    drop(listener);
    let late = Agent::start(GossipSettings { bind: place, ..settings("late", "dc1") }).await;
    early.sees_status("late", MemberStatus::Alive).await;
    late.sees_status("early", MemberStatus::Alive).await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = Agent::start(settings("first", "dc1")).await;
    let same = GossipSettings { bind: first.gossip.local_addr(), ..settings("second", "dc1") };
    let error = Gossip::start(same, &Shutdown::new()).await.unwrap_err().to_string();
    assert!(error.contains(&first.address()), "{error}");
}

#[tokio::test]
async fn an_announced_length_takes_no_memory_and_a_cut_frame_no_place() {
    use tokio::io::AsyncWriteExt;
    let first = Agent::start(settings("first", "dc1")).await;
    for bytes in [&[0xff, 0xff, 0xff, 0xff][..], &[0, 0, 0, 9, 1, 2][..], &[0, 0, 0, 2, 1, 2][..]] {
        let mut stream = tokio::net::TcpStream::connect(first.gossip.local_addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    }
    Agent::joined(settings("second", "dc1"), &first).await;
}

/// Silent connections from `from`, made anew when they are closed, until dropped.
fn silent_connections(from: [u8; 4], to: SocketAddr, count: usize) -> tokio::task::JoinSet<()> {
    let mut silent = tokio::task::JoinSet::new();
    for _ in 0..count {
        silent.spawn(async move {
            loop {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from((from, 0))).unwrap();
                if let Ok(mut connection) = socket.connect(to).await {
                    let _ = tokio::io::AsyncReadExt::read_u8(&mut connection).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    silent
}

#[tokio::test]
async fn silent_connections_hold_up_nobody() {
    let first = Agent::start(settings("first", "dc1")).await;
    let at = first.gossip.local_addr();
    let _silent: Vec<_> = [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 1]].map(|from| silent_connections(from, at, 100)).into();
    for number in 0..3 {
        // Long enough for all places to be taken.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let agent = Agent::start(settings(&format!("n{number}"), "dc1")).await;
        // A try from the address that floods may be refused; none waits for the silent ones to give up.
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let joined = loop {
            match agent.gossip.join(&[first.address()]).await {
                Err(_) if tokio::time::Instant::now() < give_up => tokio::time::sleep(Duration::from_millis(5)).await,
                joined => break joined,
            }
        };
        assert_eq!(joined.unwrap().answered, 1);
        agent.kill().await;
    }
}

/// The answers of an agent of Consul to a connection that begins as ours do; `sealed` with a key.
async fn consul(listener: tokio::net::TcpListener, sealed: bool) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    while let Ok((mut connection, _)) = listener.accept().await {
        let Ok(first) = connection.read_u8().await else { continue };
        let answer: &[u8] = match (sealed, first) {
            (true, _) => &[10, 0, 0, 0, 60, 1],
            (false, 10) => b"\x0d\x81\xa5Error\xa6sealed",
            (false, _) => b"",
        };
        connection.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_of_consul_is_named_by_who_joins_it() {
    for sealed in [false, true] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let peer = tokio::spawn(consul(listener, sealed));
        let agent = Agent::start(settings("n", "dc1")).await;
        let error = agent.gossip.join(&[at.to_string()]).await.unwrap_err().to_string();
        assert!(error.contains("speaks Consul's gossip, not Kontor's"), "{error}");
        peer.abort();
    }
}

#[tokio::test]
async fn an_agent_of_consul_that_joins_is_told_what_this_is() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let first = Agent::start(settings("first", "dc1")).await;
    for question in
        [&b"\x06\x83\xa5Nodes\x01"[..], b"\x09\x82\xa4Algo\x00", b"\x0a\x00\x00\x01\x00\x01", b"\x00\x82\xa4Node\xa1n"]
    {
        let mut connection = tokio::net::TcpStream::connect(first.gossip.local_addr()).await.unwrap();
        connection.write_all(question).await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&13));
        assert!(String::from_utf8_lossy(&answer).contains("speaks Kontor's gossip, not Consul's"));
    }
}

#[tokio::test]
async fn the_port_of_the_other_pool_is_named() {
    let lan = Agent::start(settings("lan", "dc1")).await;
    let wan = Agent::start(GossipSettings { pool: Pool::Wan, ..settings("wan.dc1", "dc1") }).await;
    let error = wan.gossip.join(&[lan.address()]).await.unwrap_err().to_string();
    assert!(error.contains("of the other pool"), "{error}");
}

#[test]
fn a_generation_that_was_kept_never_keeps_an_agent_from_starting() {
    assert_eq!(next_generation(5, 1_000), 1_000);
    assert_eq!(next_generation(2_000, 1_000), 2_001, "a clock that went back");
    for kept in [MAX_GENERATION - 2, MAX_GENERATION - 1, MAX_GENERATION, u64::MAX] {
        assert_eq!(next_generation(kept, 1_000), 1_000);
    }
}

#[tokio::test]
async fn an_agent_starts_from_a_file_that_holds_the_last_generation_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("local.snapshot");
    let kept = Snapshot { generation: MAX_GENERATION - 1, ..Snapshot::default() };
    kept.write(&path).unwrap();
    Agent::start(GossipSettings { snapshot: Some(path), ..settings("n", "dc1") }).await;
}
