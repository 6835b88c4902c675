//! HTTP/2 pings and gRPC, against servers of the `h2` library.

use super::*;
use bytes::Bytes;
use hyper::{HeaderMap, Response};
use tokio::io::AsyncWriteExt;

fn ping(target: String) -> CheckType {
    CheckType { h2ping: target, h2ping_use_tls: Some(false), ..CheckType::default() }
}

fn grpc(target: String) -> CheckType {
    CheckType { grpc: target, ..CheckType::default() }
}

/// The answer of a gRPC server: a body, and the code behind it or in place of it.
#[derive(Clone, Copy)]
enum Say {
    Message(&'static [u8], &'static str),
    Code(&'static str, &'static str),
    Http(u16),
    Nothing,
}

/// A health server: `web` and the server itself serve, others are what the name says.
fn health(service: &[u8]) -> Say {
    match service {
        b"" | b"web" => Say::Message(&[0, 0, 0, 0, 2, 8, 1], "0"),
        b"down" => Say::Message(&[0, 0, 0, 0, 2, 8, 2], "0"),
        b"garbage" => Say::Message(b"what is this?", "0"),
        b"failed" => Say::Message(&[0, 0, 0, 0, 2, 8, 1], "13"),
        b"flood" => Say::Message(&[0; 5000], "0"),
        b"plain" => Say::Http(503),
        b"hang" => Say::Nothing,
        _ => Say::Code("5", "unknown service"),
    }
}

async fn serve(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut parked = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        let mut body = request.into_body();
        // The connection has to be driven while the body comes; it is here already, with the headers.
        let message = tokio::select! {
            data = body.data() => data.expect("a message").expect("a message"),
            _ = connection.accept() => return,
        };
        let service = message.get(7..).unwrap_or_default();
        let grpc = || Response::builder().header("content-type", "application/grpc");
        match health(service) {
            Say::Message(message, code) => {
                let mut send = respond.send_response(grpc().body(()).expect("a response"), false).expect("sent");
                send.send_data(Bytes::from_static(message), false).expect("sent");
                let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), code.parse().expect("a value"))]);
                send.send_trailers(trailers).expect("sent");
            }
            Say::Code(code, why) => {
                let response = grpc().header("grpc-status", code).header("grpc-message", why);
                respond.send_response(response.body(()).expect("a response"), true).expect("sent");
            }
            Say::Http(status) => {
                respond.send_response(Response::builder().status(status).body(()).expect("a response"), true).expect("sent");
            }
            Say::Nothing => parked.push(respond),
        }
    }
}

#[tokio::test]
async fn a_grpc_check_is_what_the_health_service_says() {
    let addr = target(serve).await;
    for good in [format!("{addr}"), format!("{addr}/web")] {
        assert_eq!(probe(&grpc(good.clone())).await, Finding::passing(format!("gRPC check {good}: success")));
    }
    for (service, expected) in [
        ("down", "gRPC application didn't report service healthy"),
        ("other", "rpc error: code = NotFound desc = unknown service"),
        ("failed", "rpc error: code = Internal desc = "),
        ("garbage", "rpc error: code = Internal desc = the answer is no HealthCheckResponse"),
        ("flood", "rpc error: code = ResourceExhausted desc = expected a message of at most 1024 bytes"),
        ("plain", "rpc error: code = Unknown desc = unexpected HTTP status code received from server: 503 Service Unavailable"),
    ] {
        assert_eq!(probe(&grpc(format!("{addr}/{service}"))).await, Finding::critical(expected), "{service}");
    }
    let hanging = CheckType { timeout: SHORT, ..grpc(format!("{addr}/hang")) };
    let late = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
    assert_eq!(probe(&hanging).await, Finding::critical(late));
    let refused = nobody().await;
    let expected = format!(
        "rpc error: code = Unavailable desc = connection error: desc = \"transport: dial tcp {refused}: connect: connection refused\""
    );
    assert_eq!(probe(&grpc(refused.to_string())).await, Finding::critical(expected));
}

#[tokio::test]
async fn a_ping_is_passing_when_it_is_acknowledged() {
    let addr = target(serve).await;
    assert_eq!(probe(&ping(addr.to_string())).await, Finding::passing("HTTP2 ping was successful"));
    let refused = nobody().await;
    let expected = format!("Failed to dial to {refused}: dial tcp {refused}: connect: connection refused");
    assert_eq!(probe(&ping(refused.to_string())).await, Finding::critical(expected));
}

#[tokio::test]
async fn what_speaks_no_http2_is_critical_for_both() {
    let (other, silent) = (refusing_http1().await, silent().await);
    let flooding = target(|mut stream| async move { while stream.write_all(&[0; 4096]).await.is_ok() {} }).await;
    for addr in [other, silent, flooding] {
        let said = probe(&CheckType { timeout: SHORT, ..ping(addr.to_string()) }).await;
        assert!(said.output.starts_with("HTTP2 ping failed: ") && said != Finding::passing(""), "{said:?}");
        let said = probe(&CheckType { timeout: SHORT, ..grpc(addr.to_string()) }).await;
        assert!(said.output.starts_with("rpc error: code = "), "{said:?}");
    }
}
