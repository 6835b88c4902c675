//! What must hold of stale-allowed reads of dc2 whatever befalls the network and the servers: a
//! number is written there again and again, readers and watchers in dc1 judge each answer by what
//! was acknowledged when.

use super::{Agent, Reply, client, request_by, wait_until};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long one request may take: it bounds a hang.
const REQUEST: Duration = Duration::from_secs(30);
/// How long a watcher asks to wait.
const WAIT: &str = "5s";
/// Pauses of the writer and of each reader.
const PACE: Duration = Duration::from_millis(20);
/// Pause of the writer after a write of unknown fate: each adds an instance.
const TROUBLE: Duration = Duration::from_millis(300);
/// What is said of what is wrong; more would be the same.
const MAX_WRONG: usize = 20;
/// The service whose instances carry the number.
const SERVICE: &str = "counter";

/// The path of the number, as a read of dc2.
pub fn path(mode: &str) -> String {
    format!("/v1/health/service/{SERVICE}?dc=dc2{mode}")
}

/// The number in an answer: the greatest that an instance carries; 0 without one.
pub fn number_in(reply: &Reply) -> u64 {
    let rows = reply.json();
    let number = |row: &Value| row["Service"]["Meta"]["number"].as_str().unwrap().parse().unwrap();
    rows.as_array().unwrap().iter().map(number).max().unwrap_or(0)
}

/// The age that an answer tells of itself.
pub fn told_age(reply: &Reply) -> Duration {
    let told = reply.header("X-Consul-LastContact");
    Duration::from_millis(told.parse().unwrap_or_else(|_| panic!("no age: {:?}", reply.headers)))
}

/// One who asks, over and over.
#[derive(Debug)]
struct Asker {
    name: String,
    address: Ipv4Addr,
    is_server: bool,
    watches: bool,
    /// The greatest number seen.
    seen: AtomicU64,
    answers: AtomicUsize,
}

/// The writer, those who read, and what is wrong.
#[derive(Debug)]
pub struct Story {
    far: Mutex<Vec<Ipv4Addr>>,
    /// The greatest number that was sent.
    tried: AtomicU64,
    acknowledged: Mutex<Vec<(Instant, u64)>>,
    askers: Vec<Asker>,
    wrong: Mutex<Vec<String>>,
    /// Whether there is a next number.
    writing: AtomicBool,
    /// Whether the last number is acknowledged.
    written: AtomicBool,
    reading: AtomicBool,
}

impl Story {
    /// Runs `events` while a writer writes through the agents of dc2 at `far` and, at each of `agents`,
    /// one reads and one watches. Not one of their reads may fail. Ends when all have seen the last
    /// number, and fails with everything that was wrong.
    pub fn tell(agents: &[&Agent], far: Vec<Ipv4Addr>, events: impl FnOnce(&Story)) {
        let is_server = |agent: &Agent| agent.plan.flags.iter().any(|flag| flag == "-server");
        let asker = |agent: &&Agent, watches: bool| Asker {
            name: format!("{} {}", agent.plan.name, if watches { "watched" } else { "read" }),
            address: agent.plan.address,
            is_server: is_server(agent),
            watches,
            seen: AtomicU64::new(0),
            answers: AtomicUsize::new(0),
        };
        let askers = agents.iter().flat_map(|agent| [asker(agent, false), asker(agent, true)]).collect();
        let story = Story {
            far: Mutex::new(far),
            tried: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            askers,
            wrong: Mutex::default(),
            writing: AtomicBool::new(true),
            written: AtomicBool::new(false),
            reading: AtomicBool::new(true),
        };
        std::thread::scope(|scope| {
            let told = &story;
            scope.spawn(move || told.write());
            story.askers.iter().for_each(|asker| _ = scope.spawn(move || told.ask(asker)));
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                story.is_fresh();
                events(&story);
                story.is_fresh();
                story.writing.store(false, Ordering::SeqCst);
                story.ends();
            }));
            story.writing.store(false, Ordering::SeqCst);
            story.reading.store(false, Ordering::SeqCst);
            if let Err(panic) = ended {
                eprintln!("wrong: {:#?}", story.wrong.lock().unwrap());
                std::panic::resume_unwind(panic);
            }
        });
        let wrong = story.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let answers: usize = story.askers.iter().map(|asker| asker.answers.load(Ordering::SeqCst)).sum();
        eprintln!("{} numbers written, {answers} answers judged", story.tried.load(Ordering::SeqCst));
    }

    /// dc2 is to be written to at other addresses from now on.
    pub fn far_is_at(&self, far: Vec<Ipv4Addr>) {
        *self.far.lock().unwrap() = far;
    }

    /// Waits until each reader has had `count` more answers.
    pub fn reads_go_on(&self, count: usize) {
        for asker in self.askers.iter().filter(|asker| !asker.watches) {
            let target = asker.answers.load(Ordering::SeqCst) + count;
            self.wait_until(&format!("{}: reads go on", asker.name), || asker.answers.load(Ordering::SeqCst) >= target);
        }
    }

    /// Reads go on for at least so long.
    pub fn reads_go_on_for(&self, time: Duration) {
        let started = Instant::now();
        while started.elapsed() < time {
            self.reads_go_on(5);
        }
    }

    /// Waits until numbers written from now on arrive at everybody.
    pub fn is_fresh(&self) {
        let target = self.tried.load(Ordering::SeqCst) + 3;
        self.all_see(target);
    }

    fn ends(&self) {
        self.wait_until("the last number is acknowledged", || self.written.load(Ordering::SeqCst));
        self.all_see(self.tried.load(Ordering::SeqCst));
    }

    fn all_see(&self, number: u64) {
        for asker in &self.askers {
            self.wait_until(&format!("{}: number {number}", asker.name), || asker.seen.load(Ordering::SeqCst) >= number);
        }
    }

    /// Waits for what is to come, unless something is wrong already.
    fn wait_until(&self, what: &str, come: impl Fn() -> bool) {
        wait_until(what, || {
            assert!(self.wrong.lock().unwrap().is_empty(), "while waiting for: {what}");
            come().then_some(())
        });
    }

    /// Each number is written until its fate is known. A write of unknown fate may still be done
    /// later, so its instance is never written again: the greatest number never goes back.
    fn write(&self) {
        let client = client(REQUEST);
        let (mut instance, mut number, mut turn) = (0, 1, 0);
        loop {
            let far = self.far.lock().unwrap().clone();
            turn += 1;
            let url = format!("http://{}:8500/v1/catalog/register", far[turn % far.len()]);
            let body = json!({"Node": "external", "Address": "10.9.8.7", "Service":
                {"ID": format!("{SERVICE}-{instance}"), "Service": SERVICE, "Meta": {"number": number.to_string()}}});
            self.tried.fetch_max(number, Ordering::SeqCst);
            match request_by(&client, "PUT", &url, Some(&body.to_string())) {
                Some(reply) if reply.status == 200 => {
                    self.acknowledged.lock().unwrap().push((Instant::now(), number));
                    number += 1;
                    if !self.writing.load(Ordering::SeqCst) {
                        return self.written.store(true, Ordering::SeqCst);
                    }
                }
                Some(reply) if reply.header("X-Kontor-Reason") != "outcome-unknown" => {}
                _ => {
                    instance += 1;
                    sleep(TROUBLE);
                }
            }
            if !self.reading.load(Ordering::SeqCst) {
                return;
            }
            sleep(PACE);
        }
    }

    fn ask(&self, asker: &Asker) {
        let client = client(REQUEST);
        let (mut index, mut turn) = (0, 0);
        while self.reading.load(Ordering::SeqCst) {
            turn += 1;
            let path = match asker.watches {
                true => path(&format!("&stale&index={index}&wait={WAIT}")),
                false => path(if turn % 2 == 0 { "&stale" } else { "&cached" }),
            };
            let began = Instant::now();
            match request_by(&client, "GET", &format!("http://{}:8500{path}", asker.address), None) {
                Some(reply) if reply.status == 200 => index = self.judge(asker, &path, began, index, &reply),
                Some(reply) => self.is_wrong(format!(
                    "{}: {path}: {} {} ({})",
                    asker.name,
                    reply.status,
                    reply.body,
                    reply.header("X-Kontor-Reason")
                )),
                None => self.is_wrong(format!("{}: {path}: no answer", asker.name)),
            }
            if !asker.watches {
                sleep(PACE);
            }
        }
    }

    /// No answer is older than it says, none is from the future, and from one server none steps back.
    fn judge(&self, asker: &Asker, path: &str, began: Instant, last_index: u64, reply: &Reply) -> u64 {
        let (number, age, index) = (number_in(reply), told_age(reply), reply.index());
        let tried = self.tried.load(Ordering::SeqCst);
        let least = self.known_at(began.checked_sub(age));
        let before = asker.seen.fetch_max(number, Ordering::SeqCst);
        if number < least || number > tried {
            self.is_wrong(format!(
                "{}: {path}: number {number}, said to be {age:?} old; expected {least} to {tried}",
                asker.name
            ));
        }
        // An agent that asks now this server and now that one sees what each of them has.
        if asker.is_server && (number < before || index < last_index) {
            self.is_wrong(format!("{}: {path}: from {before} at {last_index} back to {number} at {index}", asker.name));
        }
        asker.answers.fetch_add(1, Ordering::SeqCst);
        index
    }

    /// What was acknowledged before `time`.
    fn known_at(&self, time: Option<Instant>) -> u64 {
        let acknowledged = self.acknowledged.lock().unwrap();
        let known = acknowledged.iter().rev().find(|(when, _)| time.is_some_and(|time| *when < time));
        known.map_or(0, |(_, number)| *number)
    }

    fn is_wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap();
        if wrong.len() < MAX_WRONG {
            wrong.push(what);
        }
    }
}
