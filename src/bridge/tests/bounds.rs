//! Requests and answers that are too large, never end, are cut short or are junk.

use super::*;

#[tokio::test]
async fn an_answer_too_large_to_cross_is_a_fault_and_no_hang() {
    let (one, _two) = pair().await;
    let fault = one.ask("dc2", read("huge")).await.unwrap_err();
    assert!(fault.message.contains("use a filter"), "{fault}");
}

/// Sends a request of the largest size and no end; returns the times between which it was taken.
async fn never_ends(connection: quinn::Connection) -> Option<(Instant, Instant)> {
    let (mut send, _recv) = connection.open_bi().await.ok()?;
    send.write_all(&[1, Kind::Request as u8]).await.ok()?;
    send.write_all(&defaults::BRIDGE_MAX_REQUEST_BYTES.to_be_bytes()).await.ok()?;
    send.write_all(&vec![0; defaults::BRIDGE_STREAM_WINDOW as usize + (1 << 20)]).await.ok()?;
    let taken = Instant::now();
    let _ = send.stopped().await;
    Some((taken, Instant::now()))
}

#[tokio::test]
async fn requests_that_never_end_fill_no_memory_and_hold_up_their_own_link_alone() {
    let (one, two) = pair().await;
    let three = House::self_made("s3", "dc3").await;
    two.knows([one.remote(), three.remote()]);
    three.knows([two.remote()]);
    three.until("dc2", None).await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    let all: Vec<_> = (0..9).map(|_| tokio::spawn(never_ends(connection.clone()))).collect();
    // Other links do not notice, and this one is as before once the endless requests are given up.
    three.until("dc2", None).await;
    one.until("dc2", None).await;
    let mut spans = Vec::new();
    for one in all {
        spans.extend(tokio::time::timeout(LONG, one).await.unwrap().unwrap());
    }
    // Room is given to the next request a moment before the one that had it hears of its end.
    let most = 2 * (defaults::BRIDGE_ARRIVING_BYTES / defaults::BRIDGE_MAX_REQUEST_BYTES) as usize;
    for (taken, _) in &spans {
        let at_once = spans.iter().filter(|(from, until)| from <= taken && taken < until).count();
        assert!(at_once <= most, "{at_once} at once");
    }
}

#[tokio::test]
async fn an_asker_that_does_not_read_has_only_so_many_answers_kept_for_it() {
    let (one, _two) = pair().await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    let most = defaults::BRIDGE_LEAVING_BYTES as usize / (20 << 20);
    let request = Frame::of(Kind::Request, &read("large")).unwrap();
    let mut streams = Vec::new();
    for _ in 0..most + 2 {
        let (send, mut recv) = connection.open_bi().await.unwrap();
        let mut outgoing = super::super::frame::Outgoing::new(send);
        outgoing.send(&request).await.unwrap();
        let header = tokio::time::timeout(LONG, super::super::frame::read_header(&mut recv)).await.unwrap().unwrap();
        streams.push((header.kind, outgoing, recv));
    }
    let refused = streams.iter().filter(|(kind, ..)| *kind == Kind::Fault).count();
    assert_eq!(refused, 2, "of {}", streams.len());
    drop(streams);
    eventually_so("the room is not given back", async || one.ask("dc2", read("large")).await.is_ok()).await;
}

#[tokio::test]
async fn frames_cut_short_oversized_or_unknown_end_their_stream_alone() {
    let (one, mut two) = pair().await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    let junk: [&[u8]; 5] = [
        b"\x01\x02\x00\x00\x00\x09cut",
        b"\x01\x02\xff\xff\xff\xffx",
        b"\x09\x02\x00\x00\x00\x01x",
        b"\x01\xee\x00\x00\x00\x01x",
        b"\x01\x02\x00\x00\x00\x03\xc1\xc1\xc1",
    ];
    for bytes in junk {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let _ = send.finish();
        let end = tokio::time::timeout(LONG, recv.read_to_end(100)).await.unwrap();
        assert!(matches!(end, Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) if code == CANCELLED), "{end:?}");
    }
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
    assert_eq!(two.event_past_pings().await, "s2 x");
}

#[tokio::test]
async fn an_answer_cut_in_the_middle_is_an_error() {
    // A far side of our own that sends half a frame and ends its stream in good order.
    let mine = House::self_made("s1", "dc1").await;
    let (endpoint, remote) = raw_far_side("s2", mine.pin.as_ref().unwrap());
    tokio::spawn(async move {
        let connection = endpoint.quic.accept().await.unwrap().await.unwrap();
        let mut streams = Vec::new();
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            match super::super::frame::read_header(&mut recv).await.unwrap().kind {
                Kind::Greeting => reply(send, greeting_of("dc2")).await,
                Kind::Request => {
                    send.write_all(b"\x01\x06\x00\x00\x00\x50half an answer").await.unwrap();
                    send.finish().unwrap();
                }
                _ => streams.push((send, recv)),
            }
        }
    });
    mine.knows([remote]);
    mine.until("dc2", Some("the stream ended within a frame")).await;
}

#[tokio::test]
async fn junk_datagrams_hurt_nobody() {
    let (one, two) = pair().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for size in [0, 1, 20, 1_200, 9_000] {
        for fill in [0x00, 0x40, 0xc0, 0xff] {
            socket.send_to(&vec![fill; size], two.bridge.local_addr()).await.unwrap();
        }
    }
    assert_eq!(one.ask("dc2", read("x")).await.unwrap(), "x of dc1 at s2");
}

/// As a version sends it that knows no such bounds.
#[tokio::test]
async fn a_request_that_is_more_than_servers_take_is_answered_so() {
    let (one, _two) = pair().await;
    let connection = one.bridge.links.of("dc2").unwrap().ways().remove(0).connection;
    for payload in [vec![0x91; defaults::MESSAGE_DEPTH + 1], vec![0xdd, 0xff, 0xff, 0xff, 0xff]] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        send.write_all(&[&[1, Kind::Request as u8][..], &length, &payload].concat()).await.unwrap();
        let _ = send.finish();
        let received = tokio::time::timeout(LONG, recv.read_to_end(1_000)).await.unwrap().unwrap();
        assert_eq!(received[1], Kind::Fault as u8);
        let fault: Fault = crate::model::packed::decode(&received[6..]).unwrap();
        assert_eq!(fault.kind, crate::model::fault::FaultKind::BadRequest);
        assert!(fault.message.contains("more than servers take"), "{fault}");
    }
}
