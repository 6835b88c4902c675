//! Requests to another datacenter: on the live link, and once more on the standby.
//! A write is sent again only when it was certainly not done; a read is sent at most twice.

use super::datacenter::{Datacenter, Way};
use super::frame::{self, Frame, FrameError, Kind, Outgoing, read_header, read_payload};
use super::link::utc;
use super::links::Links;
use crate::defaults;
use crate::model::fault::{Fault, FaultKind};
use crate::model::request::{Operation, Reply, Request};
use futures_util::future::{Either, FutureExt, TryFutureExt, select};
use quinn::{Connection, RecvStream};
use std::pin::pin;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// Why one attempt brought no answer.
#[derive(Debug)]
struct Failure {
    /// True if something may have been done; if not, it is safe to ask elsewhere, a write too.
    sent: bool,
    /// True if the other side had shown a sign of progress before.
    progressed: bool,
    why: String,
}

/// The far side's answer, which may be a fault: no other link is tried then.
type Answered = Result<Reply, Fault>;

/// Sends `request` to `dc`; see `Bridge::call`.
pub(super) async fn call(links: &Links, dc: &str, request: &Request, patience: Duration) -> Answered {
    let datacenter = match links.of(dc) {
        Ok(datacenter) => datacenter,
        // Boxed: every call would carry its room.
        Err(_) => Box::pin(links.of_soon(dc)).await?,
    };
    let frame = Frame::of(Kind::Request, request)
        .map_err(|error| Fault::new(FaultKind::BadRequest, format!("the request cannot cross to {dc}: {error}")))?;
    let (began, now) = (SystemTime::now(), Instant::now());
    let give_up = now + defaults::BRIDGE_PROGRESS_TIMEOUT;
    let asked = Asked { frame: &frame, began, give_up, whole: now + patience, held: &Notify::new() };
    if let Operation::Read(query) = &request.operation
        && query.freshness.min_index == 0
        && datacenter.ways().is_empty()
        // Boxed: it is for the first moments of a process, and every call would carry its room.
        && let Some(answered) = Box::pin(asked.read_with_greeting(&datacenter)).await
    {
        return answered;
    }
    match asked.on_what_stands(&datacenter, &request.operation).await {
        // The links were ended under it, by the operators' word or because this server shuts down.
        Err(fault) if fault.kind == FaultKind::Unreachable => Err(links.of(dc).err().unwrap_or(fault)),
        answered => answered,
    }
}

/// The time after which a read on this connection is late.
fn lateness(connection: &Connection) -> Duration {
    (connection.rtt() * defaults::BRIDGE_LATE_ROUND_TRIPS).max(defaults::BRIDGE_LATE_MIN)
}

/// True if a request that was held in vain, and not done, may find a leader by way of `standby`.
fn has_leader_for(outcome: &Result<Answered, Failure>, standby: &Way) -> bool {
    matches!(outcome, Ok(Err(fault)) if fault.kind == FaultKind::NoLeader) && !standby.heartbeat.is_behind()
}

/// A request with its deadlines.
#[derive(Clone, Copy)]
struct Asked<'a> {
    frame: &'a Frame,
    began: SystemTime,
    /// The time of its failure without a sign of progress.
    give_up: Instant,
    /// The time of its failure in any case.
    whole: Instant,
    /// Notified when the server asked holds the request for a leader.
    held: &'a Notify,
}

impl Asked<'_> {
    /// The same, with time for a first sign of progress.
    fn anew(&self) -> Self {
        Asked { give_up: Instant::now() + defaults::BRIDGE_PROGRESS_TIMEOUT, ..*self }
    }

    /// Asks on the links that stand, after waiting for a first one.
    async fn on_what_stands(&self, datacenter: &Datacenter, operation: &Operation) -> Answered {
        let ways = datacenter.wait_for_ways(self.give_up).await?;
        let Some(live) = ways.first().map(|way| &way.connection) else {
            return Err(Fault::unreachable("unreachable: no link stands"));
        };
        // From here on a link that fails is noticed as soon as any other.
        let _uses = [ways.first(), ways.get(1)].map(|way| way.map(|way| way.heartbeat.use_link()));
        match operation {
            Operation::Write(_) => self.write(live, ways.get(1)).await,
            Operation::Read(query) if query.freshness.min_index > 0 => self.park(datacenter, &ways).await,
            Operation::Read(_) => self.read(datacenter, live, ways.get(1).map(|way| &way.connection)).await,
        }
    }

    /// Asks the live link, and the standby when that has certainly not done it.
    async fn write(&self, live: &Connection, standby: Option<&Way>) -> Answered {
        let mut outcome = self.attempt(live).await;
        let again = match &outcome {
            Err(Failure { sent: false, .. }) => standby.map(|way| (way, *self)),
            outcome => standby.filter(|way| has_leader_for(outcome, way)).map(|way| (way, self.anew())),
        };
        if let Some((way, again)) = again {
            outcome = again.attempt(&way.connection).await;
        }
        match outcome {
            Ok(answered) => answered,
            Err(Failure { sent: true, why, .. }) => {
                Err(Fault::outcome_unknown(format!("The write may or may not have been done: {why}")))
            }
            Err(failure) => Err(self.unreachable(&failure)),
        }
    }

    /// Asks a blocking query on the first link with room for one more, and once on the other after a failure.
    async fn park(&self, datacenter: &Datacenter, ways: &[Way]) -> Answered {
        datacenter.note_read();
        let mut places = ways.iter().take(2).filter_map(|way| Some((way, way.park()?)));
        let Some((live, room)) = places.next() else {
            metrics::counter!("kontor.bridge.parking_full").increment(1);
            let why = format!("{} blocking queries wait on each link already", defaults::BRIDGE_MAX_PARKED);
            return Err(Fault::new(FaultKind::Busy, why));
        };
        let outcome = self.attempt(&live.connection).await;
        drop(room);
        match (outcome, places.next()) {
            (Err(failure), Some((standby, _room))) => {
                self.read_again(datacenter, &live.connection, &standby.connection, failure).await
            }
            (outcome, Some((standby, _room))) if has_leader_for(&outcome, standby) => {
                self.settle(self.anew().attempt(&standby.connection).await)
            }
            (outcome, _) => self.settle(outcome),
        }
    }

    /// Asks along with the greeting of a first link. None when a link is up already, or when this fails.
    async fn read_with_greeting(&self, datacenter: &Datacenter) -> Option<Answered> {
        let (link, connection) = datacenter.wait_for_opening(self.give_up).await?;
        let early = Asked { give_up: self.give_up.min(Instant::now() + lateness(&connection)), ..*self };
        // An answer counts only once the other side's greeting is accepted.
        let answered = early.attempt(&connection).map_err(drop);
        let up = datacenter.comes_up(&link, &connection, early.give_up).map(|up| up.then_some(()).ok_or(()));
        tokio::try_join!(answered, up).ok().map(|(answered, ())| answered)
    }

    /// Asks the live link, and the standby when that has failed or is late.
    async fn read(&self, datacenter: &Datacenter, live: &Connection, standby: Option<&Connection>) -> Answered {
        datacenter.note_read();
        let Some(standby) = standby else { return self.settle(self.attempt(live).await) };
        let first = pin!(self.attempt(live));
        let first = match select(first, pin!(self.is_worth_another(datacenter, live))).await {
            Either::Left((Err(failure), _)) => return self.read_again(datacenter, live, standby, failure).await,
            Either::Left((answered, _)) => return self.settle(answered),
            Either::Right(((), first)) => first,
        };
        let again = self.anew();
        let second = pin!(again.attempt(standby));
        // The first answer counts, from either; a failure leaves the other its time.
        match select(first, second).await {
            Either::Left((Err(_), second)) => self.settle(second.await),
            Either::Right((Err(_), first)) => self.settle(first.await),
            Either::Left((answered, _)) | Either::Right((answered, _)) => self.settle(answered),
        }
    }

    /// Resolves when the standby is to be asked too: the answer is late and may be asked for twice, or the server holds for
    /// a leader. No server works on a held read, so asking another is no double.
    async fn is_worth_another(&self, datacenter: &Datacenter, live: &Connection) {
        let late = async {
            sleep(lateness(live)).await;
            if !datacenter.may_double() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.held.notified() => metrics::counter!("kontor.bridge.held_elsewhere").increment(1),
            () = late => {}
        }
    }

    /// Asks the standby after `failure` on the live link.
    async fn read_again(&self, datacenter: &Datacenter, live: &Connection, standby: &Connection, failure: Failure) -> Answered {
        let now = Instant::now();
        let give_up = if failure.progressed { now + defaults::BRIDGE_PROGRESS_TIMEOUT } else { self.give_up };
        // A link that is gone carries nothing any more: asking the other instead is no double.
        let moved = live.close_reason().is_some();
        if now >= give_up.min(self.whole) || !(moved || datacenter.may_double()) {
            return Err(self.unreachable(&failure));
        }
        let again = Asked { give_up, ..*self };
        again.settle(again.attempt(standby).await)
    }

    /// Sends the request on one connection and follows its progress to the answer.
    async fn attempt(&self, connection: &Connection) -> Result<Answered, Failure> {
        let not_sent = |why: String| Failure { sent: false, progressed: false, why };
        let until = self.give_up.min(self.whole);
        let (send, mut recv) = match timeout_at(until, connection.open_bi()).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(error)) => return Err(not_sent(error.to_string())),
            Err(_elapsed) => return Err(not_sent("the other side takes no more streams".to_owned())),
        };
        let mut outgoing = Outgoing::new(send);
        // A frame that is not whole is never acted upon, so up to here nothing can have been done.
        match timeout_at(until, outgoing.send(self.frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(not_sent(error.to_string())),
            Err(_elapsed) => return Err(not_sent("the other side does not take the request".to_owned())),
        }
        let mut progressed = false;
        let outcome = match outgoing.finish() {
            Ok(()) => self.follow(&mut recv, &mut progressed).await,
            Err(error) => Err(error),
        };
        outcome.map_err(|error| Failure { sent: !matches!(error, FrameError::Refused), progressed, why: error.to_string() })
    }

    async fn follow(&self, recv: &mut RecvStream, progressed: &mut bool) -> Result<Answered, FrameError> {
        let mut give_up = Some(self.give_up);
        let mut hold_end = None;
        loop {
            let until = give_up.map_or(self.whole, |give_up| give_up.min(self.whole));
            let header = match timeout_at(until, read_header(recv)).await {
                Ok(header) => header?,
                Err(_elapsed) => return Err(FrameError::Silence(defaults::BRIDGE_PROGRESS_TIMEOUT)),
            };
            let soon = Instant::now() + defaults::BRIDGE_PROGRESS_TIMEOUT;
            give_up = match header.kind {
                Kind::Working => Some(soon),
                // The wait may be long; the link itself shows that the other side lives.
                Kind::Parked => None,
                Kind::Holding => {
                    self.held.notify_one();
                    Some(soon.min(*hold_end.get_or_insert(soon + defaults::RPC_HOLD)))
                }
                Kind::Reply | Kind::Fault => {
                    let payload = read_payload(recv, header, defaults::BRIDGE_PROGRESS_TIMEOUT).await?;
                    return if header.kind == Kind::Reply {
                        Ok(Ok(frame::decode(&payload)?))
                    } else {
                        Ok(Err(frame::decode(&payload)?))
                    };
                }
                other => return Err(FrameError::Stream(format!("expected an answer, got a {other:?}"))),
            };
            *progressed = true;
        }
    }

    fn settle(&self, outcome: Result<Answered, Failure>) -> Answered {
        outcome.unwrap_or_else(|failure| Err(self.unreachable(&failure)))
    }

    fn unreachable(&self, failure: &Failure) -> Fault {
        metrics::counter!("kontor.bridge.calls_failed").increment(1);
        Fault::unreachable(format!("unreachable since {}: {}", utc(self.began), failure.why))
    }
}
