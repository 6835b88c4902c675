//! The heartbeat of one link, at the following side: pings go out, echoes come back, and both give the age of all its feeds.
//!
//! A process that hangs may still look alive to QUIC; without an echo its link is dead all the same.

use super::age::{Ages, AsOf};
use super::message::Echo;
use crate::bridge::frame::{self, Frame, FrameError, Kind, MISBEHAVED, Outgoing, SILENT, read_header, read_payload};
use crate::clock::{self, Latest};
use crate::defaults;
use quinn::{Connection, RecvStream, VarInt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Why this side has closed a connection.
#[derive(Clone, Debug)]
pub(in crate::bridge) struct CloseReason {
    /// For users and the log.
    pub(in crate::bridge) why: String,
    /// True if the other side broke the rules; otherwise it was silent.
    pub(in crate::bridge) misbehaved: bool,
}

/// The heartbeat of one connection, and the state that all feeds on it share.
#[derive(Debug)]
pub(in crate::bridge) struct Heartbeat {
    /// The other side's name in the log.
    server: String,
    connection: Connection,
    ages: Mutex<Ages>,
    /// The number of the last feed opened.
    feeds: AtomicU64,
    /// The time of the last echo; the link itself counts as the first.
    echoed: Latest,
    /// KiB of pushes that may still be taken into memory.
    room: Semaphore,
    /// Turns to open a feed.
    opening: Semaphore,
    verdict: OnceLock<CloseReason>,
    /// Cancelled when the link is kept no more.
    over: CancellationToken,
    /// True if the last echo had an old view, or none.
    behind: AtomicBool,
    /// Notified when `behind` changes.
    manager: Arc<Notify>,
    /// Notified when another link would serve the feeds better.
    leave: Notify,
}

impl Heartbeat {
    /// `manager` is notified when the other side falls behind its own datacenter, and when it is no more.
    pub(in crate::bridge) fn new(server: String, connection: Connection, manager: Arc<Notify>) -> Heartbeat {
        let echoed = Latest::default();
        echoed.happens();
        Heartbeat {
            server,
            connection,
            ages: Mutex::default(),
            feeds: AtomicU64::new(0),
            echoed,
            room: Semaphore::new((defaults::FEED_ARRIVING_BYTES >> 10) as usize),
            opening: Semaphore::new(defaults::FEED_MAX_OPENING),
            verdict: OnceLock::new(),
            over: CancellationToken::new(),
            behind: AtomicBool::new(false),
            manager,
            leave: Notify::new(),
        }
    }

    /// Pings until the connection is gone. A server that takes no heartbeat is asked again and again; its feeds grow old
    /// meanwhile.
    pub(in crate::bridge) async fn run(&self) {
        let _over = self.over.clone().drop_guard();
        loop {
            let error = tokio::select! {
                biased;
                _closed = self.connection.closed() => return,
                error = self.exchange_heartbeats() => error,
            };
            match error {
                FrameError::Silence(patience) => self.close(SILENT, format!("no echo came for {patience:?}")),
                error if error.is_misbehaviour() => self.condemn(&format!("its heartbeat: {error}")),
                error => {
                    metrics::counter!("kontor.bridge.pulses_refused").increment(1);
                    debug!(server = %self.server, %error, "no heartbeat");
                }
            }
            // Over at once when the connection is closed.
            let _ = timeout(defaults::BRIDGE_PROGRESS_TIMEOUT, self.connection.closed()).await;
        }
    }

    async fn exchange_heartbeats(&self) -> FrameError {
        let patience = defaults::BRIDGE_PROGRESS_TIMEOUT;
        let (send, mut recv) = match timeout(patience, self.connection.open_bi()).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(error)) => return FrameError::Stream(error.to_string()),
            // Streams are given back by the other side's process: it hangs.
            Err(_elapsed) => return FrameError::Silence(patience),
        };
        let mut outgoing = Outgoing::new(send);
        outgoing.hurry();
        tokio::select! {
            error = self.ask(&mut outgoing) => error,
            error = self.listen(&mut recv) => error,
        }
    }

    async fn ask(&self, outgoing: &mut Outgoing) -> FrameError {
        let patience = defaults::BRIDGE_PROGRESS_TIMEOUT;
        let mut frame = Frame::bare(Kind::Heartbeat);
        let mut began = Instant::now();
        let mut next = began;
        loop {
            match timeout(patience, outgoing.send(&frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_elapsed) => return FrameError::Silence(patience),
            }
            let wake = next.min(self.silent_at(began));
            sleep_until(wake).await;
            if Instant::now() > wake + defaults::BRIDGE_PING_INTERVAL {
                // This side stood still: echoes of the meantime are not read yet.
                began = Instant::now();
            }
            // Looked at anew: an echo may have come in the meantime.
            while Instant::now() < next {
                if Instant::now() >= self.silent_at(began) {
                    return FrameError::Silence(patience);
                }
                sleep_until(next.min(self.silent_at(began))).await;
            }
            let now = Instant::now();
            next = now + defaults::BRIDGE_PING_INTERVAL;
            // Noted before it is sent: an age counted from it is never too young.
            let ping = self.ages().ping(clock::now());
            frame = match Frame::of(Kind::Ping, &ping) {
                Ok(frame) => frame,
                Err(error) => return error,
            };
        }
    }

    async fn listen(&self, recv: &mut RecvStream) -> FrameError {
        loop {
            match self.hear(recv).await {
                Ok(true) => self.echoed.happens(),
                Ok(false) => {
                    self.condemn("an echo came that answers no ping");
                    return FrameError::Stream("condemned".to_owned());
                }
                Err(error) => return error,
            }
        }
    }

    async fn hear(&self, recv: &mut RecvStream) -> Result<bool, FrameError> {
        let header = read_header(recv).await?;
        if header.kind != Kind::Echo {
            self.condemn(&format!("expected an echo, got a {:?}", header.kind));
            return Err(FrameError::Stream("condemned".to_owned()));
        }
        let payload = read_payload(recv, header, defaults::BRIDGE_PROGRESS_TIMEOUT).await?;
        let echo: Echo = frame::decode(&payload)?;
        self.note_view(echo.age);
        Ok(self.ages().echo(&echo))
    }

    /// Notes the age of the other side's view.
    fn note_view(&self, age: Option<Duration>) {
        let behind = age.is_none_or(|age| age > defaults::BRIDGE_BEHIND);
        if self.behind.swap(behind, Ordering::Relaxed) != behind {
            if behind {
                info!(server = %self.server, ?age, "its view of its own datacenter is old; others are asked first where theirs is not");
            }
            self.manager.notify_one();
        }
    }

    /// True if the other side has an old view: it is cut off from its own datacenter, or has no leader.
    pub(in crate::bridge) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Has the feeds on this link moved to another one.
    pub(in crate::bridge) fn clear_out(&self) {
        self.leave.notify_waiters();
    }

    /// Closes the connection: the other side did what no server does.
    pub(super) fn condemn(&self, what: &str) {
        self.close(MISBEHAVED, format!("misbehaved: {what}"));
    }

    fn close(&self, code: VarInt, why: String) {
        let misbehaved = code == MISBEHAVED;
        let verdict = CloseReason { why, misbehaved };
        if self.connection.close_reason().is_some() || self.verdict.set(verdict.clone()).is_err() {
            return;
        }
        let kind = if misbehaved { "misbehaved" } else { "silent" };
        metrics::counter!("kontor.bridge.links_closed", "why" => kind).increment(1);
        warn!(server = %self.server, reason = %verdict.why, "link closed by this side");
        self.connection.close(code, verdict.why.as_bytes());
    }

    /// Why this side has closed the connection, if it has.
    pub(in crate::bridge) fn verdict(&self) -> Option<&CloseReason> {
        self.verdict.get()
    }

    /// Resolves when the link is kept no more: its feeds must move.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// Resolves when the feeds of this link must or should move, with the reason.
    pub(super) async fn moved(&self) -> &'static str {
        tokio::select! {
            () = self.over() => "the link is not kept any more",
            () = self.leave.notified() => "its server is cut off from its own datacenter, and another is not",
        }
    }

    /// A feed's number on this link; its age is counted into `as_of` until the number is dropped.
    pub(super) fn number(self: &Arc<Heartbeat>, as_of: Arc<AsOf>) -> FeedNumber {
        let number = self.feeds.fetch_add(1, Ordering::Relaxed) + 1;
        self.ages().open(number, as_of);
        FeedNumber { heartbeat: Arc::clone(self), number }
    }

    /// A turn to open a feed: thousands may have lost their link at once, and requests need streams too. Unset when the link
    /// is kept no more.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        tokio::select! {
            turn = self.opening.acquire() => turn.ok(),
            () = self.over() => None,
        }
    }

    /// Room in memory for `bytes` of a push.
    pub(super) async fn make_room(&self, bytes: u32) -> Result<SemaphorePermit<'_>, FrameError> {
        let kib = (bytes >> 10) + 1;
        self.room.acquire_many(kib).await.map_err(|error| FrameError::Stream(error.to_string()))
    }

    /// When a stream of pings that began at `began` has had no echo for too long.
    fn silent_at(&self, began: Instant) -> Instant {
        self.echoed.at().map_or(began, |echo| echo.max(began)) + defaults::BRIDGE_PROGRESS_TIMEOUT
    }

    fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A feed on a link.
#[derive(Debug)]
pub(super) struct FeedNumber {
    heartbeat: Arc<Heartbeat>,
    number: u64,
}

impl FeedNumber {
    pub(super) fn get(&self) -> u64 {
        self.number
    }

    /// The push of this number has become the answer held.
    pub(super) fn took(&self, push: u64) {
        self.heartbeat.ages().took(self.number, push);
    }
}

impl Drop for FeedNumber {
    fn drop(&mut self) {
        self.heartbeat.ages().close(self.number);
    }
}
