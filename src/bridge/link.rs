//! One link: a connection to one server of another datacenter, dialled by one task until it stands and again when it breaks.
//! A link is up only once the other side has greeted back: before that it may still refuse this side's certificate.

use super::RemoteServer;
use super::admission::Admission;
use super::endpoint::Endpoint;
use super::feed::heartbeat::Heartbeat;
use super::frame::{self, Frame, FrameError, Kind, Outgoing, read_header, read_payload};
use crate::defaults;
use crate::model::ids::ClusterId;
use crate::model::shorten::shorten;
use crate::telemetry::FailureThrottle;
use quinn::{Connection, ConnectionError};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;
use tracing::{info, warn};

/// The TLS alerts among QUIC's error codes (RFC 9001, 4.8).
const TLS_ALERTS: std::ops::Range<u64> = 0x100..0x200;
/// The characters of a peer's reason that are shown.
const MAX_REASON: usize = 200;

/// The prefix of a certificate's refusal by the other side.
pub(super) const BY_OTHERS: &str = "by the other side: ";
/// The prefix of the other side's word for not dealing with this datacenter.
pub(super) const REFUSED_BY_OTHERS: &str = "refused by the other side: ";

/// The name of the sender, on each new link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) node: String,
    pub(super) datacenter: String,
    /// The sender's clock when it sent this, in milliseconds since 1970.
    #[serde(default)]
    pub(super) clock: Option<u64>,
    /// The cluster it is part of, once there is one.
    #[serde(default)]
    pub(super) cluster: Option<ClusterId>,
}

/// This server towards the others: its name, and the datacenters it deals with.
#[derive(Clone, Debug)]
pub(super) struct Us {
    pub(super) node: String,
    pub(super) datacenter: String,
    pub(super) cluster: watch::Receiver<Option<ClusterId>>,
    pub(super) admission: watch::Receiver<Arc<Admission>>,
}

impl Us {
    /// The greeting, as of now.
    pub(super) fn greeting(&self) -> Greeting {
        Greeting {
            node: self.node.clone(),
            datacenter: self.datacenter.clone(),
            clock: Some(millis(SystemTime::now())),
            cluster: *self.cluster.borrow(),
        }
    }

    /// Why nothing is exchanged with a server of `dc` that is of `cluster`.
    pub(super) fn refusal(&self, dc: &str, cluster: Option<ClusterId>) -> Option<&'static str> {
        self.admission.borrow().refusal(dc, cluster)
    }
}

/// The greeting of the other side.
#[derive(Clone, Debug)]
pub(super) struct Greeted {
    pub(super) them: Greeting,
    /// The milliseconds by which their clock is ahead of ours, give or take half a round trip; unset when unknown.
    pub(super) clock_ahead: Option<i64>,
}

/// Why a link is down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cause {
    /// One of the two has not heard enough of the other yet.
    NotYetKnown,
    /// A certificate was refused, here or there.
    TlsRefused(String),
    /// One of the two deals no longer with the other's datacenter, by its operators' word.
    Refused(String),
    /// No answer, or one that is none.
    Unreachable(String),
}

impl Cause {
    /// True if an operator has to mend it. An unknown fingerprint passes by itself.
    pub(super) fn is_for_operators(&self) -> bool {
        matches!(self, Cause::TlsRefused(why) if !why.trim_start_matches(BY_OTHERS).starts_with("pin-mismatch"))
    }
}

/// A link that is down: since when, and why.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    pub(super) since: SystemTime,
    pub(super) cause: Cause,
}

impl Outage {
    /// The reason in the form of `X-Kontor-Reason`.
    pub(super) fn reason(&self) -> String {
        match &self.cause {
            Cause::NotYetKnown => "not-yet-known".to_owned(),
            Cause::TlsRefused(why) => format!("tls-refused: {why}"),
            Cause::Refused(why) => why.clone(),
            Cause::Unreachable(why) => format!("unreachable since {}: {why}", utc(self.since)),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum State {
    /// Its first dial is under way.
    Trying,
    /// Its first dial is through the handshake, and the other side has not greeted back yet.
    Greeting(Connection),
    Up(Connection, Arc<Heartbeat>),
    Down(Outage),
}

/// A link, as others see it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) server: RemoteServer,
    /// Room for blocking queries, shared by all connections of the link.
    pub(super) parking: Arc<Semaphore>,
    state: Mutex<State>,
    up_since: Mutex<Option<SystemTime>>,
    /// The cluster that the server told when the link came up last.
    cluster: Mutex<Option<ClusterId>>,
    /// Notified of each change: the calls that wait for this datacenter, and the link manager.
    notified: [Arc<Notify>; 2],
}

impl Link {
    pub(super) fn new(server: RemoteServer, notified: [Arc<Notify>; 2]) -> Link {
        let parking = Arc::new(Semaphore::new(defaults::BRIDGE_MAX_PARKED));
        let state = Mutex::new(State::Trying);
        Link { server, parking, state, up_since: Mutex::default(), cluster: Mutex::default(), notified }
    }

    pub(super) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time since which it is up, if it ever was.
    pub(super) fn up_since(&self) -> Option<SystemTime> {
        *self.up_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster that the server told when the link came up last, or tells in the WAN pool.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).or(self.server.cluster)
    }

    /// Ends the connection, if it stands; the link is dialled anew while there is one.
    pub(super) fn close(&self, reason: &'static str) {
        if let State::Up(connection, _) = self.state() {
            connection.close(frame::REFUSED, reason.as_bytes());
        }
    }

    /// The connection and its heartbeat, if it stands.
    pub(super) fn connection(&self) -> Option<(Connection, Arc<Heartbeat>)> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Up(connection, heartbeat) if connection.close_reason().is_none() => {
                Some((connection.clone(), Arc::clone(heartbeat)))
            }
            _ => None,
        }
    }

    /// True if it is up, and its server is cut off from its own datacenter.
    pub(super) fn is_behind(&self) -> bool {
        self.connection().is_some_and(|(_connection, heartbeat)| heartbeat.is_behind())
    }

    /// Has the feeds on it moved to another link.
    pub(super) fn clear_out(&self) {
        if let Some((_connection, heartbeat)) = self.connection() {
            heartbeat.clear_out();
        }
    }

    /// The connection of its first dial, while its greeting is under way.
    pub(super) fn opening(&self) -> Option<Connection> {
        match self.state() {
            State::Greeting(connection) if connection.close_reason().is_none() => Some(connection),
            _ => None,
        }
    }

    /// Dials for ever. Dropping this future ends the link; calls under way on it may still end well.
    pub(super) async fn run(self: Arc<Link>, endpoint: Endpoint, us: Us) {
        let [_, manager] = &self.notified;
        let mut pause = defaults::BRIDGE_BACKOFF_MIN;
        let mut trouble = FailureThrottle::default();
        loop {
            match self.dial(&endpoint, &us).await {
                Ok(connection) => {
                    pause = defaults::BRIDGE_BACKOFF_MIN;
                    trouble.worked();
                    info!(dc = %self.server.dc, server = %self.server.name, addr = %self.server.addr, rtt = ?connection.rtt(), "link up");
                    let name = format!("{}.{}", self.server.name, self.server.dc);
                    let heartbeat = Arc::new(Heartbeat::new(name, connection.clone(), Arc::clone(manager)));
                    self.set(State::Up(connection.clone(), Arc::clone(&heartbeat)));
                    heartbeat.run().await;
                    let error = connection.closed().await;
                    metrics::counter!("kontor.bridge.links_lost").increment(1);
                    match (us.refusal(&self.server.dc, self.cluster()), heartbeat.verdict()) {
                        (Some(why), _) => self.went_down(Cause::Refused(why.to_owned()), &mut trouble),
                        (None, Some(verdict)) => {
                            self.went_down(Cause::Unreachable(readable(&verdict.why)), &mut trouble);
                            if verdict.misbehaved {
                                tokio::time::sleep(defaults::BRIDGE_MISBEHAVED_PAUSE).await;
                            }
                        }
                        (None, None) => self.went_down(cause_of(&error), &mut trouble),
                    }
                }
                Err(cause) => {
                    metrics::counter!("kontor.bridge.dials_failed").increment(1);
                    self.went_down(cause, &mut trouble);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(defaults::BRIDGE_BACKOFF_MAX);
        }
    }

    /// Dials once, and notes the cluster that greets.
    async fn dial(&self, endpoint: &Endpoint, us: &Us) -> Result<Connection, Cause> {
        let opened = |connection: &Connection| {
            // After a first failure its cause is shown until the link is up.
            if matches!(self.state(), State::Trying) {
                self.set(State::Greeting(connection.clone()));
            }
        };
        let (connection, greeted) = dial(endpoint, us, &self.server, opened).await?;
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner) = greeted.them.cluster;
        match us.refusal(&self.server.dc, greeted.them.cluster) {
            None => Ok(connection),
            Some(why) => {
                connection.close(frame::REFUSED, why.as_bytes());
                Err(Cause::Refused(why.to_owned()))
            }
        }
    }

    fn went_down(&self, cause: Cause, trouble: &mut FailureThrottle) {
        let before = self.state();
        let since = match &before {
            State::Down(outage) => outage.since,
            State::Up(..) | State::Greeting(_) | State::Trying => SystemTime::now(),
        };
        let cause = match (&before, cause) {
            // A datacenter that has removed this one no longer knows it a moment later; its word from before is the reason.
            (State::Down(Outage { cause: reported @ Cause::Refused(_), .. }), Cause::NotYetKnown) => reported.clone(),
            (_, cause) => cause,
        };
        let is_new = !matches!(&before, State::Down(outage) if outage.cause == cause);
        // A lost link and a refused certificate are news at once; a server that is not up yet is normal for a moment.
        let is_news = is_new && (matches!(before, State::Up(..)) || cause.is_for_operators());
        let lasts = trouble.failed(Instant::now());
        let outage = Outage { since, cause };
        let (dc, server, addr, reason) = (&self.server.dc, &self.server.name, self.server.addr, outage.reason());
        if is_news || lasts {
            warn!(%dc, %server, %addr, %reason, "link down");
        } else if is_new {
            info!(%dc, %server, %addr, %reason, "no link yet");
        }
        self.set(State::Down(outage));
    }

    fn set(&self, state: State) {
        if matches!(state, State::Up(..)) {
            *self.up_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
        }
        let still_down = matches!(state, State::Down(_));
        let before = std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state);
        if still_down && matches!(before, State::Down(_)) {
            // Each failed dial would wake all that wait, for nothing.
            return;
        }
        let [waiting, manager] = &self.notified;
        waiting.notify_waiters();
        manager.notify_one();
    }
}

/// Dials `server` once, up to its greeting. `opened` is called when the handshake is through.
pub(super) async fn dial(
    endpoint: &Endpoint,
    us: &Us,
    server: &RemoteServer,
    opened: impl FnOnce(&Connection),
) -> Result<(Connection, Greeted), Cause> {
    let RemoteServer { addr, dc, pins, .. } = server;
    let dial = async {
        let connection = endpoint.dial(*addr, dc, pins).map_err(Cause::Unreachable)?;
        let connection = connection.await.map_err(|error| cause_of(&error))?;
        opened(&connection);
        match greet(&connection, &us.greeting()).await {
            Ok(greeted) if greeted.them.datacenter == *dc => Ok((connection, greeted)),
            Ok(greeted) => {
                let came = greeted.them.datacenter;
                Err(Cause::TlsRefused(format!("expected a server of {dc:?}, one of {came:?} greets")))
            }
            // The refusal of our certificate arrives after the handshake, as the connection's end.
            Err(error) => Err(connection.close_reason().map_or(Cause::Unreachable(error.to_string()), |error| cause_of(&error))),
        }
    };
    match timeout(defaults::BRIDGE_DIAL_TIMEOUT, dial).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(Cause::Unreachable(format!("{addr} did not answer within {:?}", defaults::BRIDGE_DIAL_TIMEOUT))),
    }
}

/// Asks for a greeting and gives ours.
async fn greet(connection: &Connection, us: &Greeting) -> Result<Greeted, FrameError> {
    let (send, mut recv) = connection.open_bi().await.map_err(|error| FrameError::Stream(error.to_string()))?;
    let mut send = Outgoing::new(send);
    let began = (SystemTime::now(), Instant::now());
    send.send(&Frame::of(Kind::Greeting, us)?).await?;
    send.finish()?;
    let header = read_header(&mut recv).await?;
    let took = began.1.elapsed();
    let payload = read_payload(&mut recv, header, defaults::BRIDGE_DIAL_TIMEOUT).await?;
    match header.kind {
        Kind::Greeting => {
            let them: Greeting = frame::decode(&payload)?;
            let clock_ahead = them.clock.map(|clock| ahead(clock, millis(began.0 + took / 2)));
            Ok(Greeted { them, clock_ahead })
        }
        other => Err(FrameError::Stream(format!("expected a greeting, got a {other:?}"))),
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
}

/// The milliseconds by which `theirs` is ahead of `ours`; any value may have been sent.
fn ahead(theirs: u64, ours: u64) -> i64 {
    i64::try_from(i128::from(theirs) - i128::from(ours)).unwrap_or(i64::MAX)
}

/// The cause that a connection's end tells.
pub(super) fn cause_of(error: &ConnectionError) -> Cause {
    if let ConnectionError::ApplicationClosed(close) = error
        && close.error_code == frame::REFUSED
    {
        return Cause::Refused(format!("{REFUSED_BY_OTHERS}{}", readable(&String::from_utf8_lossy(&close.reason))));
    }
    let (refused, by, text) = match error {
        ConnectionError::TransportError(error) => (TLS_ALERTS.contains(&error.code.into()), "", error.reason.clone()),
        ConnectionError::ConnectionClosed(close) => {
            let text = String::from_utf8_lossy(&close.reason).into_owned();
            (TLS_ALERTS.contains(&close.error_code.into()), BY_OTHERS, text)
        }
        _ => (false, "", String::new()),
    };
    if !refused {
        return Cause::Unreachable(readable(&error.to_string()));
    }
    // Rustls puts its own words before the reason that a verifier gave.
    let text = readable(text.strip_prefix("other error: ").unwrap_or(&text));
    if text.starts_with("not-yet-known") { Cause::NotYetKnown } else { Cause::TlsRefused(format!("{by}{text}")) }
}

/// Text of a peer, fit for logs, headers and terminals.
pub(super) fn readable(text: &str) -> String {
    // A little more than is shown, to know whether there is more; a peer may have sent any amount.
    let plain = |c: char| if c.is_control() || !c.is_ascii() { '?' } else { c };
    shorten(&text.chars().map(plain).take(MAX_REASON + 1).collect::<String>(), MAX_REASON).into_owned()
}

/// A time as RFC 3339 has it, to the second.
pub(super) fn utc(time: SystemTime) -> String {
    OffsetDateTime::from(time).truncate_to_second().format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn times_read_as_users_know_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_dial_that_fails_again_wakes_nobody() {
        let (waiting, addr) = (Arc::<Notify>::default(), "127.0.0.1:8300".parse().unwrap());
        let (name, dc) = ("s2".to_owned(), "dc2".to_owned());
        let server = RemoteServer { name, dc, addr, pins: Default::default(), cluster: None, alive: true, estimate: None };
        let link = Link::new(server, [Arc::clone(&waiting), Arc::default()]);
        let fails = |why: &str| {
            let notified = waiting.notified();
            link.went_down(Cause::Unreachable(why.to_owned()), &mut FailureThrottle::default());
            notified.now_or_never().is_some()
        };
        assert!(fails("no answer"), "there is no hope any more");
        assert!(!fails("no answer") && !fails("another reason"));
        assert!(matches!(link.state(), State::Down(outage) if outage.cause == Cause::Unreachable("another reason".to_owned())));
    }

    #[test]
    fn one_who_refused_us_and_knows_us_no_more_has_refused_us() {
        let addr = "127.0.0.1:8300".parse().unwrap();
        let (name, dc) = ("s2".to_owned(), "dc2".to_owned());
        let server = RemoteServer { name, dc, addr, pins: Default::default(), cluster: None, alive: true, estimate: None };
        let link = Link::new(server, [Arc::default(), Arc::default()]);
        let after = |cause: Cause| {
            link.went_down(cause, &mut FailureThrottle::default());
            match link.state() {
                State::Down(outage) => outage.cause,
                other => panic!("{other:?}"),
            }
        };
        let removed = Cause::Refused("refused by the other side: removed".to_owned());
        assert_eq!(after(Cause::NotYetKnown), Cause::NotYetKnown);
        assert_eq!(after(removed.clone()), removed);
        assert_eq!(after(Cause::NotYetKnown), removed);
        let gone = Cause::Unreachable("no answer".to_owned());
        assert_eq!(after(gone.clone()), gone);
        assert_eq!(after(Cause::NotYetKnown), Cause::NotYetKnown, "it may have another key by now");
    }

    #[test]
    fn clocks_are_compared_whatever_a_peer_sends() {
        assert_eq!((ahead(1_000, 400), ahead(400, 1_000)), (600, -600));
        assert_eq!(ahead(u64::MAX, 0), i64::MAX);
        let old: Greeting = serde_json::from_str(r#"{"node": "s1", "datacenter": "dc2"}"#).unwrap();
        assert_eq!((old.clock, old.cluster), (None, None));
    }

    #[test]
    fn a_fingerprint_that_is_not_known_yet_is_not_for_operators_at_once() {
        let refused = |why: &str| Cause::TlsRefused(why.to_owned()).is_for_operators();
        assert!(!refused("pin-mismatch: fingerprint x") && !refused("by the other side: pin-mismatch: fingerprint x"));
        assert!(refused("expired: x") && refused("by the other side: another-ca: x"));
        assert!(!Cause::NotYetKnown.is_for_operators());
    }

    #[test]
    fn what_a_peer_says_cannot_break_a_header() {
        assert_eq!(readable("a\r\nb\u{e9}"), "a??b?");
        assert_eq!(readable(&"x".repeat(1_000)).len(), MAX_REASON);
    }
}
