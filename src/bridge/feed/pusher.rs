//! Serves one feed of another datacenter on its stream, or the heartbeat of its link.
//! One push is in flight, and the newest answer wins. A feed keeps its place until the follower has let go too.

use super::super::frame::{self, Frame, FrameError, Kind, Outgoing, kib, read_header, read_payload, within};
use super::message::{Known, Open, Ping, Push, Took};
use super::pushing::{NotFed, Pushing, Seat};
use crate::defaults;
use crate::model::answer::Answer;
use crate::model::fault::Fault;
use bytes::Bytes;
use quinn::RecvStream;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// Serves the feed that `payload` asks for, to its end.
pub(in crate::bridge) async fn feed(
    pushing: &Arc<Pushing>,
    mut outgoing: Outgoing,
    mut recv: RecvStream,
    payload: Bytes,
) -> Result<(), FrameError> {
    let size = payload.len();
    let Open { feed, query, known } = match frame::decode(&payload) {
        Ok(open) => open,
        // The query of a newer version: it can still be asked for each time, or refused there.
        Err(error) => return end(&mut outgoing, &Fault::failed(format!("the query cannot be read: {error}"))).await,
    };
    drop(payload);
    let seat = match pushing.open(feed, query, size) {
        Ok(seat) => seat,
        Err(NotFed::Number) => {
            outgoing.refuse();
            return Err(FrameError::Stream(format!("feed {feed} stands already on this link")));
        }
        Err(NotFed::Full(fault)) => {
            metrics::counter!("kontor.bridge.feeds_refused").increment(1);
            return end(&mut outgoing, &fault).await;
        }
    };
    let mut pusher = Pusher { pushing, seat, reported: known, window: Window::default() };
    let given_up = outgoing.given_up();
    let outcome = tokio::select! {
        biased;
        () = pushing.stop.cancelled() => return Ok(()),
        () = given_up => return Ok(()),
        outcome = pusher.run(&mut outgoing, &mut recv) => outcome,
    };
    let outcome = match outcome {
        Ended::ByFollower => return Ok(()),
        Ended::Broken(error) if error.is_garbage() => return Err(pushing.hang_up(error)),
        Ended::Broken(error) => Err(error),
        Ended::Fault(fault) => end(&mut outgoing, &fault).await,
    };
    if outcome.is_err() {
        outgoing.refuse();
    }
    pusher.part(&mut recv).await;
    outcome
}

/// Answers the pings of a link until its follower ends the stream.
pub(in crate::bridge) async fn heartbeat(
    pushing: &Arc<Pushing>,
    mut outgoing: Outgoing,
    mut recv: RecvStream,
) -> Result<(), FrameError> {
    let Ok(_pulse) = pushing.pulse.try_acquire() else {
        outgoing.refuse();
        return Err(FrameError::Stream("the heartbeat of this link beats already".to_owned()));
    };
    // Echoes go before all else on the link: without them it counts as dead.
    outgoing.hurry();
    let mut budget = Budget::new(Instant::now());
    loop {
        let ping: Ping = tokio::select! {
            biased;
            () = pushing.stop.cancelled() => return Ok(()),
            ping = next(&mut recv, Kind::Ping) => match ping {
                Ok(ping) => ping,
                Err(FrameError::Cut | FrameError::Reset) => return Ok(()),
                Err(error) if error.is_garbage() => return Err(pushing.hang_up(error)),
                Err(error) => {
                    outgoing.refuse();
                    return Err(error);
                }
            },
        };
        if !budget.spend(Instant::now()) {
            metrics::counter!("kontor.bridge.pings_refused").increment(1);
            outgoing.refuse();
            return Err(FrameError::Stream(format!("more than one ping in {:?}", defaults::BRIDGE_PING_PACE)));
        }
        let Some(echo) = pushing.echo(ping) else { return Ok(()) };
        let echo = Frame::of(Kind::Echo, &echo)?;
        within(defaults::BRIDGE_REPLY_TIMEOUT, outgoing.send(&echo)).await?;
    }
}

/// The end of a feed.
enum Ended {
    /// The follower wants no more of it.
    ByFollower,
    /// The follower did what none may.
    Broken(FrameError),
    /// It cannot go on.
    Fault(Fault),
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Ended {
        match error {
            FrameError::Cut | FrameError::Reset => Ended::ByFollower,
            other => Ended::Broken(other),
        }
    }
}

/// One feed at work.
struct Pusher<'a> {
    pushing: &'a Pushing,
    seat: Seat,
    /// The last push that the follower has, on this stream or from before.
    reported: Option<Known>,
    window: Window,
}

/// The push in flight, between the pushing and the listening half.
#[derive(Default)]
struct Window {
    sent: AtomicU64,
    took: AtomicU64,
    moved: Notify,
}

impl Pusher<'_> {
    async fn run(&mut self, outgoing: &mut Outgoing, recv: &mut RecvStream) -> Ended {
        let Pusher { pushing, seat, reported, window } = self;
        tokio::select! {
            biased;
            ended = window.listen(recv) => ended,
            ended = push_all(pushing, seat, reported, window, outgoing) => ended,
        }
    }

    /// Waits until the follower has let go of a feed that ended here.
    async fn part(&self, recv: &mut RecvStream) {
        let rest = async { while let Ok(Some(_)) = recv.read_chunk(usize::MAX, false).await {} };
        tokio::select! {
            () = self.pushing.stop.cancelled() => {}
            parted = timeout(defaults::FEED_TOOK_TIMEOUT, rest) => if parted.is_err() {
                metrics::counter!("kontor.bridge.feeds_not_let_go").increment(1);
                let why = "a feed that has ended is not let go".to_owned();
                self.pushing.hang_up(FrameError::Stream(why));
            }
        }
    }
}

/// Pushes each new answer, until it cannot.
async fn push_all(
    pushing: &Pushing,
    seat: &mut Seat,
    reported: &mut Option<Known>,
    window: &Window,
    outgoing: &mut Outgoing,
) -> Ended {
    let mut is_first = true;
    loop {
        // Its turn comes first, so that the read after it is the newest.
        let Ok(turn) = pushing.sending.acquire().await else { return Ended::ByFollower };
        // The data that the query depends on may be more than it was: a new interest for each read.
        let watched = match seat.watch() {
            Ok(watched) => watched,
            Err(fault) => return Ended::Fault(fault),
        };
        let answer = match pushing.source.read(&seat.query) {
            Ok(answer) => answer,
            Err(fault) => return Ended::Fault(fault),
        };
        let now = Known::of(&answer);
        if !is_first && *reported == Some(now) {
            seat.settle(&watched, now);
            drop((turn, answer));
        } else {
            if answer.body.len() >= defaults::FEED_MAX_BYTES as usize {
                return Ended::Fault(too_large(answer.body.len()));
            }
            let number = seat.push(&watched, now);
            let pushed = Instant::now();
            let frame = match push_frame(number, answer, now, *reported) {
                Ok(frame) => frame,
                Err(FrameError::TooLarge { came, .. }) => return Ended::Fault(too_large(came)),
                Err(error) => return Ended::Broken(error),
            };
            (*reported, is_first) = (Some(now), false);
            // Until it is taken: pushes in flight never stand in the way of echoes and answers.
            let Ok(room) = pushing.flying.acquire_many(kib(frame.len())).await else { return Ended::ByFollower };
            window.sent.store(number, Ordering::Release);
            match timeout(defaults::FEED_TOOK_TIMEOUT, outgoing.send(&frame)).await {
                Ok(Ok(())) => {}
                // The reason is that the follower has stopped the stream, or the link is gone.
                Ok(Err(_)) => return Ended::ByFollower,
                Err(_elapsed) => return not_taken(),
            }
            drop((turn, frame));
            if timeout(defaults::FEED_TOOK_TIMEOUT, window.taken(number)).await.is_err() {
                return not_taken();
            }
            drop(room);
            sleep_until(pushed + defaults::FEED_PACE).await;
        }
        seat.changed(&watched).await;
    }
}

impl Window {
    /// Takes in the follower's messages, until there are no more.
    async fn listen(&self, recv: &mut RecvStream) -> Ended {
        loop {
            let Took { number } = match next(recv, Kind::Took).await {
                Ok(took) => took,
                Err(error) => return error.into(),
            };
            let (sent, took) = (self.sent.load(Ordering::Acquire), self.took.load(Ordering::Acquire));
            if number != sent || number == took {
                return Ended::Broken(FrameError::Stream(format!("push {number} was taken, and {sent} is the last sent")));
            }
            self.took.store(number, Ordering::Release);
            self.moved.notify_one();
        }
    }

    async fn taken(&self, number: u64) {
        while self.took.load(Ordering::Acquire) < number {
            self.moved.notified().await;
        }
    }
}

/// The pings a follower may send: one in each [`defaults::BRIDGE_PING_PACE`], and some that were held up on their way.
struct Budget {
    saved: u32,
    since: Instant,
}

impl Budget {
    fn new(now: Instant) -> Budget {
        Budget { saved: defaults::BRIDGE_PINGS_AT_ONCE, since: now }
    }

    fn spend(&mut self, now: Instant) -> bool {
        while self.since + defaults::BRIDGE_PING_PACE <= now {
            if self.saved == defaults::BRIDGE_PINGS_AT_ONCE {
                self.since = now;
                break;
            }
            self.saved += 1;
            self.since += defaults::BRIDGE_PING_PACE;
        }
        let may = self.saved > 0;
        self.saved -= u32::from(may);
        may
    }
}

/// The next frame of a stream on which only `kind` may come.
async fn next<T: DeserializeOwned>(recv: &mut RecvStream, kind: Kind) -> Result<T, FrameError> {
    let header = read_header(recv).await?;
    if header.kind != kind {
        return Err(FrameError::Stream(format!("expected a {kind:?}, got a {:?}", header.kind)));
    }
    frame::decode(&read_payload(recv, header, defaults::BRIDGE_REQUEST_TIMEOUT).await?)
}

/// Sends the fault that ends a feed.
async fn end(outgoing: &mut Outgoing, fault: &Fault) -> Result<(), FrameError> {
    within(defaults::BRIDGE_REPLY_TIMEOUT, outgoing.send(&Frame::fault(fault)?)).await?;
    outgoing.finish()
}

/// The frame of a push; its body is left out when the follower has it.
fn push_frame(number: u64, answer: Answer, now: Known, reported: Option<Known>) -> Result<Frame, FrameError> {
    let is_same = reported.is_some_and(|reported| (reported.cluster, reported.hash) == (now.cluster, now.hash));
    let frame = Frame::of(Kind::Push, &Push { number, meta: answer.meta, body: (!is_same).then_some(answer.body) })?;
    metrics::counter!("kontor.bridge.pushes", "body" => if is_same { "same" } else { "new" }).increment(1);
    metrics::counter!("kontor.bridge.push_bytes").increment(frame.len() as u64);
    Ok(frame)
}

fn too_large(came: usize) -> Fault {
    Fault::failed(format!("the answer has {came} bytes, and at most {} are fed", defaults::FEED_MAX_BYTES))
}

fn not_taken() -> Ended {
    metrics::counter!("kontor.bridge.pushes_not_taken").increment(1);
    Ended::Broken(FrameError::Silence(defaults::FEED_TOOK_TIMEOUT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_that_were_held_up_may_come_at_once_and_floods_may_not() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let spent = |budget: &mut Budget, now| std::iter::from_fn(|| budget.spend(now).then_some(())).take(100).count();
        assert_eq!(spent(&mut budget, start), defaults::BRIDGE_PINGS_AT_ONCE as usize);
        assert_eq!(spent(&mut budget, start + defaults::BRIDGE_PING_PACE * 3), 3);
        assert_eq!(spent(&mut budget, start + defaults::BRIDGE_PING_PACE * 3), 0);
        let much_later = start + defaults::BRIDGE_PING_PACE * 1_000_000;
        assert_eq!(spent(&mut budget, much_later), defaults::BRIDGE_PINGS_AT_ONCE as usize);
    }
}
