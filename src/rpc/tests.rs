//! Both ends together, on real sockets.

use super::{CallError, Lane, RAFT_PATH, REQUEST_PATH, RaftSink, RpcClient, serve};
use crate::defaults;
use crate::model::answer::Answer;
use crate::model::command::Register;
use crate::model::fault::{Fault, FaultKind};
use crate::model::operation::{CatalogWrite, HealthRead, Read, Write};
use crate::model::principal::Principal;
use crate::model::query::Query;
use crate::model::request::{BoxFuture, Handler, Hops, Operation, Progress, Reply, Request, WriteRequest};
use crate::model::service::NodeService;
use crate::shutdown::Shutdown;
use crate::tls::testing::{cert_of, load, signing_cert, strict, version_1_cert};
use crate::tls::{CertKind, RpcRules, RpcTls, TlsFiles, TlsMaterial, create_ca};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::header::CONTENT_LENGTH;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(30);
/// Bytes of the answer to a read of "large".
const LARGE: usize = 8 << 20;

/// Reports when a handler's future starts and when it is dropped.
struct Scripted {
    events: mpsc::UnboundedSender<&'static str>,
}

struct DropTells(mpsc::UnboundedSender<&'static str>);

impl Drop for DropTells {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Handler for Scripted {
    fn handle(&self, request: Request, _from_dc: Option<&str>, _progress: Progress) -> BoxFuture<Result<Reply, Fault>> {
        let events = self.events.clone();
        Box::pin(async move {
            let Operation::Read(query) = &request.operation else { panic!("{request:?}") };
            let Read::Health(HealthRead::State { state }) = &query.identity.read else { panic!("{query:?}") };
            match state.as_str() {
                "hang" => {
                    let _tells = DropTells(events.clone());
                    let _ = events.send("started");
                    std::future::pending().await
                }
                "fault" => Err(Fault::no_leader()),
                "large" => Ok(Reply::Answer(Answer { body: Bytes::from(vec![b'x'; LARGE]), ..Answer::default() })),
                state => Ok(Reply::Answer(Answer { body: Bytes::from(state.to_owned()), ..Answer::default() })),
            }
        })
    }
}

impl RaftSink for Scripted {
    fn handle(&self, message: Bytes) -> BoxFuture<Bytes> {
        Box::pin(async move { message.iter().rev().copied().collect() })
    }
}

fn read(state: impl Into<String>) -> Request {
    let query = Query::new(Read::Health(HealthRead::State { state: state.into() }), Principal::anonymous());
    Request { operation: Operation::Read(query), hops: Hops::default() }
}

struct Server {
    addr: SocketAddr,
    events: mpsc::UnboundedReceiver<&'static str>,
    shutdown: Shutdown,
}

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn server(tls: Option<RpcTls>) -> Server {
    let (listener, addr) = bound().await;
    let (sender, events) = mpsc::unbounded_channel();
    let (scripted, shutdown) = (Arc::new(Scripted { events: sender }), Shutdown::new());
    let (listener, _) = crate::listener::Listener::new(listener).unwrap();
    tokio::spawn(serve(listener, Arc::clone(&scripted) as Arc<dyn Handler>, Some(scripted), tls, shutdown.clone()));
    Server { addr, events, shutdown }
}

impl Server {
    /// The body of the answer to a read of `state`.
    async fn read(&self, client: &RpcClient, state: &str) -> Bytes {
        body(client.call(self.addr, &read(state), LONG).await.unwrap())
    }

    async fn answers(&self, client: &RpcClient) -> bool {
        client.call(self.addr, &read("x"), LONG).await.is_ok_and(|reply| body(reply) == "x")
    }

    async fn expect(&mut self, event: &str) {
        assert_eq!(tokio::time::timeout(LONG, self.events.recv()).await.unwrap(), Some(event));
    }
}

/// A server and a client without TLS.
async fn plain() -> (Server, RpcClient) {
    (server(None).await, RpcClient::new(None))
}

/// A call under way, without an answer.
fn hanging(client: &RpcClient, server: &Server) -> JoinHandle<Result<Reply, CallError>> {
    let (client, addr) = (client.clone(), server.addr);
    tokio::spawn(async move { client.call(addr, &read("hang"), LONG).await })
}

fn body(reply: Reply) -> Bytes {
    match reply {
        Reply::Answer(answer) => answer.body,
        other => panic!("expected an answer, got {other:?}"),
    }
}

/// The rules of an agent that verifies nothing, but has a certificate.
fn lax() -> RpcRules {
    RpcRules { verify_incoming: false, verify_outgoing: false, verify_server_hostname: false, ..strict() }
}

fn tls_of(ca: &(String, String), kind: CertKind, dc: &str, rules: RpcRules) -> RpcTls {
    let (cert, key) = cert_of(ca, kind, dc, 1);
    RpcTls::new(&load(&ca.0, &cert, &key), rules).unwrap()
}

#[tokio::test]
async fn requests_faults_and_raft_messages_make_the_round_trip() {
    let (server, client) = plain().await;
    assert!(!client.is_alive(server.addr));
    assert_eq!(server.read(&client, "passing").await, "passing");
    assert!(client.is_alive(server.addr));
    let fault = client.call(server.addr, &read("fault"), LONG).await;
    assert!(matches!(&fault, Err(CallError::Fault(fault)) if fault.kind == FaultKind::NoLeader), "{fault:?}");
    let message = Bytes::from(vec![7; 3 << 20]);
    assert_eq!(client.send(server.addr, Lane::Snapshots, message.clone(), LONG).await.unwrap(), message);
    assert_eq!(client.send(server.addr, Lane::Raft, Bytes::from_static(b"abc"), LONG).await.unwrap(), "cba");
    assert_eq!(server.read(&client, "large").await.len(), LARGE);
    // Parked reads are outside the budget: they must be small.
    let refused = client.call(server.addr, &read("x".repeat(defaults::RPC_MAX_READ_BYTES)), LONG).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_dropped_call_drops_the_handlers_future_and_leaves_the_connection() {
    let (mut server, client) = plain().await;
    let call = hanging(&client, &server);
    server.expect("started").await;
    call.abort();
    server.expect("dropped").await;
    assert_eq!(server.read(&client, "still here").await, "still here");
}

#[tokio::test]
async fn many_calls_dropped_at_once_do_not_cost_the_connection() {
    let (mut server, client) = plain().await;
    let calls: Vec<_> = (0..500).map(|_| hanging(&client, &server)).collect();
    for _ in 0..500 {
        server.expect("started").await;
    }
    calls.iter().for_each(JoinHandle::abort);
    for _ in 0..500 {
        server.expect("dropped").await;
    }
    assert!(client.is_alive(server.addr));
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_fails_all_its_calls() {
    let ((listener, addr), client) = (bound().await, RpcClient::new(None));
    let started = Instant::now();
    let (one, two) = (read("one"), read("two"));
    let (one, two) = tokio::join!(client.call(addr, &one, LONG), client.call(addr, &two, LONG));
    assert!(matches!(one, Err(CallError::Lost(_))), "{one:?}");
    assert!(matches!(two, Err(CallError::Lost(_))), "{two:?}");
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    assert!(!client.is_alive(addr));
    drop(listener);
}

#[tokio::test]
async fn a_server_that_never_answers_is_noticed_by_calls_that_give_up_soon() {
    let ((_listener, addr), client) = (bound().await, RpcClient::new(None));
    let short = Duration::from_millis(20);
    // Alive at first: the handshake needs no answer.
    _ = tokio::time::timeout(short, client.call(addr, &read("short"), LONG)).await;
    tokio::time::timeout(LONG, async {
        while client.is_alive(addr) {
            _ = tokio::time::timeout(short, client.call(addr, &read("short"), LONG)).await;
        }
    })
    .await
    .expect("the connection is closed");
}

/// Relays one connection to `server`, and counts the bytes of its client.
async fn counting_relay(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let ((listener, addr), sent) = (bound().await, Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        let (mut there, mut from_client) = (TcpStream::connect(server).await.unwrap(), listener.accept().await.unwrap().0);
        let ((mut reader, mut writer), (mut answers, mut requests)) = (from_client.split(), there.split());
        let counted = async {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                count.fetch_add(length, Ordering::SeqCst);
                requests.write_all(&buffer[..length]).await.unwrap();
            }
        };
        tokio::join!(counted, tokio::io::copy(&mut answers, &mut writer)).1.unwrap();
    });
    (addr, sent)
}

#[tokio::test]
async fn a_connection_without_calls_is_silent() {
    let (server, client) = plain().await;
    let (addr, sent) = counting_relay(server.addr).await;
    assert_eq!(body(client.call(addr, &read("once"), LONG).await.unwrap()), "once");
    let quiet = async {
        let mut before = 0;
        while std::mem::replace(&mut before, sent.load(Ordering::SeqCst)) != before {
            tokio::time::sleep(defaults::RPC_PING_INTERVAL * 4).await;
        }
    };
    tokio::time::timeout(LONG, quiet).await.expect("pings go on though no call is under way");
    assert!(client.is_alive(addr));
}

#[tokio::test]
async fn a_refused_connection_is_certainly_not_sent() {
    let (addr, client) = (bound().await.1, RpcClient::new(None));
    for _ in 0..3 {
        let outcome = client.call(addr, &read("x"), LONG).await;
        assert!(matches!(outcome, Err(CallError::NotSent(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_call_under_way_when_the_server_goes_is_lost() {
    let (mut server, client) = plain().await;
    let call = hanging(&client, &server);
    server.expect("started").await;
    server.shutdown.trigger();
    let outcome = call.await.unwrap();
    assert!(matches!(outcome, Err(CallError::Lost(_))), "{outcome:?}");
    assert!(server.shutdown.drain(LONG).await.is_ok());
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_before_it_is_sent() {
    let (server, client) = plain().await;
    let outcome = client.call(server.addr, &read("x".repeat(defaults::RPC_MAX_REQUEST_BYTES)), LONG).await;
    assert!(matches!(&outcome, Err(CallError::Refused(fault)) if fault.kind == FaultKind::BadRequest), "{outcome:?}");
}

#[tokio::test]
async fn a_message_that_no_server_takes_is_refused_for_good_by_whichever_side_sees_it_first() {
    let (server, client) = plain().await;
    let deep = (0..=defaults::MESSAGE_DEPTH).fold(serde_json::json!({}), |inner, _| serde_json::json!({ "a": inner }));
    let service = NodeService { proxy: deep, ..NodeService::default() };
    let write = Write::Catalog(CatalogWrite::Register(Box::new(Register { service: Some(service), ..Register::default() })));
    let write = WriteRequest { dc: None, principal: Principal::anonymous(), write };
    let outcome = client.call(server.addr, &Request { operation: Operation::Write(write), hops: Hops::default() }, LONG).await;
    let is_refused = |outcome: &Result<_, CallError>, text: &str| matches!(outcome, Err(CallError::Refused(fault)) if fault.kind == FaultKind::BadRequest && fault.message.contains(text));
    assert!(is_refused(&outcome.map(drop), "nests deeper than 96 levels"));
    // Messages of a version without bounds, and of one with other names.
    for message in [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], b"\xa9Elsewhere"] {
        let outcome = client.send(server.addr, Lane::Requests, Bytes::from_static(message), LONG).await;
        assert!(is_refused(&outcome.map(drop), "the request cannot be read"), "{message:?}");
    }
}

#[tokio::test]
async fn junk_closes_its_own_connection_and_no_other() {
    let (server, client) = plain().await;
    let junk: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/9.9 and more than a preface", &[0x16, 3, 1, 0xff, 0xff], &[0; 64]];
    for bytes in junk {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset: either way it ends.
        let ended = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{bytes:?} was left open");
    }
    assert!(server.answers(&client).await);
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let server = server(None).await;
    let mut streams = Vec::new();
    for _ in 0..=defaults::RPC_MAX_CONNECTIONS_PER_ADDRESS {
        streams.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let last = streams.last_mut().unwrap();
    let ended = tokio::time::timeout(LONG, last.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn tls_and_plain_text_are_spoken_as_the_rules_of_both_sides_say() {
    let [ca, other] = [(); 2].map(|()| create_ca("consul", 10, &[]).unwrap());
    let unnamed = || RpcRules { verify_server_hostname: false, ..strict() };
    let of_server = |dc, rules| Some(tls_of(&ca, CertKind::Server, dc, rules));
    let of_client = |rules| Some(tls_of(&ca, CertKind::Client, "dc1", rules));
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), &ca.0).unwrap();
    let bare = |ca_file| {
        let material = TlsMaterial::load(&TlsFiles { ca_file, ..TlsFiles::default() }).unwrap();
        Some(RpcTls::new(&material, lax()).unwrap())
    };
    let beside_plain = of_server("dc1", RpcRules { accept_plaintext: true, ..lax() });
    let verifies = of_server("dc1", unnamed());
    for (claim, there, here, is_answered) in [
        ("TLS beside plain text", &beside_plain, of_client(RpcRules { verify_incoming: false, ..strict() }), true),
        ("plain text where it is asked for", &beside_plain, None, true),
        ("no plain text unasked", &of_server("dc1", lax()), None, false),
        ("an agent that verifies nothing, with a certificate", &of_server("dc1", lax()), of_client(lax()), true),
        (
            "an agent that verifies nothing, with an authority",
            &of_server("dc1", lax()),
            bare(Some(authority.path().into())),
            true,
        ),
        ("plain text to a server without a certificate", &None, of_client(lax()), true),
        ("no plain text to it from an agent that verifies", &None, of_client(strict()), false),
        ("verify_incoming refuses plain text", &verifies, None, false),
        ("verify_incoming refuses another authority", &verifies, Some(tls_of(&other, CertKind::Server, "dc1", lax())), false),
        ("verify_incoming refuses agents without a certificate", &verifies, bare(None), false),
        ("verify_incoming takes its own", &verifies, verifies.clone(), true),
    ] {
        let (server, client) = (server(there.clone()).await, RpcClient::new(here));
        assert_eq!(server.answers(&client).await, is_answered, "{claim}");
        let raft = client.send(server.addr, Lane::Raft, Bytes::from_static(b"abc"), LONG).await;
        assert!(is_answered || raft.is_err(), "{claim}");
    }
    let elsewhere = server(of_server("dc2", unnamed())).await;
    let client = RpcClient::new(of_server("dc1", strict()));
    let outcome = client.call(elsewhere.addr, &read("x"), LONG).await;
    assert!(matches!(outcome, Err(CallError::NotSent(_))), "verify_server_hostname: {outcome:?}");
}

#[tokio::test]
async fn raft_is_spoken_by_servers_of_the_own_datacenter_alone() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let server = server(Some(tls_of(&ca, CertKind::Server, "dc1", strict()))).await;
    let client = |kind, dc| RpcClient::new(Some(tls_of(&ca, kind, dc, strict())));
    let of_a_server = client(CertKind::Server, "dc1");
    for lane in [Lane::Raft, Lane::Snapshots] {
        assert_eq!(of_a_server.send(server.addr, lane, Bytes::from_static(b"abc"), LONG).await.unwrap(), "cba");
        let of_a_client = client(CertKind::Client, "dc1");
        match of_a_client.send(server.addr, lane, Bytes::from_static(b"abc"), LONG).await {
            Err(CallError::NotSent(text)) => assert!(text.contains("403") && text.contains("server.dc1.consul"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(server.answers(&of_a_client).await, "it may ask");
        let elsewhere = client(CertKind::Server, "dc2");
        assert!(elsewhere.send(server.addr, lane, Bytes::from_static(b"abc"), LONG).await.is_err());
        assert!(!server.answers(&elsewhere).await, "its way is the bridge");
    }
}

#[tokio::test]
async fn agents_with_unusual_certificates_understand_each_other() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let rules = RpcRules { verify_server_hostname: false, ..strict() };
    for (cert, key) in [ca.clone(), signing_cert(&ca, &["x.example"]), version_1_cert(&ca)] {
        let tls = RpcTls::new(&load(&ca.0, &cert, &key), rules.clone()).unwrap();
        let server = server(Some(tls.clone())).await;
        assert!(server.answers(&RpcClient::new(Some(tls))).await);
    }
}

/// Announces a body of `bytes` to `path`, and never sends it.
async fn announce(addr: SocketAddr, path: &str, bytes: usize) -> [JoinHandle<()>; 2] {
    let stream = TcpStream::connect(addr).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    let driven = tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.unwrap();
    let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let request = hyper::Request::post(format!("http://kontor{path}")).header(CONTENT_LENGTH, bytes).body(never).unwrap();
    [driven, tokio::spawn(async move { drop(sender.send_request(request).await) })]
}

#[tokio::test]
async fn bodies_that_are_announced_and_do_not_come_hold_up_nobody() {
    let (server, client) = plain().await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(announce(server.addr, RAFT_PATH, defaults::RPC_MAX_RAFT_BYTES).await);
        held.push(announce(server.addr, REQUEST_PATH, defaults::RPC_MAX_REQUEST_BYTES).await);
    }
    // Both wait for less than such a body may take to come.
    let soon = defaults::RPC_BODY_TIMEOUT / 2;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.send(server.addr, Lane::Raft, Bytes::from_static(b"abc"), soon).await.unwrap(), "cba");
    assert_eq!(body(client.call(server.addr, &read("x"), soon).await.unwrap()), "x");
    held.iter().flatten().for_each(JoinHandle::abort);
}
