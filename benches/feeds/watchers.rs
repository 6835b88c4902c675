//! One service of dc2 watched by one, by hundreds and by thousands: what a change costs the link, and
//! when everybody knows of it.

use super::load::watch::Watchers;
use super::load::{ms, percentile};
use super::rig::wan::Federation;
use super::{LONE, ONE_WAY, PAIRS, api, federation, feeds, print};
use serde_json::json;
use std::thread::sleep;
use std::time::{Duration, Instant};

const CHANGES: u32 = 5;
/// Between two changes: neither the pace of feeds nor that of pings shows in the bytes.
const APART: Duration = Duration::from_secs(1);
const PATH: &str = "/v1/health/service/watched?dc=dc2&stale";

/// What one number of watchers came to.
struct Outcome {
    bytes_a_change: f64,
    p99: Duration,
    feeds: Option<u64>,
}

pub fn measure(short: bool) {
    let (counts, pairs) = if short { ([1, 100, 1_000], 2) } else { ([1, 100, 5_000], PAIRS) };
    let root = tempfile::tempdir().unwrap();
    let federation = federation(root.path(), LONE);
    let mut number = 0;
    change(&federation, &mut number);
    federation.near.servers[0].wait_for(PATH, |rows| rows.as_array().unwrap().len() == 1);
    federation.wan.set(|weather| weather.delay = ONE_WAY);
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    for pair in 1..=pairs {
        let round: Vec<Outcome> = counts.map(|count| watched_by(&federation, count, &mut number)).into();
        for (count, outcome) in counts.iter().zip(&round) {
            let feeds = outcome.feeds.map_or("?".to_owned(), |feeds| feeds.to_string());
            let (bytes, p99) = (outcome.bytes_a_change, ms(outcome.p99));
            println!(
                "pair {pair}: {count} watchers: {bytes:.0} bytes a change, all woken within {p99:.1} ms at p99, {feeds} feeds"
            );
        }
        outcomes.push(round);
    }
    let half = ms(ONE_WAY);
    for (at, count) in counts.iter().enumerate() {
        let of = |value: fn(&Outcome) -> f64| outcomes.iter().map(|round| value(&round[at])).collect::<Vec<f64>>();
        print(
            &format!("{count} watchers: ms until woken, p99"),
            of(|outcome| ms(outcome.p99)),
            1,
            &format!("{:.0}", half + 400.0),
        );
        let ratio = |round: &Vec<Outcome>| round[at].bytes_a_change / round[0].bytes_a_change;
        print(&format!("{count} watchers / one: bytes a change"), outcomes.iter().map(ratio).collect(), 2, "flat");
        if let Some(most) = outcomes.iter().filter_map(|round| round[at].feeds).max() {
            println!("{count} watchers: at most {most} feeds, bar 1");
        }
    }
}

fn watched_by(federation: &Federation, count: usize, number: &mut u64) -> Outcome {
    let near = &federation.near.servers[0];
    let watchers = Watchers::start(api(near), PATH, count);
    sleep(Duration::from_secs(1));
    let idle = bytes_in(federation, || sleep(APART * CHANGES)) as f64;
    let mut times = Vec::new();
    let busy = bytes_in(federation, || {
        for _ in 0..CHANGES {
            let started = Instant::now();
            watchers.expect(&format!("\"number\":\"{}\"", *number + 1));
            change(federation, number);
            times.extend(watchers.woken(started));
            sleep(APART.saturating_sub(started.elapsed()));
        }
    });
    times.sort_unstable();
    Outcome { bytes_a_change: (busy as f64 - idle) / f64::from(CHANGES), p99: percentile(&times, 0.99), feeds: feeds(near) }
}

fn bytes_in(federation: &Federation, happens: impl FnOnce()) -> u64 {
    let before = federation.wan.bytes();
    happens();
    federation.wan.bytes() - before
}

fn change(federation: &Federation, number: &mut u64) {
    *number += 1;
    let body = json!({"Node": "external", "Address": "10.9.8.7",
        "Service": {"Service": "watched", "Meta": {"number": number.to_string()}}});
    assert_eq!(federation.far.servers[0].put("/v1/catalog/register", &body.to_string()).body, "true");
}
