//! The first read of all, asked while the first link is still greeting.

use super::*;

/// The kind of read at home.
#[derive(Clone, Copy)]
enum Mode {
    Default,
    Stale,
}

/// The outcome at home of a first request, whose far side answers it before it greets back as a server of `dc`.
async fn asked_before_it_greets(dc: &'static str, mode: Mode) -> Result<String, Fault> {
    let mine = House::self_made("s1", "dc1").await;
    let (endpoint, remote) = raw_far_side("s2", mine.pin.as_ref().unwrap());
    let far = tokio::spawn(async move {
        let connection = endpoint.quic.accept().await.unwrap().await.unwrap();
        let (mut greeting, mut asked, mut streams) = (None, false, Vec::new());
        while let Ok((send, mut recv)) = connection.accept_bi().await {
            match super::super::frame::read_header(&mut recv).await.unwrap().kind {
                Kind::Greeting => greeting = Some(send),
                Kind::Request => {
                    let body = Bytes::from_static(b"early");
                    reply(send, Frame::of(Kind::Reply, &Reply::Answer(Answer { body, ..Answer::default() })).unwrap()).await;
                    asked = true;
                }
                _ => streams.push((send, recv)),
            }
            if asked && let Some(send) = greeting.take() {
                reply(send, greeting_of(dc)).await;
            }
        }
    });
    mine.knows([remote]);
    let outcome = loop {
        let outcome = match mode {
            Mode::Default => mine.ask("dc2", read("x")).await,
            Mode::Stale => mine.first("x").await,
        };
        match outcome {
            Err(fault) if fault.kind == FaultKind::NoPath => tokio::time::sleep(Duration::from_millis(1)).await,
            outcome => break outcome,
        }
    };
    far.abort();
    outcome
}

#[tokio::test]
async fn it_goes_with_the_greeting() {
    for mode in [Mode::Default, Mode::Stale] {
        // A machine so slow that the first dial is given up asks as usual from then on.
        let is_early = async || asked_before_it_greets("dc2", mode).await.as_deref() == Ok("early");
        eventually_so("the request never came before the greeting was answered", is_early).await;
    }
}

/// Asked before gossip has told that there is a dc2.
#[tokio::test]
async fn it_waits_until_its_datacenter_is_known() {
    eventually_so("a first question is refused", async || {
        let (one, two) = (House::self_made("s1", "dc1").await, House::self_made("s2", "dc2").await);
        two.knows([one.remote()]);
        let notifying = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            one.knows([two.remote()]);
        };
        let (asked, ()) = tokio::join!(one.ask("dc2", read("x")), notifying);
        // On a machine so slow that the first moments are over it is refused, as later.
        asked.as_deref() == Ok("x of dc1 at s2")
    })
    .await;
    let one = House::self_made("s1", "dc1").await;
    assert_eq!(one.ask("dc9", read("x")).await.unwrap_err().kind, FaultKind::NoPath, "it is not waited for in vain");
}

#[tokio::test]
async fn its_answer_counts_for_nothing_when_the_greeting_is_of_somebody_else() {
    for mode in [Mode::Default, Mode::Stale] {
        let outcome = asked_before_it_greets("dc9", mode).await;
        assert_eq!(outcome.unwrap_err().kind, FaultKind::Unreachable);
    }
}
