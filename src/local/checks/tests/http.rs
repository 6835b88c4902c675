//! HTTP checks.

use super::*;
use crate::model::check::CheckStatus::{self, Critical, Passing, Warning};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

fn check(url: String) -> CheckType {
    CheckType { http: url, interval: Duration::from_secs(10), ..CheckType::default() }
}

/// A server that gives the same answer always, and hands out what it was asked.
async fn answering(answer: &str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (tell, asked) = mpsc::unbounded_channel();
    let answer = answer.to_owned();
    let addr = target(move |mut stream| {
        let (tell, answer) = (tell.clone(), answer.clone());
        async move {
            _ = tell.send(request(&mut stream).await);
            _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (addr.await, asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn the_status_of_the_answer_is_the_status_of_the_check() {
    let cases = [
        ("200 OK", Passing),
        ("204 No Content", Passing),
        ("299 Whatever It Says", Passing),
        ("429 Too Many Requests", Warning),
        ("404 Not Found", Critical),
        ("500 Internal Server Error", Critical),
        ("301 Moved Permanently", Critical),
    ];
    for (status, expected) in cases {
        let body = if status.starts_with("204") { "" } else { "as it is" };
        let (addr, _asked) = answering(&answer(status, "", body)).await;
        let output = format!("HTTP GET http://{addr}/x: {status} Output: {body}");
        assert_eq!(probe(&check(format!("http://{addr}/x"))).await, Finding::new(expected, output));
    }
}

#[tokio::test]
async fn the_request_is_consuls_and_the_users() {
    let (addr, mut asked) = answering(&answer("200 OK", "", "")).await;
    probe(&check(format!("http://user:pass@{addr}/a b?c"))).await;
    let request = asked.recv().await.expect("a request").to_lowercase();
    for part in [
        "get /a%20b?c http/1.1\r\n",
        "user-agent: consul health check\r\n",
        "accept: text/plain, text/*, */*\r\n",
        "connection: close\r\n",
        "authorization: basic dxnlcjpwyxnz\r\n",
        &format!("host: {addr}\r\n"),
    ] {
        assert!(request.contains(part), "{part:?} is not in {request:?}");
    }
    let header = [("Host", "other"), ("user-agent", "mine"), ("X-A", "1")].map(|(name, value)| (name.into(), vec![value.into()]));
    let own = CheckType { method: "PUT".into(), body: "ping".into(), header: header.into(), ..check(format!("http://{addr}")) };
    let said = probe(&own).await;
    assert_eq!(said.output, format!("HTTP PUT http://{addr}: 200 OK Output: "));
    let request = asked.recv().await.expect("a request").to_lowercase();
    for part in ["put / http/1.1\r\n", "host: other\r\n", "user-agent: mine\r\n", "x-a: 1\r\n", "\r\n\r\nping"] {
        assert!(request.contains(part), "{part:?} is not in {request:?}");
    }
    assert!(!request.contains("consul health check"));
}

#[tokio::test]
async fn the_last_bytes_of_the_body_are_kept() {
    let (addr, _asked) = answering(&answer("200 OK", "", "0123456789")).await;
    let said = probe(&CheckType { output_max_size: 4, ..check(format!("http://{addr}")) }).await;
    assert_eq!(said.output, format!("HTTP GET http://{addr}: 200 OK Output: 6789"));
}

#[tokio::test]
async fn redirects_are_followed_unless_told_not_to_and_take_no_secrets_along() {
    let (end, mut asked) = answering(&answer("200 OK", "", "here")).await;
    // The same target by another name is another host.
    let place = format!("Location: http://localhost:{}/end\r\n", end.port());
    let (start, _asked) = answering(&answer("302 Found", &place, "not here")).await;
    let secret =
        [("Authorization", "secret"), ("X-A", "1"), ("Host", "own")].map(|(name, value)| (name.into(), vec![value.into()]));
    let posted =
        CheckType { method: "POST".into(), body: "ping".into(), header: secret.into(), ..check(format!("http://{start}/")) };
    let said = probe(&posted).await;
    assert_eq!(said, Finding::passing(format!("HTTP POST http://{start}/: 200 OK Output: here")));
    let request = asked.recv().await.expect("a request").to_lowercase();
    assert!(request.starts_with("get /end ") && request.contains("x-a: 1"), "{request}");
    assert!(!request.contains("secret") && !request.contains("ping") && !request.contains("host: own"), "{request}");

    let said = probe(&CheckType { disable_redirects: true, ..posted.clone() }).await;
    assert_eq!(said, Finding::critical(format!("HTTP POST http://{start}/: 302 Found Output: not here")));

    let (kept, _asked) = answering(&answer("307 Temporary Redirect", &place, "")).await;
    probe(&CheckType { http: format!("http://{kept}/"), ..posted }).await;
    let request = asked.recv().await.expect("a request");
    assert!(request.starts_with("POST /end ") && request.ends_with("ping"), "{request}");
}

#[tokio::test]
async fn a_redirect_without_end_ends() {
    let (addr, mut asked) = answering(&answer("302 Found", "Location: /again\r\n", "")).await;
    let said = probe(&check(format!("http://{addr}/"))).await;
    assert_eq!(said, Finding::critical(format!("Get \"http://{addr}/\": stopped after 10 redirects")));
    asked.close();
    let mut count = 0;
    while asked.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(count, 10);
    let (addr, _asked) = answering(&answer("302 Found", "Location: file:///etc/passwd\r\n", "")).await;
    assert!(probe(&check(format!("http://{addr}/"))).await.output.contains("unsupported protocol scheme \"file\""));
}

#[tokio::test]
async fn who_is_not_there_or_does_not_speak_http_is_critical() {
    let refused = nobody().await;
    let said = probe(&check(format!("http://{refused}/"))).await;
    let expected = format!("Get \"http://{refused}/\": dial tcp {refused}: connect: connection refused");
    assert_eq!(said, Finding::critical(expected));
    for (answer, expected) in
        [("", "EOF"), ("SSH-2.0-OpenSSH\r\n", "invalid HTTP version parsed"), ("HTTP/1.1 200 OK\r\nContent-", "EOF")]
    {
        let (addr, _asked) = answering(answer).await;
        let said = probe(&check(format!("http://{addr}/"))).await;
        assert_eq!(said.status, Critical);
        assert!(said.output.ends_with(expected), "{answer:?}: {}", said.output);
    }
    for (url, expected) in [("nonsense", "unsupported protocol scheme \"\""), ("ftp://x/", "unsupported protocol scheme \"ftp\"")]
    {
        assert_eq!(probe(&check(url.into())).await, Finding::critical(format!("Get {url:?}: {expected}")));
    }
    let wrong = CheckType { header: [("a b".into(), vec!["c".into()])].into(), ..check("http://127.0.0.1/".into()) };
    assert!(probe(&wrong).await.output.ends_with("net/http: invalid header field name \"a b\""));
}

async fn stalling(first: &'static [u8], then: &'static [u8]) -> Finding {
    let addr = target(move |mut stream| async move {
        request(&mut stream).await;
        _ = stream.write_all(first).await;
        while !then.is_empty() && stream.write_all(then).await.is_ok() {
            sleep(SHORT / 30).await;
        }
        sleep(Duration::from_secs(3600)).await;
    });
    let mut said = probe(&CheckType { timeout: SHORT, ..check(format!("http://{}/", addr.await)) }).await;
    said.output = said.output.split_once("/\": ").or(said.output.split_once("/: ")).expect("an output").1.to_owned();
    said
}

#[tokio::test]
async fn a_target_that_hangs_or_drips_is_given_up_in_time() {
    let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    assert_eq!(stalling(b"", b"").await, Finding::critical(late));
    assert_eq!(stalling(b"HTTP/1.1 200 OK\r\nX-A: ", b"b").await, Finding::critical(late));
    // The status has arrived: the missing rest is noted and does not change it.
    let said = stalling(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x").await;
    assert_eq!(said.status, Passing);
    assert!(said.output.starts_with("200 OK Output: x"), "{}", said.output);
    assert!(said.output.ends_with("\n(the body is not complete: it took longer than 300ms)"), "{}", said.output);
}

#[tokio::test]
async fn a_target_that_floods_is_cut_off() {
    for (head, expected, status) in [
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "no more than 1048576 bytes of it are read)", Critical),
        ("HTTP/1.1 200 OK\r\n\r\n", "no more than 1048576 bytes of it are read)", Passing),
        ("HTTP/1.1 200 OK\r\nX-Endless: ", "message head is too large", Critical),
    ] {
        let addr = target(move |mut stream| async move {
            request(&mut stream).await;
            _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(&[b'x'; 10_000]).await.is_ok() {}
        });
        let said = probe(&CheckType { timeout: Duration::from_secs(60), ..check(format!("http://{}/", addr.await)) }).await;
        assert_eq!(said.status, CheckStatus::clone(&status));
        assert!(said.output.ends_with(expected), "{}", &said.output[said.output.len().saturating_sub(200)..]);
        assert!(said.output.len() < 4096 + 300);
    }
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_asked_where_the_target_is_another_host() {
    let (end, mut asked_of_end) = answering(&answer("200 OK", "", "here")).await;
    let place = format!("Location: http://{end}/end\r\n");
    let (proxy, mut asked) = answering(&answer("302 Found", &place, "")).await;
    let settings = ProbeSettings { proxies: Proxies::new(&format!("http://us:er@{proxy}"), "", ""), ..settings() };
    let check = check("http://me:too@web.example:8080/a?b".into());
    let said = Probe::of(&check, &settings).expect("it is probed").run().await;
    assert_eq!(said, Finding::passing("HTTP GET http://me:xxxxx@web.example:8080/a?b: 200 OK Output: here"));
    let request = asked.recv().await.expect("a request").to_lowercase();
    for part in [
        "get http://web.example:8080/a?b http/1.1\r\n",
        "host: web.example:8080\r\n",
        "authorization: basic bwu6dg9v\r\n",
        "proxy-authorization: basic dxm6zxi=\r\n",
    ] {
        assert!(request.contains(part), "{part:?} is not in {request:?}");
    }
    // The redirect leads to this host itself, which no proxy serves.
    let request = asked_of_end.recv().await.expect("a request").to_lowercase();
    assert!(request.starts_with("get /end http/1.1\r\n") && !request.contains("proxy-authorization"), "{request}");
}
