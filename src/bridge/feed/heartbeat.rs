//! The heartbeat of one link, at the following side: pings and echoes give the age of all its feeds. Without an echo the
//! link is dead, however alive it looks to QUIC.

use super::age::{Ages, AsOf};
use super::message::Echo;
use super::pace::Pace;
use crate::bridge::frame::{self, Frame, FrameError, Kind, MISBEHAVED, Outgoing, SILENT, read_header, read_payload, within};
use crate::clock::{self, Latest};
use crate::defaults;
use futures_util::TryFutureExt;
use quinn::{Connection, RecvStream, VarInt};
use std::convert::Infallible;
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
    pace: Mutex<Pace>,
    /// Notified when the next ping is due at another time than before.
    repaced: Notify,
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
            pace: Mutex::default(),
            repaced: Notify::new(),
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

    /// Pings until the connection is gone. A server that takes no heartbeat is asked again and again.
    pub(in crate::bridge) async fn run(&self) {
        let _over = self.over.clone().drop_guard();
        loop {
            let Err(error) = tokio::select! {
                biased;
                _closed = self.connection.closed() => return,
                ended = self.exchange_heartbeats() => ended,
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

    async fn exchange_heartbeats(&self) -> Result<Infallible, FrameError> {
        // Streams are given back by the other side's process: one that gives none hangs.
        let streams = self.connection.open_bi().map_err(|error| FrameError::Stream(error.to_string()));
        let (send, mut recv) = within(defaults::BRIDGE_PROGRESS_TIMEOUT, streams).await?;
        let mut outgoing = Outgoing::new(send);
        outgoing.hurry();
        tokio::select! {
            // First: an echo may put off what `ask` waits for.
            biased;
            ended = self.listen(&mut recv) => ended,
            ended = self.ask(&mut outgoing) => ended,
        }
    }

    async fn ask(&self, outgoing: &mut Outgoing) -> Result<Infallible, FrameError> {
        let mut frame = Frame::bare(Kind::Heartbeat);
        let mut began = Instant::now();
        let mut pinged = None;
        loop {
            within(defaults::BRIDGE_PROGRESS_TIMEOUT, outgoing.send(&frame)).await?;
            if let Some(pinged) = pinged {
                self.until_due(pinged, &mut began).await?;
            }
            let now = Instant::now();
            let gap = now - pinged.unwrap_or(now);
            pinged = Some(now);
            let is_answered = self.ages().is_answered();
            self.pace().ping(gap, is_answered, !self.is_behind());
            // Noted before it is sent: an age counted from it is never too young.
            let ping = self.ages().ping(clock::now());
            frame = Frame::of(Kind::Ping, &ping)?;
        }
    }

    /// Waits until a ping is due after the one at `pinged`. Fails on too long a silence, from `began` at the earliest.
    async fn until_due(&self, pinged: Instant, began: &mut Instant) -> Result<(), FrameError> {
        loop {
            let is_answered = self.ages().is_answered();
            let (interval, patience) = {
                let pace = self.pace();
                (pace.interval(is_answered), pace.patience())
            };
            let due = pinged + interval;
            let silent = self.echoed.at().map_or(*began, |echo| echo.max(*began)) + patience;
            let now = Instant::now();
            if now >= due {
                return Ok(());
            }
            if now >= silent {
                return Err(FrameError::Silence(patience));
            }
            let wake = due.min(silent);
            tokio::select! {
                () = sleep_until(wake) => {}
                () = self.repaced.notified() => {}
            }
            if Instant::now() > wake + defaults::BRIDGE_PING_INTERVAL {
                // It was this side that stood still: what came meanwhile is not read yet.
                *began = Instant::now();
            }
        }
    }

    async fn listen(&self, recv: &mut RecvStream) -> Result<Infallible, FrameError> {
        let why = loop {
            let header = read_header(recv).await?;
            if header.kind != Kind::Echo {
                break format!("expected an echo, got a {:?}", header.kind);
            }
            let payload = read_payload(recv, header, defaults::BRIDGE_PROGRESS_TIMEOUT).await?;
            let echo: Echo = frame::decode(&payload)?;
            self.note_view(echo.age);
            if !self.ages().echo(&echo) {
                break "an echo came that answers no ping".to_owned();
            }
            self.echoed.happens();
            self.repaced.notify_one();
        };
        self.condemn(&why);
        Err(FrameError::Stream("condemned".to_owned()))
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
        FeedNumber { heartbeat: Arc::clone(self), number, _use: self.use_link() }
    }

    /// A call or a feed on this link begins: as long as it lasts, the link is pinged as fast as ages and failures need it.
    pub(in crate::bridge) fn use_link(self: &Arc<Heartbeat>) -> LinkUse {
        if self.pace().begin() {
            self.repaced.notify_one();
        }
        LinkUse(Arc::clone(self))
    }

    /// A turn to open a feed, since requests need streams too. Unset when the link is kept no more.
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

    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.pace().rests()
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ages(&self) -> MutexGuard<'_, Ages> {
        self.ages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call or a feed on a link, for as long as it lasts.
#[derive(Debug)]
pub(in crate::bridge) struct LinkUse(Arc<Heartbeat>);

impl Drop for LinkUse {
    fn drop(&mut self) {
        self.0.pace().end();
    }
}

/// A feed on a link.
#[derive(Debug)]
pub(super) struct FeedNumber {
    heartbeat: Arc<Heartbeat>,
    number: u64,
    _use: LinkUse,
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
