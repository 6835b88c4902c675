//! A stretch of network between two UDP sockets, with the faults of one: delay, jitter, loss, and a
//! cut in one direction or both, all changeable while packets pass.
//!
//! Threads of its own, so that it keeps its times beside whatever else the test does: one for each
//! socket, one that delivers what is delayed. Who sends to it is answered from it, and each sender
//! has a socket of its own towards the target, as behind a translation of addresses.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, Protocol, Socket, Type};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Bytes that may wait in each socket, where the system grants them.
const SOCKET_BUFFER: usize = 4 << 20;
/// Packets that may be under way; what is over it is lost, as in a queue that is full.
const MAX_UNDER_WAY: usize = 65_536;
/// How often a thread looks whether the relay is gone.
const LOOK: Duration = Duration::from_millis(100);
/// Another one is another story.
const SEED: u64 = 20_261_124;

/// A direction through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who dialled to the target.
    There,
    /// From the target to who dialled.
    Back,
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// How long each packet takes one way.
    pub delay: Duration,
    /// Up to how much longer, evenly spread; packets overtake each other then.
    pub jitter: Duration,
    /// How many of a hundred are lost.
    pub loss_percent: f64,
    /// Nothing gets there.
    pub cut_there: bool,
    /// Nothing comes back.
    pub cut_back: bool,
}

impl Weather {
    fn is_cut(&self, way: Way) -> bool {
        match way {
            Way::There => self.cut_there,
            Way::Back => self.cut_back,
        }
    }
}

/// What one direction came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Packets delivered.
    pub packets: u64,
    /// Bytes delivered, without the headers of IP and UDP.
    pub bytes: u64,
    /// Packets lost.
    pub lost: u64,
}

/// A running relay; ends when dropped.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    path: Arc<Path>,
}

impl Relay {
    /// Listens on `address` (port 0: any) and forwards to `target`.
    pub fn start(address: SocketAddr, target: SocketAddr) -> Relay {
        let entry = socket(address);
        let address = entry.local_addr().unwrap();
        let path = Arc::new(Path::default());
        let (listening, delivering) = (Arc::clone(&path), Arc::clone(&path));
        std::thread::spawn(move || listening.listen(entry, target));
        std::thread::spawn(move || delivering.deliver());
        Relay { address, path }
    }

    /// Changes the weather, at once and for what is under way too, as far as a cut is concerned.
    pub fn set(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.path.weather.lock().unwrap());
    }

    /// What was carried so far.
    pub fn carried(&self, way: Way) -> Carried {
        let counters = self.path.counters(way);
        let [packets, bytes, lost] = [&counters.packets, &counters.bytes, &counters.lost].map(|one| one.load(Ordering::SeqCst));
        Carried { packets, bytes, lost }
    }

    /// Bytes delivered in both directions so far.
    pub fn bytes(&self) -> u64 {
        self.carried(Way::There).bytes + self.carried(Way::Back).bytes
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.path.ended.store(true, Ordering::SeqCst);
        self.path.more.notify_all();
    }
}

/// Where a packet leaves the relay: a connected socket, or one that answers several.
#[derive(Clone, Debug)]
struct Exit {
    socket: Arc<UdpSocket>,
    to: Option<SocketAddr>,
}

/// A packet under way, ordered by when it is due and then by when it came.
#[derive(Debug)]
struct Packet {
    due: Instant,
    number: u64,
    way: Way,
    exit: Exit,
    bytes: Vec<u8>,
}

impl PartialEq for Packet {
    fn eq(&self, other: &Packet) -> bool {
        self.number == other.number
    }
}

impl Eq for Packet {}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Packet) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packet {
    fn cmp(&self, other: &Packet) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

#[derive(Debug, Default)]
struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

/// What all threads of a relay share.
#[derive(Debug)]
struct Path {
    weather: Mutex<Weather>,
    luck: Mutex<StdRng>,
    under_way: Mutex<BinaryHeap<Reverse<Packet>>>,
    /// Told of each packet that is due before all others.
    more: Condvar,
    numbers: AtomicU64,
    there: Counters,
    back: Counters,
    ended: AtomicBool,
}

impl Default for Path {
    fn default() -> Path {
        Path {
            weather: Mutex::default(),
            luck: Mutex::new(StdRng::seed_from_u64(SEED)),
            under_way: Mutex::default(),
            more: Condvar::new(),
            numbers: AtomicU64::new(0),
            there: Counters::default(),
            back: Counters::default(),
            ended: AtomicBool::new(false),
        }
    }
}

impl Path {
    fn counters(&self, way: Way) -> &Counters {
        match way {
            Way::There => &self.there,
            Way::Back => &self.back,
        }
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Takes what comes to the entry; each new sender gets a socket and a thread for what comes back.
    fn listen(self: Arc<Path>, entry: UdpSocket, target: SocketAddr) {
        let entry = Arc::new(entry);
        let mut ways: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        self.receive(&entry, |bytes, sender| {
            let onward = ways.entry(sender).or_insert_with(|| {
                let onward = Arc::new(socket(SocketAddr::new(entry.local_addr().unwrap().ip(), 0)));
                onward.connect(target).unwrap();
                let (path, returning) = (Arc::clone(&self), Arc::clone(&onward));
                let exit = Exit { socket: Arc::clone(&entry), to: Some(sender) };
                std::thread::spawn(move || path.receive(&returning, |bytes, _| path.carry(Way::Back, &exit, bytes)));
                onward
            });
            self.carry(Way::There, &Exit { socket: Arc::clone(onward), to: None }, bytes);
        });
    }

    fn receive(&self, socket: &UdpSocket, mut taken: impl FnMut(&[u8], SocketAddr)) {
        let mut buffer = vec![0; 65_536];
        while !self.is_over() {
            match socket.recv_from(&mut buffer) {
                Ok((length, sender)) => taken(&buffer[..length], sender),
                // Nothing came; or nobody listens at the target, which who dialled shall not hear.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {}
                Err(error) => panic!("relay: {error}"),
            }
        }
    }

    /// Loses the packet, passes it on or puts it off.
    fn carry(&self, way: Way, exit: &Exit, bytes: &[u8]) {
        let weather = *self.weather.lock().unwrap();
        let lost = weather.loss_percent > 0.0 && self.luck.lock().unwrap().random_range(0.0..100.0) < weather.loss_percent;
        if lost || weather.is_cut(way) {
            self.counters(way).lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let mut delay = weather.delay;
        if !weather.jitter.is_zero() {
            delay += weather.jitter.mul_f64(self.luck.lock().unwrap().random_range(0.0..1.0));
        }
        if delay.is_zero() {
            return self.hand_over(way, exit, bytes);
        }
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let packet = Packet { due: Instant::now() + delay, number, way, exit: exit.clone(), bytes: bytes.to_vec() };
        let mut under_way = self.under_way.lock().unwrap();
        if under_way.len() >= MAX_UNDER_WAY {
            self.counters(way).lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let is_next = under_way.peek().is_none_or(|Reverse(next)| packet.due < next.due);
        under_way.push(Reverse(packet));
        if is_next {
            self.more.notify_one();
        }
    }

    /// Passes on what was put off, when it is due.
    fn deliver(&self) {
        let mut under_way = self.under_way.lock().unwrap();
        while !self.is_over() {
            let wait = under_way.peek().map_or(LOOK, |Reverse(next)| next.due.saturating_duration_since(Instant::now()));
            if !wait.is_zero() {
                under_way = self.more.wait_timeout(under_way, wait.min(LOOK)).unwrap().0;
                continue;
            }
            let Some(Reverse(packet)) = under_way.pop() else { continue };
            drop(under_way);
            if self.weather.lock().unwrap().is_cut(packet.way) {
                self.counters(packet.way).lost.fetch_add(1, Ordering::SeqCst);
            } else {
                self.hand_over(packet.way, &packet.exit, &packet.bytes);
            }
            under_way = self.under_way.lock().unwrap();
        }
    }

    fn hand_over(&self, way: Way, exit: &Exit, bytes: &[u8]) {
        let sent = match exit.to {
            Some(to) => exit.socket.send_to(bytes, to),
            None => exit.socket.send(bytes),
        };
        let counters = self.counters(way);
        // Nobody listens there at the moment, or the buffers are full: lost, as on any network.
        if sent.is_err() {
            counters.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
        counters.packets.fetch_add(1, Ordering::SeqCst);
        counters.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
    }
}

fn socket(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).unwrap();
    // Less than asked for is granted silently or refused; both only cost packets.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into()).unwrap_or_else(|error| panic!("relay at {address}: {error}"));
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(LOOK)).unwrap();
    socket
}
