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
#[derive(Clone)]
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

async fn server(tls: Option<RpcTls>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, events) = mpsc::unbounded_channel();
    let (scripted, shutdown) = (Arc::new(Scripted { events: sender }), Shutdown::new());
    let (listener, _) = crate::listener::Listener::new(listener).unwrap();
    tokio::spawn(serve(listener, Arc::clone(&scripted) as Arc<dyn Handler>, Some(scripted), tls, shutdown.clone()));
    Server { addr, events, shutdown }
}

impl Server {
    async fn answers(&self, client: &RpcClient) -> bool {
        client.call(self.addr, &read("x"), LONG).await.is_ok_and(|reply| body(reply) == "x")
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
    assert_eq!(body(client.call(server.addr, &read("passing"), LONG).await.unwrap()), "passing");
    assert!(client.is_alive(server.addr));
    match client.call(server.addr, &read("fault"), LONG).await {
        Err(CallError::Fault(fault)) => assert_eq!(fault.kind, FaultKind::NoLeader),
        other => panic!("{other:?}"),
    }
    let message = Bytes::from(vec![7; 3 << 20]);
    assert_eq!(client.send(server.addr, Lane::Snapshots, message.clone(), LONG).await.unwrap(), message);
    assert_eq!(client.send(server.addr, Lane::Raft, Bytes::from_static(b"abc"), LONG).await.unwrap(), "cba");
    assert_eq!(body(client.call(server.addr, &read("large"), LONG).await.unwrap()).len(), LARGE);
    // Parked reads are outside the budget: they must be small.
    let refused = client.call(server.addr, &read("x".repeat(defaults::RPC_MAX_READ_BYTES)), LONG).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_dropped_call_drops_the_handlers_future_and_leaves_the_connection() {
    let (mut server, client) = plain().await;
    let call = hanging(&client, &server);
    assert_eq!(server.events.recv().await, Some("started"));
    call.abort();
    assert_eq!(tokio::time::timeout(LONG, server.events.recv()).await.unwrap(), Some("dropped"));
    assert_eq!(body(client.call(server.addr, &read("still here"), LONG).await.unwrap()), "still here");
}

#[tokio::test]
async fn many_calls_dropped_at_once_do_not_cost_the_connection() {
    let (mut server, client) = plain().await;
    let calls: Vec<_> = (0..500).map(|_| hanging(&client, &server)).collect();
    for _ in 0..500 {
        assert_eq!(server.events.recv().await, Some("started"));
    }
    calls.iter().for_each(JoinHandle::abort);
    for _ in 0..500 {
        assert_eq!(tokio::time::timeout(LONG, server.events.recv()).await.unwrap(), Some("dropped"));
    }
    assert!(client.is_alive(server.addr));
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_fails_all_its_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let client = RpcClient::new(None);
    let started = Instant::now();
    let (one, two) = (read("one"), read("two"));
    let (one, two) = tokio::join!(client.call(addr, &one, LONG), client.call(addr, &two, LONG));
    assert!(matches!(one, Err(CallError::Lost(_))), "{one:?}");
    assert!(matches!(two, Err(CallError::Lost(_))), "{two:?}");
    assert!(started.elapsed() < LONG / 2, "{:?}", started.elapsed());
    assert!(!client.is_alive(addr));
    drop(listener);
}

/// Relays one connection to `server`, and counts the bytes of its client.
async fn counting_relay(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
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
    let server = server(None).await;
    let (addr, sent) = counting_relay(server.addr).await;
    let client = RpcClient::new(None);
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let client = RpcClient::new(None);
    for _ in 0..3 {
        let outcome = client.call(addr, &read("x"), LONG).await;
        assert!(matches!(outcome, Err(CallError::NotSent(_))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_call_under_way_when_the_server_goes_is_lost() {
    let (mut server, client) = plain().await;
    let call = hanging(&client, &server);
    assert_eq!(server.events.recv().await, Some("started"));
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
    let server = server(None).await;
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
    let client = RpcClient::new(None);
    assert_eq!(body(client.call(server.addr, &read("fine"), LONG).await.unwrap()), "fine");
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let server = server(None).await;
    let mut streams = Vec::new();
    for _ in 0..=defaults::RPC_MAX_CONNECTIONS_PER_ADDRESS {
        streams.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let last = streams.last_mut().unwrap();
    let mut byte = [0];
    let ended = tokio::time::timeout(LONG, last.read(&mut byte)).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn tls_is_spoken_beside_plain_text_on_the_same_port_where_that_is_asked_for() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let server = server(Some(tls_of(&ca, CertKind::Server, "dc1", RpcRules { accept_plaintext: true, ..lax() }))).await;
    let named = RpcRules { verify_incoming: false, ..strict() };
    for client in [Some(tls_of(&ca, CertKind::Client, "dc1", named)), None] {
        assert!(server.answers(&RpcClient::new(client)).await);
    }
}

#[tokio::test]
async fn a_server_that_has_a_certificate_takes_no_plain_text_unasked() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let server = server(Some(tls_of(&ca, CertKind::Server, "dc1", lax()))).await;
    let plain = RpcClient::new(None);
    assert!(!server.answers(&plain).await);
    assert!(plain.send(server.addr, Lane::Raft, Bytes::from_static(b"abc"), LONG).await.is_err());
    // Agents that verify nothing still use it, with a certificate or an authority alone.
    assert!(server.answers(&RpcClient::new(Some(tls_of(&ca, CertKind::Client, "dc1", lax())))).await);
    let files = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(files.path(), &ca.0).unwrap();
    let files = TlsFiles { ca_file: Some(files.path().to_owned()), ..TlsFiles::default() };
    let bare = RpcTls::new(&TlsMaterial::load(&files).unwrap(), lax()).unwrap();
    assert!(server.answers(&RpcClient::new(Some(bare))).await);
}

#[tokio::test]
async fn who_verifies_nothing_speaks_plain_to_a_server_without_a_certificate() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let server = server(None).await;
    assert!(server.answers(&RpcClient::new(Some(tls_of(&ca, CertKind::Client, "dc1", lax())))).await);
    assert!(!server.answers(&RpcClient::new(Some(tls_of(&ca, CertKind::Client, "dc1", strict())))).await);
}

#[tokio::test]
async fn verify_incoming_refuses_plain_text_and_strangers() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let rules = RpcRules { verify_server_hostname: false, ..strict() };
    let tls = tls_of(&ca, CertKind::Server, "dc1", rules);
    let server = server(Some(tls.clone())).await;
    assert!(!server.answers(&RpcClient::new(None)).await);
    let other = create_ca("consul", 10, &[]).unwrap();
    assert!(!server.answers(&RpcClient::new(Some(tls_of(&other, CertKind::Server, "dc1", lax())))).await);
    let nobody = RpcTls::new(&TlsMaterial::load(&TlsFiles::default()).unwrap(), lax()).unwrap();
    assert!(!server.answers(&RpcClient::new(Some(nobody))).await);
    assert!(server.answers(&RpcClient::new(Some(tls))).await);
}

#[tokio::test]
async fn verify_server_hostname_refuses_a_server_of_another_datacenter() {
    let ca = create_ca("consul", 10, &[]).unwrap();
    let rules = RpcRules { verify_server_hostname: false, ..strict() };
    let server = server(Some(tls_of(&ca, CertKind::Server, "dc2", rules))).await;
    let client = RpcClient::new(Some(tls_of(&ca, CertKind::Server, "dc1", strict())));
    let outcome = client.call(server.addr, &read("x"), LONG).await;
    assert!(matches!(outcome, Err(CallError::NotSent(_))), "{outcome:?}");
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
    let server = server(None).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(announce(server.addr, RAFT_PATH, defaults::RPC_MAX_RAFT_BYTES).await);
        held.push(announce(server.addr, REQUEST_PATH, defaults::RPC_MAX_REQUEST_BYTES).await);
    }
    // Both wait for less than such a body may take to come.
    let soon = defaults::RPC_BODY_TIMEOUT / 2;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let client = RpcClient::new(None);
    assert_eq!(client.send(server.addr, Lane::Raft, Bytes::from_static(b"abc"), soon).await.unwrap(), "cba");
    assert_eq!(body(client.call(server.addr, &read("x"), soon).await.unwrap()), "x");
    held.iter().flatten().for_each(JoinHandle::abort);
}
