//! TCP and UDP checks.

use super::*;
use tokio::net::UdpSocket;

fn tcp(target: String) -> CheckType {
    CheckType { tcp: target, ..CheckType::default() }
}

fn udp(target: String) -> CheckType {
    CheckType { udp: target, timeout: SHORT, ..CheckType::default() }
}

#[tokio::test]
async fn tcp_is_passing_when_it_connects() {
    let addr = target(|_stream| async {}).await;
    assert_eq!(probe(&tcp(addr.to_string())).await, Finding::passing(format!("TCP connect {addr}: Success")));
    let by_name = format!("localhost:{}", addr.port());
    assert_eq!(probe(&tcp(by_name.clone())).await, Finding::passing(format!("TCP connect {by_name}: Success")));
    let refused = nobody().await;
    let expected = format!("dial tcp {refused}: connect: connection refused");
    assert_eq!(probe(&tcp(refused.to_string())).await, Finding::critical(expected));
    let unknown = probe(&tcp("no-such-host.invalid:80".into())).await;
    assert!(unknown.output.starts_with("dial tcp: lookup no-such-host.invalid: "), "{unknown:?}");
    for (wrong, expected) in [
        ("nowhere", "address nowhere: missing port in address"),
        ("::1:80", "address ::1:80: too many colons in address"),
        ("a:b", "address a:b: invalid port \"b\""),
    ] {
        assert_eq!(probe(&tcp(wrong.into())).await, Finding::critical(expected));
    }
}

#[tokio::test]
async fn a_tcp_connection_that_nobody_takes_is_given_up_in_time() {
    // A full queue: further connections are neither taken nor refused.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(0).expect("listens");
    let addr = socket.local_addr().expect("bound").as_socket().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(addr)).await {
        waiting.push(stream);
    }
    let said = probe(&CheckType { timeout: SHORT, ..tcp(addr.to_string()) }).await;
    assert_eq!(said, Finding::critical(format!("dial tcp {addr}: i/o timeout")));
}

#[tokio::test]
async fn udp_is_passing_unless_somebody_says_that_nobody_is_there() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let addr = silent.local_addr().expect("bound");
    assert_eq!(probe(&udp(addr.to_string())).await, Finding::passing(format!("UDP connect {addr}: Success")));
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = silent.recv_from(&mut buffer).await {
            _ = silent.send_to(b"well, thank you", from).await;
        }
    });
    let answered = CheckType { timeout: Duration::from_secs(600), ..udp(addr.to_string()) };
    assert_eq!(probe(&answered).await, Finding::passing(format!("UDP connect {addr}: Success")));
    let refused = UdpSocket::bind("127.0.0.1:0").await.and_then(|socket| socket.local_addr()).expect("a port");
    let patient = CheckType { timeout: Duration::from_secs(600), ..udp(refused.to_string()) };
    assert_eq!(probe(&patient).await, Finding::critical(format!("read udp {refused}: connection refused")));
    assert_eq!(probe(&udp("nowhere".into())).await, Finding::critical("address nowhere: missing port in address"));
}
