//! Moves bytes and time between the sockets and the core: one task owns the core and runs the turns of all others.

mod callers;
mod complaints;
mod dial;
mod join;

pub(super) use dial::serve;
pub(super) use join::{Company, JoinPlan, join, keep_joined};

use self::complaints::Complaints;
use self::dial::Dialer;
use super::core::{Core, Output};
use super::envelope::Rejection;
use super::snapshot::Snapshot;
use super::{GossipError, Pool, Roster, memberlist};
use crate::defaults;
use crate::listener::cannot_listen;
use crate::model::coordinate::Coordinate;
use crate::model::removals::Removals;
use crate::shutdown::Shutdown;
use crate::udp::UdpSocket;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Work on the core for the task that owns it.
type Turn = Box<dyn FnOnce(&mut Core, Instant) + Send>;

/// The facts that this agent shall report, and the clusters it shall refuse; the newest wins.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub tags: BTreeMap<String, String>,
    pub advertise: Option<IpAddr>,
    pub removals: Option<Arc<Removals>>,
}

/// The part of the core that is read without its task.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub name: String,
    pub addr: SocketAddr,
    pub generation: u64,
    pub coordinate: Coordinate,
    pub coordinates: BTreeMap<String, Coordinate>,
    pub stats: BTreeMap<String, String>,
}

impl View {
    fn of(core: &Core) -> View {
        let (mine, others) = core.coordinates();
        let (name, addr, generation, stats) = (core.name().to_owned(), core.addr(), core.generation(), core.stats());
        View { name, addr, generation, coordinate: mine.clone(), coordinates: others.clone(), stats }
    }
}

/// The way to the core's task, and its last publications. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct CoreHandle {
    turns: mpsc::Sender<Turn>,
    pub wanted: Arc<watch::Sender<Wanted>>,
    pub roster: watch::Receiver<Arc<Roster>>,
    view: Arc<Mutex<Arc<View>>>,
    socket: Arc<Moved>,
    pub complaints: Arc<Complaints>,
}

/// The owner's next socket; the newest wins.
#[derive(Debug, Default)]
struct Moved {
    next: Mutex<Option<UdpSocket>>,
    there: Notify,
}

impl CoreHandle {
    /// Runs `turn` on the core, between packets.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        turn: impl FnOnce(&mut Core, Instant) -> T + Send + 'static,
    ) -> Result<T, GossipError> {
        let (reply, answer) = oneshot::channel();
        let turn: Turn = Box::new(move |core, now| {
            // The caller may have hung up.
            let _ = reply.send(turn(core, now));
        });
        let stopped = || GossipError("the gossip pool has stopped".to_owned());
        self.turns.send(turn).await.map_err(|_closed| stopped())?;
        answer.await.map_err(|_closed| stopped())
    }

    /// Has the core's task use this socket from now on.
    pub(super) fn take_socket(&self, udp: UdpSocket) {
        *self.socket.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(udp);
        self.socket.there.notify_one();
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Binds one port for both TCP and UDP.
pub(super) async fn bind(addr: SocketAddr) -> Result<(TcpListener, UdpSocket), GossipError> {
    let mut tries = if addr.port() == 0 { defaults::GOSSIP_BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        let failed = |kind: &str, error: std::io::Error| GossipError(cannot_listen(addr, &format!("gossip ({kind})"), &error));
        let tcp = TcpListener::bind(addr).await.map_err(|error| failed("tcp", error))?;
        let bound = tcp.local_addr().map_err(|error| failed("tcp", error))?;
        match UdpSocket::bind(bound) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) if tries == 0 => return Err(failed("udp", error)),
            Err(error) => debug!(addr = %bound, %error, "this port is taken for udp, trying another"),
        }
    }
}

pub(super) fn spawn(pool: Pool, core: Core, udp: UdpSocket, shutdown: &Shutdown) -> CoreHandle {
    let (turns, turns_in) = mpsc::channel(defaults::GOSSIP_COMMANDS);
    let first = Wanted { tags: core.tags().clone(), advertise: None, removals: None };
    let (wanted, wanted_in) = watch::channel(first);
    let socket = Arc::new(Moved::default());
    let (roster_out, roster) = watch::channel(Arc::new(core.roster()));
    let view = Arc::new(Mutex::new(Arc::new(View::of(&core))));
    let complaints = Arc::new(Complaints::new(pool));
    let handle = CoreHandle {
        turns,
        wanted: Arc::new(wanted),
        roster,
        view: Arc::clone(&view),
        socket: Arc::clone(&socket),
        complaints: Arc::clone(&complaints),
    };
    let dialer = Dialer::new(handle.clone(), shutdown.clone());
    let (published, viewed) = (core.changes(), Instant::now());
    let owner = Owner { pool, core, udp, socket, dialer, roster: roster_out, view, published, viewed, complaints };
    shutdown.spawn("gossip", owner.run(turns_in, wanted_in, shutdown.token()));
    handle
}

/// Keeps the last known members and the generation on disk, until shutdown.
pub(super) async fn keep_snapshot(
    handle: CoreHandle,
    company: Company,
    path: PathBuf,
    before: Snapshot,
    left: Arc<watch::Sender<bool>>,
    token: CancellationToken,
) {
    let mut roster = handle.roster.clone();
    let mut last = before;
    loop {
        let stopping = tokio::select! {
            () = token.cancelled() => true,
            changed = roster.changed() => changed.is_err(),
        };
        let me = handle.view();
        let members = company.last_known(&roster.borrow_and_update(), me.addr, &last.members);
        let snapshot = Snapshot { generation: me.generation, left: *left.borrow(), members };
        if snapshot != last {
            last = snapshot;
            write(last.clone(), path.clone()).await;
        }
        if stopping {
            return;
        }
        // The first change is on disk at once: an agent may be killed as soon as it has joined.
        tokio::select! {
            () = token.cancelled() => {}
            () = tokio::time::sleep(defaults::GOSSIP_SNAPSHOT_EVERY) => {}
        }
    }
}

async fn write(snapshot: Snapshot, path: PathBuf) {
    let written = tokio::task::spawn_blocking(move || snapshot.write(&path)).await;
    if let Err(error) = written.unwrap_or_else(|error| Err(error.to_string())) {
        warn!(%error, "last known members are not kept");
    }
}

/// The event that woke the owner.
enum DriverEvent {
    Stop,
    Turn(Turn),
    Wanted(Wanted),
    Datagram(usize, SocketAddr),
    SocketError(std::io::Error),
    SocketMoved,
    Timeout,
}

struct Owner {
    pool: Pool,
    core: Core,
    udp: UdpSocket,
    socket: Arc<Moved>,
    dialer: Dialer,
    roster: watch::Sender<Arc<Roster>>,
    view: Arc<Mutex<Arc<View>>>,
    published: u64,
    viewed: Instant,
    complaints: Arc<Complaints>,
}

impl Owner {
    async fn run(mut self, mut turns: mpsc::Receiver<Turn>, mut wanted: watch::Receiver<Wanted>, token: CancellationToken) {
        let mut buffer = vec![0; defaults::GOSSIP_DATAGRAM_BYTES + 1];
        loop {
            self.core.set_clock(super::clock());
            match self.wait(&mut buffer, &mut turns, &mut wanted, &token).await {
                DriverEvent::Stop => return,
                DriverEvent::Turn(turn) => turn(&mut self.core, now()),
                DriverEvent::Wanted(wanted) => self.tell(wanted),
                DriverEvent::Datagram(length, from) => {
                    self.hear(from, &buffer[..length]);
                    self.hear_rest(&mut buffer);
                }
                DriverEvent::SocketError(error) => {
                    metrics::counter!("kontor.gossip.socket_errors").increment(1);
                    debug!(%error, "udp receive");
                }
                DriverEvent::SocketMoved => {
                    if let Some(udp) = self.socket.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
                        self.udp = udp;
                    }
                }
                DriverEvent::Timeout => {}
            }
            // Packets first: after a pause they hold the answers that the timers would miss.
            if self.core.poll_timeout() <= now() {
                self.core.handle_timeout(now());
            }
            self.act().await;
            self.publish();
        }
    }

    async fn wait(
        &mut self,
        buffer: &mut [u8],
        turns: &mut mpsc::Receiver<Turn>,
        wanted: &mut watch::Receiver<Wanted>,
        token: &CancellationToken,
    ) -> DriverEvent {
        tokio::select! {
            biased;
            () = token.cancelled() => DriverEvent::Stop,
            () = self.socket.there.notified() => DriverEvent::SocketMoved,
            received = self.udp.recv_from(buffer) => match received {
                Ok((length, from)) => DriverEvent::Datagram(length, from),
                Err(error) => DriverEvent::SocketError(error),
            },
            Ok(()) = wanted.changed() => DriverEvent::Wanted(wanted.borrow_and_update().clone()),
            Some(turn) = turns.recv() => DriverEvent::Turn(turn),
            () = tokio::time::sleep_until(self.core.poll_timeout().into()) => DriverEvent::Timeout,
        }
    }

    fn tell(&mut self, wanted: Wanted) {
        self.core.set_tags(wanted.tags, now());
        if let Some(ip) = wanted.advertise {
            self.core.set_advertise(ip, now());
        }
        if let Some(removals) = wanted.removals {
            self.core.set_removals(removals, now());
        }
    }

    fn hear_rest(&mut self, buffer: &mut [u8]) {
        for _ in 1..defaults::GOSSIP_TURN_DATAGRAMS {
            match self.udp.try_recv_from(buffer) {
                Ok((length, from)) => self.hear(from, &buffer[..length]),
                Err(_empty) => return,
            }
        }
    }

    fn hear(&mut self, from: SocketAddr, bytes: &[u8]) {
        match self.core.handle_datagram(from, bytes, now()) {
            Ok(()) => {}
            Err(Rejection::Junk) if memberlist::is_datagram(bytes) => self.complaints.consul(from),
            Err(refusal) => self.complaints.refused(from, &refusal),
        }
    }

    async fn act(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Datagram { to, bytes } => {
                    if let Err(error) = self.udp.send_to(&bytes, to).await {
                        metrics::counter!("kontor.gossip.unsent").increment(1);
                        debug!(peer = %to, %error, "gossip packet not sent");
                    }
                }
                Output::Exchange { with } => self.dialer.exchange_later(with),
                Output::AskHolder { holder, holder_name, holder_id, newcomer } => {
                    self.dialer.ask_later(holder, holder_name, holder_id, newcomer);
                }
            }
        }
    }

    /// Shows what changed; the numbers at most as often as the core ticks.
    fn publish(&mut self) {
        let changes = self.core.changes();
        let changed = changes != self.published;
        if changed || self.viewed.elapsed() >= defaults::GOSSIP_TICK {
            self.viewed = Instant::now();
            *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(View::of(&self.core));
        }
        if changed {
            self.published = changes;
            let roster = Arc::new(self.core.roster());
            let before = self.roster.send_replace(Arc::clone(&roster));
            log_changes(self.pool, &before, &roster);
        }
    }
}

/// Logs one line for every member that joined, was forgotten, or changed its state.
fn log_changes(pool: Pool, before: &Roster, after: &Roster) {
    for (name, member) in &after.members {
        let known = before.members.get(name);
        if known.is_none_or(|known| (known.status, known.addr) != (member.status, member.addr)) {
            info!(%pool, member = %name, addr = %member.addr, status = member.status.as_str(), "member");
        }
    }
    for name in before.members.keys().filter(|name| !after.members.contains_key(*name)) {
        info!(%pool, member = %name, "member forgotten");
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
