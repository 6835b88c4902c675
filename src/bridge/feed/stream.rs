//! One stream of a feed, each message checked: a side that breaks the rules loses the link.

use super::age::AsOf;
use super::cached_feed::{CachedFeed, Phase, Pushed, Taken};
use super::heartbeat::{FeedNumber, Heartbeat};
use super::message::{Known, Open, Push, Took, fingerprint, is_there};
use crate::bridge::datacenter::Way;
use crate::bridge::frame::{self, Frame, FrameError, Kind, Outgoing, read_header, read_payload};
use crate::cache::Feed;
use crate::clock;
use crate::defaults;
use crate::model::answer::Found;
use crate::model::fault::{Fault, FaultKind};
use crate::model::ids::ClusterId;
use bytes::Bytes;
use quinn::RecvStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The end of a stream, or the reason that it could not be opened.
#[derive(Debug)]
pub(super) enum End {
    /// The stream or its link failed: another may serve.
    Broken(String),
    /// The other side cannot serve at the moment: another may.
    NotNow(Fault),
    /// The other side does not feed this answer.
    Refused(Fault),
}

impl End {
    /// The fault for readers that wait for an answer.
    pub(super) fn fault(self) -> Fault {
        match self {
            End::Broken(why) => Fault::unreachable(format!("unreachable: {why}")),
            End::NotNow(fault) | End::Refused(fault) => fault,
        }
    }
}

/// An open stream.
pub(super) struct Stream {
    // The fields are dropped in this order: the age is counted no more when the other side learns that the feed is over.
    number: FeedNumber,
    outgoing: Outgoing,
    recv: RecvStream,
    heartbeat: Arc<Heartbeat>,
    as_of: Arc<AsOf>,
    opened: Instant,
    /// The number of the next push.
    due: u64,
    /// The answer pushed last, or named when the stream was opened.
    last: Option<(u64, Found)>,
    cluster: Option<ClusterId>,
    /// All answers of this stream were the newest at this time.
    floor: Instant,
    burst: Burst,
}

impl Stream {
    /// Opens a stream on `way`, with its first push, within `BRIDGE_PROGRESS_TIMEOUT` after its turn.
    pub(super) async fn open(holding: &CachedFeed, way: &Way) -> Result<(Stream, Push), End> {
        let broken = |why: &str| End::Broken(why.to_owned());
        // Its time is counted from its turn.
        let _turn = way.heartbeat.turn().await.ok_or_else(|| broken("the link is not kept any more"))?;
        let opened = Instant::now();
        let give_up = opened + defaults::BRIDGE_PROGRESS_TIMEOUT;
        let (send, recv) = match timeout_at(give_up, way.connection.open_bi()).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(error)) => return Err(End::Broken(error.to_string())),
            Err(_elapsed) => return Err(broken("the other side takes no more streams")),
        };
        let as_of = Arc::<AsOf>::default();
        let known = holding.known();
        let mut stream = Stream {
            number: way.heartbeat.number(Arc::clone(&as_of)),
            outgoing: Outgoing::new(send),
            recv,
            heartbeat: Arc::clone(&way.heartbeat),
            as_of,
            opened,
            due: 1,
            last: known.map(|(known, found)| (known.hash, found)),
            cluster: None,
            floor: clock::now(),
            burst: Burst { since: opened, count: 0 },
        };
        let open = Open { feed: stream.number.get(), query: Arc::clone(holding.query()), known: known.map(|(known, _)| known) };
        let frame = Frame::of(Kind::Open, &open)
            .map_err(|error| End::Refused(Fault::new(FaultKind::BadRequest, format!("the query cannot cross: {error}"))))?;
        match timeout_at(give_up, stream.outgoing.send(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(stream.judge(error)),
            Err(_elapsed) => return Err(broken("the other side does not take the query")),
        }
        let first = stream.next(Some(give_up)).await?;
        Ok((stream, first))
    }

    /// Deals with pushes until the stream ends. `resized` is called when the answer held has another size.
    pub(super) async fn follow(&mut self, holding: &CachedFeed, first: Push, resized: impl Fn()) -> End {
        let heartbeat = Arc::clone(&self.heartbeat);
        let mut push = first;
        loop {
            match self.deal(holding, push) {
                Ok(true) => resized(),
                Ok(false) => {}
                Err(end) => return end,
            }
            if self.due == 2 {
                holding.set_phase(Phase::Standing);
            }
            if let Err(end) = self.acknowledge().await {
                return end;
            }
            let next = tokio::select! {
                next = self.next(None) => next,
                why = heartbeat.moved() => Err(End::Broken(why.to_owned())),
            };
            match next {
                Ok(next) => push = next,
                Err(end) => return end,
            }
        }
    }

    /// Waits for the next push; not to be called again once it was dropped.
    async fn next(&mut self, give_up: Option<Instant>) -> Result<Push, End> {
        let header = match give_up {
            None => read_header(&mut self.recv).await,
            Some(give_up) => match timeout_at(give_up, read_header(&mut self.recv)).await {
                Ok(header) => header,
                Err(_elapsed) => return Err(End::Broken(format!("no answer came for {:?}", self.opened.elapsed()))),
            },
        };
        let header = header.map_err(|error| self.judge(error))?;
        if self.burst.exceeds(Instant::now()) {
            return Err(self.condemn(&format!("more than {} pushes came within a second", defaults::FEED_FLOOD)));
        }
        // The pushes that arrive at a time are bounded for all feeds of the link together.
        let arrival = async {
            let room = self.heartbeat.make_room(header.length()).await?;
            // It shares the link with others; the heartbeat finds a side that hangs.
            let payload = read_payload(&mut self.recv, header, defaults::FEED_ARRIVAL_TIMEOUT).await?;
            let frame = match header.kind {
                Kind::Push => Ok(frame::decode::<Push>(&payload)?),
                Kind::Fault => Err(frame::decode::<Fault>(&payload)?),
                _ => return Ok(None),
            };
            drop(room);
            Ok::<_, FrameError>(Some(frame))
        };
        match timeout(defaults::FEED_ARRIVAL_TIMEOUT, arrival).await {
            Ok(Ok(Some(Ok(push)))) => Ok(push),
            Ok(Ok(Some(Err(fault)))) => Err(refusal(fault)),
            Ok(Ok(None)) => Err(self.condemn(&format!("expected a push, got a {:?}", header.kind))),
            Ok(Err(error)) => Err(self.judge(error)),
            Err(_elapsed) => Err(End::Broken(format!("a push took longer than {:?} to arrive", defaults::FEED_ARRIVAL_TIMEOUT))),
        }
    }

    /// Takes in one push. Returns whether the answer held has another size.
    fn deal(&mut self, holding: &CachedFeed, push: Push) -> Result<bool, End> {
        let Push { number, mut meta, body, .. } = push;
        // One datacenter's answer has no such list, and the cache would not count its bytes.
        meta.datacenters = None;
        if number != self.due {
            return Err(self.condemn(&format!("push {number} of a feed came where {} was due", self.due)));
        }
        let hash = self.hash(meta.found, body.as_ref())?;
        if number == 1 {
            // Read when the stream was open: its view's age counts from before that.
            let floor = self.floor.checked_sub(meta.last_contact);
            self.floor = floor.ok_or_else(|| self.condemn("an answer is older than any clock can tell"))?;
        }
        if self.cluster.is_some_and(|cluster| cluster != meta.cluster) {
            // The times vouched for on this stream are of the other cluster.
            return Err(End::Broken("it answers for another cluster now".to_owned()));
        }
        self.due += 1;
        self.last = Some((hash, meta.found));
        self.cluster = Some(meta.cluster);
        let known = Known { cluster: meta.cluster, index: meta.index, hash };
        match holding.take(Pushed { known, meta, body, as_of: &self.as_of, floor: self.floor }) {
            Taken::Held { resized } => {
                self.number.took(number);
                Ok(resized)
            }
            Taken::Older => {
                metrics::counter!("kontor.bridge.answers_refused").increment(1);
                Ok(false)
            }
            Taken::NoBody => Err(End::Broken("the body that it has not sent again is not held any more".to_owned())),
        }
    }

    fn hash(&self, found: Found, body: Option<&Bytes>) -> Result<u64, End> {
        match (body, self.last) {
            (Some(body), _) => Ok(fingerprint(is_there(found), body)),
            (None, Some((hash, before))) if is_there(before) == is_there(found) => Ok(hash),
            (None, _) => Err(self.condemn("a push has no body, and none is known that it could mean")),
        }
    }

    async fn acknowledge(&mut self) -> Result<(), End> {
        let took = Frame::of(Kind::Took, &Took { number: self.due - 1 }).map_err(|error| End::Broken(error.to_string()))?;
        match timeout(defaults::BRIDGE_PROGRESS_TIMEOUT, self.outgoing.send(&took)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.judge(error)),
            Err(_elapsed) => Err(End::Broken("the other side does not read".to_owned())),
        }
    }

    fn judge(&self, error: FrameError) -> End {
        match error {
            FrameError::Refused => End::Refused(Fault::failed("the other side refused the feed")),
            error if error.is_misbehaviour() => self.condemn(&format!("a feed: {error}")),
            error => End::Broken(error.to_string()),
        }
    }

    fn condemn(&self, what: &str) -> End {
        self.heartbeat.condemn(what);
        End::Broken(format!("misbehaved: {what}"))
    }
}

/// The end that a fault on a feed's stream means.
fn refusal(fault: Fault) -> End {
    match fault.kind {
        FaultKind::NoLeader | FaultKind::Busy | FaultKind::Unreachable | FaultKind::NoPath => End::NotNow(fault),
        FaultKind::Failed | FaultKind::BadRequest | FaultKind::NotFound | FaultKind::Denied | FaultKind::OutcomeUnknown => {
            End::Refused(fault)
        }
    }
}

/// Counts pushes within a second.
struct Burst {
    since: Instant,
    count: u32,
}

impl Burst {
    /// Counts one more push; whether that is too many.
    fn exceeds(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Burst { since: now, count: 0 };
        }
        self.count += 1;
        self.count > defaults::FEED_FLOOD
    }
}
