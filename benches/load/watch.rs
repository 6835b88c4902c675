//! Watchers: connections that each have a blocking query waiting all the time. When one is
//! answered, the moment is noted and the next one asked with the new index.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// Connections that are set up at the same time.
const AT_ONCE: usize = 64;
/// Bounds a hang; it measures nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Some watchers on a thread of their own; dropping this hangs them all up.
#[derive(Debug)]
pub struct Watchers {
    count: usize,
    wakes: Arc<Wakes>,
    _runtime: Runtime,
}

/// What is awaited, and when it came to whom.
#[derive(Debug, Default)]
struct Wakes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// The text by which an answer is known to have what is awaited.
    mark: String,
    at: Vec<Instant>,
}

impl Watchers {
    /// Has `count` watchers ask `addr` for `path` (which has a `?`), and waits until each has had its
    /// first answer and asked its first blocking query.
    pub fn start(addr: SocketAddr, path: &str, count: usize) -> Watchers {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (wakes, room) = (Arc::new(Wakes::default()), Arc::new(Semaphore::new(AT_ONCE)));
        for _ in 0..count {
            let (wakes, room, path) = (Arc::clone(&wakes), Arc::clone(&room), path.to_owned());
            runtime.spawn(async move {
                let place = room.acquire_owned().await.unwrap();
                let mut socket = TcpStream::connect(addr).await.unwrap();
                socket.set_nodelay(true).unwrap();
                let mut answer = Vec::new();
                let mut index = ask(&mut socket, &path, &mut answer).await;
                drop(place);
                wakes.state.lock().unwrap().waiting += 1;
                loop {
                    index = ask(&mut socket, &format!("{path}&index={index}&wait=10m"), &mut answer).await;
                    wakes.note(&answer);
                }
            });
        }
        let watchers = Watchers { count, wakes, _runtime: runtime };
        watchers.wait_until("all wait", |state| state.waiting == count);
        watchers
    }

    /// From now on an answer counts when it contains `mark`.
    pub fn expect(&self, mark: &str) {
        let mut state = self.wakes.state.lock().unwrap();
        state.mark = mark.to_owned();
        state.at.clear();
    }

    /// Waits until each has had what was expected; how long after `since`, sorted.
    pub fn woken(&self, since: Instant) -> Vec<Duration> {
        self.wait_until("all are woken", |state| state.at.len() >= self.count);
        let mut times: Vec<Duration> =
            self.wakes.state.lock().unwrap().at.iter().map(|at| at.saturating_duration_since(since)).collect();
        times.sort_unstable();
        times
    }

    fn wait_until(&self, what: &str, come: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !come(&self.wakes.state.lock().unwrap()) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Wakes {
    fn note(&self, answer: &[u8]) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap();
        let mark = state.mark.as_bytes();
        if !mark.is_empty() && answer.windows(mark.len()).any(|window| window == mark) {
            state.at.push(now);
        }
    }
}

/// One GET, its answer whole in `answer`; its index.
async fn ask(socket: &mut TcpStream, path: &str, answer: &mut Vec<u8>) -> u64 {
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes()).await.unwrap();
    answer.clear();
    loop {
        assert!(socket.read_buf(answer).await.unwrap() > 0, "the server hung up");
        let Some(head_end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..head_end]).unwrap();
        let number = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines
                .into_iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().parse::<u64>().unwrap())
        };
        if answer.len() >= head_end + 4 + number("content-length").unwrap() as usize {
            assert!(head.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
            return number("x-consul-index").unwrap();
        }
    }
}
