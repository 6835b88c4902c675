//! The tasks of checks, in virtual time.

use super::super::runners::Runners;
use super::super::thresholds::Thresholds;
use super::*;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// A probe that ends at once, without the network.
fn probe() -> Probe {
    let wrong = CheckType { tcp: "nowhere".to_owned(), ..CheckType::default() };
    Probe::of(&wrong, &settings()).expect("it is probed")
}

#[tokio::test(start_paused = true)]
async fn first_runs_are_spread_evenly_and_later_ones_come_an_interval_after() {
    let (interval, count) = (Duration::from_secs(10), 5_000);
    let (tell, mut marks) = mpsc::unbounded_channel();
    let (mut runners, begin) = (Runners::default(), Instant::now());
    for number in 0..count {
        let tell = tell.clone();
        let report = move |id: &str, _finding| _ = tell.send((id.to_owned(), Instant::now()));
        runners.start(&number.to_string(), probe(), interval, Thresholds::of(&CheckType::default()), report);
    }
    sleep(interval * 3).await;
    drop((tell, runners));
    let mut runs: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    while let Some((id, at)) = marks.recv().await {
        runs.entry(id).or_default().push(at - begin);
    }
    assert_eq!(runs.len(), count);
    let mut a_second = [0; 10];
    for times in runs.values() {
        a_second[times[0].as_secs().min(9) as usize] += 1;
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(interval) < Duration::from_millis(5)), "{times:?}");
    }
    // 500 each on average; chance alone stays far within this.
    assert!(a_second.iter().all(|count| (380..620).contains(count)), "{a_second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_is_stopped_or_replaced_runs_no_more() {
    let (tell, mut received) = mpsc::unbounded_channel();
    let mut runners = Runners::default();
    let start = |runners: &mut Runners, id: &str, mark: &'static str| {
        let tell = tell.clone();
        let report = move |_: &str, _finding| _ = tell.send(mark);
        runners.start(id, probe(), Duration::ZERO, Thresholds::of(&CheckType::default()), report);
    };
    start(&mut runners, "a", "first");
    start(&mut runners, "a", "second");
    start(&mut runners, "b", "stopped");
    runners.stop("b");
    runners.stop("unknown");
    sleep(Duration::from_millis(3500)).await;
    drop(runners);
    sleep(Duration::from_secs(60)).await;
    let mut marks = Vec::new();
    while let Ok(mark) = received.try_recv() {
        marks.push(mark);
    }
    assert!((3..=4).contains(&marks.len()), "an interval of nothing is one of a second: {marks:?}");
    assert!(marks.iter().all(|mark| *mark == "second"), "{marks:?}");
}
